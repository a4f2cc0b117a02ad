/** What an agent does next about its router: a decision about the last answer. Pure. */

/**
 * How a registration or a heartbeat ended.
 * - `ok`: the router took it
 * - `unknown`: a heartbeat's 404, the router does not know this agent
 * - `conflict`: another agent of this name is alive
 * - `refused`: wrong token, an address it does not allow, a body it can't read
 * - `away`: no answer, or one that says later
 */
export type LinkOutcome = "ok" | "unknown" | "conflict" | "refused" | "away";

/** Where the link stands. */
export interface LinkPhase {
	/** The router has taken the registration: heartbeats follow. */
	readonly isJoined: boolean;
	/** Tries in a row that came to nothing. */
	readonly failures: number;
}

/** Where it starts. */
export const NOT_JOINED: LinkPhase = { isJoined: false, failures: 0 };

/** First and longest wait after a failure, ms. With 8 s a router that comes back is found within 10 s. */
const FIRST_MS = 1_000;
const LONGEST_MS = 8_000;

/**
 * The position after an outcome, and how long to wait before the next try, ms. An agent that the router does not know
 * registers at once, the first time: a restarted router shall not wait for it.
 * @param heartbeatMs how often the router wants to hear of the agent
 * @param random 0 to 1: agents that lost one router shall not come back in step
 */
export function nextLinkStep(
	position: LinkPhase,
	outcome: LinkOutcome,
	heartbeatMs: number,
	random: number,
): { position: LinkPhase; waitMs: number } {
	if (outcome === "ok") return { position: { isJoined: true, failures: 0 }, waitMs: heartbeatMs };
	const failures = position.failures + 1;
	// A router that is away may still know this agent; one that refuses has to be asked anew.
	const isJoined = position.isJoined && outcome === "away";
	const isFirst = outcome === "unknown" && failures === 1;
	return { position: { isJoined, failures }, waitMs: isFirst ? 0 : backoffMs(failures, random) };
}

/** 1, 2, 4, 8, 8, … s, each up to a quarter less. */
function backoffMs(failures: number, random: number): number {
	const whole = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 10));
	return Math.round(whole * (1 - random / 4));
}
