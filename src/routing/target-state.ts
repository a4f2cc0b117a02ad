/**
 * What is known of each target at this moment: attempts under way, health, times, cached prompts. One per server; keyed by target
 * ids, which are the same after a reload of the configuration. Everything is synchronous and in this process.
 */
import { FAILURES, type FailureKind } from "../providers/failure.ts";
import { PrefixCache, type Prompt } from "./affinity.ts";
import { type Breaker, breakerAfter, CLOSED } from "./breaker.ts";
import { Latency } from "./latency.ts";

/** What a call brings to whichever target it goes to. */
export interface Work {
	readonly prompt: Prompt;
	/** The session it belongs to: later calls of it go to the same place. */
	readonly session?: string | undefined;
}

/** How an attempt ended. */
export interface AttemptEnd {
	/** Absent where it succeeded. */
	readonly failure?: FailureKind | undefined;
	/** The upstream's status; absent where it gave none. */
	readonly status?: number | undefined;
	/** How long it asked to be left alone, ms. */
	readonly retryAfterMs?: number | undefined;
	/** Tokens of its answer, where that was whole and they were counted. */
	readonly tokens?: number | undefined;
}

/** An attempt under way. Its times are taken here. */
export interface OpenAttempt {
	/** Since it began its target has answered nobody. */
	readonly targetWasSilent: boolean;
	/** For how long its target has answered nobody, this attempt's time at most, ms. */
	readonly silentMs: number;
	/**
	 * The first piece of a streamed answer is here. Only the first call counts. Not `isTypical`: a model had to be loaded first, which
	 * says nothing of the next call.
	 */
	firstToken(isTypical?: boolean): void;
	/** Must be called; only the first call counts. */
	closed(end: AttemptEnd): void;
}

/** What is known of one target. Live: read it, don't keep it. */
export interface TargetView {
	/** Attempts under way. */
	readonly inFlight: number;
	/** Those of them that wait for their first token. */
	readonly waiting: number;
	/** When the one that waits longest began; undefined where none waits. */
	readonly waitingSince: number | undefined;
	/** Characters they will have to compute, together. */
	readonly queuedCharacters: number;
	readonly breaker: Breaker;
	/** Of streamed answers: from the attempt's beginning to the first token. */
	readonly firstToken: Latency;
	/** Of whole answers: from the attempt's beginning to its end. */
	readonly answer: Latency;
	/** Of those: their tokens, where they were counted. */
	readonly answerTokens: Latency;
	/** What one call adds to the time to the first token of those behind it, ms; undefined where nothing was measured. */
	readonly waitPerCall: Latency;
	/** The last that became of it is a connection that was refused, or cut before a word: nobody is there, as far as is known. */
	readonly isUnreachable?: boolean;
	/** Undefined where it was given no prompt yet. */
	readonly prefixes: PrefixCache | undefined;
	/** Until then it asked to be left alone (`Retry-After`), or its key is out of use; and why. */
	readonly pausedUntil: number;
	readonly pausedFor: string;
}

/** What the plan reads. */
export interface StateView {
	/** Never undefined: of an unknown target, nothing is known. */
	of(target: string): TargetView;
	/** Where a session's last call went. */
	session(name: string): string | undefined;
}

/**
 * Most targets remembered: clients choose the names behind `openrouter/`, and in the place of a `*` in `models:`. Forgotten are
 * those with nothing under way, first those that are well, of them the least recently used.
 */
const MOST_TARGETS = 2_000;
/** Targets whose prompts are remembered, which takes by far the most memory. */
const MOST_CACHES = 500;
/** Most sessions remembered. */
const MOST_SESSIONS = 10_000;

/** Longest that a target's own `Retry-After` keeps calls away, ms: some vendors send hours. */
const LONGEST_PAUSE_MS = 60_000;

