/** How an answer that broke after its first bytes goes on from another target, so that its client reads one unbroken stream. */
import type { ModelConfig } from "../config/schema.ts";
import type { Call } from "../openai/call.ts";
import type { Told } from "../openai/transcript.ts";
import { FAILURES } from "../providers/failure.ts";
import type { Failure } from "../providers/provider.ts";
import type { RouteTarget } from "../routing/route.ts";
import type { Opened } from "./attempt.ts";
import { type FollowUp, followUps, obstacleOf } from "./continuation.ts";

/** What of a call the decision needs. */
export interface ResumeTerms {
	readonly call: Call;
	/** What `models:` says of its name. */
	readonly alias?: ModelConfig | undefined;
	readonly targets: readonly RouteTarget[];
}

/** The way: one attempt for the rest of the answer. Never throws for what an upstream does. */
export interface Elsewhere extends ResumeTerms {
	readonly told: Told;
	/** Attempts that the call has made there. */
	tries(target: RouteTarget): number;
	attempt(target: RouteTarget, followUp: FollowUp): Promise<Opened | Failure>;
}

/** Whether what one target began could go on at another of these: silence inside it is then borne for less long. */
export function mayGoOn({ call, alias, targets }: ResumeTerms, but: RouteTarget): boolean {
	if (!call.stream || targets.length < 2) return false;
	return targets.some((target) => target.id !== but.id && isWithin(alias, target));
}

/**
 * The rest of an answer that broke: a stream that begins where what was sent ended. Undefined where there is none: the
 * client then gets an error event. Targets that the call has not tried come first; the one that broke may itself go on where it
 * can be told what it said (a connection was cut, and its server lives), once, though never be asked for the whole again: only
 * what others say anew is worth paying for twice.
 */
export async function goOn(broken: Opened, failure: Failure, elsewhere: Elsewhere): Promise<Opened | undefined> {
	const { call, alias, targets, told } = elsewhere;
	if (!FAILURES[failure.kind].elsewhere || obstacleOf(call, told) !== undefined) return undefined;
	const ofAll = targets.filter((target) => isWithin(alias, target));
	const others = ofAll.filter((target) => target.id !== broken.target.id && elsewhere.tries(target) === 0);
	const mayItself = failure.kind !== "timeout";
	const itself = ofAll.filter((target) => mayItself && target.id === broken.target.id && elsewhere.tries(target) < 2);
	for (const target of [...others, ...itself]) {
		const capability = target.provider.continuation?.(target) ?? "replay";
		for (const followUp of followUps(call, told, capability)) {
			if (followUp.mode === "replay" && target.id === broken.target.id) break;
			const result = await elsewhere.attempt(target, followUp);
			if ("head" in result) return result;
			if (result.kind === "cancelled") return undefined;
			// What it refused is how it was asked: some take no beginning of an answer. Any other failure is the target's.
			if (result.kind !== "caller" && result.kind !== "unsupported") break;
		}
	}
	return undefined;
}

/** Only targets that the owner calls equal go on with each other's answers, unless the owner says more, or less. */
function isWithin(alias: ModelConfig | undefined, { tier }: RouteTarget): boolean {
	const scope = alias?.resume ?? "targets";
	return scope === "any" || (scope === "targets" && tier !== "fallback");
}
