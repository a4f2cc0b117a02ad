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
