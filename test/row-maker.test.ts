/** Rows that a worker thread makes of its calls: each has one, whatever becomes of the thread, the writer and the database. */
import { expect, test } from "bun:test";
import { Ledger } from "../src/accounts/usage/ledger.ts";
import { type MadeRows, RowMaker } from "../src/accounts/usage/row-maker.ts";
import { makeRecordQueue } from "../src/memory/record-queue.ts";
import { type EventSinks, WorkerEvents } from "../src/server/threads/worker-events.ts";
import type { WriteResult } from "../src/store/connection.ts";
import { decode, encode, type LedgerBatch } from "../src/store/ledger-batch.ts";
import { EventQueue } from "../src/telemetry/event-queue.ts";
import type { CallSettled } from "../src/telemetry/events.ts";
import { makeUnsettledCalls } from "../src/telemetry/unsettled-calls.ts";
import { settled } from "./kit/ledger.ts";
import { until } from "./kit/until.ts";

const BOUNDS = { keep: 86_400_000, size: 1e9 };

/** A store that answers when it is told to, in place of the writer thread. */
function heldStore() {
	const written: LedgerBatch[] = [];
	const held: (() => void)[] = [];
	const store = {
		result: "written" as WriteResult,
		isHeld: false,
		written,
		ids: () => written.flatMap(({ calls }) => calls.map(({ id }) => id)),
		/** Answers all that it was asked by now. */
		release() {
			for (const answer of held.splice(0)) answer();
		},
		async write(batch: LedgerBatch): Promise<WriteResult> {
			const { promise, resolve } = Promise.withResolvers<void>();
			if (store.isHeld) held.push(resolve);
			else resolve();
			await promise;
			let sent: LedgerBatch;
			try {
				sent = decode(encode(batch));
			} catch {
				return "refused";
			}
			if (store.result === "written") written.push(sent);
			return store.result;
		},
		writeEncoded: (bytes: ArrayBuffer) => store.write(decode(bytes)),
		fault: () => "",
		sync: async () => {},
		call: () => undefined,
		trim: async () => false,
		shrink: async () => false,
	};
	return store;
}

/** A worker and the main thread, in this one. */
function threads() {
	const memory = { events: makeRecordQueue(256 * 1024), unsettled: makeUnsettledCalls() };
	const store = heldStore();
	const usage: number[] = [];
	const written: (number | undefined)[] = [];
	const ledger = new Ledger({
		store,
		bounds: BOUNDS,
		onWritten: (rows, settledAt) => {
			usage.push(...rows.map(({ calls }) => calls));
			written.push(settledAt);
		},
	});
	const logged: string[] = [];
	const sinks = {
		ledger,
		metrics: { sink: { callStarted() {}, attemptClosed() {}, callSettled() {} } },
		log: { sink: { callSettled: ({ id }: CallSettled) => void logged.push(id) } },
		otel: [],
	} as unknown as EventSinks;
	const main = new WorkerEvents(memory, sinks);
	const made: MadeRows[] = [];
	const send = (rows: MadeRows) => {
		made.push(rows);
		main.tookRows(rows);
	};
	const maker = new RowMaker({ send, position: () => queue.position, bounds: () => BOUNDS });
	const queue = new EventQueue({
		memory: memory.events,
		unsettled: { close() {} },
		written: maker,
		onMany() {},
		onLost() {},
	});
	let count = 0;
	const call = (rest: Partial<CallSettled> = {}): string => {
		const id = `req_${count++}`;
		queue.attemptClosed({ callId: id, number: 1, provider: "openai", target: "openai/m", status: 200, ms: 1 });
		queue.callSettled(settled({ id, ...rest }));
		return id;
	};
	return { main, maker, made, queue, call, store, ledger, usage, written, logged };
}

test("what the database can't take now is told to the ledger, which writes it once it can", async () => {
	const { call, maker, store, ledger, usage } = threads();
	store.result = "waits";
	const ids = [call(), call()];
	maker.send();
	await ledger.flush();
	expect([ledger.waiting, ledger.isStuck]).toEqual([2, true]);
	ids.push(call());
	maker.send();
	expect(ledger.waiting).toBe(3);
	store.result = "written";
	await ledger.flush();
	expect(store.ids()).toEqual(ids);
	expect([ledger.waiting, ledger.isStuck, usage]).toEqual([0, false, [3]]);
});

