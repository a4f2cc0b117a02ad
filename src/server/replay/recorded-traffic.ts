/** What recorded calls show besides themselves: how long targets take, what they cost, and how long each call took by itself. Pure. */
import { chargeFor, type Rates } from "../../accounts/usage/rates.ts";
import type { RecordedCall, RecordedCandidate } from "./recorded-call.ts";
import {
	AllServiceTimes,
	type ObservedAnswer,
	observedAnswers,
	queueDelays,
	type TargetFacts,
} from "./service-times.ts";

/** The answer of a call, and how long its prompt waited for others before it, ms; 0 where none had to, or it was no stream. */
export interface TimedAnswer extends ObservedAnswer {
	readonly target: string;
	readonly delayMs: number;
}

/** Calls, in the order in which they began, and what they show. */
export class RecordedTraffic {
	readonly calls: readonly RecordedCall[];
	readonly times: AllServiceTimes;
	readonly #answers = new Map<string, TimedAnswer>();
	readonly #rates = new Map<string, Rates>();

	constructor(calls: readonly RecordedCall[]) {
		this.calls = [...calls].sort((one, other) => beganAt(one) - beganAt(other));
		const facts = new Map<string, TargetFacts>();
		for (const { plan, isStream, target, rates } of this.calls) {
			if (target !== undefined && rates) this.#rates.set(target, rates);
			for (const { id, isReplica, kind, model, inputs } of plan?.candidates ?? []) {
				const toldMs = isStream ? inputs.time_ms : undefined;
				const before = facts.get(id);
				if (before && (toldMs === undefined || before.toldMs !== undefined)) continue;
				facts.set(id, { isEngine: kind === "local", kin: isReplica ? `${kind} ${model}` : undefined, toldMs });
			}
		}
		const answers = observedAnswers(this.calls);
		this.times = new AllServiceTimes(answers, facts);
		for (const [target, its] of answers) this.#time(target, its);
	}

	/** The answer that a call got; undefined where it got none. */
	answerOf({ id }: RecordedCall): TimedAnswer | undefined {
		return this.#answers.get(id);
	}

	/** USD that a call would have cost at another target; undefined where nobody knows. @param cached tokens that its prompt cache has */
	costAt(
		{ tokens }: RecordedCall,
		{ id, price }: Pick<RecordedCandidate, "id" | "price">,
		cached = 0,
	): number | undefined {
		const rates = this.#rates.get(id) ?? price;
		// What the hardware costs is not said by a price for tokens, nor what it worked for this call by what it did for others.
		if (!rates || !tokens || ("gpu_hour" in rates && rates.gpu_hour !== undefined)) return undefined;
		return chargeFor(rates, { ...tokens, cached });
	}

	#time(target: string, answers: readonly ObservedAnswer[]): void {
		const { isQueue } = this.times.of(target);
		const streams = answers.filter(({ firstAt }) => firstAt !== undefined);
		for (const answer of answers) this.#answers.set(answer.call.id, { ...answer, target, delayMs: 0 });
		if (!isQueue) return;
		const delays = queueDelays(streams);
		for (const [at, answer] of streams.entries()) {
			this.#answers.set(answer.call.id, { ...answer, target, delayMs: delays[at]! });
		}
	}
}

/** When a call's first attempt began, Unix time, ms: until then it was read, counted, or waited in its model's queue. */
export const beganAt = ({ arrivedAt, attempts }: RecordedCall): number => arrivedAt + (attempts[0]?.beganMs ?? 0);
