/** The admission of calls: all limits and the budget of a call are looked at before any is touched. */
import type { LimitsConfig } from "../../config/access.ts";
import { type NameMatcher, nameMatcher } from "../../config/name-pattern.ts";
import type { Config } from "../../config/schema.ts";
import { RouterError } from "../../errors.ts";
import type { Tokens } from "../../openai/usage.ts";
import type { Caller } from "../auth/keys.ts";
import type { SpentSession } from "../runaway/runaways.ts";
import type { CallCost, CallReserve } from "../usage/call-cost.ts";
import { periodsOf, type SpendStore, unitsOf } from "../usage/spend.ts";
import { RETRY_MS } from "./counters.ts";
import { limitHeaders, limitRefusal, reservedRefusal, sessionRefusal, spentRefusal } from "./limit-headers.ts";
import { type Limit, type LimitDecision, type Limiter, LONGEST_WINDOW_MS, type Reservation } from "./limiter.ts";
import { sessionCountId } from "./session-order.ts";

/** A call that asks for admission. */
export interface AdmissionRequest {
	readonly caller: Caller | undefined;
	/** What its limits reserve; asked once, for what they need. */
	readonly cost: Pick<CallCost, "reserve" | "learned" | "learn">;
	/** All names, in lower case, that a limit on models may count it by. Needed where {@link AdmissionControl.limitsModels}. */
	readonly names: readonly string[] | undefined;
	/** The client's. Needed where {@link AdmissionControl.limitsAddresses}, of a call without a caller. */
	readonly address: string | undefined;
	/** As a header names it. Needed where {@link AdmissionControl.sessionUsd} says something of the caller. */
	readonly session?: string | undefined;
	/** It is no caller's: nobody is told that it was refused. */
	readonly isShadow?: boolean;
}

/** What became of a call. */
export interface CallUsage {
	/** What it used; undefined where nothing was answered. */
	readonly tokens: Pick<Tokens, "input" | "output"> | undefined;
	/** USD; undefined where nobody knows. */
	readonly usd: number | undefined;
	/** The answer was whole, and its upstream has counted it: what it came to is learned. */
	readonly isConclusive: boolean;
}

/** Where calls are counted. What has been counted outlives a reload. */
export interface AdmissionCounters {
	readonly limiter: Limiter;
	readonly spend: SpendStore;
}

/** What decides. */
export interface AdmissionOptions {
	readonly limits: Config["limits"];
	readonly counters: AdmissionCounters;
	/** Called for each call that is refused: whose limit refused it, and of what. */
	readonly onRefused?: (by: "key" | "model" | "address" | "budget" | "session", counts: string) => void;
	/** Called for each call that is refused since its session has spent its budget. */
	readonly onSessionSpent?: (spent: SpentSession) => void;
	/** ms; never goes back. */
	readonly time?: () => number;
	/** Unix time, ms. */
	readonly wall?: () => number;
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** Names whose limits are remembered: clients choose them. */
const MOST_NAMES = 5_000;
const UNITS = { rpm: "requests", tpm: "tokens", concurrency: "concurrency" } as const;

/** Whose limits they are: all but their amounts, which are a call's own. */
interface LimitSet {
	readonly id: string;
	readonly limits: readonly Limit[];
	/** The most tokens of a prompt. */
	readonly input: number | undefined;
	/** One of them counts tokens. */
	readonly countsTokens: boolean;
}

/** A call that was admitted. */
export class Admission {
	/** For its answer: how its limits stand. */
	headers: Readonly<Record<string, string>> | undefined;
	/** What it holds of its limits until it is over. */
	reservation: Reservation | undefined;

	constructor(
		private readonly control: AdmissionControl,
		private readonly caller: Caller | undefined,
		private readonly cost: AdmissionRequest["cost"],
	) {}

