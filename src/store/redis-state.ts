/** Whether Redis is asked, as a table (design.md beside this file shows it): pure, no clock, no socket. */

/** Commands are sent in `up` alone. */
export type RedisState = "away" | "unsure" | "up" | "unfit";

/**
 * - `ready`: a connection is there, and the version is one that will do
 * - `unfit`: a connection is there to a version that will not do
 * - `lost`: the connection is gone
 * - `reply`: an answer came in time, to a command or to a probe
 * - `miss`: none came in time, or the server says that it can't serve now
 */
export type RedisEvent = "ready" | "unfit" | "lost" | "reply" | "miss";

/** Misses in a row that end `up`: one may be a pause of our own, and those under way miss together. */
export const MOST_MISSES = 3;

/** Where it stands. */
export interface RedisStanding {
	readonly state: RedisState;
	/** In a row, while `up`. */
	readonly misses: number;
}

/** Before the first connection. */
export const AWAY: RedisStanding = { state: "away", misses: 0 };

const TABLE: Readonly<Record<RedisState, Partial<Record<RedisEvent, RedisState>>>> = {
	away: { ready: "unsure", unfit: "unfit" },
	unsure: { reply: "up", lost: "away" },
	up: { lost: "away" },
	unfit: { lost: "away" },
};

/** Where it stands after `event`; one that means nothing there changes nothing. */
export function afterEvent(standing: RedisStanding, event: RedisEvent): RedisStanding {
	const { state, misses } = standing;
	if (state === "up" && event === "miss") {
		return misses + 1 < MOST_MISSES ? { state, misses: misses + 1 } : { state: "unsure", misses: 0 };
	}
	if (state === "up" && event === "reply") return misses === 0 ? standing : { state, misses: 0 };
	const next = TABLE[state][event];
	return next ? { state: next, misses: 0 } : standing;
}
