/**
 * How long targets take, as far as calls have shown: what a prompt takes until its first token, by its length, and what each token behind it does;
 * and whether prompts wait for one another there. Pure.
 */
import { linearFit } from "./linear-fit.ts";
import { computedCharacters, type RecordedCall } from "./recorded-call.ts";

/** An answer that a call got. Times in ms, on one clock. */
export interface ObservedAnswer {
	readonly call: RecordedCall;
	readonly beganAt: number;
	/** Undefined where it was no stream. */
	readonly firstAt: number | undefined;
	readonly endedAt: number;
	/** Characters of its prompt that had to be computed. */
	readonly characters: number;
	readonly tokensOut: number;
}

/** How long a target takes, ms. */
export interface ServiceTimes {
	/** It computes one prompt after the other, so that they wait for each other; else a prompt takes as long whatever else is there. */
	readonly isQueue: boolean;
	/** A prompt of so many characters, without waiting. */
	prompt(characters: number): number;
	/** Each token of an answer. */
	readonly token: number;
	/** An answer that is no stream. */
	whole(characters: number, tokensOut: number): number;
	/** How much longer than that it took, as one of its answers did: by a number, which chooses that. */
	readonly spread: { prompt(chance: number): number; token(chance: number): number; whole(chance: number): number };
	/** Nothing was seen of it: what others take stands for it. */
	readonly isGuess: boolean;
}

/** With fewer answers of its own a target is like its equals. */
const ENOUGH = 8;
/** What is not likely has to explain the times to the first token better by so much: a queue at a vendor, and none before an engine. */
const CLEARLY = 0.9;
/** One of few factors must not be taken for exact. */
export const LEAST_MS = 0.05;

/** The answers of calls, by target. */
export function observedAnswers(calls: readonly RecordedCall[]): ReadonlyMap<string, readonly ObservedAnswer[]> {
	const found = new Map<string, ObservedAnswer[]>();
	for (const call of calls) {
		const answer = call.attempts.findLast(({ isAnswer }) => isAnswer);
		if (!answer || (call.isStream && call.firstTokenMs === undefined)) continue;
		const beganAt = call.arrivedAt + answer.beganMs;
		const firstAt = call.isStream ? Math.max(beganAt, call.arrivedAt + call.firstTokenMs!) : undefined;
		const endedAt = Math.max(firstAt ?? 0, beganAt + answer.ms);
		const characters = computedCharacters(call, answer.target);
		const observed = { call, beganAt, firstAt, endedAt, characters, tokensOut: call.tokens?.output ?? 0 };
		const its = found.get(answer.target);
		if (its) its.push(observed);
		else found.set(answer.target, [observed]);
	}
	for (const answers of found.values()) answers.sort((one, other) => one.beganAt - other.beganAt);
	return found;
}

/** How long each prompt of a queue waited for those before it, ms: until they had their first tokens. In the order of their beginnings. */
export function queueDelays(streams: readonly ObservedAnswer[]): number[] {
	let free = Number.NEGATIVE_INFINITY;
	return streams.map(({ beganAt, firstAt }) => {
		const ms = Math.max(0, free - beganAt);
		free = Math.max(free, firstAt!);
		return ms;
	});
}

/** How long each took by itself, ms. A short one may be computed beside those before it, and takes next to nothing then. */
export function queueTimes(streams: readonly ObservedAnswer[]): number[] {
	const delays = queueDelays(streams);
	return streams.map(({ beganAt, firstAt }, at) => Math.max(LEAST_MS, firstAt! - beganAt - delays[at]!));
}

