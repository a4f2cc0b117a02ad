/** `router connect` in a home of its own. */
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { cli, type Outcome } from "./cli.ts";

/** A user's home directory. */
export interface Home {
	readonly path: string;
	/** Runs `router connect …args`; nothing runs at the router's address unless `env` says otherwise. */
	connect(args: readonly string[], env?: Record<string, string>): Promise<Outcome>;
	write(file: string, text: string, mode?: number): void;
	read(file: string): string;
	mode(file: string): string;
	/** All files below it, with their texts, but the records of `router connect` and what Bun caches. */
	files(): Record<string, string>;
	[Symbol.dispose](): void;
}

/** A new home with these files; `using` removes it. */
export function home(files: Record<string, string> = {}): Home {
	const path = mkdtempSync(join(tmpdir(), "router-home-"));
	const at = (file: string) => join(path, file);
	const made: Home = {
		path,
		connect: (args, env = {}) =>
			cli(["connect", ...args], {
				cwd: path,
				env: {
					HOME: path,
					PATH: process.env["PATH"] ?? "",
					PORT: "1",
					DATA_DIR: at("data"),
					LOG_DIR: at("logs"),
					...env,
				},
			}),
		write(file, text, mode = 0o644) {
			mkdirSync(dirname(at(file)), { recursive: true });
			writeFileSync(at(file), text, { mode });
		},
		read: (file) => readFileSync(at(file), "utf8"),
		mode: (file) => (statSync(at(file)).mode & 0o777).toString(8),
		files() {
			const names = readdirSync(path, { recursive: true, encoding: "utf8" });
			const isFile = (name: string) =>
				!lstatSync(at(name)).isDirectory() && !/^(?:\.local|\.bun|data|logs)\//.test(name);
			return Object.fromEntries(names.filter(isFile).map((name) => [name, made.read(name)]));
		},
		[Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
	};
	for (const [name, text] of Object.entries(files)) made.write(name, text);
	return made;
}
