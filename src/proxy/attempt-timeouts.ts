/** How long the attempts of one call may take, by what is known of its targets and by where else it could go. */
import type { ModelConfig } from "../config/schema.ts";
import type { Call } from "../openai/call.ts";
import type { RouteTarget } from "../routing/route.ts";
import type { RoutingState } from "../routing/target-state.ts";
import { canResume, isPassing } from "./resume.ts";
import { isWaitOnly, type TriedTarget } from "./retry.ts";
import { isLoading } from "./second-target.ts";
import { type CallTimeouts, limitsOf, longestAnswer, soleLimits } from "./timeouts.ts";

/** The call whose attempts they are. */
export interface TimedCall {
	readonly call: Call;
	/** What `models:` says of its name. */
	readonly alias: ModelConfig | undefined;
	/** In the order of the plan. */
	readonly tried: readonly TriedTarget[];
	readonly states: Pick<RoutingState, "of">;
}

/**
 * What the next attempt at a target is held to.
 * @param hasOthers whether others are left to ask
 */
export function attemptTimeouts(timed: TimedCall, index: number, hasOthers: boolean): CallTimeouts {
	const { call, alias, tried } = timed;
	const { target } = tried[index]!;
	const isUsual = tried.length === 1 && !hasOthers && !call.limits && !alias?.timeouts && !target.readiness;
	if (isUsual) return soleLimits(target.provider);
	// What it has begun may go on elsewhere, also where it once failed, if that may have passed.
	const others = call.stream ? tried.filter((each, at) => at !== index && !isWaitOnly(each) && mayAnswer(each)) : [];
	const isResumable = canResume({ call, alias, targets: others.map((each) => each.target) }, target);
	return limitsAt(timed, target, call.limits, hasOthers, isResumable);
}

/** What a target would be given by a call that sets no limits, with others to ask. */
export function usualTimeouts(timed: TimedCall, target: RouteTarget): CallTimeouts {
	return limitsAt(timed, target, undefined, true, true);
}

/** How long an attempt may take to its answer's beginning where nobody else is left to ask, ms. */
export function longestWait(timed: TimedCall, index: number): number {
	const { firstTokenMs, totalMs } = attemptTimeouts(timed, index, false);
	return timed.call.stream ? firstTokenMs : totalMs;
}

function limitsAt(
	{ call, alias, states }: TimedCall,
	target: RouteTarget,
	own: Call["limits"],
	hasOthers: boolean,
	isResumable: boolean,
): CallTimeouts {
	const { firstToken, answer, answerTokens } = states.of(target.id);
	const { provider } = target;
	return limitsOf({
		timeouts: provider.timeouts,
		set: [own, alias?.timeouts, provider.ownTimeouts],
		hasOthers,
		isResumable,
		learned: firstToken,
		whole: call.stream
			? undefined
			: { learned: answer, tokens: answerTokens, maxTokens: longestAnswer(call), isLoading: isLoading(target) },
		isReasoning: () => call.facts.isReasoning(target.model),
	});
}

const mayAnswer = ({ tries, failure }: TriedTarget): boolean =>
	tries === 0 || (failure !== undefined && isPassing(failure));
