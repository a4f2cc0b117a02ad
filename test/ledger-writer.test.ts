/** The thread that writes the ledger: whatever becomes of it, each call is written once, and the event loop waits for no disk. */
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { Ledger, type LostRows } from "../src/accounts/usage/ledger.ts";
import { LocalSpend } from "../src/accounts/usage/local-spend.ts";
import { periodsOf } from "../src/accounts/usage/spend.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { startThread, type WriteAnswer, type WriterThread } from "../src/store/writer.ts";
import { directory } from "./kit/cli.ts";
import { settled } from "./kit/ledger.ts";
import { until } from "./kit/until.ts";

/** A thread that ends without a word: before it has written what it was sent last, or after that. */
function endingThread(afterWriting: boolean, atEnd = () => {}): WriterThread {
	const real = startThread();
	const thread: WriterThread = {
		onmessage: null,
		onerror: null,
		addEventListener() {},
		terminate: () => real.terminate(),
		postMessage: (message: unknown, transfer: unknown) => {
			if (afterWriting) real.postMessage(message, transfer as never);
			else queueMicrotask(end);
		},
	};
	const end = () => {
		atEnd();
		thread.onerror?.({ preventDefault() {} } as ErrorEvent);
	};
	real.onmessage = end;
	return thread;
}

/** A thread that never answers. */
function silentThread(): WriterThread {
	return { onmessage: null, onerror: null, addEventListener() {}, terminate() {}, postMessage() {} };
}

function openedIn(path: string, threads: (() => WriterThread)[] = []) {
	const problems: string[] = [];
	const lost: LostRows[] = [];
	let started = 0;
	const start = () => (threads[started++] ?? startThread)();
	const told = (problem: string) => problems.push(problem);
	const store = sqliteStore(path, told, () => {}, start);
	let now = 0;
	const bounds = { keep: 1e12, size: 1e9 };
	const ledger = new Ledger({ store: store.ledger, bounds, onLost: (rows) => lost.push(rows), time: () => now });
	const write = async (count: number) => {
		for (let at = 0; at < count; at++) ledger.callSettled(settled());
		await ledger.flush();
	};
	const look = (sql: string) => {
		using db = new Database(join(path, "router.db"));
		return db.query(sql).values()[0]?.[0] as number;
	};
	return {
		...{ store, ledger, problems, lost, write, starts: () => started },
		pass: (ms: number) => {
			now += ms;
		},
		/** Calls that have a row, and calls that the sums count. */
		counted: () => [look("SELECT COUNT(*) FROM calls"), look("SELECT SUM(calls) FROM usage_days")],
	};
}

