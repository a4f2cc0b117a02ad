/**
 * The ledger's hand: gathers what calls and attempts say of themselves and writes it in batches, so that a call costs 7 µs and a
 * killed process loses what half a second brought. A call leaves no more than itself here: rows made of a hundred in one go cost
 * half of what they cost one at a time, between all else that a call does.
 */
import type { LedgerAttempt, LedgerCall, LedgerStore, UsageRow } from "../store/ledger.ts";
import type { AttemptClosed, CallSettled, Sink } from "../telemetry/events.ts";
import { EndUsers } from "./end-users.ts";
import { batchOf } from "./ledger-rows.ts";

/** Written at least so often, ms; and as soon as so many calls wait: more would keep others waiting for longer than 2 ms. */
const FLUSH_MS = 500;
const MOST_WAITING = 250;
/** How long until it is tried again where nothing can be written, ms: a database that another process holds keeps calls waiting. */
const RETRY_MS = 5_000;
/** Calls that wait for that: some 20 MB. Those that come on top are in no ledger. */
const MOST_KEPT = 10_000;
/** Calls let go at once where there is no more room for them. */
const MOST_TRIMMED = 500;
/** How often old calls are looked for while nothing is written, ms. */
const TRIM_MS = 60_000;

/** At the end a store that can't be written is tried so often, with a pause between, ms: another process may hold it for a moment. */
const CLOSING_TRIES = 4;
const CLOSING_MS = 250;

/** How long calls are kept, ms, and how many bytes they may take. */
export interface LedgerBounds {
	readonly keep: number;
	readonly size: number;
}

/** What it works with. */
export interface LedgerOptions {
	readonly store: LedgerStore;
	readonly bounds: () => LedgerBounds;
	/** Hears which sums have grown, and by how much. */
	readonly onWritten?: (usage: readonly UsageRow[]) => void;
	/** Unix time, ms. */
	readonly wall?: () => number;
}

/** The ledger. Nothing is opened before the first call. */
export class Ledger {
	#calls: CallSettled[] = [];
	/** When each of them settled. */
	#times: number[] = [];
	#attempts: AttemptClosed[] = [];
	#timer: ReturnType<typeof setTimeout> | undefined;
	readonly #users = new EndUsers();
	/** The last batch could not be written, and still waits. */
	#isStuck = false;
	readonly #wall: () => number;

	constructor(private readonly options: LedgerOptions) {
		this.#wall = options.wall ?? Date.now;
	}

	/** Hears of calls. */
	readonly sink: Pick<Sink, "attemptClosed" | "callSettled"> = {
		attemptClosed: (attempt) => {
			if (this.#attempts.length < 2 * MOST_KEPT) this.#attempts.push(attempt);
			this.#wake();
		},
		callSettled: (call) => {
			// Nobody's calls are nobody's: who can't show a key could fill the disk with them.
			if (STRANGERS.has(call.error ?? "")) return;
			// Before this one is among them: it is not counted as spent yet, and would be by whoever asks what the ledger says.
			if (this.#calls.length >= MOST_WAITING && !this.#isStuck) this.#write(call.id);
			if (this.#calls.length < MOST_KEPT) {
				this.#calls.push(call);
				this.#times.push(this.#wall());
			}
			this.#wake();
		},
	};

	/** Begins to let old calls go. Returns how to end that: all that waits is then on the disk, unless that can't be written to. */
	open(): () => Promise<void> {
		const timer = setInterval(() => this.#trim(), TRIM_MS);
		timer.unref();
		return async () => {
			clearInterval(timer);
			this.flush();
			for (let tries = 1; this.#isStuck && tries < CLOSING_TRIES; tries++) {
				await Bun.sleep(CLOSING_MS);
				this.flush();
			}
			clearTimeout(this.#timer);
			await this.options.store.sync();
		};
	}

	/** A call that has settled, and its attempts: also where nothing can be written. Undefined where it is not known, or no more. */
	call(id: string): { readonly call: LedgerCall; readonly attempts: readonly LedgerAttempt[] } | undefined {
		this.flush();
		const at = this.#calls.findIndex((call) => call.id === id);
		if (at === -1) return this.options.store.call(id);
		const own = this.#attempts.filter(({ callId }) => callId === id);
		const [call] = batchOf([this.#calls[at]!], [this.#times[at]!], own, new EndUsers()).calls;
		return { call: call!, attempts: JSON.parse(call!.attempts ?? "[]") };
	}

	/** Nothing could be written the last time; it is tried again by itself. */
	get isStuck(): boolean {
		return this.#isStuck;
	}

	/** All that it was told is written. */
	get isWritten(): boolean {
		return this.#calls.length === 0;
	}

	/** Writes all that waits; where that fails, it goes on waiting. */
	flush(): void {
		clearTimeout(this.#timer);
		this.#timer = undefined;
		this.#write();
	}

	/** @param settling a call that is not among them yet: its attempts wait for it */
	#write(settling?: string): void {
		if (this.#calls.length === 0 && this.#attempts.length === 0) return;
		const left = this.#attempts.filter(({ callId }) => callId === settling);
		const attempts = left.length === 0 ? this.#attempts : this.#attempts.filter(({ callId }) => callId !== settling);
		const batch = batchOf(this.#calls, this.#times, attempts, this.#users);
		this.#isStuck = !this.options.store.write(batch);
		if (this.#isStuck) {
			this.#wake();
			return;
		}
		this.#calls = [];
		this.#times = [];
		this.#attempts = left;
		this.options.onWritten?.(batch.usage);
		if (batch.calls.length > 0) this.#trim();
	}

	#wake(): void {
		this.#timer ??= setTimeout(
			() => {
				this.flush();
				void this.options.store.sync();
			},
			this.#isStuck ? RETRY_MS : FLUSH_MS,
		);
	}

	#trim(): void {
		const { store, bounds } = this.options;
		const { keep, size } = bounds();
		store.trim(this.#wall() - keep, size, MOST_TRIMMED);
	}
}

/** Errors of calls that belong to no one. */
const STRANGERS = new Set(["invalid_api_key", "foreign_host", "foreign_origin"]);
