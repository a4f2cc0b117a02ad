/**
 * Which of a process's memory is but a copy of its program's file, by what Linux says of it in /proc. The system can have such memory back at any
 * time (`MADV_DONTNEED` of madvise(2)), and reads it anew once it is touched. Pure.
 */

/** A part of a process's memory. */
export interface Region {
	/** Of its first byte. */
	readonly address: number;
	readonly bytes: number;
}

/** A part of a process's memory that was made from a file. */
interface Mapping extends Region {
	readonly isWritable: boolean;
	/** Of its first byte, in the file. */
	readonly offset: number;
}

/** A part of a program's file, bytes. */
export interface Section {
	readonly offset: number;
	readonly bytes: number;
}

/** What a process has of the file `program`, by its /proc/self/maps (proc_pid_maps(5)). */
function mappingsOf(maps: string, program: string): Mapping[] {
	return maps.split("\n").flatMap((line) => {
		const [, from, to, mode, offset, file] =
			/^([0-9a-f]+)-([0-9a-f]+) (r[w-][x-])p ([0-9a-f]+) \S+ \d+ +(.+)$/.exec(line) ?? [];
		if (!from || !to || !mode || !offset || file !== program) return [];
		const address = Number.parseInt(from, 16);
		const bytes = Number.parseInt(to, 16) - address;
		return [{ address, bytes, isWritable: mode.includes("w"), offset: Number.parseInt(offset, 16) }];
	});
}

/**
 * What may be no more than the file's own: what can't be written to, which is code and constants, and the whole pages of `section`, which
 * lies between variables. Of either {@link isOfFile} knows whether it still is: the linker writes to some of what nobody else can.
 */
export function regionsOfFile(
	maps: string,
	program: string,
	section: Section | undefined,
	pageBytes: number,
): Region[] {
	return mappingsOf(maps, program).flatMap(({ address, bytes, isWritable, offset }) => {
		if (!isWritable) return [{ address, bytes }];
		if (!section || section.offset < offset || section.offset + section.bytes > offset + bytes) return [];
		const from = address + section.offset - offset;
		const [first, end] = [Math.ceil(from / pageBytes), Math.floor((from + section.bytes) / pageBytes)];
		return first < end ? [{ address: first * pageBytes, bytes: (end - first) * pageBytes }] : [];
	});
}

/**
 * Whether some of a region's pages are in memory, and the file has all that are, by their entries in /proc/self/pagemap, 8 bytes each
 * (proc_pid_pagemap(5)). A page that was written to is the process's own from then on, whatever was written. False where the system does not say.
 */
export function isOfFile(pagemap: Buffer): boolean {
	let hasPages = false;
	for (let at = 7; at < pagemap.length; at += 8) {
		const flags = pagemap[at]! >> 5;
		if (flags === 0) continue;
		if (flags !== (PRESENT | OF_FILE)) return false;
		hasPages = true;
	}
	return hasPages;
}

/** Bits 61 and 63 of an entry; 62 is a page that was swapped out. */
const OF_FILE = 1;
const PRESENT = 4;

/** Bytes of an ELF file's own header, and of that of a section (elf(5), 64 bits). */
const FILE_HEADER = 64;
const SECTION_HEADER = 64;

/** What {@link sectionOf} reads of a program. */
export type ReadProgram = (offset: number, bytes: number) => Promise<Buffer>;

/** The section `name` of an ELF file of 64 bits with the lowest byte first; undefined where it has none, or is of another kind. */
export async function sectionOf(read: ReadProgram, name: string): Promise<Section | undefined> {
	const header = await read(0, FILE_HEADER);
	if (header.length < FILE_HEADER || header.toString("latin1", 0, 6) !== "\x7fELF\x02\x01") return undefined;
	if (header.readUInt16LE(58) !== SECTION_HEADER) return undefined;
	const table = await read(Number(header.readBigUInt64LE(40)), header.readUInt16LE(60) * SECTION_HEADER);
	const sections = Array.from({ length: Math.floor(table.length / SECTION_HEADER) }, (_, index) => {
		const at = index * SECTION_HEADER;
		const [offset, bytes] = [table.readBigUInt64LE(at + 24), table.readBigUInt64LE(at + 32)];
		return { nameAt: table.readUInt32LE(at), offset: Number(offset), bytes: Number(bytes) };
	});
	const names = sections[header.readUInt16LE(62)];
	if (!names) return undefined;
	const text = (await read(names.offset, names.bytes)).toString("latin1");
	const section = sections.find(({ nameAt }) => text.startsWith(`${name}\0`, nameAt));
	return section && { offset: section.offset, bytes: section.bytes };
}
