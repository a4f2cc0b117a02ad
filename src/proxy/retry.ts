/**
 * What a call does after an attempt that failed: again there, elsewhere, or give up; and what it knows of its targets until then. The
 * decision is pure; what a kind of failure allows is in the table (src/providers/failure.ts).
 */

import type { RouterError } from "../errors.ts";
import { FAILURES, type Failure } from "../providers/failure.ts";
import type { RouteTarget } from "../routing/route.ts";
import { shortText } from "../short-text.ts";
import type { SkippedTarget } from "../telemetry/events.ts";
import type { KeyRotation } from "./key-rotation.ts";
import { isStarting } from "./second-target.ts";

/** Attempts at one target a call may make, whatever they ended in. */
export const MOST_TRIES = 3;
/** Longest wait for a target, at its own word or ours, ms: a client that waits longer had better know. */
export const LONGEST_WAIT_MS = 5_000;
/** First pause before a target is tried again without having said when; each further one is twice as long. */
export const FIRST_RETRY_MS = 250;

/** From this silence on, ms, a target is not asked again by a call that has others. */
export const SILENT_MS = 30_000;

/** What it means for the call that no attempt could be made. */
export const NOT_TRIED: Partial<Record<string, Failure["kind"]>> = {
	provider_key_missing: "auth",
	upstream_auth: "auth",
	upstream_quota: "quota",
	unsupported_parameter: "unsupported",
};

/** What a call knows of one of its targets. Times on the caller's clock, ms. */
export interface Tried {
	/** Attempts at it that have ended. */
	readonly tries: number;
	/** How the last of them ended. */
	readonly failure?: Pick<Failure, "kind" | "isOurs" | "retryAfterMs"> | undefined;
	/** How long the last of them was waited for, ms. */
	readonly tookMs?: number | undefined;
	/** An attempt at it is under way. */
	readonly isRunning?: boolean | undefined;
	readonly failedAt: number;
	/** What it was waited for already, ms. */
	readonly waitedMs: number;
	/** Its breaker is not closed: that it failed is no news. */
	readonly isUnhealthy?: boolean | undefined;
	/** See RouteTarget: what breaks there is no connection that was idle for too long. */
	readonly reopens?: boolean | undefined;
	/** It has a key in use that this call has not tried: an account of its own. */
	readonly hasOtherKey?: boolean | undefined;
	/** Tokens its model takes, where that is known. */
	readonly context?: number | undefined;
	/** See RouteTarget. */
	readonly isQueue?: boolean | undefined;
	/** Its model is being started, which takes minutes. */
	readonly isStarting?: boolean | undefined;
}

/** One of a call's targets, and what the call has learned of it. Times are `performance.now()`'s. */
export class TriedTarget implements Tried {
	tries = 0;
	failure: Failure | undefined;
	/** The last failure of one of its keys of which the limit is used up. */
	usedUp: Failure | undefined;
	failedAt = 0;
	waitedMs = 0;
	tookMs = 0;
	/** Attempts at it under way. */
	running = 0;
	/** It could not even be asked: no key in use, none at all, or a field that it has no form for. */
	wasNotTried = false;
	isUnhealthy = false;
	/** Keys that this call was refused with. */
	readonly refusedKeys: number[] = [];

	constructor(
		public target: RouteTarget,
		private readonly keys: KeyRotation,
	) {}

	get context(): number | undefined {
		return this.target.context;
	}

	get reopens(): boolean | undefined {
		return this.target.reopens;
	}

	get isQueue(): boolean | undefined {
		return this.target.isQueue;
	}

	get isStarting(): boolean {
		return isStarting(this.target);
	}

	get isRunning(): boolean {
		return this.running > 0;
	}

	get hasOtherKey(): boolean {
		return this.refusedKeys.length > 0 && this.keys.has(this.target, this.refusedKeys);
	}

	/** It was not sent there: nothing was asked of the target. What its words have no form for is noted in the call's record. */
	notTried(failure: Failure, record: { skipped?: readonly SkippedTarget[] | undefined }): void {
		this.failed(failure);
		this.wasNotTried = true;
		const { id: target } = this.target;
		const { skipped = [] } = record;
		if (failure.kind !== "unsupported" || skipped.length >= MOST_SKIPPED) return;
		if (skipped.some((each) => each.target === target)) return;
		record.skipped = [...skipped, { target, reason: shortText(failure.message, LONGEST_REASON) }];
	}

	/** It was started anew since it failed: as if it had not been tried. */
	renew(target: RouteTarget): void {
		this.target = target;
		this.tries = 0;
		this.waitedMs = 0;
		this.wasNotTried = false;
	}

	/** An attempt at it failed, for which it was waited so long, ms. */
	failed(failure: Failure, tookMs = 0): void {
		this.tookMs = tookMs;
		this.tries++;
		this.failure = failure;
		if (failure.kind === "rate") this.usedUp = failure;
		this.failedAt = performance.now();
	}
}

