/** Where a call is let through: all its limits and its budget are looked at before any is touched. */
import type { LimitsConfig } from "../config/access.ts";
import type { Config } from "../config/schema.ts";
import { RouterError } from "../errors.ts";
import type { Budget } from "./key-store.ts";
import { allowing, type Caller } from "./keys.ts";
import { limitHeaders, refusalOf } from "./limit-answer.ts";
import type { Bound, Limiter, Verdict } from "./limiter.ts";
import { periodsOf, type SpendBoard } from "./spend.ts";

/** A call before the turnstile. What costs something to find out is asked for only where a limit needs it. */
export interface Entering {
	readonly caller: Caller | undefined;
	/** What the client asked for, and what it resolved to. */
	readonly names: readonly string[];
	/** The client's. */
	address(): string;
	/** Of the prompt, estimated. */
	promptTokens(): number;
	/** Of the answer, at most; 0 where nothing is said. */
	readonly answerTokens: number;
	/** What so many tokens of prompt and the answer may cost, USD; undefined where nobody knows. */
	cost(promptTokens: number): number | undefined;
}

/** What became of it. */
export interface Outcome {
	/** All that it used. */
	readonly tokens: number;
	/** USD. */
	readonly cost: number;
}

/** A call that was let through. */
export interface Pass {
	/** For its answer: how its limits stand. */
	readonly headers: Readonly<Record<string, string>> | undefined;
	/** It is over. Once. */
	settle(outcome: Outcome): void;
}

/** Where it is counted. */
export interface Counts {
	readonly limiter: Limiter;
	readonly spend: SpendBoard;
	/** USD that calls under way may cost, by key. */
	readonly pending: Map<string, number>;
}

/** What decides. */
export interface TurnstileOptions {
	readonly limits: Config["limits"];
	/** What has been counted so far, which outlives a reload. */
	readonly counts: Counts;
	/** Told whose limit, and of what, kept a call out. */
	readonly onRefused?: (by: "key" | "model" | "address" | "budget", counts: string) => void;
	/** ms; never goes back. */
	readonly time?: () => number;
	/** Unix time, ms. */
	readonly wall?: () => number;
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const COUNTS = { rpm: "requests", tpm: "tokens", concurrency: "concurrency" } as const;

/** Whose limits they are, as bounds but for their amounts. */
interface LimitSet {
	readonly id: string;
	readonly bounds: readonly Bound[];
	readonly input: number | undefined;
}

/** The turnstile of one configuration; what has been counted lives in its limiter and its board. */
export class Turnstile {
	readonly #models: readonly { readonly fits: (name: string) => boolean; readonly set: LimitSet }[];
	readonly #callers = new WeakMap<Caller, LimitSet>();
	readonly #time: () => number;
	readonly #wall: () => number;
	/** The periods of a day: to name them anew for each call would cost 1 µs. */
	#day = Number.NaN;
	#periods = periodsOf(0);

