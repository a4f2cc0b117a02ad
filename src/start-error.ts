/**
 * A role could not start for a reason that a person can mend (port taken, no key on a
 * public address). The message is one line for that person: what was wrong, where, what to do.
 */
export class StartError extends Error {
	override readonly name = "StartError";
}
