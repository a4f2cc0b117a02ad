/**
 * A worker thread's part of the ledger: it makes the rows of its calls, as bytes that the writer thread takes, many in one go. Whether they are
 * written the main thread finds out (`row-writes.ts`); until then the calls stand in memory that it reads, too (`telemetry/event-queue.ts`).
 */
import { encode, type UsageRow } from "../../store/ledger-batch.ts";
import type { EventListener } from "../../telemetry/event-records.ts";
import type { AttemptClosed, CallSettled } from "../../telemetry/events.ts";
import { type LedgerBounds, trimBounds } from "./ledger-bounds.ts";
import { batchOf, EndUsers, firstSettled, isStored } from "./ledger-rows.ts";

/** Sent at least so often, ms; and as soon as so many calls have come, or twice as many attempts: more would keep others waiting for longer than 1 ms. */
const SEND_MS = 500;
const MOST_CALLS = 250;

/** Rows of calls and attempts. */
export interface MadeRows {
	/** As `encode` of store/ledger-batch.ts has them. Undefined where there are none, or they could not be made. */
	readonly bytes: ArrayBuffer | undefined;
	/** The sums among them. */
	readonly usage: readonly UsageRow[];
	/** When the first of their calls settled, Unix time, ms; undefined where there are none. */
	readonly settledAt: number | undefined;
	/** How many calls they are of. */
	readonly calls: number;
	/** How many there are; 0 of `bytes` that are not needed. */
	readonly rows: number;
	/** Up to where, of the records of calls, all that is to be written is among these and those sent before. */
	readonly position: number;
}

/** What it works with. */
export interface RowMakerOptions {
	/** Takes what was made. */
	readonly send: (rows: MadeRows) => void;
	/** Where the record of the next call will begin. */
	readonly position: () => number;
	/** In force now. */
	readonly bounds: () => LedgerBounds;
	/** Which end users have sums of their own; one thread's alone unless given. */
	readonly users?: EndUsers;
}

/** Makes them. It hears of each call and attempt whose record is written. */
export class RowMaker implements EventListener {
	#calls: CallSettled[] = [];
	/** When each of them settled. */
	#times: number[] = [];
	#attempts: AttemptClosed[] = [];
	/** Calls that were told of since rows were sent, also those that have none. */
	#told = 0;
	#timer: ReturnType<typeof setTimeout> | undefined;
	readonly #users: EndUsers;

	constructor(private readonly options: RowMakerOptions) {
		this.#users = options.users ?? new EndUsers();
	}

	attemptClosed(attempt: AttemptClosed): void {
		this.#attempts.push(attempt);
		this.#wake(this.#attempts.length >= 2 * MOST_CALLS);
	}

	callSettled(call: CallSettled, at: number): void {
		if (isStored(call)) {
			this.#calls.push(call);
			this.#times.push(at);
		}
		this.#wake(++this.#told >= MOST_CALLS);
	}

	/** Sends the rows of all that it has heard of. */
	send(): void {
		clearTimeout(this.#timer);
		this.#timer = undefined;
		const [calls, times, attempts] = [this.#calls, this.#times, this.#attempts];
		this.#calls = [];
		this.#times = [];
		this.#attempts = [];
		this.#told = 0;
		const position = this.options.position();
		const most = calls.length + attempts.length;
		if (most === 0) {
			this.options.send({ bytes: undefined, usage: [], settledAt: undefined, calls: 0, rows: 0, position });
			return;
		}
		try {
			const newest = times.at(-1);
			const trim = newest === undefined ? undefined : trimBounds(this.options.bounds(), newest);
			const batch = { ...batchOf(calls, times, attempts, this.#users), trim };
			const rows = calls.length + batch.attempts.length + batch.usage.length;
			this.options.send({
				bytes: encode(batch),
				usage: batch.usage,
				settledAt: firstSettled(batch.calls),
				calls: calls.length,
				rows,
				position,
			});
		} catch {
			// A value that can't be sent: the main thread finds the row that has it.
			this.options.send({
				bytes: undefined,
				usage: [],
				settledAt: undefined,
				calls: calls.length,
				rows: most,
				position,
			});
		}
	}

	#wake(isFull: boolean): void {
		if (isFull) this.send();
		else this.#timer ??= setTimeout(() => this.send(), SEND_MS);
	}
}
