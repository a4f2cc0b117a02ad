/** Where a call goes that may have killed an engine, and what it is told that may go nowhere. Pure. */
import { RouterError } from "../errors.ts";
import type { FailureKind } from "../providers/failure.ts";
import type { RouteTarget } from "../routing/route.ts";
import type { AttemptRecord } from "./call-record.ts";

/** Failures that say nothing of whether the engine takes the call. */
export const INCONCLUSIVE = new Set<FailureKind>(["transport", "truncated", "timeout", "overloaded", "busy", "rate"]);

/**
 * How long the next suspected call waits for one that runs, ms: most engines die when they begin a call. A whole answer shows no token
 * before its end.
 */
export const turnMsOf = (isStream: boolean): number => (isStream ? 30_000 : 3_000);

/** `Retry-After` where nobody knows how long an engine takes to start, s. */
const UNKNOWN_RESTART_S = 30;

/** A suspected call's place in the line. Of one model one runs at a time. */
export interface SuspectTurn {
	/** No other place has it: the number of the thread whose call it is, `/`, and another number. */
	readonly id: string;
	/** The upstream's name of the model. */
	readonly model: string;
	cameAt: number;
	/** Engines that it waits for. */
	waitsFor: readonly string[];
	/** It runs there. */
	engine: string | undefined;
	isAlone: boolean;
	/** Other calls were kept from an engine for it. */
	wasAlone: boolean;
	/** It has run for so long that the next may have its turn. */
	hasPassed: boolean;
}

/** What an attempt that ended is to a suspicion. */
export interface EndedAttempt {
	readonly target: RouteTarget;
	readonly record: Pick<AttemptRecord, "startedAt">;
	readonly hasTokens: boolean;
}

/** An attempt at an engine that died meanwhile. Times on the holder's clock, ms. */
export interface DeathReport {
	/** The engine's id. */
	readonly engine: string;
	/** By which the attempt was there. */
	readonly target?: RouteTarget | undefined;
	readonly startedAt: number;
	readonly fingerprint: string;
	/** What its engines call the model. */
	readonly model: string;
	/** The call's id. */
	readonly call: string;
	readonly hasTokens: boolean;
	/** Where the call was suspected already and runs for that. */
	readonly turn: SuspectTurn | undefined;
	/** The engine had answered calls since it died before, if it had. */
	readonly wasWell: boolean;
}

/** One death of one engine. Times on the holder's clock, ms. */
export interface Death {
	readonly at: number;
	/** When its server last answered that it is dead. */
	lastAt: number;
	/** Fingerprints of the calls that may have been the cause. */
	readonly suspects: Set<string>;
	/** The cause is known. */
	isExplained: boolean;
}

/** An engine that has died, or that suspected calls wait for. Times on the holder's clock, ms. */
export interface SuspectedEngine {
	death: Death | undefined;
	/** By which it was reached when it died. */
	target: RouteTarget | undefined;
	/** When it was found to be back. */
	backAt: number | undefined;
	/** From its last death until it was back, ms. */
	restartMs: number | undefined;
	/** The suspected call that runs there. */
	trial: SuspectTurn | undefined;
	/** Until then no other call is sent there while one is suspected, ms. */
	reservedUntil: number;
}

/** What is known of one call. Times on the holder's clock, ms. */
export interface Suspicion {
	readonly at: number;
	/** What its engines call the model. */
	readonly model: string;
	readonly deaths: Set<Death>;
	/** Where it was at those. */
	readonly engines: Set<string>;
	/** Ids of the requests that were there. */
	readonly calls: string[];
	refusedUntil: number | undefined;
}

/** What is known of a call that is refused. */
export interface SuspectRefusal {
	/** Ids of the requests that engines died of. */
	readonly calls: readonly string[];
	/** As the ledger and explanations say it. */
	readonly reason: string;
	/** How many engines died of it. */
	readonly engines: number;
	/** How long it is refused from now on, ms. */
	readonly leftMs: number;
}

/** All that is known. */
export interface SuspectState {
	/** By id. */
	readonly engines: Map<string, SuspectedEngine>;
	/** By fingerprint, the oldest first. */
	readonly calls: Map<string, Suspicion>;
	/** The line of suspected calls, as they came. */
	readonly turns: SuspectTurn[];
}

/** What an engine's death, or a refusal, is reported as: no prompt is in it. */
export type SuspectEvent =
	| { readonly what: "died"; readonly target: string; readonly call: string }
	/** `calls`: the requests that engines died of; it is refused for so long, ms. */
	| { readonly what: "convicted"; readonly target: string; readonly calls: readonly string[]; readonly forMs: number }
	| { readonly what: "refused"; readonly call: string; readonly calls: readonly string[] };

