/** Errors of the Docker CLI. */

/** Closed set. `registry`: it can't be reached or refuses for now. `gone`: there is no such container. `failed`: any other error. */
export type DockerErrorKind =
	| "missing"
	| "not-running"
	| "permission"
	| "no-nvidia"
	| "no-space"
	| "no-image"
	| "no-network"
	| "registry"
	| "port-taken"
	| "name-taken"
	| "gone"
	| "timeout"
	| "failed";

/** A failed call of the Docker CLI. `message` says what was wrong and where, `fix` what to do about it. */
export class DockerError extends Error {
	override readonly name = "DockerError";
	constructor(
		readonly kind: DockerErrorKind,
		message: string,
		/** The command or the setting that mends it, ready to paste where there is one. */
		readonly fix: string,
	) {
		super(message);
	}
}
