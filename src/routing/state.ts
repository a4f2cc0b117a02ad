/**
 * What is known of each target at this moment: attempts under way, health, times, cached prompts. One per server; keyed by target
 * ids, which are the same after a reload of the configuration. Everything is synchronous and in this process.
 */
import { FAILURES, type FailureKind } from "../providers/failure.ts";
import { PrefixCache, type Prompt } from "./affinity.ts";
import { type Breaker, breakerAfter, CLOSED } from "./breaker.ts";
import { Latency } from "./latency.ts";

/** What an attempt means for its target. */
export interface Work {
	/** The call's prompt. */
	readonly prompt: Prompt;
	/** Characters of it that the target will have to compute. */
	readonly uncached: number;
	/** The session it belongs to: later calls of it go to the same place. */
	readonly session?: string | undefined;
	/** An answer in pieces is expected: its first token will be told. */
	readonly isStream: boolean;
}

/** How an attempt ended. */
export interface AttemptEnd {
	/** Absent where it succeeded. */
	readonly failure?: FailureKind | undefined;
	/** The upstream's status; absent where it gave none. */
	readonly status?: number | undefined;
}

/** An attempt under way. Its times are taken here. */
export interface OpenAttempt {
	/** It finds out whether a target that was out of use is well again. */
	readonly isProbe: boolean;
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
	/** Characters they will have to compute, together. */
	readonly queued: number;
	readonly breaker: Breaker;
	/** Of streamed answers: from the attempt's beginning to the first token. */
	readonly firstToken: Latency;
	/** Of whole answers: from the attempt's beginning to its end. */
	readonly answer: Latency;
	/** What one call adds to the time to the first token of those behind it, ms; undefined where nothing was measured. */
	readonly turn: Latency;
	/** Undefined where it was given no prompt yet. */
	readonly prefixes: PrefixCache | undefined;
}

/** What the plan reads. */
export interface StateView {
	/** Never undefined: of an unknown target, nothing is known. */
	of(target: string): TargetView;
	/** Where a session's last call went. */
	session(name: string): string | undefined;
}

/** Most targets remembered: clients choose the names behind `openrouter/`. Those with nothing under way are forgotten first. */
const MOST_TARGETS = 2_000;
/** Most sessions remembered. */
const MOST_SESSIONS = 10_000;

interface Known extends TargetView {
	inFlight: number;
	waiting: number;
	queued: number;
	breaker: Breaker;
	prefixes: PrefixCache | undefined;
}

const newlyKnown = (): Known => ({
	inFlight: 0,
	waiting: 0,
	queued: 0,
	breaker: CLOSED,
	firstToken: new Latency(),
	answer: new Latency(),
	turn: new Latency(),
	prefixes: undefined,
});

const UNKNOWN: TargetView = Object.freeze(newlyKnown());

/** The holder. */
export class RoutingState implements StateView {
	readonly #targets = new Map<string, Known>();
	readonly #sessions = new Map<string, string>();

	/** @param time a clock that never goes back, ms */
	constructor(private readonly time: () => number = () => performance.now()) {}

	/** Its clock, ms: what plans are made by. */
	now(): number {
		return this.time();
	}

	of(target: string): TargetView {
		return this.#targets.get(target) ?? UNKNOWN;
	}

	session(name: string): string | undefined {
		return this.#sessions.get(name);
	}

	/** All targets that anything is known of. */
	entries(): IterableIterator<[string, TargetView]> {
		return this.#targets.entries();
	}

	/** Begins an attempt. Without `work` (nobody had to choose) only its number, health and times are kept. */
	opened(target: string, isStream: boolean, work?: Work): OpenAttempt {
		const known = this.#known(target);
		const now = this.time();
		const attempt = new Attempt(known, this.time, now, isStream, work?.uncached ?? 0);
		if (!work) return attempt;
		if (work.prompt.blocks.length > 0) {
			known.prefixes ??= new PrefixCache();
			known.prefixes.add(work.prompt);
		}
		if (work.session !== undefined) this.#remember(work.session, target);
		return attempt;
	}

	#known(target: string): Known {
		let known = this.#targets.get(target);
		if (!known) {
			if (this.#targets.size >= MOST_TARGETS) this.#forget();
			known = newlyKnown();
			this.#targets.set(target, known);
		}
		return known;
	}

	/** Makes room: the first to come that is idle and well. */
	#forget(): void {
		for (const [id, { inFlight, breaker }] of this.#targets) {
			if (inFlight > 0 || breaker.state !== "closed") continue;
			this.#targets.delete(id);
			return;
		}
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

class Attempt implements OpenAttempt {
	readonly isProbe: boolean;
	/** Calls that waited for their first token when this one began. */
	readonly #ahead: number;
	#isWaiting = true;
	#isOpen = true;

	constructor(
		private readonly known: Known,
		private readonly time: () => number,
		private readonly startedAt: number,
		private readonly isStream: boolean,
		private readonly uncached: number,
	) {
		this.#ahead = known.waiting;
		known.inFlight++;
		if (isStream) known.waiting++;
		known.queued += uncached;
		const before = known.breaker;
		known.breaker = breakerAfter(before, "begun", startedAt);
		this.isProbe = known.breaker !== before;
	}

	firstToken(isTypical = true): void {
		if (!this.#isWaiting || !this.#isOpen) return;
		this.#served();
		if (!this.isStream) return;
		const now = this.time();
		const ms = now - this.startedAt;
		if (isTypical) {
			this.known.firstToken.add(ms, now);
			this.known.turn.add(ms / (this.#ahead + 1), now);
		}
		// A probe has found out what it was for: a long answer need not keep everyone else away.
		if (this.isProbe) this.known.breaker = breakerAfter(this.known.breaker, "good", now, true);
	}

	closed({ failure, status }: AttemptEnd): void {
		if (!this.#isOpen) return;
		this.#served();
		this.#isOpen = false;
		const { known } = this;
		known.inFlight--;
		const now = this.time();
		if (!failure && !this.isStream) known.answer.add(now - this.startedAt, now);
		known.breaker = breakerAfter(known.breaker, eventOf(failure), now, this.isProbe);
		// Nobody listens there any more: whoever comes back has an empty memory.
		if (failure === "transport" && status === undefined) known.prefixes?.clear();
	}

	/** Its prompt is computed. */
	#served(): void {
		if (!this.#isWaiting) return;
		this.#isWaiting = false;
		if (this.isStream) this.known.waiting--;
		this.known.queued -= this.uncached;
	}
}

/** Transport, 5xx and timeouts speak against a target; whatever else it answers shows that it is there. */
function eventOf(failure: FailureKind | undefined): "good" | "bad" | "void" {
	if (failure === undefined) return "good";
	if (failure === "cancelled" || failure === "internal") return "void";
	return FAILURES[failure].breaker ? "bad" : "good";
}