	/** The call is over. Once. */
	settle({ tokens, usd, isConclusive }: CallUsage): void {
		const { control, caller, reservation, cost } = this;
		const { limiter, spend } = control.counters;
		const now = control.time();
		if (caller && usd !== undefined && usd > 0 && Number.isFinite(usd)) {
			const { day, month, total } = control.periods();
			// Before the reservation ends, so that what other replicas hear of then includes it.
			spend.add(caller.id, day, usd);
			spend.add(caller.id, month, usd);
			spend.add(caller.id, total, usd);
		}
		// What one costs of which nobody knows that, no session can have spent.
		const spent = usd !== undefined && usd > 0 && Number.isFinite(usd) ? unitsOf(usd) : 0;
		if (reservation) limiter.settle(reservation, tokens ? tokens.input + tokens.output : 0, now, spent);
		if (tokens && isConclusive && cost.learned?.isAsked) cost.learn(tokens.output, usd);
	}
}

/** The limits of one configuration; what has been counted lives in the limiter and the spend store. */
export class AdmissionControl {
	/** A limit counts by the model's name. */
	readonly limitsModels: boolean;
	/** A limit counts calls without a key by the client's address. */
	readonly limitsAddresses: boolean;
	readonly #models: readonly { readonly fits: NameMatcher; readonly set: LimitSet }[];
	readonly #byName = new Map<string, readonly LimitSet[]>();
	readonly #callers = new WeakMap<Caller, LimitSet>();
	readonly counters: AdmissionCounters;
	/** ms; never goes back. */
	readonly time: () => number;
	readonly #wall: () => number;
	/** The periods of a day: to name them anew for each call would cost more than all else here. */
	#day = Number.NaN;
	#periods = periodsOf(0);

