/** The last warnings and errors of the logs: what `router doctor` says has gone wrong. */
import { closeSync, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";

/** How much of a log's end is read, bytes. */
const TAIL = 512 * 1024;
/** Kinds of faults that are shown, the newest. */
const MOST = 15;

/** One kind of fault. */
export interface LoggedFault {
	/** When it was logged last, as the log has it. */
	readonly time: string;
	readonly level: string;
	readonly message: string;
	/** The error's own words; absent where none was logged. */
	readonly cause?: string | undefined;
	/** How often it stands in what was read. */
	readonly count: number;
}

/** The newest faults of the logs of a directory, one entry for equal ones, the newest last. Empty where there is no log. Never throws. */
export function loggedFaults(directory: string): LoggedFault[] {
	const faults = new Map<string, LoggedFault>();
	for (const line of logNames(directory).flatMap((name) => lastLines(join(directory, name)))) {
		const fault = faultIn(line);
		if (!fault) continue;
		const kind = JSON.stringify([fault.level, fault.message, fault.cause]);
		const known = faults.get(kind);
		faults.set(kind, { ...fault, count: (known?.count ?? 0) + 1 });
	}
	return [...faults.values()].sort((a, b) => (a.time < b.time ? -1 : 1)).slice(-MOST);
}

function faultIn(line: string): LoggedFault | undefined {
	let parsed: { level?: unknown; time?: unknown; msg?: unknown; err?: { message?: unknown } };
	try {
		parsed = JSON.parse(line);
	} catch {
		return undefined;
	}
	const { level, time, msg, err } = parsed ?? {};
	if (level !== "warn" && level !== "error" && level !== "fatal") return undefined;
	const cause = typeof err?.message === "string" && err.message !== msg ? err.message : undefined;
	return { time: String(time), level, message: String(msg), cause, count: 1 };
}

/** The files of both roles, today's and those that were begun anew. */
function logNames(directory: string): string[] {
	try {
		return readdirSync(directory)
			.filter((name) => /^(router|agent)\b.*\.log$/.test(name))
			.sort();
	} catch {
		return [];
	}
}

function lastLines(file: string): string[] {
	let handle: number | undefined;
	try {
		handle = openSync(file, "r");
		const { size } = fstatSync(handle);
		const buffer = Buffer.alloc(Math.min(size, TAIL));
		const count = readSync(handle, buffer, 0, buffer.length, size - buffer.length);
		return buffer.toString("utf8", 0, count).split("\n");
	} catch {
		return [];
	} finally {
		if (handle !== undefined) closeSync(handle);
	}
}
