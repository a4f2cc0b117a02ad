/** Imports go one way (CONTRIBUTING.md, "The import order"), and each dangerous thing has one place. */
import { expect, test } from "bun:test";
import { join, relative, resolve } from "node:path";
import { ROWS } from "./kit/import-order.ts";

const SRC = resolve(import.meta.dir, "../src");
/** Files of src/ itself that are no foundation but the entry. */
const ENTRY = ["main.ts", "cli.ts"];

const files = [...new Bun.Glob("**/*.ts").scanSync(SRC)].filter((file) => !file.endsWith(".d.ts"));
const sources = await Promise.all(files.map(async (file) => ({ file, text: await Bun.file(join(SRC, file)).text() })));

/** `proxy/relay.ts` → `proxy`; an entry counts as `cli`, the other files of src/ as the ground everyone stands on. */
function folder(file: string): string {
	if (ENTRY.includes(file)) return "cli";
	return file.includes("/") ? file.slice(0, file.indexOf("/")) : "";
}
const rowOf = (name: string) => ROWS.findIndex((row) => row.includes(name));

/** Paths below src/ that a file imports, types and `await import(…)` included. */
function importsOf(file: string, text: string): string[] {
	const found = text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"(\.[^"]+)"/g);
	return [...found].map(([, path]) => relative(SRC, resolve(SRC, file, "..", path!)));
}

test("every folder has its row", () => {
	expect(files.filter((file) => rowOf(folder(file)) === -1)).toEqual([]);
	expect(sources.flatMap(({ file, text }) => importsOf(file, text)).length).toBeGreaterThan(100);
});

test("a file imports its own folder and those below, nothing above or beside", () => {
	const wrong = sources.flatMap(({ file, text }) =>
		importsOf(file, text)
			.filter((path) => !path.startsWith(".."))
			.filter((path) => folder(path) !== folder(file) && rowOf(folder(path)) >= rowOf(folder(file)))
			.map((path) => `${file} → ${path}`),
	);
	expect(wrong).toEqual([]);
});

test.each([
	["fetch(", /(?<![\w.])fetch\(/, ["proxy/net/transport.ts"]],
	["Bun.spawn", /\bBun\.spawn/, ["agent/docker/command.ts"]],
	["bun:sqlite", /"bun:sqlite"/, ["store/database-file.ts", "store/merge.ts", "store/directory-lock.ts"]],
	[
		// Where the calendar is meant, or a time that others are told. Durations: performance.now(), steadyTime().
		"Date.now",
		/\bDate\.now\b/,
		[
			"cli/agents.ts",
			"accounts/auth/agent-secrets.ts",
			"accounts/usage/ledger.ts",
			"accounts/auth/stored-keys.ts",
			"accounts/usage/local-spend.ts",
			"accounts/usage/shared-spend.ts",
			"accounts/limits/admission.ts",
			"cache/cache.ts",
			"cache/cached-response.ts",
			"providers/chat-answer.ts",
			"cache/single-flight.ts",
			"providers/dummy.ts",
			"providers/upstream-error.ts",
			"accounts/usage/price-book.ts",
			"server/agents/agent-registry.ts",
			"server/admin/admin-service.ts",
			"steady-time.ts",
			"store/sqlite.ts",
			"telemetry/log.ts",
			"telemetry/process-metrics.ts",
		],
	],
	["ioredis", /"ioredis"/, ["store/redis-client.ts"]],
	["node:child_process", /"(?:node:)?child_process"/, []],
] as [string, RegExp, string[]][])("%s stands only where it may", (_, pattern, allowed) => {
	// Comments may speak of it.
	const code = (text: string) => text.replace(/\/\*[\s\S]*?\*\/|(?<![:"])\/\/.*$/gm, "");
	expect(
		sources
			.filter(({ text }) => pattern.test(code(text)))
			.map(({ file }) => file)
			.sort(),
	).toEqual([...allowed].sort());
});