/** A call after a failed attempt. */
export interface Situation {
	/** In the order of the plan. */
	readonly targets: readonly Tried[];
	/** Which of them failed just now. */
	readonly last: number;
	readonly now: number;
	/** No attempt may begin from then on. */
	readonly until: number;
	/** The budget for retries at the same target has room. */
	readonly hasBudget: boolean;
	/** 0 to 1. */
	readonly random: number;
	/** It came through another router. */
	readonly isRouted?: boolean | undefined;
	/** A busy target is not waited for: whoever made the call decides that, who may know another. */
	readonly noWaiting?: boolean | undefined;
}

/** What comes next; undefined gives up. */
export interface RetryStep {
	readonly target: number;
	readonly waitMs: number;
	/** An attempt at a target that was tried before: it counts against the budget. */
	readonly isRetry: boolean;
}

/** Kinds of failure that speak against one key, not against the target. */
export const OF_THE_KEY: readonly string[] = ["auth", "quota", "rate"];

/** The next step of a call whose attempt at `last` failed. */
export function nextStep(situation: Situation): RetryStep | undefined {
	const { targets, last, now, until, hasBudget, noWaiting } = situation;
	const tried = targets[last]!;
	const { kind, retryAfterMs } = tried.failure!;
	const rule = FAILURES[kind];
	if ((rule.sameTarget === "no" && !rule.elsewhere) || now >= until) return undefined;
	if (kind === "engine_died" && noWaiting) return onAgent(situation);
	const hasTriesLeft = tried.tries < MOST_TRIES;
	if (hasTriesLeft && tried.hasOtherKey && OF_THE_KEY.includes(kind)) {
		return { target: last, waitMs: 0, isRetry: false };
	}
	const fresh = targets.findIndex((each) => !each.isStarting && isUntried(each) && takesMore(each, targets));
	if (hasBudget && hasTriesLeft) {
		// A keep-alive connection that the upstream just closed looks like a reset: once more finds out. Of a target that is known to
		// be out of order it finds out nothing, and the budget is gone when a call needs it.
		const isNews = !(tried.isUnhealthy || tried.reopens) || fresh === -1;
		if (rule.sameTarget === "once" && tried.tries === 1 && isNews) return { target: last, waitMs: 0, isRetry: true };
		if (
			rule.sameTarget === "wait" &&
			!noWaiting &&
			retryAfterMs !== undefined &&
			tried.waitedMs + retryAfterMs <= LONGEST_WAIT_MS
		) {
			if (now + retryAfterMs < until) return { target: last, waitMs: retryAfterMs, isRetry: true };
		}
	}
	if (fresh !== -1) return { target: fresh, waitMs: 0, isRetry: false };
	const again = hasBudget && !noWaiting ? roundAgain(situation) : undefined;
	if (again) return again;
	// What failed may be well in a second.
	const starting = targets.findIndex((each) => each.isStarting && isUntried(each) && takesMore(each, targets));
	return starting === -1 ? undefined : { target: starting, waitMs: 0, isRetry: false };
}

/**
 * An engine of an agent's may have died of the call. A router, which knows all engines, decides where it goes. A client that has called the
 * agent itself has it made once more, by the engine that is started again or at a second one of three: never at the last one.
 */
function onAgent({ targets, last, isRouted }: Situation): RetryStep | undefined {
	if (isRouted || targets.length === 2 || targets.some(({ tries }, at) => tries > (at === last ? 1 : 0)))
		return undefined;
	return { target: last, waitMs: 0, isRetry: true };
}

/** Of all targets that may be tried again the one whose time comes first: none that is ready is left untried. */
function roundAgain({ targets, now, until, random }: Situation): RetryStep | undefined {
	let best: RetryStep | undefined;
	for (const [target, tried] of targets.entries()) {
		if (!mayReturn(tried) || (targets.length > 1 && wasSilent(tried))) continue;
		const waitMs = Math.max(0, tried.failedAt + pauseAfter(tried, random) - now);
		if (waitMs > LONGEST_WAIT_MS || now + waitMs >= until) continue;
		if (!best || waitMs < best.waitMs) best = { target, waitMs, isRetry: true };
	}
	return best;
}

/** It let much time pass without a word: it would again. One that was cut off sooner may need no more than it was given. */
const wasSilent = ({ failure, tookMs = 0 }: Tried): boolean =>
	failure?.kind === "timeout" && failure.isOurs === true && tookMs >= SILENT_MS;

/** Calls can only wait there: one that is under way elsewhere would be no better off. */
export const isWaitOnly = ({ isQueue, isStarting }: Tried): boolean => isQueue === true || isStarting === true;

