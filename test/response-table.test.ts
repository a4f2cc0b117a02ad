/** The table of stored responses: each key its own, the longest unused go first, and those of revoked keys go. */
import { describe, expect, test } from "bun:test";
import { sqliteStore } from "../src/store/sqlite.ts";
import { directory } from "./kit/cli.ts";

const bytes = (text: string) => new Uint8Array(Buffer.from(text));
const row = (id: string, key = "a", text = id) => ({ key, id, value: bytes(text) });
const open = (path: string) => sqliteStore(path, () => {});
const text = (value: Uint8Array | undefined) => value && Buffer.from(value).toString();

describe("the table", () => {
	test("gives a key nothing of another one's, and deletes nothing of it", async () => {
		using home = directory();
		const { responses } = open(home.path);
		expect(await responses.write([row("r1")], [], 1)).toBe(true);
		expect(text(responses.get({ key: "a", id: "r1" }, 0))).toBe("r1");
		expect(responses.get({ key: "b", id: "r1" }, 0)).toBeUndefined();
		expect(responses.remove({ key: "b", id: "r1" })).toBe(false);
		expect(responses.remove({ key: "a", id: "r1" })).toBe(true);
		expect(responses.remove({ key: "a", id: "r1" })).toBe(false);
		expect(responses.get({ key: "a", id: "r1" }, 0)).toBeUndefined();
	});

	test("has two responses of one id where they are two keys'", async () => {
		using home = directory();
		const { responses } = open(home.path);
		await responses.write([row("r1", "a", "of a"), row("r1", "b", "of b")], [], 1);
		responses.remove({ key: "a", id: "r1" });
		expect(text(responses.get({ key: "b", id: "r1" }, 0))).toBe("of b");
	});

	test("is there after a restart", async () => {
		using home = directory();
		const store = open(home.path);
		await store.responses.write([row("r1")], [], 1);
		store.close();
		expect(text(open(home.path).responses.get({ key: "a", id: "r1" }, 0))).toBe("r1");
	});

	test("gives nothing that has lapsed, deleted or not; what is used lives on", async () => {
		using home = directory();
		const { responses } = open(home.path);
		await responses.write([row("r1"), row("r2")], [], 10);
		await responses.write([], [row("r2")], 20);
		expect(responses.get({ key: "a", id: "r1" }, 11)).toBeUndefined();
		expect(text(responses.get({ key: "a", id: "r2" }, 11))).toBe("r2");
		await responses.trim(15, 1e9);
		expect(responses.get({ key: "a", id: "r1" }, 0)).toBeUndefined();
		expect(text(responses.get({ key: "a", id: "r2" }, 0))).toBe("r2");
	});

	test("makes room by what was unused for longest", async () => {
		using home = directory();
		const { responses } = open(home.path);
		for (let at = 1; at <= 5; at++) await responses.write([row(`r${at}`, "a", "x".repeat(100))], [], at);
		await responses.write([], [row("r1")], 6);
		await responses.trim(0, 300);
		const left = [1, 2, 3, 4, 5].filter((at) => responses.get({ key: "a", id: `r${at}` }, 0));
		expect(left).toEqual([1, 4, 5]);
	});

	test("has nothing of keys that were revoked", async () => {
		using home = directory();
		const store = open(home.path);
		const key = (id: string, more: object) => ({ id, value: JSON.stringify({ id, ...more }) });
		store.saveKeys([key("a", { changedAt: 1 }), key("b", { changedAt: 1, revokedAt: 1 })]);
		await store.responses.write([row("r1", "a"), row("r2", "b"), row("r3", "config:c")], [], 5);
		await store.responses.trim(0, 1e9);
		expect(store.responses.revokedKeys()).toEqual(["b"]);
		expect(store.responses.get({ key: "b", id: "r2" }, 0)).toBeUndefined();
		expect(text(store.responses.get({ key: "a", id: "r1" }, 0))).toBe("r1");
		expect(text(store.responses.get({ key: "config:c", id: "r3" }, 0))).toBe("r3");
	});

	test("an empty one makes no file", async () => {
		using home = directory();
		const { responses } = open(home.path);
		await responses.trim(0, 1);
		expect(responses.get({ key: "a", id: "r1" }, 0)).toBeUndefined();
		expect([...new Bun.Glob("*").scanSync({ cwd: home.path })]).toEqual([]);
	});
});
