/** When a call's target counts as late, and who may be asked beside it. Pure. */

import type { CallCost } from "../accounts/usage/call-cost.ts";
import { admits } from "../routing/breaker.ts";
import type { RouteTarget } from "../routing/route.ts";
import { waitOf } from "../routing/score.ts";
import type { TargetView } from "../routing/target-state.ts";
import { KNOWN_FROM, type LearnedTimes, UNKNOWN_LATE_MS } from "./timeouts.ts";

/** When a target counts as late, and why. */
export interface Late {
	/** From the beginning of its attempt. */
	readonly ms: number;
	/**
	 * `silent`: for longer than it ever needs, or than any should before anything is known of it. `slow`: for longer than most of its
	 * calls, under `hedge: true`. `probe`: it is not known to be well, and its client should not pay for finding out.
	 */
	readonly why: "silent" | "slow" | "probe";
	/** Where nobody may be asked yet: when it is late again. */
	readonly next?: Late | undefined;
}

/** By so much a timer may fire too early, ms. */
const EARLY_MS = 5;
/** How long a target that may be out of order has for itself, ms. */
const PROBE_LATE_MS = 1_000;

/**
 * When a target counts as late; undefined: never.
 * @param silentMs how long it may be silent
 * @param slow where the call may be sent twice as soon as it is slow: its times to the first token
 */
export function lateOf(
	{ breaker }: Pick<TargetView, "breaker">,
	now: number,
	silentMs: number | undefined,
	slow: LearnedTimes | undefined,
): Late | undefined {
	const silent: Late | undefined = silentMs === undefined ? undefined : { ms: silentMs, why: "silent" };
	if (admits(breaker, now) === "probe")
		return { ms: PROBE_LATE_MS, why: "probe", next: silent && { ...silent, why: "probe" } };
	if (!slow || slow.count < KNOWN_FROM) return silent;
	return { ms: slow.percentile(0.95)!, why: "slow", next: silent };
}

/** Whether a call may be sent there beside another: it is ready, not out of use, and not as late itself. */
export function isHealthy(
	{ readiness = 0, isKeyless }: RouteTarget,
	{ breaker, pausedUntil, waitingSince = Number.POSITIVE_INFINITY }: TargetView,
	now: number,
	lateMs: number,
): boolean {
	return (
		!isKeyless &&
		readiness === 0 &&
		breaker.state === "closed" &&
		pausedUntil <= now &&
		now - waitingSince < Math.max(lateMs, UNKNOWN_LATE_MS)
	);
}

/**
 * Whether a call beside one that is silent would do more than load a fleet that is slow already: the silent one has answered nobody
 * for as long, and the other has less to do, and no queue that its owner calls too long.
 * @param silentMs for how long the silent one has answered nobody
 * @param silent what is known of it
 * @param maxWaitMs see `models[].max_wait`
 */
export function mayRelieve(
	late: Late,
	silentMs: number,
	silent: Pick<TargetView, "inFlight">,
	other: RouteTarget,
	its: TargetView,
	now: number,
	maxWaitMs: number | undefined,
): boolean {
	if (maxWaitMs !== undefined && waitOf(other, its, now) > maxWaitMs) return false;
	if (late.why !== "silent") return true;
	// A vendor's capacity is no matter of the few calls that we have there.
	const { kind = "cloud" } = other;
	return silentMs + EARLY_MS >= late.ms && (kind === "cloud" || its.inFlight < silent.inFlight);
}

/** An agent's model that has yet to be loaded: on a stream the agent says how far that is, on a whole answer it can't. */
export const isLoading = ({ readiness = 0 }: RouteTarget): boolean => readiness >= 1 && readiness < NOT_HEARD_OF;

/** An agent's model that is being started: calls can only wait for it. */
export const isStarting = ({ readiness = 0, isQueue }: RouteTarget): boolean =>
	isQueue !== true && readiness >= WAITED_FOR && readiness < NOT_HEARD_OF;

/** See `RouteTarget.readiness`. */
const WAITED_FOR = 50;
const NOT_HEARD_OF = 100;

/** Whether a call there costs nothing: no token, no call, no hour of hardware. What nobody knows the price of is not free. */
export function isFree(target: RouteTarget, cost: Pick<CallCost, "isFree"> | undefined): boolean {
	const { price, kind = "cloud" } = target;
	return cost?.isFree(target) ?? (price ? price.input === 0 && price.output === 0 : kind !== "cloud");
}