/** What these answers show of targets that are alike, a list of each. @param isEngine it is one engine @param isGuess they are not those of the target that is asked for */
export function serviceTimes(
	answers: readonly (readonly ObservedAnswer[])[],
	isEngine: boolean,
	isGuess = false,
): ServiceTimes {
	const queues = answers.map((its) => its.filter(({ firstAt }) => firstAt !== undefined));
	const streams = queues.flat();
	const wholes = answers.flat().filter(({ firstAt }) => firstAt === undefined);
	const byLength = streams.map(({ characters }) => [1, characters]);
	const asOne = lineOf(linearFit(byLength, queues.flatMap(queueTimes)));
	const beside = lineOf(
		linearFit(
			byLength,
			streams.map(({ beganAt, firstAt }) => firstAt! - beganAt),
		),
	);
	const missed = (prompt: ServiceTimes["prompt"], waits: boolean) =>
		queues.reduce((sum, its) => sum + missOf(its, prompt, waits), 0);
	const [queued, unqueued] = [missed(asOne, true), missed(beside, false)];
	const isQueue = isEngine ? queued * CLEARLY <= unqueued : queued < unqueued * CLEARLY;
	const perTokens = streams.flatMap(({ firstAt, endedAt, tokensOut }) =>
		tokensOut > 1 ? [(endedAt - firstAt!) / tokensOut] : [],
	);
	const wholeFactors = wholes.map(({ characters, tokensOut }) => [1, characters, tokensOut]);
	const wholeMs = wholes.map(({ beganAt, endedAt }) => endedAt - beganAt);
	const [base = 0, perCharacter = 0, perToken = 0] = linearFit(wholeFactors, wholeMs);
	const prompt = streams.length === 0 ? lineOf([base, perCharacter]) : isQueue ? asOne : beside;
	const token = median(perTokens) ?? perToken;
	const whole = (characters: number, tokensOut: number): number => {
		if (wholes.length === 0) return prompt(characters) + token * tokensOut;
		return Math.max(LEAST_MS, base + perCharacter * characters + perToken * tokensOut);
	};
	const promptMs = queues.flatMap((its) =>
		isQueue ? queueTimes(its) : its.map(({ beganAt, firstAt }) => firstAt! - beganAt),
	);
	return {
		...{ isQueue, prompt, token, whole, isGuess },
		spread: {
			prompt: oneOf(streams.map(({ characters }, at) => promptMs[at]! / prompt(characters))),
			token: oneOf(token > 0 ? perTokens.map((ms) => ms / token) : []),
			whole: oneOf(wholes.map(({ characters, tokensOut }, at) => wholeMs[at]! / whole(characters, tokensOut))),
		},
	};
}

/** One of these values, by a number from 0 to 1; 1 where there are none. */
const oneOf =
	(values: readonly number[]) =>
	(chance: number): number =>
		values[Math.floor(chance * values.length)] ?? 1;

const lineOf =
	([base = 0, perCharacter = 0]: readonly number[]) =>
	(characters: number): number =>
		Math.max(LEAST_MS, base + perCharacter * characters);

/** How far first tokens are from where they should be, ms in all. */
function missOf(streams: readonly ObservedAnswer[], prompt: (characters: number) => number, isQueue: boolean): number {
	let free = Number.NEGATIVE_INFINITY;
	let miss = 0;
	for (const { beganAt, firstAt, characters } of streams) {
		free = (isQueue ? Math.max(beganAt, free) : beganAt) + prompt(characters);
		miss += Math.abs(firstAt! - free);
	}
	return miss;
}

/** What is known of targets besides their answers, by their ids. */
export interface TargetFacts {
	/** It is one engine, not a vendor's many. */
	readonly isEngine: boolean;
	/** Targets of one kin are equals; undefined: it has none. */
	readonly kin: string | undefined;
	/** The time to its first token that the router knew, ms; undefined where it knew none. */
	readonly toldMs: number | undefined;
}

/** The times of all targets, asked by their ids. */
export class AllServiceTimes {
	readonly #known = new Map<string, ServiceTimes>();

	constructor(
		private readonly answers: ReadonlyMap<string, readonly ObservedAnswer[]>,
		private readonly facts: ReadonlyMap<string, TargetFacts>,
	) {}

	/** Whether what a call took at one of them says what it takes at the other. */
	areEquals(one: string, other: string): boolean {
		const kin = this.facts.get(one)?.kin;
		return one === other || (kin !== undefined && kin === this.facts.get(other)?.kin);
	}

	/** Of a target; of its equals where little was seen of it, and of all targets where nothing was seen of those. */
	of(target: string): ServiceTimes {
		let found = this.#known.get(target);
		if (!found) {
			found = this.#made(target);
			this.#known.set(target, found);
		}
		return found;
	}

	#made(target: string): ServiceTimes {
		const { isEngine = false, toldMs } = this.facts.get(target) ?? {};
		const own = this.answers.get(target) ?? [];
		if (own.length >= ENOUGH) return serviceTimes([own], isEngine);
		const equals = [...this.answers].flatMap(([id, its]) => (this.areEquals(target, id) ? [its] : []));
		const isUnseen = own.length === 0;
		if (equals.reduce((sum, its) => sum + its.length, 0) >= ENOUGH) return serviceTimes(equals, isEngine, isUnseen);
		if (!isUnseen) return serviceTimes([own], isEngine);
		const others = serviceTimes([...this.answers.values()], false, true);
		return toldMs === undefined ? others : { ...others, isQueue: false, prompt: () => toldMs };
	}
}

/** Undefined of none. */
export function median(values: readonly number[]): number | undefined {
	return percentile(values, 0.5);
}

/** The value that this share of them keeps within; undefined of none. */
export function percentile(values: readonly number[], share: number): number | undefined {
	const sorted = [...values].sort((one, other) => one - other);
	return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
}