describe("a thread that", () => {
	test.each([
		[
			"can't be started",
			() => {
				throw new Error("no thread");
			},
			"no thread",
		],
		["has no program", () => new Worker("/nothing/here.ts", { ref: false }) as unknown as WriterThread, "here.ts"],
		["ends at once", () => endingThread(false), "it ended"],
	])("%s: that is told once, calls are written all the same, and no other one is started", async (_, broken, why) => {
		using home = directory();
		const { store, write, counted, starts, problems, lost } = openedIn(home.path, [broken]);
		await write(10);
		await write(10);
		expect([counted(), starts(), lost]).toEqual([[20, 20], 1, []]);
		expect(problems).toEqual([expect.stringContaining(why)]);
		store.close();
	});

	test.each([
		["before it has written", false],
		["after it has written, and before it has said so", true],
	])("ends %s: each call is written once, and another thread is started for those that follow", async (_, after) => {
		using home = directory();
		// The first one has answered before: an end of the second is no reason not to try a third.
		let isFirst = true;
		const later = () => {
			const real = startThread();
			const ending = endingThread(after);
			const thread: WriterThread = {
				...silentThread(),
				terminate: () => real.terminate(),
				postMessage(message: unknown, transfer: unknown) {
					(isFirst ? real : ending).postMessage(message, transfer as never);
					isFirst = false;
				},
			};
			real.onmessage = ({ data }: MessageEvent<WriteAnswer>) =>
				thread.onmessage?.({ data } as MessageEvent<WriteAnswer>);
			ending.onerror = (event) => thread.onerror?.(event);
			return thread;
		};
		const { store, ledger, write, counted, starts, problems, lost } = openedIn(home.path, [later]);
		await write(10);
		expect([counted(), starts()]).toEqual([[10, 10], 1]);
		await write(20);
		expect([counted(), ledger.waiting, starts()]).toEqual([[30, 30], 0, 1]);
		await write(10);
		expect([counted(), starts(), problems, lost]).toEqual([[40, 40], 2, [], []]);
		store.close();
	});

	test("ends while another process holds the database: it is not written again until it is known that it was not", async () => {
		using home = directory();
		openedIn(home.path).store.saveKeys([{ id: "a", value: "{}" }]);
		using other = new Database(join(home.path, "router.db"));
		const holds = () => endingThread(true, () => void other.run("BEGIN IMMEDIATE"));
		const { store, ledger, write, counted, problems } = openedIn(home.path, [holds]);
		const written = write(5);
		await until(() => problems.length > 0, "a database that is held");
		for (let at = 0; at < 5; at++) ledger.callSettled(settled());
		expect([counted(), ledger.waiting, ledger.isWritten]).toEqual([[5, 5], 10, false]);
		other.run("COMMIT");
		await written;
		await ledger.flush();
		expect([counted(), ledger.waiting, store.problem]).toEqual([[10, 10], 0, undefined]);
		store.close();
	}, 20_000);

	test("ends before it has written, with another write behind that one: neither stands for the other", async () => {
		using home = directory();
		openedIn(home.path).store.saveKeys([{ id: "a", value: "{}" }]);
		using other = new Database(join(home.path, "router.db"));
		const thread: WriterThread = silentThread();
		thread.postMessage = () => {
			other.run("BEGIN IMMEDIATE");
			queueMicrotask(() => thread.onerror?.({ preventDefault() {} } as ErrorEvent));
		};
		const { store, ledger, counted } = openedIn(home.path, [() => thread]);
		for (let at = 0; at < 5; at++) ledger.callSettled(settled());
		const flushed = ledger.flush();
		const row = { key: "a", id: "resp_1", value: new Uint8Array(3) };
		const isStored = store.responses.write([row], [], 1);
		expect([await isStored, ledger.isWritten]).toEqual([false, false]);
		other.run("COMMIT");
		expect(await store.responses.write([row], [], 1)).toBe(true);
		await flushed;
		expect([counted(), ledger.waiting]).toEqual([[5, 5], 0]);
		store.close();
	}, 20_000);

	test("does not answer: that is told, calls are taken, and the end does not wait for it for ever", async () => {
		using home = directory();
		const { store, ledger, pass, lost } = openedIn(home.path, [silentThread]);
		const close = ledger.open();
		for (let at = 0; at < 10_500; at++) ledger.callSettled(settled());
		expect([ledger.waiting, ledger.isStuck, ledger.isWritten]).toEqual([10_500, false, false]);
		pass(6_000);
		expect(ledger.isStuck).toBe(true);
		expect(lost.map(({ reason }) => reason)).toEqual(Array.from({ length: 500 }, () => "full"));
		await close();
		expect(ledger.isWritten).toBe(false);
		store.close();
	}, 20_000);
});

test("another process that holds the database keeps no call waiting: the event loop goes on, and what waited is written", async () => {
	using home = directory();
	const { store, ledger, write, counted, problems } = openedIn(home.path);
	await write(1);
	using other = new Database(join(home.path, "router.db"));
	other.run("BEGIN IMMEDIATE");
	for (let at = 0; at < 300; at++) ledger.callSettled(settled());
	const flushed = ledger.flush();
	// A loop that waited for the lock could not let it go.
	await Bun.sleep(20);
	other.run("COMMIT");
	await flushed;
	expect([counted(), problems, ledger.isStuck]).toEqual([[301, 301], [], false]);
	store.close();
});

