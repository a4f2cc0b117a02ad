/**
 * Records that one thread hands to another in memory that both see: one writes, one reads, neither waits for the other. What is written is
 * there for the reader whatever becomes of the writer: a record appears when it is whole.
 */

/** Cells of 4 bytes. Places are counted in units of 8 bytes, from the beginning of time, and begin anew at 2³². */
const HEAD = 0;
const TAIL = 1;
/** Where records begin, bytes. */
const FIRST = 64;
export const UNIT = 8;
/** In front of each record: its length with this, in units, and its kind. */
const FRAME = UNIT;
/** Kind of what only fills the end. */
const FILLER = 0;

/** Memory of a queue. @param size room for records, bytes: a power of two */
export function makeRecordQueue(size: number): SharedArrayBuffer {
	return new SharedArrayBuffer(FIRST + size);
}

const unitsOf = (bytes: number): number => Math.ceil(bytes / UNIT);

/** The writer's view. */
export class QueueWriter {
	/** The same memory, to write a record to. */
	readonly bytes: Buffer;
	readonly numbers: Float64Array;
	readonly cells: Int32Array;
	readonly #units: number;
	#head: number;
	/** As it was when it was last looked at. */
	#tail: number;

	constructor(memory: SharedArrayBuffer) {
		this.bytes = Buffer.from(memory);
		this.numbers = new Float64Array(memory);
		this.cells = new Int32Array(memory);
		this.#units = (memory.byteLength - FIRST) / UNIT;
		this.#head = this.cells[HEAD]! >>> 0;
		this.#tail = Atomics.load(this.cells, TAIL) >>> 0;
	}

	/** The largest record, bytes. */
	get largest(): number {
		return (this.#units / 4) * UNIT - FRAME;
	}

	/** Where the next record will begin. */
	get position(): number {
		return this.#head;
	}

	/** The reader has not taken more than half of what there is room for. */
	get isHalfFull(): boolean {
		const half = this.#units / 2;
		if (this.#unreadUnits() <= half) return false;
		this.#tail = Atomics.load(this.cells, TAIL) >>> 0;
		return this.#unreadUnits() > half;
	}

	/** Where a record of this size or less is to be written, bytes, a multiple of {@link UNIT}; 0 where there is no room now. */
	reserve(size: number): number {
		const units = 1 + unitsOf(size);
		const at = this.#head & (this.#units - 1);
		const left = this.#units - at;
		const needed = units <= left ? units : left + units;
		if (this.#units - this.#unreadUnits() < needed) {
			this.#tail = Atomics.load(this.cells, TAIL) >>> 0;
			if (this.#units - this.#unreadUnits() < needed) return 0;
		}
		if (needed > units) {
			this.#frame(at, left, FILLER);
			this.#head = (this.#head + left) >>> 0;
		}
		return FIRST + (this.#head & (this.#units - 1)) * UNIT + FRAME;
	}

	/** Has the reader see the record that was written where `reserve` said. @param kind from 1 @param size no more than was reserved, bytes */
	commit(kind: number, size: number): void {
		const units = 1 + unitsOf(size);
		this.#frame(this.#head & (this.#units - 1), units, kind);
		this.#head = (this.#head + units) >>> 0;
		Atomics.store(this.cells, HEAD, this.#head | 0);
	}

	#unreadUnits(): number {
		return (this.#head - this.#tail) >>> 0;
	}

	#frame(at: number, units: number, kind: number): void {
		const cell = (FIRST + at * UNIT) / 4;
		this.cells[cell] = units;
		this.cells[cell + 1] = kind;
	}
}

/** Whether a position is not before another one: both are of one queue, and less than half of all positions apart. */
export const isFrom = (position: number, other: number): boolean => (position - other) >>> 0 < 2 ** 31;

/** Records as they were taken. */
export interface RecordChunk {
	/** Where the first begins. */
	readonly position: number;
	readonly bytes: Buffer;
}

/** The reader's view. */
export class QueueReader {
	readonly #memory: Uint8Array;
	readonly #cells: Int32Array;
	readonly #units: number;
	#tail: number;

	constructor(memory: SharedArrayBuffer) {
		this.#memory = new Uint8Array(memory, FIRST);
		this.#cells = new Int32Array(memory, 0, FIRST / 4);
		this.#units = (memory.byteLength - FIRST) / UNIT;
		this.#tail = Atomics.load(this.#cells, TAIL) >>> 0;
	}

	/** Behind all that was taken. */
	get position(): number {
		return this.#tail;
	}

	/** A copy of all that is there; undefined where nothing is. What it has taken is free for the writer. */
	take(): RecordChunk | undefined {
		const head = Atomics.load(this.#cells, HEAD) >>> 0;
		const position = this.#tail;
		const units = (head - position) >>> 0;
		if (units === 0) return undefined;
		const bytes = Buffer.allocUnsafeSlow(units * UNIT);
		const at = position & (this.#units - 1);
		const first = Math.min(units, this.#units - at);
		bytes.set(this.#memory.subarray(at * UNIT, (at + first) * UNIT));
		bytes.set(this.#memory.subarray(0, (units - first) * UNIT), first * UNIT);
		this.#tail = head;
		Atomics.store(this.#cells, TAIL, head | 0);
		return { position, bytes };
	}
}

/** Calls `each` with every record: its kind, where it lies in the bytes, and its position. */
export function forEachRecord(
	{ position, bytes }: RecordChunk,
	each: (kind: number, at: number, position: number) => void,
): void {
	for (let at = 0; at < bytes.length; ) {
		const kind = bytes.readInt32LE(at + 4);
		if (kind !== FILLER) each(kind, at + FRAME, (position + at / UNIT) >>> 0);
		at += bytes.readInt32LE(at) * UNIT;
	}
}