class TargetState implements TargetView {
	inFlight = 0;
	queuedCharacters = 0;
	isUnreachable = false;
	breaker = CLOSED;
	prefixes: PrefixCache | undefined = undefined;
	pausedUntil = Number.NEGATIVE_INFINITY;
	pausedFor = "";
	/** Times its breaker has opened. */
	openings = 0;
	/** Which of all uses of targets was its last: attempts that began, and pauses. */
	lastUse = 0;
	readonly firstToken = new Latency();
	readonly answer = new Latency();
	readonly answerTokens = new Latency();
	/** When it last answered anybody. */
	answeredAt = Number.NEGATIVE_INFINITY;
	readonly waitPerCall = new Latency();
	/** Streamed attempts that wait for their first token, the oldest first. */
	readonly unanswered = new Set<TrackedAttempt>();

	get waiting(): number {
		return this.unanswered.size;
	}

	get waitingSince(): number | undefined {
		for (const { startedAt } of this.unanswered) return startedAt;
		return undefined;
	}
}

const UNKNOWN_TARGET: TargetView = new TargetState();

/** The holder. */
export class RoutingState implements StateView {
	readonly #targets = new Map<string, TargetState>();
	readonly #sessions = new Map<string, string>();
	/** Those whose prompts are remembered, the least recently used first. */
	readonly #cached = new Set<TargetState>();
	/** Uses of targets so far. */
	#uses = 0;

	/** @param time a clock that never goes back, ms */
	constructor(private readonly time: () => number = () => performance.now()) {}

	/** Its clock, ms: what plans are made by. */
	now(): number {
		return this.time();
	}

	of(target: string): TargetView {
		return this.#targets.get(target) ?? UNKNOWN_TARGET;
	}

	session(name: string): string | undefined {
		return this.#sessions.get(name);
	}

	/** Targets that are out of use, or once were. */
	*breakers(): Iterable<readonly [string, Breaker["state"]]> {
		for (const [id, { breaker }] of this.#targets) {
			if (breaker.state !== "closed" || breaker.closedAt > Number.NEGATIVE_INFINITY) yield [id, breaker.state];
		}
	}

	/** How often a target was taken out of use. */
	get openings(): number {
		let count = 0;
		for (const { openings } of this.#targets.values()) count += openings;
		return count;
	}

	/** Begins an attempt. Without `work` (nobody had to choose) only its number, health and times are kept. */
	opened(target: string, isStream: boolean, work?: Work): OpenAttempt {
		const known = this.#known(target);
		let uncached = 0;
		if (work) {
			const { prompt, session } = work;
			uncached = known.prefixes?.uncached(prompt) ?? prompt.characters;
			if (prompt.blocks.length > 0) this.#cacheOf(known).add(prompt);
			if (session !== undefined) this.#remember(session, target);
		}
		return new TrackedAttempt(known, this.time, isStream, uncached);
	}

	/** Puts a target behind all others for so long, and says why. Anything it answers well meanwhile ends that. */
	pause(target: string, ms: number, why: string): void {
		const known = this.#known(target);
		known.pausedUntil = this.time() + ms;
		known.pausedFor = why;
	}

	/** Its server was started anew, or put to sleep: its prefix cache is empty. */
	restarted(target: string): void {
		this.#targets.get(target)?.prefixes?.clear();
	}

	#known(target: string): TargetState {
		let known = this.#targets.get(target);
		if (!known) {
			if (this.#targets.size >= MOST_TARGETS) this.#forget();
			known = new TargetState();
			this.#targets.set(target, known);
		}
		known.lastUse = ++this.#uses;
		return known;
	}

	/** Makes room: the least recently used of those that are idle and well; where none is, of those that are idle. */
	#forget(): void {
		let least: string | undefined;
		let leastUse = Number.POSITIVE_INFINITY;
		for (const [id, { inFlight, breaker, lastUse }] of this.#targets) {
			if (inFlight > 0) continue;
			const use = breaker.state === "closed" ? lastUse : lastUse + this.#uses;
			if (use >= leastUse) continue;
			least = id;
			leastUse = use;
		}
		if (least === undefined) return;
		this.#cached.delete(this.#targets.get(least)!);
		this.#targets.delete(least);
	}

