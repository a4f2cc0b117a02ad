/** The directories in which engines make the sockets of their KV events: who may enter, where none is made, what is left of them. */
import { afterEach, describe, expect, jest, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { KvEventSource } from "../src/agent/vllm/kv-event-source.ts";
import { KvSockets, kvEventSockets } from "../src/agent/vllm/kv-sockets.ts";

const roots: string[] = [];
afterEach(() => {
	jest.useRealTimers();
	for (const root of roots.splice(0)) rmSync(root, { recursive: true, force: true });
});

function newRoot(): string {
	const root = mkdtempSync(join(tmpdir(), "kv-"));
	roots.push(root);
	return root;
}
const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);

describe("none is made", () => {
	test("where the engine does not mount this process's files", async () => {
		expect(await new KvSockets(join(newRoot(), "kv"), false).make()).toBeUndefined();
	});

	test.each([
		["with a comma, which ends a mount", "a,b"],
		["with a colon, which ends a mount", "a:b"],
	])("in a path %s", async (_, name) => {
		expect(await new KvSockets(join(newRoot(), name), true).make()).toBeUndefined();
	});

	test("where a socket's path would be longer than a system takes, and one byte less will do", async () => {
		const root = newRoot();
		const lengthOf = (base: string) => kvEventSockets(base, "0123456789ab")!.events.length;
		const room = 107 - lengthOf(join(root, ""));
		const [longest, longer] = ["a".repeat(room - 1), "a".repeat(room)].map((name) => join(root, name)) as [
			string,
			string,
		];
		expect([lengthOf(longest), lengthOf(longer)]).toEqual([107, 108]);
		expect(await new KvSockets(longer, true).make()).toBeUndefined();
		const directory = await new KvSockets(longest, true).make();
		expect(dirname(directory!)).toBe(longest);
	});

	test("where no directory can be made", async () => {
		const file = join(newRoot(), "file");
		writeFileSync(file, "");
		expect(await new KvSockets(join(file, "kv"), true).make()).toBeUndefined();
	});
});

test("any user of a container may make sockets in it, and nobody else of the host gets there, whatever was there before", async () => {
	const base = join(newRoot(), "kv");
	mkdirSync(base);
	chmodSync(base, 0o755);
	const directory = await new KvSockets(base, true).make();
	expect([mode(base), mode(directory!)]).toEqual(["700", "777"]);
	expect(readdirSync(directory!)).toEqual([]);
});

test("it goes with its container, whatever that has left there", async () => {
	const sockets = new KvSockets(join(newRoot(), "kv"), true);
	const directory = (await sockets.make())!;
	mkdirSync(join(directory, "more"));
	writeFileSync(join(directory, "more", "file"), "");
	await sockets.remove(directory);
	await sockets.remove(directory);
	expect(existsSync(directory)).toBe(false);
});

test("those whose containers went while no agent ran go when it starts; new ones, others' and other files stay", async () => {
	const base = join(newRoot(), "kv");
	const before = new KvSockets(base, true);
	const [kept, left] = [(await before.make())!, (await before.make())!];
	writeFileSync(join(base, "notes.txt"), "");
	const now = new KvSockets(base, true);
	const made = (await now.make())!;
	await now.sweep(new Set([kept]));
	expect([kept, left, made, join(base, "notes.txt")].map((path) => existsSync(path))).toEqual([
		true,
		false,
		true,
		true,
	]);
	await new KvSockets(join(base, "none"), true).sweep(new Set());
});

test.each([[undefined], ["20002"], ["../../../tmp"], ["0123456789abc"]])(
	"a label that names none leads nowhere: %p",
	(label) => {
		expect(kvEventSockets("/data/kv", label)).toBeUndefined();
	},
);

test("sockets that take no connection are told, however long the engine took to make them", async () => {
	jest.useFakeTimers();
	const root = newRoot();
	const sockets = { directory: root, events: join(root, "events"), replay: join(root, "replay") };
	const problems: string[] = [];
	const sink = { restarted: () => undefined, events: () => undefined };
	const source = new KvEventSource({ sockets, sink, problem: (sentence) => void problems.push(sentence) });
	source.start();
	/** So many tries: each has failed once others that were made after it have. */
	const tries = async (count: number) => {
		const elsewhere = { unix: join(root, "none"), socket: { data: () => undefined } };
		for (let at = 0; at < count; at++) {
			for (let after = 0; after < 3; after++) await Bun.connect(elsewhere).catch(() => undefined);
			jest.advanceTimersByTime(10_000);
		}
	};
	await tries(20);
	expect(problems).toEqual([]);
	// Nobody listens there.
	writeFileSync(sockets.events, "");
	await tries(20);
	source.end();
	expect(problems).toHaveLength(1);
});
