/** How many CPUs this process may use. */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path/posix";

/** Reads a file; undefined where it can't be read. */
export type ReadText = (path: string) => string | undefined;

/** One line of `/proc/self/cgroup`: `0::/path` of version 2, `4:cpu,cpuacct:/path` of version 1. */
const CGROUP = /^\d+:([^:]*):(.*)$/;

/**
 * Processors that this process may run on (its affinity, which cpusets set), or what its cgroups allow of their time where that is less: 2.5
 * for `docker run --cpus 2.5`. Never throws.
 */
export const allowedCpus = (): number => Math.min(availableParallelism(), cgroupCpus(read));

/**
 * The least that a cgroup of this process allows, in CPUs; Infinity where none limits it. A group has the limits of its parents, too, which
 * Bun does not look at where they are of version 1; and in a container the path may be the host's, of which only the root is there.
 */
export function cgroupCpus(readText: ReadText): number {
	let least = Number.POSITIVE_INFINITY;
	for (const line of (readText("/proc/self/cgroup") ?? "").split("\n")) {
		const [, controllers, path] = CGROUP.exec(line) ?? [];
		if (controllers === undefined || path === undefined) continue;
		const isNew = controllers === "";
		if (!isNew && !controllers.split(",").includes("cpu")) continue;
		// Version 1 is mounted under its controllers' names, and under each of them.
		const roots = isNew ? ["/sys/fs/cgroup"] : [`/sys/fs/cgroup/${controllers}`, "/sys/fs/cgroup/cpu"];
		for (const root of roots) {
			for (const directory of withParents(path)) {
				const at = (name: string) => readText(join(root, directory, name))?.trim();
				least = Math.min(
					least,
					isNew ? quota(...words(at("cpu.max"))) : quota(at("cpu.cfs_quota_us"), at("cpu.cfs_period_us")),
				);
			}
		}
	}
	return least;
}

/** `/a/b` → `/a/b`, `/a`, `/`. */
function withParents(path: string): string[] {
	const parts = join("/", path)
		.split("/")
		.filter((part) => part !== "");
	return Array.from({ length: parts.length + 1 }, (_, up) => `/${parts.slice(0, parts.length - up).join("/")}`);
}

const words = (text: string | undefined) => (text ?? "").split(" ") as [string, string | undefined];

/** Both in µs; a quota of `max`, -1 or none is no limit. */
function quota(time: string | undefined, period: string | undefined): number {
	const cpus = Number(time) / Number(period);
	return cpus > 0 ? cpus : Number.POSITIVE_INFINITY;
}

function read(path: string): string | undefined {
	try {
		return readFileSync(path, "utf8");
	} catch {
		return undefined;
	}
}
