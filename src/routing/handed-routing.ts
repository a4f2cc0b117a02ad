/** What a router knows of targets, for the process that takes its place: cached prompts, sessions, conversations, breakers. Pure, as JSON. */
import { type Breaker, onOtherClock } from "./breaker.ts";
import { learnPart, type RememberedPart, type RememberedState, rememberedParts } from "./remembered-parts.ts";
import type { ExchangedState, TargetHealth } from "./target-state.ts";

/** A holder that can be handed on. */
export type HandedState = RememberedState &
	Pick<ExchangedState, "learnPrompt" | "learnSession" | "conversations"> & {
		/** Its clock, ms. */
		now(): number;
		/** Of all targets of which something is known. */
		healths(): Iterable<readonly [target: string, health: TargetHealth]>;
		/** Another process has found that out. */
		learnHealth(target: string, health: TargetHealth): void;
	};

/** All of it. Times are those of a clock that says `now`, ms; null is a time that never was. */
export interface HandedRouting {
	readonly now: number;
	readonly parts: readonly RememberedPart[];
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
export function takeRouting(state: HandedState, { now, parts, healths }: HandedRouting): void {
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
	for (const part of parts) {
		learnPart(state, part);
		for (const [session, target] of part.sessions) state.learnSession(session, target);
	}
}

/** JSON has no infinities. */
const timeOf = (time: number): Time => (Number.isFinite(time) ? time : null);
const readTime = (time: Time): number => time ?? Number.NEGATIVE_INFINITY;
