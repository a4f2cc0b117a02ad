/**
 * The walk of a call through the source: `bun test/bench/walk.ts [TREE]` sends one whole call, with a key, limits and the cache on,
 * through the router of a tree (this one, unless another checkout is named) and prints each function that starts, from the socket to
 * the ledger's row, with the number of files and of hops between files. It says how far a reader has to go, not how long a call takes.
 *
 * A hop is a function that starts in another file than the one that started before it. A return to the caller is none, since nothing starts.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Start, startsOf, watchFunctions } from "./walk-transform.ts";

/** ms; longer than a settled call waits for others before the ledger's row is written, and than any look at files or at other processes. */
const QUIET_MS = 1500;

/** What the process does at intervals of its own, and no call asks for. */
const TIMERS = /^(config\/watch|accounts\/auth\/(stored-keys|key-store)|gate\/made-keys)\.ts$/;

const KEY = "walk-key-of-the-client";
const CONFIG = {
	keys: [{ name: "walk", key: KEY, rpm: 1000, concurrency: 100 }],
	cache: { enabled: true },
	// Other settings on top, as JSON: a limit on tokens, or a budget, has the call's tokens estimated and priced before it runs.
	...JSON.parse(process.env["WALK_CONFIG"] ?? "{}"),
};
const ANSWER = {
	id: "chatcmpl-walk",
	object: "chat.completion",
	created: 1_760_000_000,
	model: "walk",
	choices: [{ index: 0, message: { role: "assistant", content: "Four functions." }, finish_reason: "stop" }],
	usage: { prompt_tokens: 20, completion_tokens: 3, total_tokens: 23 },
};

const tree = resolve(process.argv[2] ?? join(import.meta.dir, "../.."));
watchFunctions(join(tree, "src"));
const directory = mkdtempSync(join(tmpdir(), "router-walk-"));
const upstream = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => Response.json(ANSWER) });
const file = join(directory, "router.yaml");
writeFileSync(file, JSON.stringify(CONFIG));
const port = freePort();
const { run } = await import(join(tree, "src/cli.ts"));
const ended = run(["--config", file], {
	HOST: "127.0.0.1",
	PORT: String(port),
	ROUTER_WORKERS: "1",
	OPENAI_BASE_URL: `http://127.0.0.1:${upstream.port}/v1`,
	OPENAI_API_KEY: "walk-key-of-the-upstream",
	DATA_DIR: join(directory, "data"),
	LOG_DIR: join(directory, "logs"),
	LOG_LEVEL: "error",
});
try {
	await ready();
	// What is made at the first call of a kind is not part of every call's walk; and what is asked anew once others may have written.
	for (const prompt of ["one", "two"]) await call(prompt);
	await Bun.sleep(QUIET_MS);
	await call("three");
	await Bun.sleep(QUIET_MS / 2);
	const starts = startsOf();
	await call("four");
	await Bun.sleep(QUIET_MS);
	print(walk(starts()));
} catch (error) {
	// The router has a process go on after such an error; this one must end.
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
		body: JSON.stringify({ model: "openai/walk", temperature: 0, messages: [{ role: "user", content: prompt }] }),
	});
	const text = await answer.text();
	if (!answer.ok) throw new Error(`walk: the router answered ${answer.status}: ${text}`);
}

/** From the first function to the one that makes the ledger's row ready for the thread that writes it, without what timers of the process do meanwhile. */
function walk(starts: readonly Start[]): readonly Start[] {
	const end = starts.findIndex(
		({ file, name }) => file.startsWith("store/") && (name === "encode" || name === "insert"),
	);
	if (end < 0) throw new Error("walk: no row of the ledger was written");
	return starts.slice(0, end + 1).filter(({ file }) => !TIMERS.test(file));
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
