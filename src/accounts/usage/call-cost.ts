/** What one call costs: what is reserved for it before it is made, its bill once it is answered, and what is learned from it. */
import { OPERATIONS } from "../../openai/operations.ts";
import { numberIn, type Tokens } from "../../openai/usage.ts";
import type { Bill } from "../../telemetry/events.ts";
import type { EnergyMeter, EnergyMeters } from "./energy-meters.ts";
import type { HardwareClocks, Meter } from "./hardware-clocks.ts";
import type { LearnedView } from "./learned-usage.ts";
import type { ModelPrice, PriceBook, PricedTarget } from "./price-book.ts";
import { chargeFor, mostCharge, type Rates, type Units, unitCharge } from "./rates.ts";
import { answerLimit, type Estimated, estimatedPrompt, type PromptEstimate } from "./token-estimate.ts";

/** Tokens reserved for an answer of which nothing is known: the client sets no limit, and nobody has had an answer yet. */
const UNKNOWN_ANSWER = 4096;

/** What calls are priced with. */
export interface UsageServices {
	/** Of the configuration. */
	readonly prices: Pick<PriceBook, "of" | "hasHourlyRates">;
	/** These outlive a reload of it. */
	readonly learned: LearnedView;
	readonly clocks: Pick<HardwareClocks, "start">;
	/** Undefined where no agents are known. */
	readonly energy?: Pick<EnergyMeters, "isKnown" | "start"> | undefined;
}

/** A target that a call may reach. */
export interface CostedTarget extends PricedTarget {
	/** Tokens that prompt and answer may have together, where the configuration says so. */
	readonly context?: number | undefined;
}

/** Where a call may go. */
export interface CostedRoute {
	/** Also those that fields of its own name. */
	readonly targets: readonly CostedTarget[];
	/** The model's name, under which its answers' lengths are learned. */
	readonly label: string;
}

/** Which figures the limits of a call need: none of the others is looked up. */
export interface ReserveNeeds {
	/** Tokens of its prompt. */
	readonly prompt: boolean;
	/** Tokens of prompt and answer. */
	readonly tokens: boolean;
	/** What it may cost. */
	readonly usd: boolean;
}

/** What is reserved for a call; 0 for what was not asked. */
export interface CallReserve {
	/** Tokens of its prompt, estimated. */
	readonly prompt: number;
	/** Tokens of its answer, at the target where that may be longest. */
	readonly answer: number;
	/** The client has set its answer a limit: `answer` is no guess. */
	readonly isAnswerLimited: boolean;
	/** At the dearest target; 0 where it costs nothing, or nobody knows. Where it is more, the tokens are known, too. */
	readonly usd: number;
}

const NOTHING: CallReserve = { prompt: 0, answer: 0, isAnswerLimited: false, usd: 0 };

/** An answer, or as much of it as there is. */
export interface AnswerToBill {
	readonly target: PricedTarget;
	/** As the upstream counted them. */
	readonly tokens: Tokens | undefined;
	/** USD, where the upstream says so itself. */
	readonly upstreamCost: number | undefined;
	/** This answer's share of its hardware's time, ms. */
	readonly gpuMs: number;
	/** False: its client left, and what was counted so far may not be all that it was sent. */
	readonly isCounted: boolean;
	/** Tokens of the answer as far as its text shows them; asked where the upstream has counted none. */
	guess(): number;
	/** What else is priced of a call that is passed on. */
	readonly units?: Units | undefined;
}

/** What it comes to. */
export interface BilledAnswer {
	/** A guess stands for what was not counted. */
	readonly tokens: Tokens;
	/** USD; undefined where nobody knows. */
	readonly usd: number | undefined;
	readonly bill: Bill;
}

/** The cost of one call. Each figure is found out when it is first needed, and once. */
export class CallCost {
	/** Its attempts are to be metered: some hardware has a price by the hour. */
	readonly isMetered: boolean;
	/** What is learned from it; undefined where no prices are known. */
	readonly learned: LearnedView | undefined;
	#prompt: PromptEstimate | undefined;
	#reserve = NOTHING;
	/** USD reserved for its tokens; undefined where none were. */
	#tokensUsd: number | undefined;
	/** Of the target asked last: most calls have one. */
	#target: PricedTarget | undefined;
	#price: ModelPrice | undefined;

