/**
 * What no one caught. One bad call must not end the process (issue: "an exception in one call never
 * ends the process"), so a crash is told, counted and survived.
 */

/** How it came: a thrown error, or a promise nobody awaited. */
export type CrashKind = "exception" | "rejection";

/** Hears of each crash. `line` names the error's class and place in our code, never its message. */
export type CrashListener = (kind: CrashKind, line: string) => void;

const listeners = new Set<CrashListener>();

/**
 * Calls `listener` at each crash from now on; returns how to stop. The log and the metrics use it.
 * The line goes to stderr whoever listens. A listener must not throw.
 */
export function onCrash(listener: CrashListener): () => void {
	listeners.add(listener);
	return () => listeners.delete(listener);
}

function reportCrash(kind: CrashKind, thrown: unknown): void {
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
 * `uncaught TypeError at src/proxy/relay.ts:12:3`. The message stays out: it may quote a prompt or a key
 * (`JSON.parse` quotes its input), and so do frames' arguments, which is why only file and line are taken.
 */
function crashLine(kind: CrashKind, thrown: unknown): string {
	const what = kind === "exception" ? "uncaught" : "unhandled rejection:";
	if (!(thrown instanceof Error)) return `${what} ${typeof thrown}; the process goes on`;
	const place = /\(?([^\s()]+:\d+:\d+)\)?\s*$/.exec(thrown.stack?.split("\n").find((l) => /^\s+at /.test(l)) ?? "");
	return `${what} ${thrown.constructor.name}${place ? ` at ${place[1]}` : ""}; the process goes on`;
}
