/** What is wrong with a container, a model, the Docker engine or the GPUs, in terms a person can act on. */

import { WHAT_TO_DO } from "../short-text.ts";

/** Why something does not work, and what a person does about it. */
export interface Problem {
	/** One clause, without a full stop. */
	readonly reason: string;
	/** Ready to paste where there is something to paste; empty where nothing has to be done. */
	readonly fix: string;
}

/** The problem with the model's name in its remedy, which names it as `{name}`. */
export function problemOf(model: string, { reason, fix }: Problem): Problem {
	return { reason, fix: fix.replaceAll("{name}", model) };
}

/** Reason and remedy in one line, for logs and for the router. */
export function problemText({ reason, fix }: Problem): string {
	return fix ? `${reason}${WHAT_TO_DO}${fix}` : reason;
}
