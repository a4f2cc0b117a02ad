/** What is known of each target, in the heap of the one thread that answers calls. */
import { PrefixCache } from "./affinity.ts";
import { type Breaker, breakerAfter, breakerEventOf, CLOSED } from "./breaker.ts";
import { ConversationTable, makeConversations } from "./conversation-table.ts";
import { HeldBlocks, type HeldReport, MOST_HELD_BLOCKS } from "./held-blocks.ts";
import { Latency } from "./latency.ts";
import { NamedSessions, type SessionHash } from "./named-sessions.ts";
import {
	type AttemptEnd,
	type ExchangedState,
	isRefusal,
	MOST_CACHES,
	MOST_TARGETS,
	NO_LOAD,
	type OpenAttempt,
	type PauseReason,
	pauseAfter,
	type RoutingListener,
	type RoutingState,
	type TargetHealth,
	type TargetLoad,
	type TargetView,
	type Work,
} from "./target-state.ts";

class TargetState implements TargetView {
	inFlight = 0;
	queuedCharacters = 0;
	/** The part of its load that is other routers'. */
	others = NO_LOAD;
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

	constructor(readonly id: string) {}

	get waiting(): number {
		return this.unanswered.size + this.others.waiting;
	}

	get waitingSince(): number | undefined {
		for (const { startedAt } of this.unanswered) return startedAt;
		return undefined;
	}
}

const UNKNOWN_TARGET: TargetView = new TargetState("");

/** The holder of one thread. */
export class LocalRoutingState implements RoutingState, ExchangedState {
	listener: RoutingListener | undefined;
	readonly #targets = new Map<string, TargetState>();
	readonly #sessions = new NamedSessions();
	/** Those whose prompts are remembered, the least recently used first. */
	readonly #cached = new Set<TargetState>();
	/** Uses of targets so far. */
	#uses = 0;
	readonly conversations: ConversationTable;

	/** @param time a clock that never goes back, ms */
	constructor(private readonly time: () => number = () => performance.now()) {
		this.conversations = new ConversationTable(makeConversations(), time);
		this.conversations.onKept = (key, ms) => this.listener?.conversationKept(key, ms);
	}

	now(): number {
		return this.time();
	}

	of(target: string): TargetView {
		return this.#targets.get(target) ?? UNKNOWN_TARGET;
	}

	session(name: string): string | undefined {
		return this.#sessions.get(name);
	}

	*breakers(): Iterable<readonly [string, Breaker["state"]]> {
		for (const [id, { breaker }] of this.#targets) {
			if (breaker.state !== "closed" || breaker.closedAt > Number.NEGATIVE_INFINITY) yield [id, breaker.state];
		}
	}

