/**
 * Whether an agent goes round in a circle: the same calls of tools with the same results, again and again, with no more than a moment in
 * between. The history of a call says how often; how long its agent waited between rounds, only whoever has answered the call before. Pure.
 */
import type { RepeatedRounds } from "../../openai/tool-rounds.ts";

/** A circle as far as its calls have shown it. Times in ms, on one clock. */
export interface AgentLoop {
	/** Rounds that had been there before, by the longest history so far. */
	readonly count: number;
	/** Those of them that came after a pause, or about which nobody knows. */
	readonly waited: number;
	/** When the answer to the call with that history ended; undefined while it has not. */
	readonly endedAt: number | undefined;
}

/**
 * A circle once a call with these rounds has come.
 *
 * A poller that waits before it looks again makes the same rounds, too: those after a pause don't count. Where calls of one agent go to several
 * routers each sees some of them: the pause is then the mean over those that it has missed. Equal calls at once, and a call that is made once
 * more, have one history, and count once.
 *
 * @param before what its calls so far have shown
 * @param now when the call came
 * @param pauseMs from which on a pause is one
 */
export function loopAfter(
	before: AgentLoop | undefined,
	{ count, distinct }: Pick<RepeatedRounds, "count" | "distinct">,
	now: number,
	pauseMs: number,
): AgentLoop {
	// Of those before the first that is seen nobody knows how they came: one of each counts.
	// Without ids of calls one that begins anew can be told from the one before only by that.
	const isNew = !before || (count <= distinct && count < before.count);
	if (isNew) return { count, waited: Math.max(0, count - distinct), endedAt: undefined };
	const further = count - before.count;
	if (further <= 0) return before;
	const hasWaited = before.endedAt !== undefined && (now - before.endedAt) / further >= pauseMs;
	return { count, waited: before.waited + (hasWaited ? further : 0), endedAt: undefined };
}

/** How often the same has been done by the last round, pauses left out: 2 at the first repetition. */
export function roundsOf(
	{ waited }: AgentLoop,
	{ count, distinct }: Pick<RepeatedRounds, "count" | "distinct">,
): number {
	return 1 + Math.floor(Math.max(0, count - waited) / distinct);
}