/** One of the call's targets. */
export interface SuspectTarget {
	/**
	 * `engine`: it may die of the call, and is known by itself. `gateway`: several engines, of which another one chooses (llm-d, the
	 * queue of an agent's model). `vendor`: none of the user's own engines. `elsewhere`: an engine of the model that died of the call, and where
	 * it can't be sent: its name leads to others.
	 */
	readonly kind: "engine" | "gateway" | "vendor" | "elsewhere";
	/** It serves: nothing is known against it. */
	readonly isHealthy: boolean;
	/** It has died, and is not known to be back; or it is the one where this call was when it died. */
	readonly isWhereItDied: boolean;
	/** It was dead and answers again. */
	readonly isBack: boolean;
	/** Calls that run there, of others. */
	readonly inFlight: number;
	/** The call has tried it since its engine died, in vain. */
	readonly isTried: boolean;
}

/** A suspected call. Times on one clock, ms. */
export interface SuspectSituation {
	/** In the order of the plan. */
	readonly targets: readonly SuspectTarget[];
	/** It is the first in the line of suspected calls of its model, of which none runs. */
	readonly hasTurn: boolean;
	/** Another call has been found to be the cause. */
	readonly isFree: boolean;
	/** How long the call can wait. */
	readonly leftMs: number;
	/** How long it takes until an engine is back, where that is known. */
	readonly backInMs: number | undefined;
}

/** What it does. `isAlone`: no other call runs beside it. */
export type SuspectStep =
	| { readonly do: "try"; readonly index: number; readonly isAlone: boolean }
	/** `reserves`: for an engine that died, from which other calls are kept meanwhile; else for its turn. */
	| { readonly do: "wait"; readonly reserves: boolean }
	| { readonly do: "refuse" };

/**
 * In this order: at an engine where another healthy one would be left; at a vendor; alone at one that died and is back. Never at the last
 * healthy one. What can't be before the call's time is up is refused at once.
 */
export function suspectStep({ targets, hasTurn, isFree, leftMs, backInMs }: SuspectSituation): SuspectStep {
	const mayServe = ({ kind, isHealthy, isTried }: SuspectTarget) =>
		(kind === "engine" || kind === "gateway") && isHealthy && !isTried;
	// One that was lost to it already is the first that may be lost again.
	const again = targets.findIndex((each) => mayServe(each) && each.isWhereItDied);
	const healthy = again === -1 ? targets.findIndex(mayServe) : again;
	const isOneLeft = targets.filter(({ kind, isHealthy }) => kind !== "vendor" && isHealthy).length > 1;
	if (healthy !== -1 && (isFree || (isOneLeft && hasTurn))) return { do: "try", index: healthy, isAlone: false };
	if (leftMs <= 0) return { do: "refuse" };
	if (healthy !== -1 && isOneLeft) return { do: "wait", reserves: false };
	const vendor = targets.findIndex(({ kind, isTried }) => kind === "vendor" && !isTried);
	if (vendor !== -1) return { do: "try", index: vendor, isAlone: false };
	const dead = targets.filter(
		({ kind, isWhereItDied }) => kind === "elsewhere" || (kind === "engine" && isWhereItDied),
	);
	if (dead.length === 0) return { do: "refuse" };
	const back = targets.findIndex(
		({ kind, isWhereItDied, isBack, inFlight }) =>
			kind === "engine" && isWhereItDied && isBack && (isFree || inFlight === 0),
	);
	if (back !== -1 && (isFree || hasTurn)) return { do: "try", index: back, isAlone: !isFree };
	const isAway = !dead.some(({ isBack }) => isBack);
	return isAway && backInMs !== undefined && backInMs >= leftMs ? { do: "refuse" } : { do: "wait", reserves: !isFree };
}

/** Of a call that an engine died of twice. `leftMs`: for how long it is refused. */
export function poisonousError(leftMs: number): RouterError {
	const advice =
		leftMs === 0
			? ". Change it."
			: `; it is refused for ${Math.ceil(leftMs / 1000)} s more (poisonous_requests). Change it, or wait.`;
	return new RouterError("poisonous_request", `An engine died of this call twice${advice}`);
}

/** Of a call whose time is up before an engine of this provider's is back, or is free of a suspected one; Infinity: nobody knows when. */
export function lateError(provider: string, isSuspect: boolean, backInMs: number): RouterError {
	const seconds = Number.isFinite(backInMs) ? Math.max(1, Math.ceil(backInMs / 1000)) : UNKNOWN_RESTART_S;
	const why = isSuspect
		? "died while this call had no token yet, so that this call may be the cause: it will be tried alone once that engine is back"
		: "died, and is reserved for a call that may be the cause";
	return new RouterError("engine_died", `An engine of ${provider} ${why}. Call again then.`, {
		headers: { "retry-after": String(seconds) },
	});
}
