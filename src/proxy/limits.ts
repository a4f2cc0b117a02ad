/** How long an upstream may take. Pure: it depends on where else the call could go. Times in ms. */
import type { Provider, SomeTimeouts, Timeouts } from "../providers/provider.ts";

/** Calls after which a target's own times are believed. */
const KNOWN_FROM = 20;
/** So many times the slowest hundredth is too slow, within these. */
const TIMES_P99 = 3;
const LEAST_MS = 10_000;
const MOST_MS = 120_000;
/** Until then. */
const UNKNOWN_MS = 30_000;
const UNKNOWN_REASONING_MS = 120_000;
/** Silence inside a stream whose answer can go on elsewhere. */
const STALL_MS = 30_000;

/** What one attempt is held to. */
export interface Limits {
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
}

/** What has been learned of a target's time to first token. */
export interface Learned {
	readonly count: number;
	/** The time that this share of its last calls kept within; undefined where there were none. */
	percentile(share: number): number | undefined;
}

/** What they follow from. */
export interface LimitInputs {
	/** The provider's, those of all providers filled in. */
	readonly timeouts: Timeouts;
	/** What was set for the call, for the alias and for the provider: the first that says something holds, whatever else there is. */
	readonly set: readonly (SomeTimeouts | undefined)[];
	/** Another target is left that the call has not tried. */
	readonly hasOthers: boolean;
	/** What has begun here could be finished elsewhere. */
	readonly canGoOn: boolean;
	readonly learned: Learned | undefined;
	/** Asked only where nothing was learned. */
	readonly isReasoning: () => boolean;
}

/** The limits of one attempt. */
export function limitsOf({ timeouts, set, hasOthers, canGoOn, learned, isReasoning }: LimitInputs): Limits {
	const said = (name: keyof Timeouts): number | undefined => {
		for (const each of set) if (each?.[name] !== undefined) return each[name];
		return undefined;
	};
	const patience = hasOthers ? Math.min(timeouts.first_token, impatience(learned, isReasoning)) : timeouts.first_token;
	const firstTokenMs = said("first_token") ?? patience;
	const stallMs = said("stall") ?? (canGoOn ? Math.min(timeouts.stall, STALL_MS) : timeouts.stall);
	return {
		connectMs: said("connect") ?? timeouts.connect,
		firstTokenMs,
		thinkMs: said("stall") ?? Math.max(stallMs, Math.min(firstTokenMs, timeouts.stall)),
		stallMs,
		totalMs: said("total") ?? timeouts.total,
	};
}

const sole = new WeakMap<Provider, Limits>();

/** The limits of an attempt at the only target that a call has, where neither the call nor its alias set some: always the same. */
export function soleLimits(provider: Provider): Limits {
	let limits = sole.get(provider);
	if (!limits) {
		const { timeouts, ownTimeouts } = provider;
		const others = { hasOthers: false, canGoOn: false, learned: undefined, isReasoning: () => false };
		limits = limitsOf({ timeouts, set: [ownTimeouts], ...others });
		sole.set(provider, limits);
	}
	return limits;
}

/** How little time a client gives its call, ms; Infinity where it says nothing. */
export interface Haste {
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
 * the target, or a few hasty calls could have it left alone by everyone.
 */
export function isHasty({ isStream, limits, timeLeftMs, hasBegun }: Haste, usual: Limits): boolean {
	if (!isStream) return timeLeftMs < usual.totalMs;
	const { first_token: first = Number.POSITIVE_INFINITY, stall = Number.POSITIVE_INFINITY } = limits ?? {};
	return hasBegun ? stall < usual.stallMs : Math.min(first, stall, timeLeftMs) < usual.firstTokenMs;
}

/** How long a first token may take where another target could give one. */
function impatience(learned: Learned | undefined, isReasoning: () => boolean): number {
	const p99 = learned && learned.count >= KNOWN_FROM ? learned.percentile(0.99) : undefined;
	if (p99 !== undefined) return Math.min(Math.max(TIMES_P99 * p99, LEAST_MS), MOST_MS);
	return isReasoning() ? UNKNOWN_REASONING_MS : UNKNOWN_MS;
}
