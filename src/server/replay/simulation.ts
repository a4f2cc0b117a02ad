/**
 * Recorded calls, decided again one after the other: each is planned in the state that those before it have left, and takes what its target takes. Nothing
 * is called, and time passes from event to event.
 */
import { BLOCK, LruSet, type Prompt } from "../../routing/affinity.ts";
import { LocalRoutingState } from "../../routing/local-routing-state.ts";
import type { Policy } from "../../routing/route.ts";
import type { OpenAttempt } from "../../routing/target-state.ts";
import { computedCharacters, type RecordedCall } from "./recorded-call.ts";
import { beganAt, type RecordedTraffic } from "./recorded-traffic.ts";
import {
	type CachedPart,
	isPlanned,
	type PlannedCall,
	promptOfCall,
	replannedTarget,
	uncachedAt,
} from "./replayed-plan.ts";
import { LEAST_MS } from "./service-times.ts";
import { TimedEvents } from "./timed-events.ts";

/** What would have become of a call. */
export interface ReplayedCall {
	readonly call: RecordedCall;
	/** Where it would have run. */
	readonly target: string | undefined;
	/** From its arrival to its first token, or to its answer where that is no stream, ms. */
	readonly waitMs: number;
	/** USD; undefined where nobody knows. */
	readonly cost: number | undefined;
	/** Nothing was seen of its target: how long that takes is a guess. */
	readonly isGuess: boolean;
}

/** What is to be tried. */
export interface ReplayTerms {
	/** Undefined: as it was. */
	readonly policy: Policy | undefined;
	/** Calls that it is tried with; the others go where they went. */
	isAsked(call: RecordedCall): boolean;
}

/** A call that took longer by more than that than its length says was held up by something that it brings nowhere. */
const MOST_RATIO = 10;
/** Blocks of prompts that the calls so far have brought: what a replica has of others it had before. */
const MOST_BROUGHT = 1_000_000;
/** What a target was measured by before takes no part in anything else. */
const NOT_TIMED = { failure: "cancelled" } as const;

/** Waits as they were, ms: to the first token, or to the answer. */
export const recordedWait = ({ isStream, firstTokenMs, ms }: RecordedCall): number =>
	isStream ? (firstTokenMs ?? ms) : ms;

/** Replays calls. In the order of the traffic's. */
export function replayTraffic(traffic: RecordedTraffic, options: ReplayTerms): ReplayedCall[] {
	return new Simulation(traffic, options).run();
}

class Simulation {
	#now = 0;
	readonly #events = new TimedEvents();
	readonly #state = new LocalRoutingState(() => this.#now);
	/** When each queue has its last prompt's first token. */
	readonly #freeAt = new Map<string, number>();
	readonly #brought = new LruSet(MOST_BROUGHT);
	/** Where the prompts of conversations went, by their hashes: there a vendor's cache has them. */
	readonly #conversations = new Map<string, string>();
	readonly #outcomes = new Map<RecordedCall, ReplayedCall>();

	constructor(
		private readonly traffic: RecordedTraffic,
		private readonly options: ReplayTerms,
	) {}

	run(): ReplayedCall[] {
		const { calls } = this.traffic;
		for (const call of calls) {
			this.#runUntil(beganAt(call));
			this.#begin(call);
		}
		this.#runUntil(Number.POSITIVE_INFINITY);
		return calls.map((call) => this.#outcomes.get(call)!);
	}

	#runUntil(time: number): void {
		while (this.#events.next <= time && this.#events.next < Number.POSITIVE_INFINITY) {
			this.#now = this.#events.next;
			this.#events.take()!();
		}
		if (time < Number.POSITIVE_INFINITY) this.#now = time;
	}

