/** Where a call is let through: all its limits and its budget are looked at before any is touched. */
import type { LimitsConfig } from "../../config/access.ts";
import { type NameMatcher, nameMatcher } from "../../config/name-pattern.ts";
import type { Config } from "../../config/schema.ts";
import { RouterError } from "../../errors.ts";
import type { Budget } from "../auth/key-store.ts";
import type { Caller } from "../auth/keys.ts";
import type { UsualCalls } from "../usage/learned-usage.ts";
import { periodsOf, type SpendStore } from "../usage/spend.ts";
import { limitHeaders, refusalOf, reservedBudget, spentBudget } from "./limit-headers.ts";
import type { Limit, LimitDecision, Limiter } from "./limiter.ts";

/** A call before the turnstile. What costs something to find out is asked for only where a limit needs it. */
export interface AdmissionRequest {
	readonly caller: Caller | undefined;
	/** All names, in lower case, that a limit on models may count it by. */
	names(): readonly string[];
	/** The client's. */
	address(): string;
	/** Of the prompt, estimated. */
	promptTokens(): number;
	/** Of the answer: what is reserved for it. */
	answerTokens(): number;
	/** The client has set its answer a limit: what is reserved for it is no guess. */
	readonly isAnswerLimited: boolean;
	/** What it may cost, USD; 0 where it costs nothing, or nobody knows. */
	cost(): number;
}

/** What became of a call. */
export interface CallUsage {
	/** All that it used. */
	readonly tokens: number;
	/** USD. */
	readonly cost: number;
}

/** A call that was let through. */
export interface Admission {
	/** For its answer: how its limits stand. */
	readonly headers: Readonly<Record<string, string>> | undefined;
	/** It is over. Once. */
	settle(outcome: CallUsage): void;
}

/** Where it is counted. */
export interface Counts {
	readonly limiter: Limiter;
	readonly spend: SpendStore;
	readonly usual: UsualCalls;
}

/** What decides. */
export interface AdmissionOptions {
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
/** Names whose limits are remembered: clients choose them. */
const MOST_NAMES = 5_000;
const COUNTS = { rpm: "requests", tpm: "tokens", concurrency: "concurrency" } as const;

/** Whose limits they are, as bounds but for their amounts. */
interface LimitSet {
	readonly id: string;
	readonly bounds: readonly Limit[];
	readonly input: number | undefined;
}

/** The turnstile of one configuration; what has been counted lives in its limiter and its board. */
export class AdmissionControl {
	readonly #models: readonly { readonly fits: NameMatcher; readonly set: LimitSet }[];
	readonly #byName = new Map<string, readonly LimitSet[]>();
	readonly #callers = new WeakMap<Caller, LimitSet>();
	readonly #time: () => number;
	readonly #wall: () => number;
	/** The periods of a day: to name them anew for each call would cost 1 µs. */
	#day = Number.NaN;
	#periods = periodsOf(0);

