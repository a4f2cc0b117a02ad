/** The memory of this host, as far as containers may have it. */
import { readFileSync } from "node:fs";
import type { HostMemory } from "./memory.ts";

const CGROUP = "/sys/fs/cgroup";

/**
 * Reads it. Where the host is itself a container, the limit of that is the host's: it stands at the root of the cgroups. Undefined where
 * there is no `/proc/meminfo`: elsewhere than on Linux containers run in a machine of their own. Never throws.
 */
export function readHostMemory(read: (path: string) => string | undefined = readText): HostMemory | undefined {
	const meminfo = read("/proc/meminfo") ?? "";
	const total = kilobytes(meminfo, "MemTotal");
	const available = kilobytes(meminfo, "MemAvailable");
	if (total === undefined || available === undefined) return undefined;
	const limit = number(read(`${CGROUP}/memory.max`) ?? read(`${CGROUP}/memory/memory.limit_in_bytes`));
	if (limit === undefined || limit >= total) return { total, available };
	const used = number(read(`${CGROUP}/memory.current`) ?? read(`${CGROUP}/memory/memory.usage_in_bytes`)) ?? 0;
	const stat = read(`${CGROUP}/memory.stat`) ?? read(`${CGROUP}/memory/memory.stat`) ?? "";
	// Cached files count as used, and are dropped when others need the memory.
	const cached = number(/^(?:total_)?inactive_file (\d+)$/m.exec(stat)?.[1]) ?? 0;
	return { total: limit, available: Math.min(available, Math.max(0, limit - used + cached)) };
}

const UID = process.getuid?.() ?? 0;
/** Where Docker (by systemd, by itself) and podman (root's by systemd, by itself, a user's) put a container's cgroup, in both versions of cgroups. */
const CONTAINER_CGROUPS: readonly ((id: string) => string)[] = [
	(id) => `system.slice/docker-${id}.scope`,
	(id) => `docker/${id}`,
	(id) => `machine.slice/libpod-${id}.scope`,
	(id) => `libpod_parent/libpod-${id}`,
	(id) => `user.slice/user-${UID}.slice/user@${UID}.service/user.slice/libpod-${id}.scope`,
];

/** What a container uses of the host's memory without files that can be dropped, bytes; undefined where its cgroup is not found. Never throws. */
export function containerMemory(id: string, read: (path: string) => string | undefined = readText): number | undefined {
	for (const cgroup of CONTAINER_CGROUPS) {
		const stat = read(`${CGROUP}/${cgroup(id)}/memory.stat`) ?? read(`${CGROUP}/memory/${cgroup(id)}/memory.stat`);
		if (stat === undefined) continue;
		const own = number(/^(?:total_rss|anon) (\d+)$/m.exec(stat)?.[1]);
		const shared = number(/^(?:total_)?shmem (\d+)$/m.exec(stat)?.[1]) ?? 0;
		if (own !== undefined) return own + shared;
	}
	return undefined;
}

function kilobytes(meminfo: string, name: string): number | undefined {
	const value = new RegExp(`^${name}: +(\\d+) kB$`, "m").exec(meminfo)?.[1];
	return value === undefined ? undefined : Number(value) * 1024;
}

/** Undefined for `max`. */
function number(text: string | undefined): number | undefined {
	const value = Number(text?.trim() || Number.NaN);
	return Number.isFinite(value) ? value : undefined;
}

function readText(path: string): string | undefined {
	try {
		return readFileSync(path, "utf8");
	} catch {
		return undefined;
	}
}
