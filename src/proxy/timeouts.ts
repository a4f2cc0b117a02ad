/** How long an upstream may take. Pure: it depends on where else the call could go. Times in ms. */
import { answerLimit } from "../accounts/usage/token-estimate.ts";
import type { Call } from "../openai/call.ts";
import type { Provider, SomeTimeouts, UpstreamTimeouts } from "../providers/provider.ts";

/** Calls after which a target's own times are believed. */
export const KNOWN_FROM = 20;
/** So many times the slowest hundredth is too slow, within these. */
const TIMES_P99 = 3;
const LEAST_MS = 10_000;
const MOST_MS = 120_000;
/** Until then. */
const UNKNOWN_MS = 30_000;
const UNKNOWN_REASONING_MS = 120_000;
/** Until then, where another target may be asked beside it. */
export const UNKNOWN_LATE_MS = 10_000;

/** The same of whole answers, which take as long as they are long. */
const LEAST_WHOLE_MS = 30_000;
const MOST_WHOLE_MS = 300_000;
const UNKNOWN_WHOLE_MS = 120_000;
const UNKNOWN_WHOLE_LEAST_MS = 60_000;
const UNKNOWN_WHOLE_LATE_MS = 20_000;
/** So much longer a whole answer may take whose model has yet to be loaded: as long as an agent has a call wait for it by default. */
const LOADING_MS = 600_000;
/** Another target is asked while at least two thirds of what was set, for all or for this one, are left for it. */
const LATE_SHARE = 1 / 3;
/** How long a token takes a slow target. */
const TOKEN_MS = 50;
/** Silence inside a stream whose answer can go on elsewhere. */
const STALL_MS = 30_000;

/** What one attempt is held to. */
export interface CallTimeouts {
	/** To its connection. */
	readonly connectMs: number;
	/** From sending a streamed call to its first event. */
	readonly firstTokenMs: number;
	/** Longest silence from then on to its first piece of text: a model may say who speaks, and then think. */
	readonly thinkMs: number;
	/** Longest silence from then on. */
	readonly stallMs: number;
	/** From sending any other call to the end of its answer. */
	readonly totalMs: number;
	/** How long its answer may take to begin (of other calls: to come) until another target is asked, too; undefined where no clock runs. */
	readonly lateMs?: number | undefined;
}

/** What has been learned of a target's times: to the first token, or to the end of a whole answer. */
export interface LearnedTimes {
	readonly count: number;
	/** The time that this share of its last calls kept within; undefined where there were none. */
	percentile(share: number): number | undefined;
}

/** What the limit of a whole answer follows from. */
export interface WholeInputs {
	readonly learned: LearnedTimes;
	/** Tokens of those answers. */
	readonly tokens: LearnedTimes;
	/** Tokens that the call's answer may have; undefined where it does not say. */
	readonly maxTokens: number | undefined;
	/** The model has yet to be loaded, which takes minutes, and which a whole answer can't report. */
	readonly isLoading: boolean;
}

/** What they follow from. */
export interface LimitInputs {
	/** The provider's, those of all providers filled in. */
	readonly timeouts: UpstreamTimeouts;
	/** What was set for the call, for the alias and for the provider: the first that says something holds, whatever else there is. */
	readonly set: readonly (SomeTimeouts | undefined)[];
	/** Another target is left that the call has not tried. */
	readonly hasOthers: boolean;
	/** What has begun here could be finished elsewhere. */
	readonly isResumable: boolean;
	readonly learned: LearnedTimes | undefined;
	/** Of a call that is no stream; absent for streams. */
	readonly whole?: WholeInputs | undefined;
	/** Asked only where nothing was learned. */
	readonly isReasoning: () => boolean;
}

/** The limits of one attempt. */
export function limitsOf(inputs: LimitInputs): CallTimeouts {
	const { timeouts, set, hasOthers, isResumable, learned, whole, isReasoning } = inputs;
	const setting = (name: keyof UpstreamTimeouts): number | undefined => {
		for (const each of set) if (each?.[name] !== undefined) return each[name];
		return undefined;
	};
	const usualMs = hasOthers
		? Math.min(timeouts.first_token, firstTokenLimit(learned, isReasoning))
		: timeouts.first_token;
	const firstTokenMs = setting("first_token") ?? usualMs;
	const wholeMs = whole && hasOthers ? Math.min(timeouts.total, wholeAnswerLimit(whole, isReasoning)) : timeouts.total;
	const stallMs = setting("stall") ?? (isResumable ? Math.min(timeouts.stall, STALL_MS) : timeouts.stall);
	return {
		connectMs: setting("connect") ?? timeouts.connect,
		firstTokenMs,
		thinkMs: setting("stall") ?? Math.max(stallMs, Math.min(firstTokenMs, timeouts.stall)),
		stallMs,
		totalMs: setting("total") ?? (whole?.isLoading ? wholeMs + LOADING_MS : wholeMs),
		lateMs: whole
			? lateForWhole(whole, (setting("total") ?? timeouts.total) * LATE_SHARE)
			: lateForStream(learned, (setting("first_token") ?? timeouts.first_token) * LATE_SHARE),
	};
}