	constructor(private readonly options: AdmissionOptions) {
		this.#models = Object.entries(options.limits.models).map(([pattern, limits]) => ({
			fits: nameMatcher([pattern.toLowerCase()]),
			set: setOf(`model:${pattern}`, limits),
		}));
		this.#time = options.time ?? (() => performance.now());
		this.#wall = options.wall ?? Date.now;
	}

	/** What calls usually come to: what is reserved where the client sets no limit. */
	get usual(): UsualCalls {
		return this.options.counts.usual;
	}

	/** Whether anything limits calls that come without a key. */
	get hasLimits(): boolean {
		return this.#models.length > 0 || this.options.limits.address !== undefined;
	}

	/**
	 * Lets a call through. Undefined where nothing limits it. Throws `rate_limit_exceeded`, `insufficient_quota` or `input_too_large`;
	 * it has taken nothing then.
	 */
	enter(call: AdmissionRequest): Admission | Promise<Admission> | undefined {
		const sets = this.#setsOf(call);
		const budget = call.caller?.budget;
		if (sets.length === 0 && !call.caller) return undefined;
		for (const { id, input } of sets) if (input !== undefined) checkInput(id, input, call.promptTokens());
		const bounds: Limit[] = [];
		const reserved = budget && this.#reserve(call, budget);
		if (reserved) bounds.push(reserved);
		for (const set of sets) {
			for (const bound of set.bounds) bounds.push(bound.counts === "tokens" ? ofTokens(bound, call) : bound);
		}
		if (bounds.length === 0) return this.#pass(call, undefined);
		const verdict = this.options.counts.limiter.take(bounds, this.#time());
		if (!(verdict instanceof Promise)) return this.#pass(call, verdict);
		return verdict.then((made) => this.#pass(call, made));
	}

	#pass(call: AdmissionRequest, verdict: LimitDecision | undefined): Admission {
		const { counts, onRefused } = this.options;
		const { caller } = call;
		if (verdict && !verdict.isAllowed) {
			if (verdict.refused.spending) throw this.#overBudget(call, verdict);
			onRefused?.(ownerOf(verdict.refused), verdict.refused.counts);
			throw refusalOf(verdict);
		}
		return {
			headers: verdict && limitHeaders(verdict.standings),
			settle: ({ tokens, cost }) => {
				// Before what was reserved is free: what others are told then holds it.
				if (caller && cost > 0 && Number.isFinite(cost)) this.#spent(caller.id, cost);
				if (verdict) counts.limiter.settle(verdict.reservation, tokens, this.#time());
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

	/**
	 * What is reserved of the budget for as long as the call runs, so that many at once don't pass it together. Undefined for what costs
	 * nothing, which a budget that is spent refuses all the same; one of 0 USD does not.
	 */
	#reserve(call: AdmissionRequest, budget: Budget): Limit | undefined {
		const { id } = call.caller!;
		const { usd, per } = budget;
		const period = this.#periodsNow()[per];
		const spending = { key: id, period, usd: this.options.counts.spend.spent(id, period) };
		const amount = call.cost();
		if (amount > 0) return { id, counts: "usd", limit: usd, windowMs: 0, amount, spending };
		if (usd > 0 && spending.usd >= usd) throw this.#spentBudget(call.caller!, budget);
		return undefined;
	}

	#spent(id: string, usd: number): void {
		const { day, month, total } = this.#periodsNow();
		for (const period of [day, month, total]) this.options.counts.spend.add(id, period, usd);
	}

	#overBudget(
		call: AdmissionRequest,
		{ refused, retryAfterMs, standings }: Extract<LimitDecision, { isAllowed: false }>,
	): RouterError {
		const caller = call.caller!;
		const budget = caller.budget!;
		if (retryAfterMs === Number.POSITIVE_INFINITY) return this.#spentBudget(caller, budget);
		this.options.onRefused?.("budget", budget.per);
		const left = standings.find(({ bound }) => bound.counts === "usd")?.remaining ?? 0;
		const tokens = { prompt: call.promptTokens(), answer: call.answerTokens(), isLimited: call.isAnswerLimited };
		return reservedBudget({ name: caller.name, budget, left, reserve: refused.amount, tokens, retryAfterMs });
	}

	#spentBudget({ name }: Caller, budget: Budget): RouterError {
		this.options.onRefused?.("budget", budget.per);
		return spentBudget(name, budget);
	}

	#setsOf(call: AdmissionRequest): LimitSet[] {
		const { caller } = call;
		const sets: LimitSet[] = [];
		if (caller) {
			const own = this.#ofCaller(caller);
			if (own.bounds.length > 0 || own.input !== undefined) sets.push(own);
		} else if (this.options.limits.address) {
			sets.push(setOf(`address:${call.address()}`, this.options.limits.address));
		}
		if (this.#models.length === 0) return sets;
		const first = sets.length;
		for (const name of call.names()) {
			// Each once: few names have more than one.
			for (const set of this.#named(name)) if (!sets.includes(set, first)) sets.push(set);
		}
		return sets;
	}

	/** The limits that a name counts towards. Calls have several names, and ask for the same few. */
	#named(name: string): readonly LimitSet[] {
		let sets = this.#byName.get(name);
		if (!sets) {
			sets = this.#models.filter(({ fits }) => fits(name)).map(({ set }) => set);
			if (this.#byName.size >= MOST_NAMES) this.#byName.clear();
			this.#byName.set(name, sets);
		}
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
	const bounds = Object.entries(COUNTS).flatMap(([name, counts]): Limit[] => {
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

/** The bound with what the call takes of it. */
function ofTokens(bound: Limit, call: AdmissionRequest): Limit {
	const certain = call.promptTokens();
	const amount = certain + call.answerTokens();
	const { id, counts, limit, windowMs } = bound;
	const taken = { id, counts, limit, windowMs, amount };
	return call.isAnswerLimited || amount === certain ? taken : { ...taken, certain };
}

function ownerOf({ id }: Limit): "key" | "model" | "address" {
	return id.startsWith("key:") ? "key" : id.startsWith("model:") ? "model" : "address";
}