	constructor(private readonly options: TurnstileOptions) {
		this.#models = Object.entries(options.limits.models).map(([pattern, limits]) => ({
			fits: allowing([pattern]),
			set: setOf(`model:${pattern}`, limits),
		}));
		this.#time = options.time ?? (() => performance.now());
		this.#wall = options.wall ?? Date.now;
	}

	/** Whether anything limits calls that come without a key. */
	get hasLimits(): boolean {
		return this.#models.length > 0 || this.options.limits.address !== undefined;
	}

	/**
	 * Lets a call through. Undefined where nothing limits it. Throws `rate_limit_exceeded`, `insufficient_quota` or `input_too_large`;
	 * it has taken nothing then.
	 */
	enter(call: Entering): Pass | Promise<Pass> | undefined {
		const sets = this.#setsOf(call);
		const budget = call.caller?.budget;
		if (sets.length === 0 && !call.caller) return undefined;
		let prompt: number | undefined;
		const promptTokens = () => {
			prompt ??= call.promptTokens();
			return prompt;
		};
		for (const { id, input } of sets) if (input !== undefined) checkInput(id, input, promptTokens());
		const reserved = budget ? this.#reserve(call.caller!, budget, () => call.cost(promptTokens())) : 0;
		const bounds: Bound[] = [];
		for (const set of sets) {
			for (const bound of set.bounds) {
				bounds.push(bound.counts === "tokens" ? { ...bound, amount: promptTokens() + call.answerTokens } : bound);
			}
		}
		if (bounds.length === 0) return this.#pass(call.caller, reserved, undefined);
		const verdict = this.options.counts.limiter.take(bounds, this.#time());
		if (!(verdict instanceof Promise)) return this.#pass(call.caller, reserved, verdict);
		return verdict.then((made) => this.#pass(call.caller, reserved, made));
	}

	#pass(caller: Caller | undefined, reserved: number, verdict: Verdict | undefined): Pass {
		const { counts, onRefused } = this.options;
		const { limiter } = counts;
		if (verdict && !verdict.isAllowed) {
			this.#release(caller, reserved);
			onRefused?.(ownerOf(verdict.refused), verdict.refused.counts);
			throw refusalOf(verdict);
		}
		return {
			headers: verdict && limitHeaders(verdict.standings),
			settle: ({ tokens, cost }) => {
				if (verdict) limiter.settle(verdict.reservation, tokens, this.#time());
				this.#release(caller, reserved);
				if (caller && cost > 0) this.#spent(caller.id, cost);
			},
		};
	}

	#periodsNow(): ReturnType<typeof periodsOf> {
		const now = this.#wall();
		const day = Math.floor(now / DAY_MS);
		if (day !== this.#day) {
			this.#day = day;
			this.#periods = periodsOf(now);
		}
		return this.#periods;
	}

	/** Sees that the budget has room, and counts what the call may cost as long as it runs: so that many at once don't all fit in. */
	#reserve(caller: Caller, { usd, per }: Budget, cost: () => number | undefined): number {
		const period = this.#periodsNow()[per];
		const pending = this.options.counts.pending.get(caller.id) ?? 0;
		if (this.options.counts.spend.spent(caller.id, period) + pending >= usd) {
			const expected = usd === 0 ? cost() : undefined;
			if (expected !== 0) throw this.#overBudget(caller, usd, per);
		}
		const reserved = cost() ?? 0;
		this.options.counts.pending.set(caller.id, pending + reserved);
		return reserved;
	}

	#release(caller: Caller | undefined, reserved: number): void {
		if (!caller || reserved === 0) return;
		const rest = (this.options.counts.pending.get(caller.id) ?? 0) - reserved;
		if (rest > 1e-12) this.options.counts.pending.set(caller.id, rest);
		else this.options.counts.pending.delete(caller.id);
	}

	#spent(id: string, usd: number): void {
		const { day, month, total } = this.#periodsNow();
		for (const period of [day, month, total]) this.options.counts.spend.add(id, period, usd);
	}

	#overBudget(caller: Caller, usd: number, per: Budget["per"]): RouterError {
		this.options.onRefused?.("budget", per);
		const until = { day: "It begins anew at midnight (UTC).", month: "It begins anew on the 1st (UTC).", total: "" }[
			per
		];
		const whole = per === "total" ? "in all" : `a ${per}`;
		const message = `The key "${caller.name}" has spent its budget of ${usd} USD ${whole}. ${until}`.trimEnd();
		return new RouterError("insufficient_quota", message, { headers: { "x-should-retry": "false" } });
	}

	#setsOf({ caller, names, address }: Entering): LimitSet[] {
		const sets: LimitSet[] = [];
		if (caller) {
			const own = this.#ofCaller(caller);
			if (own.bounds.length > 0 || own.input !== undefined) sets.push(own);
		} else if (this.options.limits.address) {
			sets.push(setOf(`address:${address()}`, this.options.limits.address));
		}
		for (const { fits, set } of this.#models) if (names.some(fits)) sets.push(set);
		return sets;
	}

	#ofCaller(caller: Caller): LimitSet {
		let set = this.#callers.get(caller);
		if (!set) {
			set = setOf(`key:${caller.id}`, caller.limits);
			this.#callers.set(caller, set);
		}
		return set;
	}
}

function setOf(id: string, limits: LimitsConfig | Caller["limits"]): LimitSet {
	const bounds = Object.entries(COUNTS).flatMap(([name, counts]): Bound[] => {
		const limit = limits[name as keyof typeof COUNTS];
		return limit === undefined ? [] : [{ id, counts, limit, windowMs: MINUTE_MS, amount: 1 }];
	});
	return { id, bounds, input: limits.input };
}

function checkInput(id: string, most: number, tokens: number): void {
	if (tokens <= most) return;
	const whose = id.startsWith("key:") ? "this key" : id.startsWith("model:") ? "this model" : "callers without a key";
	throw new RouterError("input_too_large", `The prompt has about ${tokens} tokens; ${whose} may send ${most}.`);
}

function ownerOf({ id }: Bound): "key" | "model" | "address" {
	return id.startsWith("key:") ? "key" : id.startsWith("model:") ? "model" : "address";
}
