/** What a link does next, from how the last request ended. Pure. */

/**
 * How a registration or a heartbeat ended.
 * - `ok`: the router accepted it
 * - `unknown`: a heartbeat's 404, the router does not know this agent
 * - `conflict`: another agent of this name is alive
 * - `refused`: wrong token, an address it does not allow, a body it can't read
 * - `away`: no answer, or one that means "later"
 */
export type LinkOutcome = "ok" | "unknown" | "conflict" | "refused" | "away";

/** How far the link is. */
export interface LinkPhase {
	/** The router has accepted the registration: heartbeats follow. */
	readonly isJoined: boolean;
	/** Failed tries in a row. */
	readonly failures: number;
}

/** At the start. */
export const NOT_JOINED: LinkPhase = { isJoined: false, failures: 0 };

/** First and longest wait after a failure, ms: a router that comes back is found within 10 s. */
const FIRST_MS = 1_000;
const LONGEST_MS = 8_000;

/**
 * The phase after an outcome, and how long to wait before the next try, ms. An agent that the router does not know
 * registers at once, the first time: a restarted router need not wait for it.
 * @param heartbeatMs how often the router wants a heartbeat
 * @param random 0 to 1: spreads the tries of agents that lost the same router
 */
export function nextLinkStep(
	phase: LinkPhase,
	outcome: LinkOutcome,
	heartbeatMs: number,
	random: number,
): { phase: LinkPhase; waitMs: number } {
	if (outcome === "ok") return { phase: { isJoined: true, failures: 0 }, waitMs: heartbeatMs };
	const failures = phase.failures + 1;
	// A router that is away may still know this agent; after a refusal it has to register again.
	const isJoined = phase.isJoined && outcome === "away";
	const isFirst = outcome === "unknown" && failures === 1;
	return { phase: { isJoined, failures }, waitMs: isFirst ? 0 : backoffMs(failures, random) };
}

/** 1, 2, 4, 8, 8, … s, each up to a quarter less. */
function backoffMs(failures: number, random: number): number {
	const ms = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 10));
	return Math.round(ms * (1 - random / 4));
}
