/** What a process costs, as Linux counts it in /proc. Throws (ENOENT) where there is no /proc or no such process. */
import { readFileSync } from "node:fs";

/** Ticks a second in /proc/<pid>/stat; USER_HZ is 100 on every Linux that bun runs on (proc_pid_stat(5)). */
const TICKS = 100;

/** CPU time of all threads since the process began, µs, in steps of 10,000. */
export function cpuMicros(pid: number): number {
	const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
	// The second field is the program's name in brackets and may hold blanks: count from its end.
	const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
	return ((Number(fields[11]) + Number(fields[12])) * 1e6) / TICKS;
}

/** Resident memory, MB (of 1,000,000 bytes). */
export function rssMb(pid: number): number {
	const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
	return (Number(kib) * 1024) / 1e6;
}

/** The middle value; the mean of the two middle ones of an even count. NaN of none. */
export function median(values: readonly number[]): number {
	const sorted = values.toSorted((a, b) => a - b);
	const half = sorted.length / 2;
	return ((sorted[Math.ceil(half) - 1] ?? Number.NaN) + (sorted[Math.floor(half)] ?? Number.NaN)) / 2;
}
