/** What a router knows of targets, for the process that takes its place: cached prompts, sessions, conversations, breakers. As JSON. */
import { type Breaker, onOtherClock } from "./breaker.ts";
import { LocalRoutingState } from "./local-routing-state.ts";
import type { SessionHash } from "./named-sessions.ts";
import { learnPart, type RememberedPart, type RememberedState, rememberedParts } from "./remembered-parts.ts";
import { SharedRoutingState } from "./shared-routing-state.ts";
import type { ExchangedState, RoutingState, TargetHealth } from "./target-state.ts";

/** A holder that can be handed on. */
export type HandedState = RememberedState &
	Pick<ExchangedState, "learnPrompt" | "learnSession" | "conversations"> & {
		/** Its clock, ms. */
		now(): number;
		/** Of all targets of which something is known. */
		healths(): Iterable<readonly [target: string, health: TargetHealth]>;
		/** Another process has found that out. */
		learnHealth(target: string, health: TargetHealth): void;
		/** Sessions that it knows by the hashes of their names alone, and where their last calls went, the most recent last. */
		hashedSessions(): Iterable<readonly [hash: SessionHash, target: string]>;
		/** The last call of the session of this hash went there. */
		learnHashedSession(hash: SessionHash, target: string): void;
	};

/** The holder of a router, of one thread or, as its main thread sees it, of several; undefined for any other. */
export const handedState = (state: RoutingState): HandedState | undefined =>
	state instanceof LocalRoutingState || state instanceof SharedRoutingState ? state : undefined;

/** All of it. Times are those of a clock that says `now`, ms; null is a time that never was. */
export interface HandedRouting {
	readonly now: number;
	readonly parts: readonly RememberedPart[];
	/** Sessions by the hashes of their names; absent: the process before hands on none so. */
	readonly hashedSessions?: readonly (readonly [hash: SessionHash, target: string])[];
	readonly healths: readonly (readonly [target: string, health: HandedHealth])[];
}

type Time = number | null;

interface HandedHealth {
	readonly breaker: Omit<Breaker, "probedAt" | "closedAt"> & { readonly probedAt: Time; readonly closedAt: Time };
	readonly pausedUntil: Time;
	readonly pausedFor: string;
}

/** What is known at this moment. */
export function handRouting(state: HandedState): HandedRouting {
	return {
		now: state.now(),
		parts: [...rememberedParts(state)],
		hashedSessions: [...state.hashedSessions()],
		healths: [...state.healths()].map(([target, { breaker, pausedUntil, pausedFor }]) => [
			target,
			{
				breaker: { ...breaker, probedAt: timeOf(breaker.probedAt), closedAt: timeOf(breaker.closedAt) },
				pausedUntil: timeOf(pausedUntil),
				pausedFor,
			},
		]),
	};
}

/** Takes it over. */
export function takeRouting(state: HandedState, { now, parts, hashedSessions = [], healths }: HandedRouting): void {
	const ahead = state.now() - now;
	for (const [target, { breaker, pausedUntil, pausedFor }] of healths) {
		const { probedAt, closedAt } = breaker;
		const known = { ...breaker, probedAt: readTime(probedAt), closedAt: readTime(closedAt) };
		state.learnHealth(target, {
			breaker: onOtherClock(known, ahead),
			pausedUntil: readTime(pausedUntil) + ahead,
			pausedFor,
		});
	}
	// Before those that are known by name: their calls came later.
	for (const [hash, target] of hashedSessions) state.learnHashedSession(hash, target);
	for (const part of parts) {
		learnPart(state, part);
		for (const [session, target] of part.sessions) state.learnSession(session, target);
	}
}

/** JSON has no infinities. */
const timeOf = (time: number): Time => (Number.isFinite(time) ? time : null);
const readTime = (time: Time): number => time ?? Number.NEGATIVE_INFINITY;