	/** A place for a target's prompts. */
	#cacheOf(known: TargetState): PrefixCache {
		if (known.prefixes) this.#cached.delete(known);
		else if (this.#cached.size >= MOST_CACHES) {
			const [oldest] = this.#cached;
			oldest!.prefixes = undefined;
			this.#cached.delete(oldest!);
		}
		this.#cached.add(known);
		known.prefixes ??= new PrefixCache();
		return known.prefixes;
	}

	#remember(session: string, target: string): void {
		this.#sessions.delete(session);
		this.#sessions.set(session, target);
		if (this.#sessions.size <= MOST_SESSIONS) return;
		for (const oldest of this.#sessions.keys()) {
			this.#sessions.delete(oldest);
			return;
		}
	}
}

class TrackedAttempt implements OpenAttempt {
	readonly startedAt: number;
	/** It is to find out whether a target that was out of use is well again, and has not yet. */
	#isToTell: boolean;
	/** Calls that waited for their first token when this one began. */
	readonly #ahead: number;
	/** Its prompt is not computed yet, as far as is known. */
	#isQueued = true;
	#isOpen = true;

	constructor(
		private readonly known: TargetState,
		private readonly time: () => number,
		private readonly isStream: boolean,
		private readonly uncached: number,
	) {
		this.startedAt = time();
		this.#ahead = known.waiting;
		known.inFlight++;
		known.queuedCharacters += uncached;
		if (isStream) known.unanswered.add(this);
		const before = known.breaker;
		if (before.state !== "closed") known.breaker = breakerAfter(before, "begun", this.startedAt);
		this.#isToTell = known.breaker !== before;
	}

	get targetWasSilent(): boolean {
		return this.known.answeredAt < this.startedAt;
	}

	get silentMs(): number {
		return this.time() - Math.max(this.startedAt, this.known.answeredAt);
	}

	firstToken(isTypical = true): void {
		if (!this.#isQueued || !this.isStream) return;
		this.#computed();
		const { known, startedAt } = this;
		const now = this.time();
		known.answeredAt = now;
		known.isUnreachable = false;
		if (isTypical) {
			known.firstToken.add(now - startedAt, now);
			known.waitPerCall.add((now - startedAt) / (this.#ahead + 1), now);
		}
		// A probe has found out what it was for: a long answer need not keep everyone else away.
		if (!this.#isToTell) return;
		this.#isToTell = false;
		known.breaker = breakerAfter(known.breaker, "good", now, true);
	}

	closed({ failure, status, retryAfterMs, tokens }: AttemptEnd): void {
		if (!this.#isOpen) return;
		this.#isOpen = false;
		this.#computed();
		const { known } = this;
		const now = this.time();
		known.inFlight--;
		const before = known.breaker.state;
		known.breaker = breakerAfter(known.breaker, eventOf(failure), now, this.#isToTell);
		if (before !== "open" && known.breaker.state === "open") known.openings++;
		// A dead engine takes no call either, and its memory is empty when it is back.
		const isRefused = (failure === "transport" && status === undefined) || failure === "engine_died";
		if (failure !== "cancelled" && failure !== "internal") known.isUnreachable = isRefused;
		if (failure === undefined) {
			known.pausedUntil = Number.NEGATIVE_INFINITY;
			known.answeredAt = now;
			if (!this.isStream) {
				known.answer.add(now - this.startedAt, now);
				if (tokens !== undefined) known.answerTokens.add(tokens, now);
			}
			return;
		}
		// Nobody listens there any more: whoever comes back has an empty memory.
		if (isRefused) known.prefixes?.clear();
		// When it is back is a guess, and its breaker finds out.
		if (retryAfterMs !== undefined && retryAfterMs > 0 && failure !== "engine_died") {
			known.pausedUntil = now + Math.min(retryAfterMs, LONGEST_PAUSE_MS);
			known.pausedFor = "asked to be left alone";
		}
	}

	#computed(): void {
		if (!this.#isQueued) return;
		this.#isQueued = false;
		this.known.queuedCharacters -= this.uncached;
		this.known.unanswered.delete(this);
	}
}

/** Transport, 5xx and timeouts speak against a target; whatever else it answers shows that it is there. */
function eventOf(failure: FailureKind | undefined): "good" | "bad" | "dead" | "void" {
	if (failure === undefined) return "good";
	if (failure === "cancelled" || failure === "internal") return "void";
	if (failure === "engine_died") return "dead";
	return FAILURES[failure].countsForBreaker ? "bad" : "good";
}