/** The call has not tried it. */
export const isUntried = ({ tries, isRunning }: Tried): boolean => tries === 0 && isRunning !== true;

function mayReturn({ tries, failure, isRunning }: Tried): boolean {
	if (!failure || isRunning || tries >= MOST_TRIES) return false;
	const rule = FAILURES[failure.kind];
	return rule.sameTarget !== "no" && tries < rule.maxAttempts;
}

/** As long as the target said; else longer with each try, between half and the whole of it, so that calls don't come back in step. */
function pauseAfter({ tries, failure }: Tried, random: number): number {
	return failure?.retryAfterMs ?? FIRST_RETRY_MS * 2 ** (tries - 1) * (0.5 + random / 2);
}

/** A prompt that was too long for a target needs one that takes more; where that is not known it counts as more. */
function takesMore({ context }: Tried, targets: readonly Tried[]): boolean {
	return targets.every(
		(other) =>
			other.failure?.kind !== "context_length" ||
			other.context === undefined ||
			context === undefined ||
			context > other.context,
	);
}

/** The error with the `Retry-After` of the target that may take the call first. */
export function soonest(error: RouterError, targets: readonly Tried[]): RouterError {
	if (error.headers["retry-after"] === undefined) return error;
	const waits = targets.flatMap(({ failure }) => failure?.retryAfterMs ?? []);
	const seconds = Math.ceil(Math.min(...waits) / 1000);
	if (seconds < Number(error.headers["retry-after"])) error.headers["retry-after"] = String(seconds);
	return error;
}

/** Whether a target is left that this call has not tried and that could take it, for which one that is late could be left. */
export function hasOthers(targets: readonly Tried[], besides: number): boolean {
	return targets.some(
		(each, index) => index !== besides && !isWaitOnly(each) && isUntried(each) && takesMore(each, targets),
	);
}

/** What is kept of why a call was not sent somewhere: targets, and characters of a reason, which may name a field of the client's making. */
const MOST_SKIPPED = 8;
const LONGEST_REASON = 300;

/** What is looked back on, s, and the share of its calls that may be made again. */
export const RETRY_WINDOW_S = 10;
const RETRY_SHARE = 0.1;
/** As many are always allowed within a second. */
const LEAST_A_SECOND = 10;

/**
 * How many retries at the same target all calls together may make: an upstream in trouble must not get more calls, but fewer. Times are ms on any clock that never goes back. Going elsewhere costs nothing.
 */
export class RetryBudget {
	readonly #calls = new Float64Array(RETRY_WINDOW_S);
	readonly #retries = new Float64Array(RETRY_WINDOW_S);
	/** The second that is being filled. */
	#second = 0;

	/** A call came. */
	call(now: number): void {
		this.#calls[this.#slot(now)]! += 1;
	}

	/** Whether there is room for a retry. */
	has(now: number): boolean {
		const slot = this.#slot(now);
		return hasRetryLeft(this.#retries[slot]!, sum(this.#retries), sum(this.#calls));
	}

	/** A retry is made, if there is room: whether there was. */
	spend(now: number): boolean {
		if (!this.has(now)) return false;
		this.#retries[this.#slot(now)]! += 1;
		return true;
	}

	#slot(now: number): number {
		const second = Math.floor(now / 1000);
		// A long pause empties each slot once.
		for (let left = Math.min(second - this.#second, RETRY_WINDOW_S); left > 0; left--) {
			const slot = (second - left + 1) % RETRY_WINDOW_S;
			this.#calls[slot] = 0;
			this.#retries[slot] = 0;
		}
		this.#second = Math.max(this.#second, second);
		return this.#second % RETRY_WINDOW_S;
	}
}

/** The next step, of which the budget knows where it is a retry. `isRefused`: only for want of budget there is none, or it is no retry. */
export function budgetedStep(
	situation: Omit<Situation, "hasBudget">,
	budget: Pick<RetryBudget, "has" | "spend">,
): { readonly step: RetryStep | undefined; readonly isRefused: boolean } {
	const { now } = situation;
	let hasBudget = budget.has(now);
	let step = nextStep({ ...situation, hasBudget });
	if (step?.isRetry && !budget.spend(now) && hasBudget) {
		// Another thread has spent what was left.
		hasBudget = false;
		step = nextStep({ ...situation, hasBudget });
	}
	const isRefused = !hasBudget && nextStep({ ...situation, hasBudget: true })?.isRetry === true;
	return { step, isRefused };
}

/** Whether there is room for one more beside the retries of this second and of the whole window, by the calls of the window. */
export function hasRetryLeft(inSecond: number, inWindow: number, calls: number): boolean {
	return inSecond < LEAST_A_SECOND || inWindow + 1 <= RETRY_SHARE * calls;
}

function sum(values: Float64Array): number {
	let total = 0;
	for (const value of values) total += value;
	return total;
}