	get openings(): number {
		let count = 0;
		for (const { openings } of this.#targets.values()) count += openings;
		return count;
	}

	opened(target: string, isStream: boolean, work?: Work): OpenAttempt {
		const known = this.#known(target);
		let uncached = 0;
		if (work) {
			const { prompt, session } = work;
			uncached = known.prefixes?.uncached(prompt) ?? prompt.characters;
			if (prompt.blocks.length > 0) {
				this.#cacheOf(known).add(prompt);
				this.listener?.promptGiven(target, prompt.blocks);
			}
			if (session !== undefined) {
				this.learnSession(session, target);
				this.listener?.sessionMoved(session, target);
			}
		}
		this.listener?.loadChanged(target);
		return new TrackedAttempt(known, this.time, isStream, uncached, this.listener);
	}

	pause(target: string, ms: number, why: PauseReason): void {
		const known = this.#known(target);
		known.pausedUntil = this.time() + ms;
		known.pausedFor = why;
	}

	restarted(target: string): void {
		this.forgetPrompts(target);
		this.listener?.promptsGone(target);
	}

	reported(target: string, report: HeldReport | undefined): void {
		if (!report) {
			const prefixes = this.#targets.get(target)?.prefixes;
			if (prefixes) prefixes.held = undefined;
			return;
		}
		const prefixes = this.#cacheOf(this.#known(target));
		const { held } = prefixes;
		const count = (report.isAll ? 0 : (held?.count ?? 0)) + report.added.length;
		const needsMore = held !== undefined && count > held.most && held.most < MOST_HELD_BLOCKS;
		if (!held || needsMore) prefixes.held = HeldBlocks.larger(held, report.isAll ? count : count * 2);
		prefixes.report(report);
	}

	ownLoad(target: string): TargetLoad {
		const known = this.#targets.get(target);
		return known ? ownPart(known) : NO_LOAD;
	}

	*ownLoads(): Iterable<readonly [string, TargetLoad]> {
		for (const [id, known] of this.#targets) if (known.inFlight > known.others.inFlight) yield [id, ownPart(known)];
	}

	setOthers(target: string, load: TargetLoad): void {
		const known = load.inFlight > 0 ? this.#known(target) : this.#targets.get(target);
		if (!known) return;
		known.inFlight += load.inFlight - known.others.inFlight;
		known.queuedCharacters += load.queuedCharacters - known.others.queuedCharacters;
		known.others = load;
	}

	learnPrompt(target: string, blocks: Int32Array): void {
		this.#cacheOf(this.#known(target)).add({ blocks });
	}

	forgetPrompts(target: string): void {
		this.#targets.get(target)?.prefixes?.clear();
	}

	learnSession(session: string, target: string): void {
		this.#sessions.set(session, target);
	}

	learnHashedSession(hash: SessionHash, target: string): void {
		this.#sessions.setHashed(hash, target);
	}

	healths(): Iterable<readonly [string, TargetHealth]> {
		return this.#targets;
	}

	learnHealth(target: string, health: TargetHealth): void {
		Object.assign(this.#known(target), health);
	}

	*prompts(): Iterable<readonly [string, () => Int32Array]> {
		for (const { id, prefixes } of [...this.#cached].reverse()) if (prefixes) yield [id, () => prefixes.recent()];
	}

	sessions(): Iterable<readonly [string, string]> {
		return this.#sessions.named();
	}

	hashedSessions(): Iterable<readonly [SessionHash, string]> {
		return this.#sessions.hashed();
	}

	#known(target: string): TargetState {
		let known = this.#targets.get(target);
		if (!known) {
			if (this.#targets.size >= MOST_TARGETS) this.#forget();
			known = new TargetState(target);
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
}

function ownPart({ inFlight, queuedCharacters, unanswered, others }: TargetState): TargetLoad {
	return {
		inFlight: inFlight - others.inFlight,
		waiting: unanswered.size,
		queuedCharacters: queuedCharacters - others.queuedCharacters,
	};
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
		private readonly listener: RoutingListener | undefined,
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

	closed(end: AttemptEnd): void {
		if (!this.#isOpen) return;
		this.#isOpen = false;
		this.#computed();
		const { known } = this;
		const { failure } = end;
		const now = this.time();
		known.inFlight--;
		this.listener?.loadChanged(known.id);
		const before = known.breaker.state;
		known.breaker = breakerAfter(known.breaker, breakerEventOf(failure), now, this.#isToTell);
		if (before !== "open" && known.breaker.state === "open") known.openings++;
		if (failure === undefined) {
			known.isUnreachable = false;
			known.pausedUntil = Number.NEGATIVE_INFINITY;
			known.answeredAt = now;
			if (!this.isStream) {
				known.answer.add(now - this.startedAt, now);
				if (end.tokens !== undefined) known.answerTokens.add(end.tokens, now);
			}
			return;
		}
		const isRefused = isRefusal(end);
		if (failure !== "cancelled" && failure !== "internal") known.isUnreachable = isRefused;
		if (isRefused) this.#emptied(before);
		const pauseMs = pauseAfter(end);
		if (pauseMs > 0) {
			known.pausedUntil = now + pauseMs;
			known.pausedFor = "asked to be left alone";
		}
	}

	#computed(): void {
		if (!this.#isQueued) return;
		this.#isQueued = false;
		this.known.queuedCharacters -= this.uncached;
		this.known.unanswered.delete(this);
		this.listener?.loadChanged(this.known.id);
	}

	/**
	 * Nobody listens there any more: whoever comes back has an empty memory. Other routers are told where it was well before: what is found
	 * out of one that is out of use may be about this router's network alone.
	 */
	#emptied(before: Breaker["state"]): void {
		this.known.prefixes?.clear();
		if (before === "closed") this.listener?.promptsGone(this.known.id);
	}
}
