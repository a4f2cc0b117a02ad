/**
 * The writing of the ledger: gathers calls and attempts and writes them in batches, so that a call costs little and a killed process
 * loses what half a second brought. The store writes in a thread of its own: what it has not answered yet stays here. Rows are made when
 * they are sent: made of a hundred calls in one go they cost half of what they cost one at a time, between all else that a call does.
 */
import type { WriteResult } from "../../store/connection.ts";
import type { LedgerAttempt, LedgerBatch, LedgerCall, TrimBounds, UsageRow } from "../../store/ledger-batch.ts";
import type { LedgerStore } from "../../store/ledger-table.ts";
import type { AttemptClosed, CallSettled, Sink } from "../../telemetry/events.ts";
import { type LedgerBounds, trimBounds } from "./ledger-bounds.ts";
import { addUsage, batchOf, EndUsers, firstSettled, isStored } from "./ledger-rows.ts";
import type { UnwrittenCall } from "./local-spend.ts";
import { batchesOf, halvePending, joinPending, type PendingCalls } from "./pending-calls.ts";
import { startRetention } from "./retention.ts";
import type { MadeRows } from "./row-maker.ts";
import { RowWrites } from "./row-writes.ts";

/** Written at least so often, ms; and as soon as so many calls wait, and so many at once: more would keep others waiting for longer than 1 ms. */
const FLUSH_MS = 500;
const MOST_WAITING = 250;
/** How long until it is tried again where nothing can be written, ms; and how long writing may take before it is said to have stopped. */
const RETRY_MS = 5_000;
/** Calls that wait for that, of each thread that answers some: some 20 MB. Of those that come on top only the sums are kept. */
const MOST_PENDING = 10_000;

/** At the end a store that can't be written is tried so often, with a pause between, ms: another process may hold it for a moment. */
const CLOSING_TRIES = 4;
const CLOSING_MS = 250;
/** Longest that the end waits for a disk that does not answer, ms. */
const MOST_CLOSING_MS = 3_000;

/** What it works with. */
export interface LedgerOptions {
	readonly store: Pick<LedgerStore, "write" | "writeEncoded" | "fault" | "sync" | "call" | "trim" | "shrink">;
	readonly bounds: LedgerBounds;
	/** How many threads there are whose calls it is told; 1 unless given. */
	readonly threads?: number | undefined;
	/** Which end users have sums of their own; this thread's alone unless given. */
	readonly users?: EndUsers;
	/** Called with rows that are in no ledger. `refused`: the database takes them neither now nor later. */
	readonly onLost?: (lost: LostRows) => void;
	/** Called with the sums that have grown, by how much, and when the first of their calls settled, Unix time, ms; undefined where that is not known. */
	readonly onWritten?: (usage: readonly UsageRow[], settledAt: number | undefined) => void;
	/** Unix time, ms. */
	readonly wall?: () => number;
	/** ms, on a clock that never goes back. */
	readonly time?: () => number;
}

/** Rows that are lost, and why; what the calls cost is still in the sums, unless those were refused, too. */
export interface LostRows {
	/** `refused`: by the database, as `problem` says. `full`: there is no room for more while nothing can be written. */
	readonly reason: "refused" | "full";
	readonly count: number;
	/** The call, where there is one alone. */
	readonly id?: string | undefined;
	readonly problem?: string | undefined;
	/** Of `full`: it is not the first since the ledger could last be written. */
	readonly isKnown?: boolean;
}

const NOTHING: PendingCalls = { calls: [], times: [], attempts: [] };

/** The ledger. Nothing is opened before the first call. */
export class Ledger implements Pick<Sink, "attemptClosed" | "callSettled" | "shadowSettled"> {
	/** What waits to be written. */
	#calls: CallSettled[] = [];
	/** When each of them settled. */
	#times: number[] = [];
	#attempts: AttemptClosed[] = [];
	/** What is being written: in memory until it is known to be on the disk. */
	#sent = NOTHING;
	/** Ends with what is being written; undefined while nothing is. */
	#writing: Promise<void> | undefined;
	/** When the batch that is under way was sent. */
	#sentAt = 0;
	#timer: ReturnType<typeof setTimeout> | undefined;
	readonly #users: EndUsers;
	/** What worker threads have made. */
	readonly #made: RowWrites;
	/** The last batch could not be written, and still waits. */
	#isStuck = false;
	/** There was no room for one since it could last be written. */
	#isFull = false;
	/** Of calls that there was no room for. */
	#sums: { readonly usage: Map<string, UsageRow>; calls: number } | undefined;
	/** Why a row was refused. */
	#problem = "";
	readonly #mostPending: number;
	readonly #wall: () => number;
	readonly #time: () => number;
	/** A reload sets others. */
	bounds: LedgerBounds;

	constructor(private readonly options: LedgerOptions) {
		this.bounds = options.bounds;
		this.#users = options.users ?? new EndUsers();
		this.#mostPending = MOST_PENDING * (options.threads ?? 1);
		this.#wall = options.wall ?? Date.now;
		this.#time = options.time ?? (() => performance.now());
		this.#made = new RowWrites({ ...options, most: this.#mostPending, time: this.#time });
	}