	/**
	 * @param caller of its key; undefined for a call without one
	 * @param services undefined where no prices are known, as in an agent: only what upstreams say themselves is a cost then
	 */
	constructor(
		private readonly call: Estimated,
		private readonly caller: { readonly id: string } | undefined,
		private readonly route: CostedRoute,
		private readonly services: UsageServices | undefined,
	) {
		this.isMetered = services?.prices.hasHourlyRates === true;
		this.learned = services?.learned;
	}

	/**
	 * What its limits are to reserve, with what such calls have cost on top of their tokens. What another attempt costs is seldom the key's, so
	 * one answer is all that is reserved.
	 */
	reserve({ prompt, tokens, usd }: ReserveNeeds): CallReserve {
		const { call, route, services } = this;
		if (!services) return this.#reserve;
		const found: ModelPrice[] = [];
		let isPriced = false;
		if (tokens || usd) {
			for (let at = 0; at < route.targets.length; at++) {
				const target = route.targets[at]!;
				// Replicas of one model have one price: a hundred are looked up once.
				const isReplica = at > 0 && target.name !== undefined && target.name === route.targets[at - 1]!.name;
				const price = isReplica ? found[at - 1]! : services.prices.of(target);
				found.push(price);
				if (hasCharge(price.rates)) isPriced = usd;
			}
			this.#target = route.targets[0];
			this.#price = found[0];
		}
		// What costs nothing, such as hardware of the owner's own, needs no look at the prompt.
		if (prompt || tokens || isPriced) this.#prompt ??= estimatedPrompt(call);
		const limit = tokens || usd ? answerLimit(call) : undefined;
		const { choices } = call.facts;
		const modalities = isPriced ? call.facts.modalities : undefined;
		const learned =
			usd || (tokens && limit === undefined) ? services.learned.of(this.caller?.id ?? "", route.label) : undefined;
		const each = limit ?? learned?.answerTokens ?? UNKNOWN_ANSWER;
		const surplus = usd && learned ? learned.surplus : 0;
		if (surplus > 0) this.#prompt ??= estimatedPrompt(call);
		const units = usd ? call.facts.units?.() : undefined;
		let mostTokens = 0;
		let mostUsd = 0;
		for (let at = 0; at < found.length; at++) {
			const { rates, context: listed } = found[at]!;
			const context = route.targets[at]!.context ?? listed;
			// No model says more than it can hold.
			const answer = (context === undefined ? each : Math.min(each, context)) * choices;
			mostTokens = Math.max(mostTokens, answer);
			if (units && rates) mostUsd = Math.max(mostUsd, unitCharge(rates, units) ?? 0);
			if (!modalities || !hasCharge(rates)) continue;
			const cachesForHour = rates.cache_write_1h !== undefined && call.facts.cachesForHour();
			mostUsd = Math.max(mostUsd, mostCharge(rates, { prompt: this.#prompt!, answer, modalities, cachesForHour }));
		}
		if (usd) this.#tokensUsd = mostUsd;
		this.#reserve = {
			prompt: this.#prompt?.tokens ?? 0,
			answer: mostTokens,
			isAnswerLimited: limit !== undefined,
			usd: mostUsd + surplus,
		};
		return this.#reserve;
	}

	/** An attempt has begun; undefined where its hardware has no price by the hour. */
	meter(target: PricedTarget): Meter | undefined {
		if (this.#target !== target) this.#lookUp(target);
		if (this.#price?.rates?.gpu_hour === undefined) return undefined;
		const meter = this.services!.clocks.start(target.deployment ?? target.id);
		const { timeShare: share } = target;
		return share === undefined ? meter : { ms: () => meter.ms() * share, stop: () => meter.stop() };
	}

	/** An attempt has begun; undefined where nobody says what its engine draws. @param engine id of the target that it is */
	meterEnergy(engine: string): EnergyMeter | undefined {
		const energy = this.services?.energy;
		return energy?.isKnown ? energy.start(engine) : undefined;
	}

	/**
	 * Whether an answer there costs nothing, neither by its tokens nor by its hardware's time: false where nobody knows the price, undefined
	 * where no prices are known at all.
	 */
	isFree(target: PricedTarget): boolean | undefined {
		if (!this.services) return undefined;
		if (this.#target !== target) this.#lookUp(target);
		const rates = this.#price?.rates;
		return rates !== undefined && chargeFor(rates, SOME_TOKENS, SOME_MS) === 0;
	}

	/** Counts and prices an answer: its upstream's own word on that goes before the router's prices. */
	bill({ target, tokens, upstreamCost, gpuMs, isCounted, guess, units }: AnswerToBill): BilledAnswer {
		let counted = tokens;
		let isEstimated = false;
		if (!counted || counted.uncounted || !isCounted) {
			({ counted, isEstimated } = this.#estimated(tokens, guess, isCounted));
		}
		if (upstreamCost !== undefined) {
			return { tokens: counted, usd: upstreamCost, bill: { source: "upstream", isEstimated } };
		}
		if (this.#target !== target) this.#lookUp(target);
		const { rates, source } = this.#price ?? {};
		// None, where that comes to no sum of money.
		const charge = rates && (units ? passedCharge(rates, units, tokens, gpuMs) : chargeFor(rates, counted, gpuMs));
		const usd = charge !== undefined && source ? numberIn(charge, Number.MAX_VALUE) : undefined;
		if (usd === undefined) return { tokens: counted, usd, bill: { source: "none", isEstimated } };
		return { tokens: counted, usd, bill: { source: source!, price: rates, isEstimated } };
	}

	/**
	 * Learns from what became of it: of use where a limit has ever asked (`learned.isAsked`).
	 * @param output tokens of its answer, which was whole and counted by its upstream
	 * @param usd what it cost; undefined where nobody knows
	 */
	learn(output: number, usd: number | undefined): void {
		const { learned, call } = this;
		const answer = answerLimit(call) === undefined ? Math.ceil(output / call.facts.choices) : undefined;
		// An answer longer than was reserved says nothing of what else costs.
		const isAsReserved = this.#tokensUsd !== undefined && output <= this.#reserve.answer;
		const surplus = isAsReserved && usd !== undefined ? Math.max(0, usd - this.#tokensUsd!) : undefined;
		if (answer === undefined && surplus === undefined) return;
		learned?.of(this.caller?.id ?? "", this.route.label).learn({ answer, surplus });
	}

	#lookUp(target: PricedTarget): void {
		this.#target = target;
		this.#price = this.services?.prices.of(target);
	}

	/** The tokens with a guess in the place of what was not counted. */
	#estimated(tokens: Tokens | undefined, guess: () => number, isCounted: boolean) {
		const { uncounted, ...counted }: Tokens = tokens ?? { input: 0, output: 0, uncounted: "both" };
		// What an upstream has rounded stands: no guess of the router's is nearer.
		const isInputOpen = uncounted === "input" || uncounted === "both";
		if (isInputOpen && counted.input === 0) {
			this.#prompt ??= estimatedPrompt(this.call);
			counted.input = Math.max(this.#prompt.tokens, counted.cached ?? 0);
		}
		if (!OPERATIONS[this.call.operation].generates) return { counted, isEstimated: isInputOpen };
		const isOutputOpen = uncounted === "output" || uncounted === "both";
		const written = !isCounted || (isOutputOpen && counted.output === 0) ? guess() : 0;
		const isMore = written > counted.output;
		if (isMore) counted.output = written;
		return { counted, isEstimated: isInputOpen || isOutputOpen || isMore };
	}
}

/** Known, and not free: a call or its tokens cost something, whatever its hardware's time does. */
function hasCharge(rates: Rates | undefined): rates is Rates {
	return rates !== undefined && (rates.input !== 0 || rates.output !== 0 || rates.request !== undefined);
}

/** USD of a call that is passed on: by its units where those have a price, else by tokens that its upstream has counted; a guess of them is none. */
function passedCharge(rates: Rates, units: Units, tokens: Tokens | undefined, gpuMs: number): number | undefined {
	const charge = unitCharge(rates, units);
	if (charge !== undefined) return charge + chargeFor(rates, NO_TOKENS, gpuMs);
	// By the minute, say, and nobody says how many there were.
	const isByUnit = rates.image !== undefined || rates.minute !== undefined || rates.characters !== undefined;
	if (tokens || !(hasCharge(rates) || isByUnit)) return chargeFor(rates, tokens ?? NO_TOKENS, gpuMs);
	return undefined;
}

const NO_TOKENS = { input: 0, output: 0 };
const SOME_TOKENS = { input: 1_000, output: 1_000 };
const SOME_MS = 1_000;
