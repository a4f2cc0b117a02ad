/** Which core a process of the bench runs on. */
import { readFileSync } from "node:fs";

/** The cores of `list` as the kernel writes them: `0-2,5` is 0, 1, 2, 5. Throws where it is no such list. */
export function coresOf(list: string): number[] {
	return list
		.trim()
		.split(",")
		.flatMap((range) => {
			const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(range) ?? [];
			if (first === undefined) throw new Error(`bench: ${list} is no list of cores`);
			return Array.from({ length: Number(last) - Number(first) + 1 }, (_, at) => Number(first) + at);
		});
}

/** One core for upstream and load, another for the process under test. */
export interface Pins {
	readonly around: number;
	readonly subject: number;
}

/** The first and the last of the cores, which on most machines share the least; undefined of fewer than two. */
export function choosePins(cores: readonly number[]): Pins | undefined {
	const [around, subject] = [cores.at(0), cores.at(-1)];
	return around === undefined || subject === undefined || around === subject ? undefined : { around, subject };
}

/** Cores that this process may run on: those of its cgroup's cpuset, as far as nobody has narrowed them further. */
export function allowedCores(): number[] {
	const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
	return coresOf(list ?? "");
}

/** Undefined where `taskset` is missing, where there is one core only, and where BENCH_PIN is `off`. */
export const PINS: Pins | undefined =
	process.env["BENCH_PIN"] === "off" || !Bun.which("taskset") ? undefined : choosePins(allowedCores());

/** Where a process belongs: `around` what is measured, or itself the `subject`. */
export type Place = keyof Pins;

/** `command`, bound to the core of its place. taskset becomes the command, so the process id stays. */
export const pinned = (place: Place, command: readonly string[]): string[] =>
	PINS ? ["taskset", "-c", String(PINS[place]), ...command] : [...command];

/** Takes the bench itself, all its threads, off the core of the process under test. */
export function pinSelf(): void {
	if (PINS) Bun.spawnSync(["taskset", "-acp", String(PINS.around), String(process.pid)], { stdout: "ignore" });
}
