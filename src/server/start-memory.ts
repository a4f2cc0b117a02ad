/** The memory that a role's start takes and its calls don't need is given back to the system. */
import { readlinkSync } from "node:fs";
import { readFile } from "node:fs/promises";

/**
 * How long after the start that is done, ms: it keeps the event loop for some ms, and throws compiled code away, so that it is left out
 * where calls are under way by then.
 */
const SHRINK_MS = 3_000;

/** `MADV_DONTNEED` of Linux's madvise(2): the system reads a page of a file anew once it is touched. */
const DONT_NEED = 4;

/** Gives back, once, what the start of this thread took. @param isIdle whether that keeps nobody waiting */
export function giveBackMemory(isIdle: () => boolean = () => true): void {
	setTimeout(() => {
		if (isIdle()) Bun.shrink();
		if (Bun.isMainThread) void giveBackCode();
	}, SHRINK_MS).unref();
}

/** A part of a process's memory: its first address, and how many bytes it has. */
interface Region {
	readonly address: bigint;
	readonly bytes: bigint;
}

/**
 * Where a process has the code of the file `program`, by its `/proc/self/maps` (proc_pid_maps(5)). It is readable, executable and not writable,
 * so that the file has all of it; what the linker or the program has written to is never among it.
 */
export function codeRegions(maps: string, program: string): Region[] {
	return maps.split("\n").flatMap((line) => {
		const [, from, to, file] = /^([0-9a-f]+)-([0-9a-f]+) r-xp [0-9a-f]+ \S+ \d+ +(.+)$/.exec(line) ?? [];
		if (!from || !to || file !== program) return [];
		const address = BigInt(`0x${from}`);
		return [{ address, bytes: BigInt(`0x${to}`) - address }];
	});
}

/**
 * Gives back the pages of the program's own code that the start touched: 37 MB, of which an idle router soon needs 15 again, which come
 * from the system's cache of files. Nothing happens where that is not Linux with glibc: there the system takes them when it needs room.
 */
async function giveBackCode(): Promise<void> {
	if (process.platform !== "linux") return;
	try {
		const { dlopen } = await import("bun:ffi");
		const regions = codeRegions(await readFile("/proc/self/maps", "utf8"), readlinkSync("/proc/self/exe"));
		const library = dlopen("libc.so.6", { madvise: { args: ["u64", "u64", "i32"], returns: "i32" } });
		for (const { address, bytes } of regions) library.symbols.madvise(address, bytes, DONT_NEED);
		library.close();
	} catch {
		// No /proc, or another C library: the router runs as well, and holds what it held.
	}
}
