/**
 * What a router lets in of a limit that all routers of one Redis count together, while Redis can't be asked: its part of what nobody had taken at the
 * last word from Redis. All parts together are what was left, so the limit holds though no router knows of the others. Pure: no clock, no socket.
 */

/** The routers that share a Redis, as one of them sees them. */
export interface SharingRouters {
	/** How many they are, itself among them. */
	readonly routers: number;
	/** Its place among their names in order, from 0. */
	readonly rank: number;
}

/** A router that has heard of no other one. */
export const ALONE: SharingRouters = { routers: 1, rank: 0 };

/** What a router knew of a limit when it last heard of it, in requests, tokens, calls under way or USD. */
export interface LastWord {
	/** What it had taken itself. */
	readonly own: number;
	/** What all others had taken. */
	readonly others: number;
	/** USD can be divided, requests can't. */
	readonly isDivisible: boolean;
}

/** After one window those with more have come down to an equal part, after another one what they took before has left; and not all notice an outage at once. */
const RISE_AFTER = 2.1;

/** The routers as `self` sees them. @param names those of all, in any order; it is among them, or not yet */
export function sharingRouters(names: readonly string[], self: string): SharingRouters {
	const others = names.filter((name) => name !== self);
	return { routers: others.length + 1, rank: others.filter((name) => name < self).length };
}

/** A router's part of what is left. Of what can't be divided, the parts of all ranks are all of it: routers with the highest get one more. */
export function fairShare(left: number, { routers, rank }: SharingRouters, isDivisible: boolean): number {
	if (left <= 0) return 0;
	return isDivisible ? left / routers : Math.floor((left + rank) / routers);
}

/** What a router may have taken in all until Redis answers again. @param max the limit */
export function mostOwn(max: number, { own, others, isDivisible }: LastWord, sharing: SharingRouters): number {
	return own + fairShare(max - own - others, sharing, isDivisible);
}

/**
 * The same after a while. For a window all stays as it was: what each had taken leaves, and is taken again by whoever had it. Then those that have more than an equal
 * part of the limit come down to it, and once what they took has left, all have that.
 *
 * @param most by {@link mostOwn} @param silentMs how long Redis has been silent
 * @param lastsMs the length of the window; Infinity where what was taken stays taken
 */
export function mostOwnAfter(
	most: number,
	equal: number,
	{ routers }: SharingRouters,
	{ silentMs, lastsMs }: { readonly silentMs: number; readonly lastsMs: number },
): number {
	if (silentMs < lastsMs) return most;
	return routers === 1 || silentMs >= RISE_AFTER * lastsMs ? equal : Math.min(most, equal);
}
