/**
 * Who is at the other end of connections that another thread has accepted and passes on: shared memory with an address for each port from which
 * it does so. The thread that passes on writes an address before the connection's first byte, and clears it before the port is free again.
 */
import { isIP } from "node:net";

/** An address takes 128 bits: those of IPv4 stand there as IPv6 maps them. All zero: nobody. */
const CELLS = 4;
const PORTS = 2 ** 16;
/** What the third cell of a mapped IPv4 address is. */
const MAPPED = 0xffff;

/** Memory for the connections that are passed on to one worker. */
export const makePeerAddresses = (): SharedArrayBuffer =>
	new SharedArrayBuffer(PORTS * CELLS * Uint32Array.BYTES_PER_ELEMENT);

/** One thread's view of it. */
export class PeerAddresses {
	readonly #cells: Uint32Array<SharedArrayBuffer>;

	constructor(memory: SharedArrayBuffer) {
		this.#cells = new Uint32Array(memory);
	}

	/** @param port from which the connection is passed on @param address IPv4 or IPv6, as the system says it; what is neither is nobody */
	set(port: number, address: string): void {
		this.#write(port, cellsOf(address) ?? NOBODY);
	}

	clear(port: number): void {
		this.#write(port, NOBODY);
	}

	/** Undefined where no connection is passed on from there. */
	at(port: number): string | undefined {
		const at = port * CELLS;
		const [first = 0, second = 0, third = 0, last = 0] = this.#cells.subarray(at, at + CELLS);
		if (first === 0 && second === 0) {
			if (third === MAPPED) return bytesOf(last).join(".");
			if (third === 0 && last === 0) return undefined;
		}
		const groups = [first, second, third, last].flatMap((cell) => [cell >>> 16, cell & 0xffff]);
		const written = groups.map((group) => group.toString(16)).join(":");
		// The short form: "::1".
		return new URL(`http://[${written}]/`).hostname.slice(1, -1);
	}

	#write(port: number, cells: Cells): void {
		for (let cell = 0; cell < CELLS; cell++) Atomics.store(this.#cells, port * CELLS + cell, cells[cell]!);
	}
}

type Cells = readonly number[];
const NOBODY: Cells = [0, 0, 0, 0];

const bytesOf = (cell: number) => [cell >>> 24, (cell >>> 16) & 0xff, (cell >>> 8) & 0xff, cell & 0xff];
const ipv4Cell = (address: string) => address.split(".").reduce((sum, byte) => sum * 256 + Number(byte), 0);

function cellsOf(address: string): Cells | undefined {
	const bare = address.split("%")[0]!;
	const mapped = /^::ffff:(\d+(?:\.\d+){3})$/i.exec(bare)?.[1] ?? bare;
	const family = isIP(mapped);
	if (family === 4) return [0, 0, MAPPED, ipv4Cell(mapped)];
	if (family !== 6) return undefined;
	const plain = new URL(`http://[${mapped}]/`).hostname.slice(1, -1);
	const [head = "", tail] = plain.split("::");
	const groupsOf = (text: string) => (text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16)));
	const [first, last] = [groupsOf(head), groupsOf(tail ?? "")];
	const groups = [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
	return [0, 2, 4, 6].map((at) => groups[at]! * 0x10000 + groups[at + 1]!);
}
