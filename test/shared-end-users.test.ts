/** End users of several threads that have sums of their own: the same for all of them, and no more than one thread alone would have. */
import { describe, expect, test } from "bun:test";
import { EndUsers, OTHER_USERS } from "../src/accounts/usage/ledger-rows.ts";
import { makeEndUsers, SharedEndUsers, sharedEndUsers } from "../src/accounts/usage/shared-end-users.ts";
import { makeRecordQueue } from "../src/memory/record-queue.ts";
import { makeBlocks, SharedBlocks } from "../src/memory/shared-blocks.ts";
import { createSharedMemory } from "../src/server/threads/shared-memory.ts";
import { workerCalls } from "../src/server/threads/worker-services.ts";
import { makeUnsettledCalls } from "../src/telemetry/unsettled-calls.ts";
import { Death, dyingBlocks } from "./kit/dying-blocks.ts";
import { settled } from "./kit/ledger.ts";
import { configOf } from "./kit/pipeline.ts";
import { random } from "./kit/random.ts";

const DAY = "2026-01-31";
const users = (count: number): string[] => Array.from({ length: count }, (_, at) => `user ${at}`);

/** Threads of one process, the main one first. */
function threadsOf(count: number, most?: number): EndUsers[] {
	const memory = makeEndUsers();
	return Array.from({ length: count }, (_, thread) => new EndUsers(most, sharedEndUsers(memory, thread)));
}

describe("end users of several threads", () => {
	test("are called the same by each, and one too many by none", () => {
		const threads = threadsOf(3, 100);
		const { below } = random(7);
		const named = new Map<string, string>();
		for (let call = 0; call < 20_000; call++) {
			const user = `user ${below(150)}`;
			const name = threads[call % 3]!.nameOf(DAY, "key", user);
			expect(name).toBe(named.get(user) ?? name);
			named.set(user, name);
		}
		expect(named.size).toBe(150);
		expect([...named].filter(([user, name]) => user === name)).toHaveLength(100);
		expect([...named.values()].filter((name) => name === OTHER_USERS)).toHaveLength(50);
	});

	test("are 10,000 of a key and a day, however many threads there are", () => {
		const threads = threadsOf(3);
		const names = users(12_000).map((user, at) => threads[at % 3]!.nameOf(DAY, "key", user));
		expect(names.filter((name) => name !== OTHER_USERS)).toHaveLength(10_000);
		const again = users(12_000).map((user, at) => threads[(at + 1) % 3]!.nameOf(DAY, "key", user));
		expect(again).toEqual(names);
	});

	test("are another key's and another day's apart, and yesterday's are forgotten", () => {
		const [one, two] = threadsOf(2, 1);
		expect([one!.nameOf(DAY, "a", "x"), two!.nameOf(DAY, "a", "y")]).toEqual(["x", OTHER_USERS]);
		expect([two!.nameOf(DAY, "b", "y"), one!.nameOf(DAY, "b", "x")]).toEqual(["y", OTHER_USERS]);
		expect([two!.nameOf("2026-02-01", "a", "y"), one!.nameOf("2026-02-01", "a", "x")]).toEqual(["y", OTHER_USERS]);
		expect(one!.nameOf("2026-02-01", "a", "")).toBe("");
	});

	test("leave their memory to those of the next day", () => {
		const blocks = 100;
		const memory = makeBlocks(blocks);
		const view = new SharedEndUsers(new SharedBlocks(memory, blocks, 1));
		for (let day = 1; day < 29; day++) {
			const named = users(40).map((user) => view.add(`2026-02-${String(day).padStart(2, "0")}`, "key", user, 30));
			expect(named.filter((is) => is === true)).toHaveLength(30);
			expect(named.filter((is) => is === false)).toHaveLength(10);
		}
	});

	test("are each thread's own where there is no memory for them", () => {
		const blocks = 4;
		const memory = makeBlocks(blocks);
		const threads = [0, 1].map(
			(thread) => new EndUsers(10, new SharedEndUsers(new SharedBlocks(memory, blocks, thread))),
		);
		for (const thread of threads) {
			const names = users(20).map((user) => thread.nameOf(DAY, "key", user));
			expect(names.filter((name) => name !== OTHER_USERS).length).toBeWithin(8, 14);
		}
	});
});

test("the rows of two workers name 10,000 users of a key", () => {
	const memory = createSharedMemory(configOf({}), 2);
	const named = new Set<string>();
	let calls = 0;
	const workers = [1, 2].map((thread) => {
		const events = { events: makeRecordQueue(64 * 1024), unsettled: makeUnsettledCalls() };
		const bounds = () => ({ keep: 86_400_000, size: 1e9 });
		return workerCalls({ events }, { thread, offset: 0, memory }, { ledgerLost() {} }, bounds, (message) => {
			if (message.type !== "rows") return;
			for (const { user, calls: of } of message.rows.usage) {
				if (user !== OTHER_USERS) named.add(user);
				calls += of;
			}
		});
	});
	for (const [at, user] of users(10_500).entries())
		workers[at % 2]!.rows.callSettled(settled({ user }), Date.UTC(2026, 0, 31));
	for (const { rows } of workers) rows.send();
	expect([named.size, calls]).toEqual([10_000, 10_500]);
});

test("a thread that dies while it adds one, at whatever write, leaves the others counting", () => {
	let deaths = 0;
	for (let write = 0; ; write++) {
		const blocks = 400;
		const memory = makeBlocks(blocks);
		const main = new SharedEndUsers(new SharedBlocks(memory, blocks, 0));
		for (const user of users(20)) main.add(DAY, "key", user, 100);
		const view = new SharedBlocks(memory, blocks, 1);
		const dying = new SharedEndUsers(view);
		dyingBlocks(view, write);
		let hasDied = false;
		try {
			dying.add(DAY, "key", "of the dead", 100);
		} catch (thrown) {
			expect(thrown).toBeInstanceOf(Death);
			hasDied = true;
		}
		main.freed(1);
		for (const user of users(20)) expect(main.add(DAY, "key", user, 0)).toBe(true);
		expect(main.add(DAY, "key", "another", 0)).toBe(false);
		const further = users(200).filter((user) => main.add(DAY, "key", user, 100));
		expect(further.length).toBeWithin(98, 102);
		if (!hasDied) break;
		deaths++;
	}
	expect(deaths).toBeGreaterThan(3);
});