test("what is written says when the first of it settled, however late it is written", async () => {
	const { call, maker, store, ledger, written, made } = threads();
	store.result = "waits";
	ledger.callSettled(settled({ id: "req_b" }), 2_000);
	await ledger.flush();
	ledger.callSettled(settled({ id: "req_a" }), 1_000);
	ledger.callSettled(settled({ id: "req_c" }), 3_000);
	store.result = "written";
	await ledger.flush();
	expect(written).toEqual([1_000]);
	call();
	maker.send();
	await ledger.flush();
	expect(made[0]!.settledAt).toBeGreaterThan(3_000);
	expect(written).toEqual([1_000, made[0]!.settledAt]);
});

test("a row that the database refuses costs no other of its batch", async () => {
	const { call, maker, store, ledger } = threads();
	const write = store.write;
	store.write = (batch) => {
		const isRefused = batch.calls.some(({ model }) => model === "bad");
		return isRefused ? Promise.resolve("refused") : write(batch);
	};
	const ids = [call(), call({ model: "bad" }), call()];
	maker.send();
	await ledger.flush();
	expect(store.ids()).toEqual([ids[0]!, ids[2]!]);
});

test("a call that no row can be made of costs no other its row", async () => {
	const { call, maker, made, store, ledger } = threads();
	const ids = [call(), call({ cost: Number.NaN }), call()];
	maker.send();
	expect(made.map(({ bytes, calls }) => [bytes, calls])).toEqual([[undefined, 3]]);
	await ledger.flush();
	expect(store.ids()).toEqual([ids[0]!, ids[2]!]);
});

test("a worker that dies: what it has sent is written once, what it has not is, too", async () => {
	const { call, maker, main, store, ledger, usage, logged } = threads();
	store.isHeld = true;
	const ids = [call(), call()];
	maker.send();
	ids.push(call());
	main.end();
	expect(logged).toEqual(ids);
	store.isHeld = false;
	store.release();
	await ledger.flush();
	expect(store.ids().sort()).toEqual(ids);
	expect(usage).toEqual([2, 1]);
});

test("a worker that dies while its rows are refused: they are written all the same, and what comes of it later counts no more", async () => {
	const { call, maker, made, main, store, ledger } = threads();
	store.isHeld = true;
	const ids = [call(), call()];
	maker.send();
	main.end();
	// It was on its way.
	main.tookRows(made[0]!);
	store.result = "waits";
	store.isHeld = false;
	store.release();
	await until(() => ledger.isStuck, "the failure");
	store.result = "written";
	await ledger.flush();
	expect(store.ids()).toEqual(ids);
});

test("a writer that does not answer: 10,000 calls wait for it, and the ledger says that it has stopped", async () => {
	let now = 0;
	const store = heldStore();
	store.isHeld = true;
	const ledger = new Ledger({ store, bounds: BOUNDS, time: () => now });
	const given: number[] = [];
	const rows = (calls: number): MadeRows => ({
		...{
			bytes: encode({ calls: [], attempts: [], usage: [] }),
			usage: [],
			settledAt: 0,
			calls,
			rows: calls,
			position: 0,
		},
	});
	void ledger.takeRows(rows(9_000), () => given.push(1));
	void ledger.takeRows(rows(1_000), () => given.push(2));
	void ledger.takeRows(rows(1), () => given.push(3));
	expect([ledger.waiting, given, ledger.unwritten]).toEqual([10_000, [3], undefined]);
	expect(ledger.isStuck).toBe(false);
	now = 5_001;
	expect(ledger.isStuck).toBe(true);
	store.release();
	await ledger.flush();
	expect([ledger.waiting, ledger.isStuck, ledger.unwritten]).toEqual([0, false, []]);
});

test("calls without a valid key have no row, and keep no memory of the main thread", async () => {
	const { queue, maker, made, store, ledger } = threads();
	for (let at = 0; at < 100; at++) queue.callSettled(settled({ error: "invalid_api_key", attempts: 0 }));
	maker.send();
	await ledger.flush();
	expect(store.ids()).toEqual([]);
	expect(made.map(({ calls }) => calls)).toEqual([0]);
});

test("rows are sent when there are many, when they are asked for, and by themselves", async () => {
	const { call, maker, made, queue } = threads();
	for (let at = 0; at < 260; at++) call();
	expect(made.map(({ calls }) => calls)).toEqual([250]);
	maker.send();
	expect(made.map(({ calls }) => calls)).toEqual([250, 10]);
	call();
	await until(() => made.length === 3, "the third batch");
	expect(made.at(-1)).toMatchObject({ calls: 1, position: queue.position });
});
