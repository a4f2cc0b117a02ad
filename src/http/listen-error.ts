/** Why a server could not listen, in words that say what to do. */
import { StartError } from "../start-error.ts";

/** What Bun threw while binding `host:port`, as a StartError. */
export function listenProblem(cause: unknown, host: string, port: number): StartError {
	const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
	return new StartError(sentence(code, host, port, cause), { cause });
}

function sentence(code: string, host: string, port: number, cause: unknown): string {
	switch (code) {
		case "EADDRINUSE":
			return `Port ${port} on ${host} is taken, perhaps by a router that already runs. Stop it, or choose another port with --port or PORT.`;
		case "EACCES":
		case "EPERM":
			return `Port ${port} on ${host} is not allowed for this user: choose one above 1023 with --port or PORT.`;
		case "EADDRNOTAVAIL":
		case "EINVAL":
		case "ENOTFOUND":
			return `${host} is no address of this machine: give another with --host or HOST (0.0.0.0 is every one).`;
		default:
			return `Can't listen on ${host}:${port}: ${cause instanceof Error ? cause.message : "unknown reason"}.`;
	}
}
