/** What can go wrong with the Docker CLI, told apart from what it printed. */

/** Closed set. `failed` is what no pattern knows. */
export type DockerProblem =
	| "missing"
	| "not-running"
	| "permission"
	| "no-nvidia"
	| "no-space"
	| "no-image"
	| "port-taken"
	| "timeout"
	| "failed";

/** A failed call of the Docker CLI. `message` says what was wrong and where, `fix` what to do about it. */
export class DockerError extends Error {
	override readonly name = "DockerError";
	constructor(
		readonly problem: DockerProblem,
		message: string,
		/** The command or the setting that mends it, ready to paste where there is one. */
		readonly fix: string,
	) {
		super(message);
	}
}