	attemptClosed(attempt: AttemptClosed): void {
		if (this.#attempts.length + this.#sent.attempts.length < 2 * this.#mostPending) this.#attempts.push(attempt);
		else this.#loseForRoom();
		this.#wake();
	}

	/** @param at when it settled, Unix time, ms */
	callSettled(call: CallSettled, at = this.#wall()): void {
		if (!isStored(call)) return;
		// Before this call is among them: it is not counted as spent yet, and would be by whatever reads the ledger.
		if (this.#calls.length >= MOST_WAITING && !this.#isStuck && !this.#writing) void this.#begin(call.id);
		if (this.#calls.length + this.#sent.calls.length < this.#mostPending) {
			this.#calls.push(call);
			this.#times.push(at);
		} else this.#sum(call);
		this.#wake();
	}

	shadowSettled(call: CallSettled, at?: number): void {
		this.callSettled(call, at);
	}

	/**
	 * Writes rows that a worker thread has made. Resolves when they are in the ledger. Where they can't be now, `giveBack` is called before, which
	 * has to tell of their calls one by one.
	 */
	takeRows(rows: MadeRows, giveBack: () => void): Promise<void> {
		return this.#made.write(rows, this.#isStuck, giveBack);
	}

	/** Begins to delete old calls. Returns how to end that: all that waits is then on the disk, unless that can't be written to. */
	open(): () => Promise<void> {
		const end = startRetention({ store: this.options.store, bounds: () => this.bounds, wall: this.#wall });
		return async () => {
			end();
			const { promise: late, resolve } = Promise.withResolvers<void>();
			const deadline = setTimeout(resolve, MOST_CLOSING_MS);
			await Promise.race([this.#writeLast(), late]);
			clearTimeout(deadline);
			clearTimeout(this.#timer);
		};
	}

	/** A call that has settled, and its attempts: also where nothing can be written. Undefined where it is not known, or no more. */
	async call(
		id: string,
	): Promise<{ readonly call: LedgerCall; readonly attempts: readonly LedgerAttempt[] } | undefined> {
		await this.flush();
		const { calls, times, attempts } = this.#pending();
		const at = calls.findIndex((call) => call.id === id);
		if (at === -1) return this.options.store.call(id);
		const own = attempts.filter(({ callId }) => callId === id);
		const [call] = batchOf([calls[at]!], [times[at]!], own, new EndUsers()).calls;
		return { call: call!, attempts: JSON.parse(call!.attempts ?? "[]") };
	}

	/** Nothing could be written the last time, or has been for long; it is tried again by itself. */
	get isStuck(): boolean {
		const begunAt = Math.min(this.#writing ? this.#sentAt : Number.POSITIVE_INFINITY, this.#made.begunAt);
		return this.#isStuck || this.#time() - begunAt > RETRY_MS;
	}

	/** Calls that wait to be written, those of which only the sums are kept included. */
	get waiting(): number {
		return this.#calls.length + this.#sent.calls.length + (this.#sums?.calls ?? 0) + this.#made.calls;
	}

	/** All that it was given is written. */
	get isWritten(): boolean {
		return this.waiting === 0 && !this.#writing;
	}

	/** The calls that are not in the database; undefined while that is not known, since some are being written. */
	get unwritten(): readonly UnwrittenCall[] | undefined {
		if (this.#writing || this.#sums || this.#made.calls > 0) return undefined;
		return this.#calls.map(({ keyId = "", cost = 0 }, at) => ({ keyId, at: this.#times[at]!, cost }));
	}

	/** Writes all that waits; where that fails, it goes on waiting. Resolves when it is known. */
	async flush(): Promise<void> {
		// Else what waits is sent at once.
		if (this.#made.isWriting) await this.#made.settled();
		clearTimeout(this.#timer);
		this.#timer = undefined;
		while (this.#writing) await this.#writing;
		await this.#begin();
	}

	/** The same, and has what was written survive a loss of power. */
	async save(): Promise<void> {
		await this.flush();
		await this.options.store.sync();
	}

	/** All that waits, what is being written included. */
	#pending(): PendingCalls {
		return joinPending([this.#sent, { calls: this.#calls, times: this.#times, attempts: this.#attempts }]);
	}

	/** Begins to write all that waits. Nothing else is being written. */
	#begin(settling?: string): Promise<void> {
		this.#writing = this.#write(settling).finally(() => {
			this.#writing = undefined;
		});
		return this.#writing;
	}

	/** @param settling a call that is not among them yet: its attempts wait for it */
	async #write(settling?: string): Promise<void> {
		if (this.#calls.length === 0 && this.#attempts.length === 0 && !this.#sums) return;
		const left = this.#attempts.filter(({ callId }) => callId === settling);
		const attempts = left.length === 0 ? this.#attempts : this.#attempts.filter(({ callId }) => callId !== settling);
		this.#sent = { calls: this.#calls, times: this.#times, attempts };
		this.#calls = [];
		this.#times = [];
		this.#attempts = left;
		const waiting = await this.#put(this.#sent);
		this.#isStuck = waiting !== undefined || !(await this.#putSums());
		this.#sent = NOTHING;
		if (waiting) {
			this.#calls = [...waiting.calls, ...this.#calls];
			this.#times = [...waiting.times, ...this.#times];
			this.#attempts = [...waiting.attempts, ...this.#attempts];
		}
		if (this.#isStuck) this.#wake();
		else this.#isFull = false;
	}

	/** Writes all that waits, and tries again a few times. */
	async #writeLast(): Promise<void> {
		await this.flush();
		for (let tries = 1; this.#isStuck && tries < CLOSING_TRIES; tries++) {
			await Bun.sleep(CLOSING_MS);
			await this.flush();
		}
		await this.options.store.sync();
	}

	/**
	 * Writes these, a batch at a time; where the database refuses a row of them, in halves, so that no row costs another. Returns what could not
	 * be written now, undefined where nothing is left.
	 */
	async #put(all: PendingCalls): Promise<PendingCalls | undefined> {
		// What is left lies there with the last first.
		const parts = all.calls.length > MOST_WAITING ? batchesOf(all, MOST_WAITING).reverse() : [all];
		for (let part = parts.pop(); part; part = parts.pop()) {
			const { calls, times, attempts } = part;
			if (calls.length === 0 && attempts.length === 0) continue;
			const written = await this.#putBatch(() => {
				const trim = calls.length > 0 ? this.#trimBounds() : undefined;
				return { ...batchOf(calls, times, attempts, this.#users), trim };
			});
			if (written === "waits") return joinPending([...parts, part].reverse());
			if (written === "refused") {
				const halves = halvePending(part);
				if (halves) parts.push(halves[1], halves[0]);
				else await this.#lose(part);
			} else this.#sent = parts.length > 0 ? joinPending([...parts].reverse()) : NOTHING;
		}
		return undefined;
	}

	/**
	 * Writes the batch that `make` makes. Refused is also one that can't be made. A store that throws is one that can't be written now: to go
	 * on is to lose what it may take later.
	 */
	async #putBatch(make: () => LedgerBatch): Promise<WriteResult> {
		const { store, onWritten } = this.options;
		this.#sentAt = this.#time();
		let batch: LedgerBatch;
		try {
			batch = make();
		} catch (error) {
			this.#problem = asText(error);
			return "refused";
		}
		let written: WriteResult;
		try {
			written = await store.write(batch);
		} catch {
			return "waits";
		}
		if (written === "written") onWritten?.(batch.usage, firstSettled(batch.calls));
		else if (written === "refused") this.#problem = store.fault();
		return written;
	}

	/** The row that is left is refused. Its sums may be well all the same: what keys have spent is stored, whatever is lost. */
	async #lose({ calls: [call], times: [at], attempts: [attempt] }: PendingCalls): Promise<void> {
		const problem = this.#problem;
		if (call) {
			await this.#putBatch(() => ({ calls: [], attempts: [], usage: batchOf([call], [at!], [], this.#users).usage }));
		}
		this.options.onLost?.({ reason: "refused", count: 1, id: call?.id ?? attempt?.callId, problem });
	}

	/** There is room for no more: of this call only the sums are kept. */
	#sum(call: CallSettled): void {
		const day = new Date(this.#wall()).toISOString().slice(0, 10);
		this.#sums ??= { usage: new Map(), calls: 0 };
		this.#sums.calls++;
		const [row] = batchOf([call], [Date.parse(day)], [], this.#users).usage;
		addUsage(this.#sums.usage, row!);
		this.#loseForRoom();
	}

	#loseForRoom(): void {
		this.options.onLost?.({ reason: "full", count: 1, isKnown: this.#isFull });
		this.#isFull = true;
	}

	/** Whether the sums of the calls that there was no room for are written. */
	async #putSums(): Promise<boolean> {
		const sums = this.#sums;
		if (!sums) return true;
		// More may come meanwhile.
		this.#sums = undefined;
		const usage = [...sums.usage.values()];
		const written = await this.#putBatch(() => ({ calls: [], attempts: [], usage }));
		if (written === "waits") {
			const { usage: later, calls } = this.#sums ?? { usage: new Map<string, UsageRow>(), calls: 0 };
			for (const row of later.values()) addUsage(sums.usage, row);
			sums.calls += calls;
			this.#sums = sums;
			return false;
		}
		if (written === "refused")
			this.options.onLost?.({ reason: "refused", count: usage.length, problem: this.#problem });
		return true;
	}

	#wake(): void {
		this.#timer ??= setTimeout(() => void this.save(), this.#isStuck ? RETRY_MS : FLUSH_MS);
	}

	#trimBounds(): TrimBounds {
		return trimBounds(this.bounds, this.#wall());
	}
}

/** What went wrong, without values: messages of the language's own may quote them. */
function asText(error: unknown): string {
	return error instanceof Error ? error.name : "an exception";
}