/** What `soleLimits` has given. */
export const knownSoleLimits = new WeakMap<Provider, CallTimeouts>();

/** The limits of an attempt at the only target that a call has, where neither the call nor its alias set some: always the same. */
export function soleLimits(provider: Provider): CallTimeouts {
	let limits = knownSoleLimits.get(provider);
	if (!limits) {
		const { timeouts, ownTimeouts } = provider;
		const others = { hasOthers: false, isResumable: false, learned: undefined, isReasoning: () => false };
		limits = limitsOf({ timeouts, set: [ownTimeouts], ...others });
		knownSoleLimits.set(provider, limits);
	}
	return limits;
}

/** How little time a client gives its call, ms; Infinity where it says nothing. */
export interface ClientTimeout {
	readonly isStream: boolean;
	/** Its own limits. */
	readonly limits: SomeTimeouts | undefined;
	/** What was left of the call's time when the attempt began. */
	readonly timeLeftMs: number;
	/** The stream's first piece was there when time ran out. */
	readonly hasBegun: boolean;
}

/**
 * Whether time ran out that its client had set shorter than the router would have where it has others to ask: that says nothing of
 * the target, or a few such calls could take it out of use for all.
 */
export function isClientTimeout(
	{ isStream, limits, timeLeftMs, hasBegun }: ClientTimeout,
	usual: CallTimeouts,
): boolean {
	if (!isStream) return timeLeftMs < usual.totalMs;
	const { first_token: first = Number.POSITIVE_INFINITY, stall = Number.POSITIVE_INFINITY } = limits ?? {};
	return hasBegun ? stall < usual.stallMs : Math.min(first, stall, timeLeftMs) < usual.firstTokenMs;
}

/** How long a first token may take where another target could give one. */
function firstTokenLimit(learned: LearnedTimes | undefined, isReasoning: () => boolean): number {
	if (isKnown(learned)) return within(TIMES_P99 * learned!.percentile(0.99)!, LEAST_MS, MOST_MS);
	return isReasoning() ? UNKNOWN_REASONING_MS : UNKNOWN_MS;
}

/** How long a whole answer may take where another target could give one. One that may be longer than any so far may take longer. */
function wholeAnswerLimit({ learned, tokens, maxTokens, isLoading }: WholeInputs, isReasoning: () => boolean): number {
	if (isLoading) return Number.POSITIVE_INFINITY;
	if (isKnown(learned)) {
		return within(usualMs(learned, tokens, maxTokens), LEAST_WHOLE_MS, MOST_WHOLE_MS);
	}
	if (isReasoning()) return MOST_WHOLE_MS;
	if (maxTokens === undefined) return UNKNOWN_WHOLE_MS;
	return within(maxTokens * TOKEN_MS, UNKNOWN_WHOLE_LEAST_MS, MOST_WHOLE_MS);
}

/** Of a target whose time is known, its limit says it. */
const lateForStream = (learned: LearnedTimes | undefined, mostMs: number): number | undefined =>
	isKnown(learned) ? undefined : Math.min(UNKNOWN_LATE_MS, mostMs);

/** Nobody knows how far a model is that is being loaded. */
function lateForWhole(whole: WholeInputs, mostMs: number): number | undefined {
	return whole.isLoading ? undefined : Math.min(usualWhole(whole), mostMs);
}

function usualWhole({ learned, tokens, maxTokens }: WholeInputs): number {
	if (isKnown(learned)) return Math.max(usualMs(learned, tokens, maxTokens), LEAST_MS);
	return maxTokens === undefined
		? UNKNOWN_WHOLE_LATE_MS
		: within(maxTokens * TOKEN_MS, LEAST_MS, UNKNOWN_WHOLE_LATE_MS);
}

/** Tokens that all of a call's answers together may have; undefined where it does not say. */
export function longestAnswer(call: Call): number | undefined {
	const each = answerLimit(call);
	return each === undefined ? undefined : each * call.facts.choices;
}

/** What an answer takes that is slow; longer where it may have more tokens than any before. */
function usualMs(learned: LearnedTimes, tokens: LearnedTimes, maxTokens: number | undefined): number {
	const longest = tokens.percentile(1);
	const times = longest && maxTokens ? Math.max(1, maxTokens / longest) : 1;
	return TIMES_P99 * learned.percentile(0.99)! * times;
}

const isKnown = (learned: LearnedTimes | undefined): boolean => learned !== undefined && learned.count >= KNOWN_FROM;

const within = (ms: number, least: number, most: number): number => Math.min(Math.max(ms, least), most);

/** What is said behind a timeout that the call's own header has set: no setting of the router's would raise it. */
export function setByCall({ stream, limits }: Call, limitMs: number, leftMs: number): string {
	if (stream && limits?.first_token === limitMs) return ", as the call's x-router-first-token-ms says";
	return limitMs === leftMs ? ", as the call's x-router-timeout-ms says" : "";
}

/** What is left of the time that the client gave its call, ms; Infinity where it gave none. At least 1. */
export function timeLeft({ timeoutMs, startedAt }: Call): number {
	return timeoutMs === undefined ? Number.POSITIVE_INFINITY : Math.max(1, timeoutMs - (performance.now() - startedAt));
}
