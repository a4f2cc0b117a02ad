/**
 * `make build`: the router as one executable, `dist/router`.
 *
 *     bun .ci/build.ts [--outfile=FILE] [further flags of `bun build`]
 *
 * It is compiled twice. Of the first time the source maps alone are kept; the second executable holds them as one of its files (`src/source-maps.ts`).
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import type { SourceMaps } from "../src/source-maps.ts";
import { smallMap } from "./source-maps.ts";

const ROOT = resolve(import.meta.dir, "..");
const SCRATCH = "dist/maps";
const MAPS = "dist/source-maps.gz";

/** The process and its worker threads begin with the first, threads of the database with the others, which are found by their paths. */
const ENTRIES = ["src/main.ts", "src/store/checkpoint-thread.ts", "src/store/writer-thread.ts"];

const FLAGS = [
	"--compile",
	"--no-compile-autoload-dotenv",
	"--no-compile-autoload-bunfig",
	"--bytecode",
	"--format=esm",
	// Cut at each `import()`: a process loads what it needs.
	"--splitting",
	// Names stay, since errors tell them.
	"--minify-whitespace",
	"--minify-syntax",
	// Elysia looks for it where a route takes a form's file by its contents. None does.
	"--external=file-type",
	// CommonJS packages would bring the path of this checkout along.
	'--define=__dirname="/"',
	'--define=__filename="/index.js"',
];

/**
 * Byte code of functions within functions is as large as that of all others, and makes no start shorter: they are compiled when they are first called. With
 * that of no function (0) the executable were 5 MB smaller, and a start a third longer.
 */
const DEPTH = 1;

await import("../src/server/console/write-bundle.ts");
await import("../src/http/write-swagger.ts");
const files = ["console", "swagger"].flatMap((name) => [...new Bun.Glob(`dist/${name}/*.gz`).scanSync(ROOT)]).sort();

const more = process.argv.slice(2);
rmSync(join(ROOT, SCRATCH), { recursive: true, force: true });
mkdirSync(join(ROOT, SCRATCH), { recursive: true });
// Names of scripts depend on what is built. The depth they do not depend on.
await Bun.write(join(ROOT, MAPS), "");
await build(["--bytecode-depth=0", "--sourcemap=external", ...more, `--outfile=${SCRATCH}/router`]);
await Bun.write(join(ROOT, MAPS), gzipSync(JSON.stringify(smallMaps(join(ROOT, SCRATCH))), { level: 9 }));
rmSync(join(ROOT, SCRATCH), { recursive: true });
await build([`--bytecode-depth=${DEPTH}`, "--outfile=dist/router", ...more]);

/** The maps that a build has written to a folder, by the names of their scripts. */
function smallMaps(folder: string): SourceMaps {
	const names = readdirSync(folder).filter((name) => name.endsWith(".map"));
	const maps = names.sort().map((name) => {
		const map = JSON.parse(readFileSync(join(folder, name), "utf8"));
		return [name.slice(0, -".map".length), smallMap(map)] as const;
	});
	return Object.fromEntries(maps.filter(([, { mappings }]) => mappings !== ""));
}

/** Runs `bun build`; what it says is for whoever builds. Ends with its code where it fails. */
async function build(words: readonly string[]): Promise<void> {
	const command = [process.execPath, "build", ...ENTRIES, ...files, MAPS, ...FLAGS, ...words];
	// What React and others read when they are bundled.
	const env = { ...process.env, NODE_ENV: "production" };
	const code = await Bun.spawn(command, { cwd: ROOT, env, stdio: ["ignore", "inherit", "inherit"] }).exited;
	if (code !== 0) process.exit(code);
}
