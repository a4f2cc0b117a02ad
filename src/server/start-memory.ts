/** The memory that a role's start takes and its calls don't need is given back to the system; of the program itself again and again. */
import { openSync, readlinkSync, readSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { isOfFile, type Region, regionsOfFile, sectionOf } from "./program-memory.ts";

/**
 * How long after the start that is done, ms: it keeps the event loop for some ms, and throws compiled code away, so that it is left out
 * where calls are under way by then.
 */
const SHRINK_MS = 3_000;

/** How long after the start the program's own pages are first given back, ms: most of them are those that the start took. */
const FIRST_PROGRAM_MS = 1_000;
/** How often from then on, ms: that takes under 1 ms, and to get those again that are needed as much. */
const PROGRAM_MS = 5_000;

/** Where a compiled executable has the router: its source, and the byte code of it, of which each function's is read at its first call. */
const ROUTER_SECTION = ".bun";

/** `MADV_DONTNEED` of Linux's madvise(2): the system reads a page of a file anew once it is touched. */
const DONT_NEED = 4;

/** A process has one program, however many routers there are in it. */
let isGivenBack = false;

/** Gives back what the start of this thread took. @param isIdle whether that keeps nobody waiting */
export function giveBackMemory(isIdle: () => boolean = () => true): void {
	setTimeout(() => {
		if (isIdle()) Bun.shrink();
	}, SHRINK_MS).unref();
	if (!Bun.isMainThread || isGivenBack) return;
	isGivenBack = true;
	setTimeout(() => void giveBackProgram(), FIRST_PROGRAM_MS).unref();
}

/**
 * Gives back the pages of the program that were touched, now and again and again: of 60 MB an idle router soon needs 17 again, one under load
 * 41, which come from the system's cache of files. Nothing happens where that is not Linux with glibc: there the system takes them when it
 * needs room.
 */
async function giveBackProgram(): Promise<void> {
	if (process.platform !== "linux") return;
	try {
		const { dlopen } = await import("bun:ffi");
		const { symbols } = dlopen("libc.so.6", {
			madvise: { args: ["u64", "u64", "i32"], returns: "i32" },
			getpagesize: { args: [], returns: "i32" },
		});
		const pageBytes = symbols.getpagesize();
		const regions = await programRegions(pageBytes);
		const pagemap = openSync("/proc/self/pagemap", "r");
		for (;;) {
			for (const region of regions) {
				// Looked at right before, that no other thread writes in between.
				if (isOfFile(entriesOf(pagemap, region, pageBytes))) symbols.madvise(region.address, region.bytes, DONT_NEED);
			}
			await pause(PROGRAM_MS, undefined, { ref: false });
		}
	} catch {
		// No /proc, or another C library: the router runs as well, and holds what it held.
	}
}

async function programRegions(pageBytes: number): Promise<Region[]> {
	await using program = await open("/proc/self/exe");
	const read = async (offset: number, bytes: number) => {
		const { buffer, bytesRead } = await program.read(Buffer.alloc(bytes), 0, bytes, offset);
		return buffer.subarray(0, bytesRead);
	};
	const section = await sectionOf(read, ROUTER_SECTION);
	return regionsOfFile(await readFile("/proc/self/maps", "utf8"), readlinkSync("/proc/self/exe"), section, pageBytes);
}

/** The entries of a region's pages in /proc/self/pagemap; none where it does not give all of them. */
function entriesOf(pagemap: number, { address, bytes }: Region, pageBytes: number): Buffer {
	const entries = Buffer.allocUnsafe((bytes / pageBytes) * 8);
	const read = readSync(pagemap, entries, 0, entries.length, (address / pageBytes) * 8);
	return read === entries.length ? entries : NOTHING;
}

const NOTHING = Buffer.alloc(0);
