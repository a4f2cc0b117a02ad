/** Whose files and batches there are: in one database, and between those of several routers. */
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import type { ObjectKind, StoredObject } from "../src/store/object-table.ts";
import type { SharedRow } from "../src/store/shared-table.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { directory } from "./kit/cli.ts";

const file = (id: string, over: Partial<StoredObject> = {}): StoredObject => ({
	owner: "key_1",
	kind: "file",
	id,
	provider: "openai",
	createdAt: 1_790_000_000_000,
	value: `{"id":"${id}"}`,
	...over,
});

function twoStores() {
	const homes = [directory(), directory()] as const;
	const [one, two] = homes.map(({ path }) => sqliteStore(path, () => undefined));
	const end = () => {
		for (const store of [one!, two!]) store.close();
		for (const home of homes) home[Symbol.dispose]();
	};
	return { one: one!, two: two!, homes, [Symbol.dispose]: end };
}

test.each([
	["another owner", "key_2", "file", "file-1"],
	["another kind", "key_1", "batch", "file-1"],
	["another id", "key_1", "file", "file-2"],
	["no owner", "", "file", "file-1"],
] as const)("an object is not found by %s", (_, owner: string, kind: ObjectKind, id: string) => {
	using stores = twoStores();
	stores.one.saveObject(file("file-1"));
	expect(stores.one.object(owner, kind, id)).toBeUndefined();
	expect(stores.one.objects(owner, kind, undefined, 10)).toHaveLength(id === "file-1" ? 0 : 1);
});

test("two owners may have one id of two providers", () => {
	using stores = twoStores();
	stores.one.saveObject(file("file-1"));
	stores.one.saveObject(file("file-1", { owner: "key_2", provider: "box" }));
	expect(stores.one.object("key_1", "file", "file-1")?.provider).toBe("openai");
	expect(stores.one.object("key_2", "file", "file-1")?.provider).toBe("box");
});

test("pages follow each other, also where several were made in one second", () => {
	using stores = twoStores();
	for (let at = 0; at < 9; at++) stores.one.saveObject(file(`file-${at}`, { createdAt: 1000 * Math.floor(at / 3) }));
	const seen: string[] = [];
	for (let after: string | undefined; ; after = seen.at(-1)) {
		const page = stores.one.objects("key_1", "file", after, 2);
		if (page.length === 0) break;
		seen.push(...page.map(({ id }) => id));
	}
	expect(seen).toEqual([8, 7, 6, 5, 4, 3, 2, 1, 0].map((at) => `file-${at}`));
});

test("what one router changes the others know, whatever comes first", () => {
	using stores = twoStores();
	const { one, two } = stores;
	const rows: SharedRow[] = [];
	one.onObject = (row) => rows.push(row);
	one.saveObject(file("file-1"));
	one.removeObject(file("file-1"));
	one.saveObject(file("file-2"));
	expect(rows).toHaveLength(3);
	two.takeObjects([...rows].reverse());
	expect(two.object("key_1", "file", "file-2")).toMatchObject({ provider: "openai", value: '{"id":"file-2"}' });
	expect(two.object("key_1", "file", "file-1")).toBeUndefined();
	expect(
		two
			.objectRows()
			.map(({ field }) => field)
			.sort(),
	).toEqual(
		one
			.objectRows()
			.map(({ field }) => field)
			.sort(),
	);
});

test("rows that are none change nothing", () => {
	using stores = twoStores();
	stores.two.takeObjects([
		{ field: "x", version: 1, value: "[]" },
		{ field: '["a","other","b"]', version: 1, value: '["openai",1,null,false]' },
		{ field: '["a","file","b"]', version: 1, value: '["openai","soon",null,false]' },
	]);
	expect(stores.two.objectRows()).toEqual([]);
});

test("a removed one says nothing of what it was", () => {
	using stores = twoStores();
	stores.one.saveObject(file("file-1", { value: '{"filename":"secret.txt"}' }));
	stores.one.removeObject(file("file-1"));
	const db = new Database(join(stores.homes[0].path, "router.db"));
	expect(db.query("SELECT value, removed FROM objects").all()).toEqual([{ value: null, removed: 1 }]);
	db.close();
});
