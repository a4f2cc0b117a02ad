/** What an executable says of itself in its first bytes: checked for those that can't be run where they are built. */
import type { Target } from "./targets.ts";

/** The bytes that are enough for `kindOf`. */
export const HEAD_BYTES = 4096;

/** Machine numbers: ELF e_machine, Mach-O cputype, PE Machine. */
const ELF: Readonly<Record<number, Target["machine"]>> = { 62: "x64", 183: "arm64" };
const MACH_O: Readonly<Record<number, Target["machine"]>> = { 16777223: "x64", 16777228: "arm64" };
const PE: Readonly<Record<number, Target["machine"]>> = { 34404: "x64", 43620: "arm64" };

/**
 * Format and machine of the executable that begins so; `undefined` where it is no 64-bit little-endian executable of a
 * known format (ELF: executable or position-independent; Mach-O: MH_EXECUTE; PE: PE32+ marked executable).
 */
export function kindOf(head: Uint8Array): Pick<Target, "format" | "machine"> | undefined {
	const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
	const at = (offset: number, bytes: 2 | 4) => {
		if (offset + bytes > view.byteLength) return -1;
		return bytes === 2 ? view.getUint16(offset, true) : view.getUint32(offset, true);
	};
	const kind = (format: Target["format"], machine: Target["machine"] | undefined, isExecutable: boolean) =>
		machine && isExecutable ? { format, machine } : undefined;
	if (at(0, 4) === 0x464c_457f && at(4, 2) === 0x0102) return kind("ELF", ELF[at(18, 2)], [2, 3].includes(at(16, 2)));
	if (at(0, 4) === 0xfeed_facf) return kind("Mach-O", MACH_O[at(4, 4)], at(12, 4) === 2);
	const pe = at(0x3c, 4);
	if (at(0, 2) !== 0x5a4d || at(pe, 4) !== 0x4550) return undefined;
	return kind("PE", PE[at(pe + 4, 2)], (at(pe + 22, 2) & 2) !== 0 && at(pe + 24, 2) === 0x20b);
}
