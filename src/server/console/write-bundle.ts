/** Writes the console's files to `dist/console`, from where `bun build` puts them into the executable: a step of `make build`. */
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { bundleConsole } from "./bundle-console.ts";

const OUT = resolve(import.meta.dir, "../../../dist/console");

const files = await bundleConsole();
mkdirSync(OUT, { recursive: true });
const names = files.map(({ name }) => `${name}.gz`);
for (const old of readdirSync(OUT).filter((name) => !names.includes(name))) rmSync(join(OUT, old));
for (const { name, gzip } of files) await Bun.write(join(OUT, `${name}.gz`), gzip);
