/** What a process costs, as Linux counts it in /proc, and how samples become one number. */
import { readdirSync, readFileSync } from "node:fs";

/** Ticks a second in /proc/<pid>/stat; USER_HZ is 100 on every Linux that bun runs on (proc_pid_stat(5)). */
const TICKS = 100;

/** The fields of /proc/<pid>/stat from the third on (state). Throws (ENOENT) where there is no such process. */
function stat(pid: number): string[] {
	const text = readFileSync(`/proc/${pid}/stat`, "utf8");
	// The second field is the program's name in brackets and may hold blanks: count from its end.
	return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

/**
 * CPU time of a process and all below it, every thread, those that ended included, µs, in steps of 10,000.
 * Throws (ENOENT) where there is no /proc or no such process.
 */
export function cpuMicros(pid: number): number {
	const fields = stat(pid).slice(11, 15);
	let ticks = fields.reduce((sum, field) => sum + Number(field), 0);
	for (const child of descendants(pid)) {
		try {
			ticks += stat(child)
				.slice(11, 15)
				.reduce((sum, field) => sum + Number(field), 0);
		} catch {
			// It ended just now: its parent has its time.
		}
	}
	return (ticks * 1e6) / TICKS;
}

/** Every process below `pid`. Not from `children` in /proc, which not every kernel has. */
function descendants(pid: number): number[] {
	const parents = new Map<number, number>();
	for (const name of readdirSync("/proc")) {
		const other = Number(name);
		try {
			if (other > 0) parents.set(other, Number(stat(other)[1]));
		} catch {
			// It ended just now.
		}
	}
	const isBelow = (other: number): boolean => {
		const parent = parents.get(other);
		return parent !== undefined && (parent === pid || isBelow(parent));
	};
	return [...parents.keys()].filter(isBelow);
}

const field = (pid: number, name: string) => {
	const kib = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
	return (Number(kib) * 1024) / 1e6;
};

/** Resident memory, MB (of 1,000,000 bytes). */
export const rssMb = (pid: number): number => field(pid, "VmRSS");

/** The most that was resident since the process began, MB. */
export const peakRssMb = (pid: number): number => field(pid, "VmHWM");

/** The middle value; the mean of the two middle ones of an even count. NaN of none. */
export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** The value that `share` (0 to 1) of all lie below, between two values in proportion. NaN of none. */
export function quantile(values: readonly number[], share: number): number {
	const sorted = values.toSorted((a, b) => a - b);
	const at = (sorted.length - 1) * share;
	const below = sorted[Math.floor(at)] ?? Number.NaN;
	return below + ((sorted[Math.ceil(at)] ?? Number.NaN) - below) * (at % 1);
}

/** Distance from the median of the value farthest from it, as a share of the median: 0.05 is ±5 %. */
export function spread(values: readonly number[]): number {
	const middle = median(values);
	return Math.max(...values.map((value) => Math.abs(value - middle))) / middle;
}