	constructor(private readonly options: AdmissionOptions) {
		this.#models = Object.entries(options.limits.models).map(([pattern, limits]) => ({
			fits: nameMatcher([pattern.toLowerCase()]),
			set: setOf(`model:${pattern}`, limits),
		}));
		this.limitsModels = this.#models.length > 0;
		this.limitsAddresses = options.limits.address !== undefined;
		this.counters = options.counters;
		this.time = options.time ?? (() => performance.now());
		this.#wall = options.wall ?? Date.now;
	}

	/**
	 * Admits a call. Undefined where nothing limits it. Throws `rate_limit_exceeded`, `insufficient_quota` or `input_too_large`;
	 * it has taken nothing then. A promise where others have to be asked: to wait for nothing costs each call time.
	 */
	enter(request: AdmissionRequest): Admission | Promise<Admission> | undefined {
		const { caller } = request;
		const sets = this.#setsOf(request);
		const sessionUsd = request.session === undefined ? undefined : this.sessionUsd(caller);
		if (sets.length === 0 && !caller && sessionUsd === undefined) return undefined;
		const { counters: counts } = this;
		const admission = new Admission(this, caller, request.cost);
		const now = this.time();
		const needs = { prompt: false, tokens: false, usd: false };
		for (const { input, countsTokens } of sets) {
			if (input !== undefined) needs.prompt = true;
			if (countsTokens) needs.tokens = true;
		}
		const limits: Limit[] = [];
		const budget = caller?.budget;
		let spending: Limit["spending"];
		if (budget) {
			needs.usd = true;
			const { id } = caller;
			const period = this.periods()[budget.per];
			spending = { key: id, period, usd: counts.spend.spent(id, period) };
		}
		if (sessionUsd !== undefined) needs.usd = true;
		const isReserved = needs.prompt || needs.tokens || needs.usd;
		const reserve = isReserved ? request.cost.reserve(needs) : undefined;
		for (const { id, input } of sets)
			if (input !== undefined && reserve!.prompt > input) throw inputTooLarge(id, input, reserve!);
		if (spending) {
			const { usd } = budget!;
			// What costs nothing a spent budget refuses all the same; one of 0 USD does not.
			if (reserve!.usd > 0) {
				limits.push({ id: caller!.id, unit: "usd", max: usd, windowMs: 0, amount: reserve!.usd, spending });
			} else if (usd > 0 && spending.usd >= usd) throw this.#spentBudget(request);
		}
		for (const set of sets) {
			for (const limit of set.limits) {
				if (limit.unit !== "tokens") {
					limits.push(limit);
					continue;
				}
				const { prompt, answer, isAnswerLimited } = reserve!;
				const { id, unit, max, windowMs } = limit;
				const certain = isAnswerLimited || answer === 0 ? undefined : prompt;
				limits.push({ id, unit, max, windowMs, amount: prompt + answer, certain });
			}
		}
		if (sessionUsd !== undefined) limits.push(sessionLimit(request, sessionUsd, reserve!.usd));
		if (limits.length === 0) return admission;
		const decision = counts.limiter.take(limits, now);
		if (decision instanceof Promise) return this.#whenDecided(admission, request, reserve, decision);
		return this.#decided(admission, request, reserve, decision);
	}

	/** Apart: a function made in `enter` would have each call allocate what it holds of that. */
	async #whenDecided(
		admission: Admission,
		request: AdmissionRequest,
		reserve: CallReserve | undefined,
		decision: Promise<LimitDecision>,
	): Promise<Admission> {
		return this.#decided(admission, request, reserve, await decision);
	}

	#decided(
		admission: Admission,
		request: AdmissionRequest,
		reserve: CallReserve | undefined,
		decision: LimitDecision,
	): Admission {
		if (!decision.isAllowed) throw this.#refusal(request, reserve, decision);
		admission.reservation = decision.reservation;
		admission.headers = limitHeaders(decision.statuses);
		return admission;
	}

	#refusal(
		request: AdmissionRequest,
		reserve: CallReserve | undefined,
		decision: Extract<LimitDecision, { isAllowed: false }>,
	): RouterError {
		const { caller, session, isShadow } = request;
		const { refused, retryAfterMs, statuses } = decision;
		if (refused.unit === "spend") {
			this.options.onRefused?.("session", "spend");
			const spent = { keyId: caller?.id, key: caller?.name, session: session!, usd: this.sessionUsd(caller)! };
			if (retryAfterMs > RETRY_MS) this.options.onSessionSpent?.(spent);
			return sessionRefusal(decision, reserve!);
		}
		if (!refused.spending) {
			if (!isShadow) this.options.onRefused?.(ownerOf(refused), refused.unit);
			return limitRefusal(decision);
		}
		const budget = caller!.budget!;
		if (retryAfterMs === Number.POSITIVE_INFINITY) return this.#spentBudget(request);
		if (!isShadow) this.options.onRefused?.("budget", budget.per);
		const left = statuses.find(({ limit }) => limit.unit === "usd")?.remaining ?? 0;
		return reservedRefusal({ name: caller!.name, budget, left, reserve: reserve!, retryAfterMs });
	}

	#spentBudget({ caller, isShadow }: AdmissionRequest): RouterError {
		const { name, budget } = caller!;
		if (!isShadow) this.options.onRefused?.("budget", budget!.per);
		return spentRefusal(name, budget!);
	}

	/** What each session of this caller may spend, USD; undefined where nothing limits it. */
	sessionUsd(caller: Pick<Caller, "limits"> | undefined): number | undefined {
		return caller?.limits.session_usd ?? this.options.limits.session_usd;
	}

	/** Those of this moment. */
	periods(): ReturnType<typeof periodsOf> {
		const now = this.#wall();
		const day = Math.floor(now / DAY_MS);
		if (day !== this.#day) {
			this.#day = day;
			this.#periods = periodsOf(now);
		}
		return this.#periods;
	}

	#setsOf({ caller, address, names = [] }: AdmissionRequest): LimitSet[] {
		const sets: LimitSet[] = [];
		if (caller) {
			const own = this.#ofCaller(caller);
			if (own.limits.length > 0 || own.input !== undefined) sets.push(own);
		} else if (this.options.limits.address) {
			sets.push(setOf(`address:${address}`, this.options.limits.address));
		}
		if (!this.limitsModels) return sets;
		const first = sets.length;
		for (const name of names) {
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

/**
 * What a session may spend. One alone may pass it by what it costs more than was left, as a key's budget has it. Names of sessions are their
 * key's: another one with the same name has nothing to do with it.
 */
function sessionLimit({ caller, session }: AdmissionRequest, usd: number, reserved: number): Limit {
	const name = new Bun.SHA256().update(session!).digest("base64url").slice(0, 22);
	const amount = Math.ceil(unitsOf(reserved));
	const windowMs = LONGEST_WINDOW_MS;
	return {
		id: sessionCountId(caller?.id ?? "", name),
		unit: "spend",
		max: unitsOf(usd),
		windowMs,
		amount,
		certain: Math.min(amount, 1),
	};
}

function setOf(id: string, settings: LimitsConfig | Caller["limits"]): LimitSet {
	const limits = Object.entries(UNITS).flatMap(([name, unit]): Limit[] => {
		const max = settings[name as keyof typeof UNITS];
		return max === undefined ? [] : [{ id, unit, max, windowMs: MINUTE_MS, amount: 1 }];
	});
	return { id, limits, input: settings.input, countsTokens: settings.tpm !== undefined };
}

/** The limits of a key that are counted. @param id the key's */
export const limitsOfKey = (id: string, limits: Caller["limits"]): readonly Limit[] =>
	setOf(`key:${id}`, limits).limits;

function inputTooLarge(id: string, most: number, { prompt }: CallReserve): RouterError {
	const whose = id.startsWith("key:") ? "this key" : id.startsWith("model:") ? "this model" : "callers without a key";
	return new RouterError("input_too_large", `The prompt has about ${prompt} tokens; ${whose} may send ${most}.`);
}

function ownerOf({ id }: Limit): "key" | "model" | "address" {
	return id.startsWith("key:") ? "key" : id.startsWith("model:") ? "model" : "address";
}
