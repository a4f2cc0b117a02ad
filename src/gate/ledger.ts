/**
 * The ledger's hand: gathers what calls and attempts say of themselves and writes it in batches, so that a call costs 5 µs and a
 * killed process loses what half a second brought.
 */
import type { LedgerAttempt, LedgerBatch, LedgerCall, LedgerStore, UsageRow, UsageSums } from "../store/ledger.ts";
import type { AttemptClosed, CallSettled, Sink } from "../telemetry/events.ts";

/** Written at least so often, ms; and as soon as so many calls wait: more would keep others waiting for longer than 1 ms. */
const FLUSH_MS = 500;
const MOST_WAITING = 100;
/** Calls let go at once where there is no more room for them. */
const MOST_TRIMMED = 500;
/** How often old calls are looked for while nothing is written, ms. */
const TRIM_MS = 60_000;

/** How long calls are kept, ms, and how many bytes they may take. */
export interface LedgerBounds {
	readonly keep: number;
	readonly size: number;
}

/** What it works with. */
export interface LedgerOptions {
	readonly store: LedgerStore;
	readonly bounds: () => LedgerBounds;
	/** Unix time, ms. */
	readonly wall?: () => number;
}

/** The ledger. Nothing is opened before the first call. */
export class Ledger {
	#calls: LedgerCall[] = [];
	#attempts: LedgerAttempt[] = [];
	readonly #usage = new Map<string, UsageRow & UsageSums>();
	readonly #changedDays = new Set<string>();
	#timer: ReturnType<typeof setTimeout> | undefined;
	readonly #wall: () => number;

	constructor(private readonly options: LedgerOptions) {
		this.#wall = options.wall ?? Date.now;
	}

	/** Hears of calls. */
	readonly sink: Pick<Sink, "attemptClosed" | "callSettled"> = {
		attemptClosed: (attempt) => {
			this.#attempts.push(attemptRow(attempt));
			this.#wake();
		},
		callSettled: (call) => {
			// Nobody's calls are nobody's: who can't show a key could fill the disk with them.
			if (STRANGERS.has(call.error ?? "")) return;
			const at = this.#wall();
			const row = callRow(call, at);
			this.#calls.push(row);
			this.#count(call, row);
			if (this.#calls.length >= MOST_WAITING) this.flush();
			else this.#wake();
		},
	};

	/** Begins to let old calls go. Returns how to end that: all that waits is then on the disk. */
	open(): () => Promise<void> {
		const timer = setInterval(() => this.#trim(), TRIM_MS);
		timer.unref();
		return async () => {
			clearInterval(timer);
			this.flush();
			await this.options.store.sync();
		};
	}

	/** Days whose sums have changed since this was last asked, as they are written. */
	changedDays(): string[] {
		this.flush();
		const days = [...this.#changedDays];
		this.#changedDays.clear();
		return days;
	}

	/** Writes all that waits. */
	flush(): void {
		clearTimeout(this.#timer);
		this.#timer = undefined;
		if (this.#calls.length === 0 && this.#attempts.length === 0) return;
		const batch: LedgerBatch = {
			calls: this.#calls,
			attempts: this.#attempts,
			usage: [...this.#usage.values()],
		};
		this.#calls = [];
		this.#attempts = [];
		this.#usage.clear();
		this.options.store.write(batch);
		for (const { day } of batch.usage) this.#changedDays.add(day);
		if (batch.calls.length > 0) this.#trim();
	}

	#wake(): void {
		this.#timer ??= setTimeout(() => {
			this.flush();
			void this.options.store.sync();
		}, FLUSH_MS);
	}

	#trim(): void {
		const { store, bounds } = this.options;
		const { keep, size } = bounds();
		store.trim(this.#wall() - keep, size, MOST_TRIMMED);
	}

	#count({ status, bill, tokens }: CallSettled, row: LedgerCall): void {
		const day = new Date(row.at).toISOString().slice(0, 10);
		const { keyId, key, team, user, model, provider } = row;
		const name = `${day}\n${keyId}\n${user}\n${model}\n${provider}`;
		let sums = this.#usage.get(name);
		if (!sums) {
			sums = { day, keyId, key, team, user, model, provider, ...NOTHING };
			this.#usage.set(name, sums);
		}
		sums.calls++;
		if (status >= 400) sums.failed++;
		if (bill?.isEstimated) sums.estimated++;
		if (bill?.source === "none") sums.unpriced++;
		sums.tokensIn += tokens?.input ?? 0;
		sums.tokensOut += tokens?.output ?? 0;
		sums.tokensCached += tokens?.cached ?? 0;
		sums.tokensReasoning += tokens?.reasoning ?? 0;
		sums.cost += row.cost ?? 0;
	}
}

/** Errors of calls that belong to no one. */
const STRANGERS = new Set(["invalid_api_key", "foreign_host", "foreign_origin"]);

/** Sums of nothing. */
export const NOTHING: Readonly<UsageSums> = {
	calls: 0,
	failed: 0,
	estimated: 0,
	unpriced: 0,
	tokensIn: 0,
	tokensOut: 0,
	tokensCached: 0,
	tokensReasoning: 0,
	cost: 0,
};

/** Longest text of a client's that is kept, UTF-16 units. */
const LONGEST = 200;

/** What is kept of a call besides the columns. */
export interface CallDetails {
	readonly operation: string;
	readonly stream: boolean;
	readonly requested?: string | undefined;
	readonly target?: string | undefined;
	readonly agent?: string | undefined;
	readonly attempts: number;
	readonly ms: number;
	readonly first_token_ms?: number | undefined;
	readonly tokens?: object | undefined;
	readonly bill?: CallSettled["bill"];
	readonly cache?: string | undefined;
	readonly route?: string | undefined;
	readonly error?: string | undefined;
	readonly decision?: object | undefined;
}

function callRow(call: CallSettled, at: number): LedgerCall {
	const { tokens, requested, firstTokenMs } = call;
	const details: CallDetails = {
		operation: call.operation,
		stream: call.stream,
		requested: requested?.slice(0, LONGEST),
		target: call.target,
		agent: call.agent,
		attempts: call.attempts,
		ms: tenth(call.ms),
		first_token_ms: firstTokenMs === undefined ? undefined : tenth(firstTokenMs),
		tokens,
		bill: call.bill,
		cache: call.cache,
		route: call.reason,
		error: call.error,
		decision: call.decision,
	};
	return {
		id: call.id,
		at,
		keyId: call.keyId ?? "",
		key: call.key ?? "",
		team: call.team ?? "",
		user: call.user?.slice(0, LONGEST) ?? "",
		model: call.model.slice(0, LONGEST),
		provider: call.provider,
		status: call.status,
		tokensIn: tokens?.input,
		tokensOut: tokens?.output,
		cost: call.cost,
		details: JSON.stringify(details),
	};
}

function attemptRow({
	callId,
	number = 1,
	provider,
	target,
	failure,
	status,
	ms,
	...rest
}: AttemptClosed): LedgerAttempt {
	const { agent, tokens, cost } = rest;
	const details = JSON.stringify({ agent, tokens, cost });
	return { call: callId, number, provider, target, failure, status, ms: tenth(ms), details };
}

const tenth = (ms: number): number => Math.round(ms * 10) / 10;
