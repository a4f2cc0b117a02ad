/** The state machine of the connection to Redis (design.md beside this file has its table): pure, no clock, no socket. */

/** Commands are sent in `up`; in `slow` those alone that have to be exact, whenever they are answered. */
export type RedisState = "away" | "unsure" | "up" | "slow" | "unfit";

/**
 * - `ready`: connected, to a version that is new enough
 * - `unfit`: connected, to a version that is too old
 * - `lost`: the connection was closed
 * - `reply`: an answer came in time, to a command or to a probe
 * - `late`: an answer came, after the deadline
 * - `miss`: no answer came in time, or the server says that it can't serve now
 * - `hung`: no answer came for `HUNG_MS`, in time or late
 */
export type RedisEvent = "ready" | "unfit" | "lost" | "reply" | "late" | "miss" | "hung";

/** A server that has answered nothing for so long is not slow, but hangs, ms. */
export const HUNG_MS = 1_000;

/** Misses in a row that end `up`: a single one may be a pause of this process, and all commands in flight miss together. */
export const MOST_MISSES = 3;

/** The state, and what it counts. */
export interface RedisStatus {
	readonly state: RedisState;
	/** In a row, while `up`. */
	readonly misses: number;
}

/** Before the first connection. */
export const AWAY: RedisStatus = { state: "away", misses: 0 };

const TABLE: Readonly<Record<RedisState, Partial<Record<RedisEvent, RedisState>>>> = {
	away: { ready: "unsure", unfit: "unfit" },
	unsure: { reply: "up", late: "slow", lost: "away" },
	up: { lost: "away" },
	slow: { reply: "up", hung: "unsure", lost: "away" },
	unfit: { lost: "away" },
};

/** Errors that tell of the server itself: while it loads, or has lost its master or its slots, it can't serve. */
const CANT_SERVE = /^(?:LOADING|MASTERDOWN|CLUSTERDOWN|READONLY|TRYAGAIN)$/;
/** Errors that the server looks for before a script's first write: it has carried out nothing of it. Of any other it may have a part. */
const NOT_BEGUN = /^(?:OOM|MISCONF|NOREPLICAS|NOAUTH|BUSY)$/;

/** The word that an error of the server begins with, such as `OOM`; of one in a script, which Redis 6 wraps, that of the command. */
export function errorWord(message: string): string {
	return /^(?:ERR Error running script.* -)?([A-Z]+)/.exec(message)?.[1] ?? "ERR";
}

/** Whether a server that says this can't serve now. @param word see {@link errorWord} */
export const isOutage = (word: string): boolean => CANT_SERVE.test(word);

/** Whether the server has carried out nothing of the command that it answered so. @param word see {@link errorWord} */
export const isNotBegun = (word: string): boolean => CANT_SERVE.test(word) || NOT_BEGUN.test(word);

/** The status after `event`; an event without a meaning in this state changes nothing. */
export function afterEvent(status: RedisStatus, event: RedisEvent): RedisStatus {
	const { state, misses } = status;
	if (state === "up" && event === "miss") {
		return misses + 1 < MOST_MISSES ? { state, misses: misses + 1 } : { state: "slow", misses: 0 };
	}
	if (state === "up" && event === "reply") return misses === 0 ? status : { state, misses: 0 };
	const next = TABLE[state][event];
	return next ? { state: next, misses: 0 } : status;
}
