/** The writer of stored responses: what can't be written can be read and is tried again, what was deleted does not come back, and where each goes. */
import { beforeEach, describe, expect, test } from "bun:test";
import { type ResponseStores, ResponseWriter } from "../src/api/response-writer.ts";
import type { ResponseName, ResponseRow, ResponseTable } from "../src/store/response-table.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { directory } from "./kit/cli.ts";
import { until } from "./kit/until.ts";

const text = (name: ResponseName) => `${name.id} ${name.key}`;
const NAME = { key: "a", id: "resp_1" };

/** A place that a test closes. */
class FakeTable implements ResponseTable {
	readonly rows = new Map<string, ResponseRow>();
	readonly used: string[] = [];
	isClosed = false;
	writes = 0;
	get(name: ResponseName) {
		return this.rows.get(text(name))?.value;
	}
	async write(rows: readonly ResponseRow[], used: readonly ResponseName[]) {
		this.writes++;
		if (this.isClosed) return false;
		for (const row of rows) this.rows.set(text(row), row);
		this.used.push(...used.map(text));
		return true;
	}
	remove(name: ResponseName) {
		return this.rows.delete(text(name));
	}
	revoked: string[] = [];
	revokedKeys() {
		return this.revoked;
	}
	removeOf(keys: ReadonlySet<string>) {
		if (this.isClosed) return false;
		for (const [name, { key }] of this.rows) if (keys.has(key)) this.rows.delete(name);
		return true;
	}
	async trim() {}
}

let table: FakeTable;
let shared: FakeTable;
let settings: { keep: number; size: number };
beforeEach(() => {
	table = new FakeTable();
	shared = new FakeTable();
	settings = { keep: 1e9, size: 1e9 };
});
const writerOf = (more: Partial<ResponseStores> = {}) =>
	new ResponseWriter({ table, settings: () => settings, ...more });
/** The same as a Redis. @param hold waited for before anything is stored */
const inRedis = (hold: Promise<unknown> = Promise.resolve()) => ({
	get: async (name: ResponseName) => shared.get(name),
	async put(row: ResponseRow) {
		await hold;
		return shared.write([row], []);
	},
	async use(names: readonly ResponseName[]) {
		shared.used.push(...names.map(text));
	},
	remove: async (name: ResponseName) => shared.remove(name),
	removeOf: async (keys: ReadonlySet<string>) => shared.removeOf(keys),
});

describe("what can't be written", () => {
	test("is read as if it were, and written later", async () => {
		const writer = writerOf();
		table.isClosed = true;
		writer.put({ ...NAME, text: "hello" });
		await writer.flush();
		expect([table.writes, await writer.get(NAME)]).toEqual([1, "hello"]);
		table.isClosed = false;
		await writer.flush();
		expect([table.rows.size, await writer.get(NAME)]).toEqual([1, "hello"]);
		await writer.flush();
		expect(table.writes).toBe(2);
	});

	test("does not fill the memory: the oldest is lost", async () => {
		const writer = writerOf();
		table.isClosed = true;
		const large = "x".repeat(8 * 1024 * 1024);
		for (let at = 0; at < 12; at++) writer.put({ key: "a", id: `resp_${at}`, text: large });
		expect([
			await writer.get({ key: "a", id: "resp_0" }),
			(await writer.get({ key: "a", id: "resp_11" }))?.length,
		]).toEqual([undefined, large.length]);
		await writer.flush();
	});

	test("to Redis goes to the table", async () => {
		const writer = writerOf({ shared: inRedis() });
		shared.isClosed = true;
		writer.put({ ...NAME, text: "hello" });
		await writer.flush();
		expect([shared.rows.size, table.rows.size, await writer.get(NAME)]).toEqual([0, 1, "hello"]);
	});
});

describe("what was deleted", () => {
	test("is gone though it waits to be written", async () => {
		const writer = writerOf();
		writer.put({ ...NAME, text: "hello" });
		expect([await writer.remove(NAME), await writer.remove(NAME)]).toEqual([true, false]);
		await writer.flush();
		expect([table.rows.size, await writer.get(NAME)]).toEqual([0, undefined]);
	});

	test("does not come back where it is being written at that moment", async () => {
		const hold = Promise.withResolvers<void>();
		const writer = writerOf({ shared: inRedis(hold.promise) });
		writer.put({ ...NAME, text: "hello" });
		const flushed = writer.flush();
		const removed = writer.remove(NAME);
		hold.resolve();
		await flushed;
		expect([await removed, shared.rows.size, await writer.get(NAME)]).toEqual([true, 0, undefined]);
	});

	test("is gone from both places", async () => {
		const writer = writerOf({ shared: inRedis() });
		shared.isClosed = true;
		writer.put({ ...NAME, text: "hello" });
		await writer.flush();
		shared.isClosed = false;
		expect([await writer.remove(NAME), await writer.get(NAME)]).toEqual([true, undefined]);
	});
});

