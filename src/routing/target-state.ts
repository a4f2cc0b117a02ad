/**
 * What is known of each target at this moment, as calls see it: attempts under way, health, times, cached prompts. One holder per server,
 * keyed by target ids, which are the same after a reload of the configuration. Everything is synchronous. With one worker it is in this
 * process's heap (./local-routing-state.ts), with several in memory that all threads share (./shared-routing-state.ts).
 */
import type { FailureKind } from "../providers/failure.ts";
import type { PrefixCache, Prompt } from "./affinity.ts";
import type { Breaker } from "./breaker.ts";
import type { ConversationKey, ConversationTable } from "./conversation-table.ts";
import type { HeldReport } from "./held-blocks.ts";
import type { LatencyView } from "./latency.ts";

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

/** What is under way at a target. */
export interface TargetLoad {
	/** Attempts. */
	readonly inFlight: number;
	/** Those of them that wait for their first token. */
	readonly waiting: number;
	/** Characters they will have to compute, together. */
	readonly queuedCharacters: number;
}

/** What is known of one target. Live: read it, don't keep it. Its load is that of all routers that share a Redis, the rest is what this one has met. */
export interface TargetView extends TargetLoad {
	/** When the attempt of this router that waits longest began; undefined where none waits. */
	readonly waitingSince: number | undefined;
	readonly breaker: Breaker;
	/** Of streamed answers: from the attempt's beginning to the first token. */
	readonly firstToken: LatencyView;
	/** Of whole answers: from the attempt's beginning to its end. */
	readonly answer: LatencyView;
	/** Of those: their tokens, where they were counted. */
	readonly answerTokens: LatencyView;
	/** What one call adds to the time to the first token of those behind it, ms; undefined where nothing was measured. */
	readonly waitPerCall: LatencyView;
	/** The last that became of it is a connection that was refused, or cut before a word: nobody is there, as far as is known. */
	readonly isUnreachable?: boolean;
	/** Undefined where it was given no prompt yet. */
	readonly prefixes: PrefixCache | undefined;
	/** Until then it asked to be left alone (`Retry-After`), or its key is out of use; and why. */
	readonly pausedUntil: number;
	readonly pausedFor: string;
}

/** Of a target with nothing under way. */
export const NO_LOAD: TargetLoad = { inFlight: 0, waiting: 0, queuedCharacters: 0 };

/** What the plan reads. */
export interface StateView {
	/** Never undefined: of an unknown target, nothing is known. */
	of(target: string): TargetView;
	/** Where a session's last call went. */
	session(name: string): string | undefined;
	/** Which conversations vendors' prompt caches have. */
	readonly conversations: ConversationTable;
}

/** The holder. Its times are ms on the clock of the thread that asks: `now()`, `performance.now()` outside of tests. */
export interface RoutingState extends StateView {
	/** Its clock, ms: what plans are made by. */
	now(): number;
	/** Targets that are out of use, or once were. */
	breakers(): Iterable<readonly [string, Breaker["state"]]>;
	/** How often a target was taken out of use. */
	readonly openings: number;
	/** Begins an attempt. Without `work` (nobody had to choose) only its number, health and times are remembered. */
	opened(target: string, isStream: boolean, work?: Work): OpenAttempt;
	/** Puts a target behind all others for so long, and says why. Anything it answers well meanwhile ends that. */
	pause(target: string, ms: number, why: PauseReason): void;
	/** Its server was started anew, or put to sleep: its prefix cache is empty. */
	restarted(target: string): void;
	/** Its agent says what its engine has in its prefix cache; undefined: it says that no longer. */
	reported(target: string, report: HeldReport | undefined): void;
}

/** Told of what other routers want to know, on the path of each call: it may take a note, and nothing else. */
export interface RoutingListener {
	/** What this router has under way at a target is another number now. */
	loadChanged(target: string): void;
	/** A target was given a prompt of these blocks. */
	promptGiven(target: string, blocks: Int32Array): void;
	/** A target's prefix cache became empty. */
	promptsGone(target: string): void;
	/** A session's call went to a target. */
	sessionMoved(session: string, target: string): void;
	/** A vendor's cache has a conversation for so long from now on, ms. */
	conversationKept(key: ConversationKey, ms: number): void;
}

/** What routers that share a Redis read of a holder, and write to it. What they write is told to no listener. */
export interface ExchangedState {
	/** Told of what changes here. */
	listener: RoutingListener | undefined;
	/** The part of a target's load that is this router's own. */
	ownLoad(target: string): TargetLoad;
	/** The same of all targets where it has calls under way. */
	ownLoads(): Iterable<readonly [target: string, load: TargetLoad]>;
	/** The part of a target's load that is other routers', from now on. */
	setOthers(target: string, load: TargetLoad): void;
	/** Another router gave a target a prompt of these blocks. */
	learnPrompt(target: string, blocks: Int32Array): void;
	/** Another router says that a target's prefix cache is empty. */
	forgetPrompts(target: string): void;
	/** Where the last call of a session went. */
	learnSession(session: string, target: string): void;
	/** Which conversations vendors' prompt caches have. */
	readonly conversations: Pick<ConversationTable, "learn" | "all">;
	/** Blocks that targets were given, of the target that was used last first, the most recent block first. */
	prompts(): Iterable<readonly [target: string, blocks: () => Int32Array]>;
	/** Where the last calls of sessions went, the most recent last. */
	sessions(): Iterable<readonly [session: string, target: string]>;
}

/** Whether a target is well: what a process that takes this one's place goes on with. Times on the holder's clock, ms. */
export interface TargetHealth {
	readonly breaker: Breaker;
	readonly pausedUntil: number;
	readonly pausedFor: string;
}

/** Why a target is paused; the first: it is not. */
export const PAUSE_REASONS = ["", "asked to be left alone", "its key is out of use"] as const;
/** One of them. */
export type PauseReason = (typeof PAUSE_REASONS)[number];

/** The reason that another process gives; of one that this version does not know, the most common one. */
export const pauseReasonOf = (text: string): PauseReason =>
	PAUSE_REASONS.find((reason) => reason === text) ?? "asked to be left alone";

/**
 * Most targets remembered: clients choose the names behind `openrouter/`, and in the place of a `*` in `models:`. Forgotten are
 * those with nothing under way, first those that are well, of them the least recently used.
 */
export const MOST_TARGETS = 2_000;
/** Targets whose prompts are remembered, which takes by far the most memory. */
export const MOST_CACHES = 500;

/** Sessions remembered by name. */
export const MOST_SESSIONS = 10_000;

/** Longest that a target's own `Retry-After` keeps calls away, ms: some vendors send hours. */
const LONGEST_PAUSE_MS = 60_000;

/** Nobody is at the target any more: it refused the connection. A dead engine takes no call either, and its memory is empty when it is back. */
export function isRefusal({ failure, status }: AttemptEnd): boolean {
	return (failure === "transport" && status === undefined) || failure === "engine_died";
}

/** For how long a target is left alone after an attempt that failed, ms; 0: for no time. When a dead engine is back is a guess, and its breaker finds out. */
export function pauseAfter({ failure, retryAfterMs = 0 }: AttemptEnd): number {
	return retryAfterMs > 0 && failure !== "engine_died" ? Math.min(retryAfterMs, LONGEST_PAUSE_MS) : 0;
}
