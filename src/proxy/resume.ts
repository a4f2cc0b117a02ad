/** How an answer that broke after its first bytes goes on from another target. */
import type { Call } from "../openai/call.ts";
import type { Failure, Target } from "../providers/provider.ts";
import type { Opened } from "./attempt.ts";

/** What a resume may use. */
export interface Elsewhere {
	readonly call: Call;
	/** The call's targets, and which of them it has tried. */
	readonly targets: readonly Target[];
	hasTried(target: Target): boolean;
	/** One attempt, `as` another call where it is to be put otherwise. Never throws for what an upstream does. */
	attempt(target: Target, as?: Call): Promise<Opened | Failure>;
}

/** The decision and the way. */
export interface Resume {
	/** Whether an answer of this target's could go on at one of the others: silence inside it is then borne for less long. */
	canGoOn(call: Call, target: Target, others: readonly Target[]): boolean;
	/**
	 * The rest of an answer that broke: a stream that begins where what was sent ended. Undefined where there is none: the client then
	 * gets an error event.
	 */
	goOn(broken: Opened, failure: Failure, elsewhere: Elsewhere): Promise<Opened | undefined>;
}

/** Nothing that has begun goes on elsewhere. */
export const NO_RESUME: Resume = {
	canGoOn: () => false,
	goOn: () => Promise.resolve(undefined),
};
