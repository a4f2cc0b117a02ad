/** Uncaught exceptions. One bad call must not end the process, so a crash is written to stderr, counted and survived. */

import { inSource } from "./source-maps.ts";

/** A thrown error, or the rejection of a promise that nobody awaited. */
export type CrashKind = "exception" | "rejection";

/** Called at each crash. `line` names the error's class, file and line, never its message. */
export type CrashListener = (kind: CrashKind, line: string) => void;

const listeners = new Set<CrashListener>();

/**
 * Calls `listener` at each crash from now on; returns a function that ends that. The log and the metrics use it.
 * The line goes to stderr whoever listens. A listener must not throw.
 */
export function onCrash(listener: CrashListener): () => void {
	listeners.add(listener);
	return () => listeners.delete(listener);
}

/** Reports a crash: also for whoever has caught one where nothing else can be told of it. */
export function reportCrash(kind: CrashKind, thrown: unknown): void {
	const line = crashLine(kind, thrown);
	process.stderr.write(`${line}\n`);
	for (const listener of listeners) listener(kind, line);
}

/** Installs the process's two handlers. Call once, before a role starts; after it nothing uncaught ends the process. */
export function surviveCrashes(): void {
	process.on("uncaughtException", (thrown) => reportCrash("exception", thrown));
	process.on("unhandledRejection", (thrown) => reportCrash("rejection", thrown));
}

/**
 * `uncaught TypeError at src/proxy/relay.ts:12`. The message is left out: it may quote a prompt or a key
 * (`JSON.parse` quotes its input). So may the arguments of stack frames: only file and line are taken.
 */
function crashLine(kind: CrashKind, thrown: unknown): string {
	const what = kind === "exception" ? "uncaught" : "unhandled rejection:";
	if (!(thrown instanceof Error)) return `${what} ${typeof thrown}; the process goes on`;
	const frame = thrown.stack?.split("\n").find((line) => /^\s+at /.test(line)) ?? "";
	const position = /\(?([^\s()]+:\d+)\)?\s*$/.exec(inSource(frame));
	return `${what} ${thrown.constructor.name}${position ? ` at ${position[1]}` : ""}; the process goes on`;
}