test("another key's is not given, in whichever place it is", async () => {
	const other = { ...NAME, key: "b" };
	const writer = writerOf({ shared: inRedis() });
	writer.put({ ...NAME, text: "hello" });
	expect([await writer.get(other), await writer.remove(other)]).toEqual([undefined, false]);
	await writer.flush();
	expect([await writer.get(other), await writer.remove(other), await writer.get(NAME)]).toEqual([
		undefined,
		false,
		"hello",
	]);
});

test("one that another router is about to write is waited for, to be read or to be deleted", async () => {
	const value = new Uint8Array(Bun.zstdCompressSync("hello"));
	const writer = writerOf({ shared: inRedis() });
	const work = [() => writer.get(NAME, true), () => writer.remove(NAME)];
	const found: unknown[] = [];
	for (const each of work) {
		shared.rows.clear();
		const asked = each();
		// What is asked for at once has been told by then.
		await Bun.sleep(1);
		await shared.write([{ ...NAME, value }], []);
		found.push(await asked);
	}
	expect(found).toEqual(["hello", true]);
	expect(shared.rows.size).toBe(0);
	expect(await writer.get(NAME)).toBeUndefined();
});

test("with Redis the table gets nothing but what Redis did not take", async () => {
	const writer = writerOf({ shared: inRedis() });
	writer.put({ ...NAME, text: "hello" });
	await writer.flush();
	expect([shared.rows.size, table.rows.size, await writer.get(NAME)]).toEqual([1, 0, "hello"]);
});

test("what is gone on from is marked as used, once for many times", async () => {
	const writer = writerOf();
	for (let times = 0; times < 5; times++) writer.use(NAME);
	await writer.flush();
	await writer.flush();
	expect([table.writes, table.used]).toEqual([1, [text(NAME)]]);
});

test("what is used and what is new are both written by themselves", async () => {
	const other = { key: "a", id: "resp_2" };
	const writer = writerOf({ shared: inRedis() });
	writer.use(NAME);
	writer.put({ ...other, text: "hello" });
	await until(() => shared.rows.has(text(other)), "what is new");
	await until(() => shared.used.length > 0, "what was used");
	expect(shared.used).toEqual([text(NAME)]);
});

test("what is a revoked key's goes from Redis, too, as soon as that can be asked", async () => {
	const writer = writerOf({ shared: inRedis() });
	for (const key of ["a", "b"]) writer.put({ ...NAME, key, text: "hello" });
	await writer.flush();
	table.revoked = ["a", "c"];
	shared.isClosed = true;
	await writer.trim();
	expect(shared.rows.size).toBe(2);
	shared.isClosed = false;
	await writer.trim();
	expect([...shared.rows.values()].map(({ key }) => key)).toEqual(["b"]);
	// Nothing is looked for twice.
	shared.removeOf = () => {
		throw new Error("Redis was asked again");
	};
	await writer.trim();
});

test("is off where nothing is to be stored", () => {
	const writer = writerOf();
	expect(writer.isOn).toBe(true);
	settings = { keep: 0, size: 1 };
	expect(writer.isOn).toBe(false);
	settings = { keep: 1, size: 0 };
	expect(writer.isOn).toBe(false);
});

test("texts of any length and language are there after a restart", async () => {
	using home = directory();
	const texts = ["hi", "Grüße 🙂", `${"lang ".repeat(100_000)}é`];
	const open = () => sqliteStore(home.path, () => {});
	const store = open();
	const writer = new ResponseWriter({ table: store.responses, settings: () => settings });
	const close = writer.open();
	for (const [at, each] of texts.entries()) writer.put({ key: "a", id: `resp_${at}`, text: each });
	await close();
	store.close();
	const again = new ResponseWriter({ table: open().responses, settings: () => settings });
	for (const [at, each] of texts.entries()) expect(await again.get({ key: "a", id: `resp_${at}` })).toBe(each);
});
