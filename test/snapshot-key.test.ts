/** The key by which the ledger's hashes of prompts are made: without it no guess of a prompt can be tried. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HASH_KEY_BYTES, type KeyedHash, keyedHash } from "../src/routing/keyed-hash.ts";
import { plan } from "../src/routing/plan.ts";
import { readSnapshot, snapshotOf } from "../src/routing/plan-snapshot.ts";
import { SNAPSHOT_KEY_FILE, snapshotKey } from "../src/store/snapshot-key.ts";
import { directory } from "./kit/cli.ts";
import { Clock, call, replica, route } from "./kit/routes.ts";

let home: ReturnType<typeof directory>;
beforeEach(() => {
	home = directory();
});
afterEach(() => home[Symbol.dispose]());
const file = () => join(home.path, SNAPSHOT_KEY_FILE);

describe("a key that can't be kept", () => {
	test("is one all the same, and what is in the way stays", () => {
		mkdirSync(file());
		expect(snapshotKey(home.path)).toHaveLength(HASH_KEY_BYTES);
		expect(statSync(file()).isDirectory()).toBe(true);
	});

	test("that is damaged is made anew, for good", () => {
		writeFileSync(file(), "no key\n");
		const key = snapshotKey(home.path);
		expect(readFileSync(file(), "utf8")).toBe(`${Buffer.from(key).toString("hex")}\n`);
		expect(snapshotKey(home.path)).toEqual(key);
	});
});

test("a directory has one, its owner's alone, and nothing else is left there", () => {
	const data = join(home.path, "data");
	const key = snapshotKey(data);
	expect(snapshotKey(data)).toEqual(key);
	expect(readdirSync(data)).toEqual([SNAPSHOT_KEY_FILE]);
	expect(statSync(join(data, SNAPSHOT_KEY_FILE)).mode & 0o777).toBe(0o600);
	expect(snapshotKey(join(home.path, "other"))).not.toEqual(key);
});

test("threads that ask at the same time for a key that is not there yet get the same one", async () => {
	const module = new URL("../src/store/snapshot-key.ts", import.meta.url).href;
	const source = `import { snapshotKey } from ${JSON.stringify(module)};
		self.onmessage = ({ data }) => postMessage(Buffer.from(snapshotKey(data)).toString("hex"));`;
	const workers = Array.from({ length: 4 }, () => new Worker(`data:text/javascript,${encodeURIComponent(source)}`));
	try {
		const keys = await Promise.all(
			workers.map(
				(worker) =>
					new Promise<string>((resolve, reject) => {
						worker.onmessage = ({ data }) => resolve(data);
						worker.onerror = ({ message }) => reject(new Error(message));
						worker.postMessage(home.path);
					}),
			),
		);
		expect(new Set(keys)).toEqual(new Set([Buffer.from(snapshotKey(home.path)).toString("hex")]));
	} finally {
		for (const worker of workers) worker.terminate();
	}
});

test("by another key the same call has another session, conversation and marks; by the same one the same", () => {
	const needs = call(JSON.stringify([{ role: "user", content: "guessed ".repeat(400) }]), { session: "one" });
	const made = plan(needs, route([replica("a/m"), replica("b/m")]), new Clock().state, 0, () => 0);
	const read = (hash: KeyedHash) => readSnapshot(snapshotOf(made, 8, needs.history(), hash))!;
	const [one, again, other] = [7, 7, 8].map((byte) => read(keyedHash(() => new Uint8Array(HASH_KEY_BYTES).fill(byte))));
	expect(again!).toEqual(one!);
	expect(other!.session).not.toBe(one!.session);
	expect(other!.conversation!.whole).not.toBe(one!.conversation!.whole);
	expect(other!.marks).toHaveLength(one!.marks.length);
	expect(one!.marks.length).toBeGreaterThan(8);
	expect(other!.marks).not.toEqual(one!.marks);
});