	#begin(call: RecordedCall): void {
		const [first] = call.attempts;
		this.#outcomes.set(call, asItWas(call));
		if (!first) return;
		if (!isPlanned(call)) {
			this.#asRecorded(call, undefined);
			return;
		}
		const prompt = promptOfCall(call);
		this.#remember(call, prompt);
		const policy = this.options.isAsked(call) ? this.options.policy : undefined;
		const cached = this.#cached(call);
		const target = replannedTarget(call, prompt, this.#state, this.#now, policy, cached) ?? first.target;
		const { conversation } = call.plan;
		if (conversation) this.#conversations.set(conversation.whole, target);
		if (target === first.target) this.#asRecorded(call, prompt);
		else this.#elsewhere(call, target, prompt, cached);
	}

	/** As many tokens as were found in a cache then, wherever that was. */
	#cached({ plan: { conversation, candidates } }: PlannedCall): CachedPart | undefined {
		const found = candidates.find(({ inputs }) => inputs.cached_tokens !== undefined);
		if (!found) return undefined;
		const earlier = conversation?.earlier;
		const target = (earlier !== undefined ? this.#conversations.get(earlier) : undefined) ?? found.id;
		return { target, tokens: found.inputs.cached_tokens! };
	}

	/** It goes where it went, also from one target to the next. */
	#asRecorded(call: RecordedCall, prompt: Prompt | undefined): void {
		const answer = this.traffic.answerOf(call);
		for (const attempt of call.attempts) {
			this.#at(call.arrivedAt + attempt.beganMs, () => {
				if (attempt.isAnswer && answer?.target === attempt.target) this.#answer(call, attempt.target, prompt);
				else this.#failing(call, attempt.target, attempt.ms, prompt);
			});
		}
	}

	/** It goes elsewhere, and is answered there if it was answered at all. */
	#elsewhere(call: PlannedCall, target: string, prompt: Prompt, cached: CachedPart | undefined): void {
		if (this.traffic.answerOf(call)) {
			this.#answer(call, target, prompt, cached);
			return;
		}
		const candidate = call.plan.candidates.find(({ id }) => id === target);
		// It was charged for all the same: its client left before a first token came.
		const cost = call.cost === undefined ? undefined : candidate && this.traffic.costAt(call, candidate);
		this.#outcomes.set(call, { ...asItWas(call), target, cost, isGuess: this.traffic.times.of(target).isGuess });
		this.#failing(call, target, Math.max(0, call.arrivedAt + call.ms - this.#now), prompt);
	}

	#failing(call: RecordedCall, target: string, ms: number, prompt: Prompt | undefined): void {
		const attempt = this.#open(call, target, prompt);
		this.#at(this.#now + ms, () => attempt.closed(NOT_TIMED));
	}

	/** The attempt that answers. */
	#answer(call: RecordedCall, target: string, prompt: Prompt | undefined, cached?: CachedPart): void {
		const characters = this.#characters(call, target, prompt);
		const attempt = this.#open(call, target, prompt);
		const { firstAt, endedAt } = this.#timed(call, target, characters);
		if (firstAt !== undefined) this.#at(firstAt, () => attempt.firstToken());
		this.#at(endedAt, () => attempt.closed({ tokens: call.tokens?.output }));
		const candidate = call.plan?.candidates.find(({ id }) => id === target);
		// What the router does with an answer that is whole.
		const behindMs = Math.max(0, call.arrivedAt + call.ms - this.traffic.answerOf(call)!.endedAt);
		const tokensAt = cached?.target === target ? cached.tokens : 0;
		this.#outcomes.set(call, {
			call,
			target,
			waitMs: (firstAt ?? endedAt + behindMs) - call.arrivedAt,
			cost: target === call.target ? call.cost : candidate && this.traffic.costAt(call, candidate, tokensAt),
			isGuess: this.traffic.times.of(target).isGuess,
		});
	}

	/**
	 * When its first token is there, and its end. What made this call slower or faster than others does so at the same target, and at its equals; elsewhere it
	 * takes as much longer as one of the answers there.
	 */
	#timed(call: RecordedCall, target: string, characters: number): { firstAt: number | undefined; endedAt: number } {
		const now = this.#now;
		const { times } = this.traffic;
		const live = this.traffic.answerOf(call)!;
		const [its, own] = [times.of(target), times.of(live.target)];
		const isEqual = times.areEquals(target, live.target);
		const isSame = target === live.target && characters === live.characters;
		const { tokensOut } = live;
		const chance = Bun.hash.xxHash32(call.id) / 2 ** 32;
		if (live.firstAt === undefined) {
			const liveMs = live.endedAt - live.beganAt;
			const ratio = isEqual ? liveMs / own.whole(live.characters, tokensOut) : its.spread.whole(chance);
			return { firstAt: undefined, endedAt: now + (isSame ? liveMs : its.whole(characters, tokensOut) * ratio) };
		}
		const delayMs = its.isQueue ? Math.max(0, (this.#freeAt.get(target) ?? now) - now) : 0;
		// Less than nothing of one that was computed beside those before it.
		const ownMs = live.firstAt - live.beganAt - live.delayMs;
		const ratio = isEqual ? Math.max(LEAST_MS, ownMs) / own.prompt(live.characters) : its.spread.prompt(chance);
		const promptMs = isSame ? ownMs : its.prompt(characters) * Math.min(MOST_RATIO, ratio);
		const firstAt = now + Math.max(LEAST_MS, delayMs + promptMs);
		if (its.isQueue) this.#freeAt.set(target, now + Math.max(delayMs, delayMs + promptMs));
		const answerMs = isEqual ? live.endedAt - live.firstAt : tokensOut * its.token * its.spread.token(chance);
		return { firstAt, endedAt: firstAt + answerMs };
	}

	#characters(call: RecordedCall, target: string, prompt: Prompt | undefined): number {
		if (!prompt) return computedCharacters(call, target);
		const candidate = call.plan?.candidates.find(({ id }) => id === target);
		if (candidate?.kind !== "local") return computedCharacters(call, target);
		return uncachedAt(this.#state.of(target), prompt, candidate.inputs.uncached_characters);
	}

	#open(call: RecordedCall, target: string, prompt: Prompt | undefined): OpenAttempt {
		return this.#state.opened(target, call.isStream, prompt && { prompt, session: call.plan?.session });
	}

	/** What the router knew from before these calls: of times, of prompts, and of where the session was. */
	#remember(call: PlannedCall, { characters, blocks }: Prompt): void {
		const { candidates, session } = call.plan;
		let brought = 0;
		while (brought < blocks.length && this.#brought.has(blocks[brought]!)) brought++;
		for (const { id, kind, inputs } of candidates) {
			const known = this.#state.of(id)[call.isStream ? "firstToken" : "answer"].count > 0;
			if (!known && inputs.time_ms !== undefined) this.#measured(id, call.isStream, inputs.time_ms);
			if (kind !== "local" || inputs.uncached_characters === undefined) continue;
			const had = Math.floor((characters - inputs.uncached_characters) / BLOCK);
			if (had > brought + brought / 16 + 1) this.#state.learnPrompt(id, blocks.subarray(0, had));
		}
		for (const block of blocks) this.#brought.add(block);
		const isPlaced = candidates[0]!.score === STAYED;
		if (session !== undefined && isPlaced && this.#state.session(session) === undefined) {
			this.#state.learnSession(session, candidates[0]!.id);
		}
	}

	#measured(target: string, isStream: boolean, ms: number): void {
		this.#now -= ms;
		const attempt = this.#state.opened(target, isStream);
		this.#now += ms;
		attempt.firstToken();
		attempt.closed({});
	}

	#at(time: number, run: () => void): void {
		if (time <= this.#now) run();
		else this.#events.add(time, run);
	}
}

/** The score of a target that has the session, or the conversation. */
const STAYED = -1;

const asItWas = (call: RecordedCall): ReplayedCall => {
	return { call, target: call.target, waitMs: recordedWait(call), cost: call.cost, isGuess: false };
};