test.each([
	["", async () => {}],
	[" and it was looked for at once", async (recover: () => void) => recover()],
])("a directory that is deleted while a batch is under way%s: each call is counted once", async (_, then) => {
	using home = directory();
	const data = join(home.path, "data");
	const { store, ledger, write, counted } = openedIn(data);
	await write(3);
	for (let at = 0; at < 20; at++) ledger.callSettled(settled());
	const flushed = ledger.flush();
	rmSync(data, { recursive: true });
	await then(() => store.recover());
	await flushed;
	store.recover();
	await write(2);
	expect([store.problem, ledger.isWritten, counted()]).toEqual([undefined, true, [25, 25]]);
	store.close();
});

test("a call is shown as soon as it has settled, and its usage is counted, whatever is under way", async () => {
	using home = directory();
	const { store, ledger } = openedIn(home.path);
	for (let at = 0; at < 700; at++) ledger.callSettled(settled());
	const last = settled();
	ledger.callSettled(last);
	expect((await ledger.call(last.id))?.call.id).toBe(last.id);
	const days = store.ledger.usage("2000-01-01", "9999-12-31");
	expect(days.reduce((sum, { calls }) => sum + calls, 0)).toBe(701);
	store.close();
});

describe("the version of the database", () => {
	test("is not changed by the router's own calls and keys; by another process's it is, and by hand, too", async () => {
		using home = directory();
		const one = openedIn(home.path);
		const other = openedIn(home.path);
		await one.write(1);
		await other.write(1);
		one.store.version();
		const seen = [one.store.version()];
		await one.write(300);
		one.store.saveKeys([{ id: "a", value: "{}" }]);
		expect(one.store.version()).toBe(seen[0]!);
		for (const change of [
			() => other.write(1),
			async () => void other.store.saveKeys([{ id: "b", value: "{}" }]),
			async () => {
				// While it writes itself, too.
				await Promise.all([one.write(300), other.write(1)]);
			},
		]) {
			await change();
			const now = one.store.version();
			expect(seen).not.toContain(now);
			seen.push(now);
		}
		one.store.version();
		const before = one.store.version();
		using byHand = new Database(join(home.path, "router.db"));
		byHand.run("DELETE FROM keys");
		expect(one.store.version()).not.toBe(before);
		one.store.close();
		other.store.close();
	});

	test("is not changed, for a worker beside the main thread, by what either of them writes; by another process's it is", async () => {
		using home = directory();
		const main = openedIn(home.path);
		const worker = openedIn(home.path);
		const other = openedIn(home.path);
		await Promise.all([main.write(1), other.write(1)]);
		const before = worker.store.changesBeside(main.store.writerId);
		await main.write(300);
		main.store.saveKeys([{ id: "a", value: "{}" }]);
		worker.store.saveKeys([{ id: "b", value: "{}" }]);
		expect(worker.store.changesBeside(main.store.writerId)).toBe(before);
		other.store.saveKeys([{ id: "c", value: "{}" }]);
		expect(worker.store.changesBeside(main.store.writerId)).not.toBe(before);
		for (const { store } of [main, worker, other]) store.close();
	});

	test("has spending read anew, and what is not written yet is counted on top, once", async () => {
		using home = directory();
		const { store, ledger, write } = openedIn(home.path);
		await write(2);
		for (let at = 0; at < 3; at++) ledger.callSettled(settled());
		ledger.callSettled(settled({ keyId: undefined }));
		const spend = new LocalSpend(store.ledger);
		spend.refresh(ledger.unwritten!);
		const { total, month, day } = periodsOf(Date.now());
		const spent = () => [total, month, day].map((period) => spend.spent("config:team-a", period).toFixed(6));
		expect(spent()).toEqual(["0.005000", "0.005000", "0.005000"]);
		const flushed = ledger.flush();
		expect(ledger.unwritten).toBeUndefined();
		await flushed;
		spend.refresh(ledger.unwritten!);
		expect([ledger.unwritten, spent()]).toEqual([[], ["0.005000", "0.005000", "0.005000"]]);
		store.close();
	});
});
