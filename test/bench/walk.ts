/**
 * The walk of a call through the source: `bun test/bench/walk.ts` sends one whole call, with a key, limits, a budget and the cache
 * on, through the router and prints each function that starts, from the socket to the ledger's row, with the number of files
 * and of hops between files. It says how far a reader has to go, not how long a call takes.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GUARDED, KEY } from "./subject.ts";
import { type Start, watchedFunctions, watchFunctions } from "./walk-transform.ts";
import { ANSWER } from "./wire.ts";

/** Twice what a row waits for company. */
const WRITTEN_MS = 1000;

const directory = mkdtempSync(join(tmpdir(), "router-walk-"));
const upstream = Bun.serve({
	hostname: "127.0.0.1",
	port: 0,
	fetch: () => new Response(ANSWER.openai, { headers: { "content-type": "application/json" } }),
});
const file = join(directory, "router.yaml");
writeFileSync(file, JSON.stringify({ ...GUARDED, cache: { enabled: true } }));
const port = freePort();
const { run } = await import("../../src/cli.ts");
const ended = run(["--config", file], {
	HOST: "127.0.0.1",
	PORT: String(port),
	OPENAI_BASE_URL: `http://127.0.0.1:${upstream.port}/v1`,
	OPENAI_API_KEY: "walk-key-of-the-upstream",
	DATA_DIR: join(directory, "data"),
	LOG_DIR: join(directory, "logs"),
	LOG_LEVEL: "error",
});
try {
	await ready();
	// What is made at the first call of a kind is not part of every call's walk.
	for (const prompt of ["one", "two", "three"]) await call(prompt);
	await Bun.sleep(WRITTEN_MS);
	watchFunctions();
	await call("four");
	await Bun.sleep(WRITTEN_MS);
	print(walk(watchedFunctions()));
} catch (error) {
	// The router lets a process go on after an error of its own; here it must end.
	console.error(error);
	process.exitCode = 1;
}
upstream.stop(true);
void ended;
rmSync(directory, { recursive: true, force: true });
process.exit();

async function ready(): Promise<void> {
	for (let tries = 0; tries < 500; tries++) {
		const answer = await fetch(`http://127.0.0.1:${port}/health/ready`).catch(() => undefined);
		if (answer?.ok) return;
		await Bun.sleep(10);
	}
	throw new Error("walk: the router did not get ready");
}

async function call(prompt: string): Promise<void> {
	const answer = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
		method: "POST",
		headers: { "content-type": "application/json", authorization: `Bearer ${KEY}` },
		body: JSON.stringify({ model: "openai/bench", temperature: 0, messages: [{ role: "user", content: prompt }] }),
	});
	const text = await answer.text();
	if (!answer.ok) throw new Error(`walk: the router answered ${answer.status}: ${text}`);
}

/** From the first function to the last of the store: the ledger's row. */
function walk(starts: readonly Start[]): readonly Start[] {
	const end = starts.findLastIndex((start) => start.file.startsWith("store/"));
	if (end < 0) throw new Error("walk: no row of the ledger was written");
	return starts.slice(0, end + 1);
}

function print(starts: readonly Start[]): void {
	let hops = 0;
	let returns = 0;
	const files = new Set<string>();
	let before: string | undefined;
	for (const { file, name } of starts) {
		if (file !== before) {
			if (before !== undefined) hops++;
			if (before !== undefined && files.has(file)) returns++;
			console.log(`${files.has(file) ? "  ↩ " : "  → "}${file}`);
		}
		console.log(`        ${name}`);
		files.add(file);
		before = file;
	}
	console.log(
		`\n${files.size} files, ${hops} hops between files, ${returns} of them back to a file seen before; ${starts.length} functions`,
	);
}

function freePort(): number {
	const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
	const { port } = probe;
	probe.stop(true);
	return port;
}
