/**
 * Values by key in one block of memory; the least recently used make room for new ones. The block is this thread's own, and grows once at most,
 * or one that threads share (`shared-ring.ts`).
 *
 * A `Map` of buffers would leave the bound to the garbage collector: over 1 M distinct answers it held up to twice what was
 * counted. Here records lie one behind the other in a ring. The oldest are overwritten; one that is asked for while it
 * lies in the older half is written anew at the front, so what is in use stays. Nothing is allocated for a record.
 */

/** A hash, 32 bytes; its first ones are evenly spread, so that they can be the place in the index. */
export type RingKey = Uint8Array;

const KEY_BYTES = 32;
/** Length of the record (u32), length of its value (u32). Records begin at multiples of 8, so that an index entry is a u32. */
const HEAD = 8;
export const ALIGN = 8;
/** One byte in 16 is the index's: 4 bytes a slot, filled to three quarters. Records of 100 bytes would still find room. */
const INDEX_SHARE = 16;
const FULL = 0.75;
/** A value may take this part of the ring. */
const LARGEST = 8;
/**
 * The block that a large ring begins with, bytes. The garbage collector counts a block as live however little lies in it, and with 64 MB
 * it lets four times as much garbage lie: more than any processor cache holds, which slows each call down.
 */
const FIRST = 8 * 1024 * 1024;
/** What one block of memory can be, bytes (JavaScriptCore): of a larger limit no more is used. */
const MOST = 2 ** 32;
/** Value length of a record that only fills the end of the ring. */
const FILLER = 0xffffffff;

/** Values by key, whoever shares them. */
export interface ValueRing {
	/** How many values there are. */
	readonly count: number;
	/** Bytes in use, those of overwritten values included until the ring has come round. */
	readonly used: number;
	/** A number that no other value ever has; undefined where there is none. */
	find(key: RingKey): number | undefined;
	/** The value that `find` has just found; undefined where another thread has put others in its place since. */
	read(position: number): Uint8Array | undefined;
	/** False where it is too large. */
	put(key: RingKey, value: Uint8Array): boolean;
}

/** What a ring lies in. */
export interface RingBlock {
	readonly index: Uint32Array;
	/** What is there now, as long as the ring, or shorter until it grows. */
	bytes(): Uint8Array;
	/** Makes it at least `least` bytes long, and no longer than the ring. What lies there stays. */
	grow(least: number): void;
}

/** How large a ring is, of all memory that it may take, bytes. */
export interface RingSize {
	/** Of the index. A power of two. */
	readonly slots: number;
	/** Where the ring comes round, bytes. */
	readonly size: number;
}

/** @param limit all memory that it may take, bytes; at least 4096 */
export function ringSize(limit: number): RingSize {
	const most = Math.min(limit, MOST);
	const slots = 2 ** Math.floor(Math.log2(most / INDEX_SHARE / 4));
	return { slots, size: Math.floor((most - slots * 4) / ALIGN) * ALIGN };
}

/** Cells of what {@link Ring.save} writes; sizes and places in units of {@link ALIGN}. */
export const RING_STATE = { head: 0, tail: 1, rounds: 2, used: 3, count: 4, cells: 5 } as const;

/** The store. */
export class Ring implements ValueRing {
	#block: RingBlock | undefined;
	#bytes: Uint8Array = new Uint8Array(0);
	#view: DataView = new DataView(this.#bytes.buffer);
	/** Where the ring comes round, bytes. */
	readonly #size: number;
	/** Place of a record in units of 8 bytes, plus 1; 0 is a free slot. Open addressing, linear probing. */
	#index: Uint32Array = new Uint32Array(0);
	readonly #mask: number;
	/** Where the next record goes, and the oldest one lies. They meet when the ring is empty, or full. */
	#head = 0;
	#tail = 0;
	/** Bytes of the rounds that are over. */
	#passed = 0;
	#used = 0;
	#count = 0;

	/**
	 * Takes no memory before the first `put`.
	 * @param limit all memory it may take then, bytes; at least 4096
	 * @param makeBlock makes that memory
	 */
	constructor(
		readonly limit: number,
		private readonly makeBlock: (size: RingSize) => RingBlock = (size) => new OwnBlock(size),
	) {
		const { slots, size } = ringSize(limit);
		this.#mask = slots - 1;
		this.#size = size;
	}

	/** How many values there are. */
	get count(): number {
		return this.#count;
	}

	/** Bytes in use, those of overwritten values included until the ring has come round. */
	get used(): number {
		return this.#used;
	}

	/** Largest value it takes, bytes. */
	get largest(): number {
		return Math.floor(this.#size / LARGEST) - HEAD - KEY_BYTES;
	}

	/**
	 * Where the value lies: a number that no other value ever has, also one that is put under the same key later. Undefined where there is
	 * none. One that would soon be overwritten is moved first.
	 */
	find(key: RingKey): number | undefined {
		if (this.#count === 0) return undefined;
		const entry = this.#index[this.#slotOf(key, 0)]!;
		if (entry === 0) return undefined;
		const at = (entry - 1) * ALIGN;
		const position = this.#positionOf(at);
		if (this.#passed + this.#head - position <= this.#size / 2) return position;
		this.put(key, this.#valueAt(at).slice());
		return this.#positionOf((this.#index[this.#slotOf(key, 0)]! - 1) * ALIGN);
	}

	/** Where the next value goes, as positions count. */
	get front(): number {
		return this.#passed + this.#head;
	}

	/** Bytes of the largest record. */
	get largestRecord(): number {
		return recordSize(this.largest);
	}

	/** The value that `find` has just found, where it lies: good until the next `put` or `find`. */
	read(position: number): Uint8Array {
		return this.#valueAt(position % this.#size);
	}

	/** The value where it lies, good until the next `put` or `find`; undefined where there is none. */
	get(key: RingKey): Uint8Array | undefined {
		const position = this.find(key);
		return position === undefined ? undefined : this.read(position);
	}

	/** Keeps a value in place of any before it. False where it is too large. */
	put(key: RingKey, value: Uint8Array): boolean {
		if (value.length > this.largest) return false;
		if (this.#index.length === 0) this.#open();
		const size = recordSize(value.length);
		this.#reserve(size);
		const at = this.#head;
		this.#view.setUint32(at, size, true);
		this.#view.setUint32(at + 4, value.length, true);
		this.#bytes.set(key, at + HEAD);
		this.#bytes.set(value, at + HEAD + KEY_BYTES);
		this.#advance(size);
		// Looked up only now: making room may have moved slots.
		const slot = this.#slotOf(key, 0);
		if (this.#index[slot] === 0) this.#count++;
		this.#index[slot] = at / ALIGN + 1;
		return true;
	}

	/** Forgets a value. Its bytes are free once the ring has come round. */
	delete(key: RingKey): void {
		if (this.#count === 0) return;
		const slot = this.#slotOf(key, 0);
		if (this.#index[slot] !== 0) this.#free(slot);
	}

	/** Forgets all values. */
	clear(): void {
		this.#index.fill(0);
		this.#passed += 2 * this.#size;
		this.#head = 0;
		this.#tail = 0;
		this.#used = 0;
		this.#count = 0;
	}

	/** Takes over the state that {@link save} has left, of a block that others change, too. */
	load(state: Uint32Array): void {
		this.#head = state[RING_STATE.head]! * ALIGN;
		this.#tail = state[RING_STATE.tail]! * ALIGN;
		this.#passed = state[RING_STATE.rounds]! * this.#size;
		this.#used = state[RING_STATE.used]! * ALIGN;
		this.#count = state[RING_STATE.count]!;
		if (this.#index.length === 0) this.#open();
		else if (this.#bytes.length < this.#size) this.#look();
	}

	/** Writes down all that changes besides the block: in whole numbers, which the machine computes places with several times faster. */
	save(state: Uint32Array): void {
		state[RING_STATE.head] = this.#head / ALIGN;
		state[RING_STATE.tail] = this.#tail / ALIGN;
		state[RING_STATE.rounds] = this.#passed / this.#size;
		state[RING_STATE.used] = this.#used / ALIGN;
		state[RING_STATE.count] = this.#count;
	}

	#open(): void {
		this.#block = this.makeBlock({ slots: this.#mask + 1, size: this.#size });
		this.#index = this.#block.index;
		this.#look();
	}

	/** Looks at the block as long as it is now. */
	#look(): void {
		const bytes = this.#block!.bytes();
		if (bytes === this.#bytes) return;
		this.#bytes = bytes;
		this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
	}

	/** Makes room at the head for a record of this size, in one piece. */
	#reserve(size: number): void {
		if (this.#head + size > this.#bytes.length && this.#bytes.length < this.#size) this.#grow(this.#head + size);
		const rest = this.#size - this.#head;
		if (rest < size) {
			this.#evict(rest);
			this.#view.setUint32(this.#head, rest, true);
			this.#view.setUint32(this.#head + 4, FILLER, true);
			this.#advance(rest);
		}
		this.#evict(size);
		while (this.#count >= this.#index.length * FULL) this.#evictOldest();
	}

	#advance(size: number): void {
		this.#used += size;
		this.#head += size;
		if (this.#head < this.#size) return;
		this.#head = 0;
		this.#passed += this.#size;
	}

	#grow(least: number): void {
		this.#block!.grow(Math.min(least, this.#size));
		this.#look();
	}

	#positionOf(at: number): number {
		return (at < this.#head ? this.#passed : this.#passed - this.#size) + at;
	}

	#valueAt(at: number): Uint8Array {
		const start = at + HEAD + KEY_BYTES;
		return this.#bytes.subarray(start, start + this.#view.getUint32(at + 4, true));
	}

	#evict(size: number): void {
		while (this.#size - this.#used < size) this.#evictOldest();
	}

	#evictOldest(): void {
		const at = this.#tail;
		const size = this.#view.getUint32(at, true);
		if (this.#view.getUint32(at + 4, true) !== FILLER) {
			const slot = this.#slotOf(this.#bytes, at + HEAD);
			// A record that was written anew is no longer what the index points at.
			if (this.#index[slot] === at / ALIGN + 1) this.#free(slot);
		}
		this.#used -= size;
		this.#tail = (at + size) % this.#size;
	}

	/** The slot that holds the key that stands there, or the free one where it would go. */
	#slotOf(from: Uint8Array, start: number): number {
		let slot = home(from, start) & this.#mask;
		for (let entry = this.#index[slot]!; entry !== 0; entry = this.#index[slot]!) {
			if (isSame(this.#bytes, (entry - 1) * ALIGN + HEAD, from, start)) return slot;
			slot = (slot + 1) & this.#mask;
		}
		return slot;
	}

	/** Empties a slot, and moves those behind it that would no longer be found (Knuth, 6.4, algorithm R). */
	#free(slot: number): void {
		this.#count--;
		let hole = slot;
		let next = slot;
		for (;;) {
			next = (next + 1) & this.#mask;
			const entry = this.#index[next]!;
			if (entry === 0) break;
			const wanted = home(this.#bytes, (entry - 1) * ALIGN + HEAD) & this.#mask;
			// It may move into the hole unless its own place lies between the hole and where it is.
			const isBetween = hole <= next ? wanted > hole && wanted <= next : wanted > hole || wanted <= next;
			if (isBetween) continue;
			this.#index[hole] = entry;
			hole = next;
		}
		this.#index[hole] = 0;
	}
}

/** Memory of this thread alone. */
class OwnBlock implements RingBlock {
	readonly index: Uint32Array;
	readonly #size: number;
	#bytes: Uint8Array<ArrayBuffer>;

	constructor({ slots, size }: RingSize) {
		this.index = new Uint32Array(slots);
		this.#size = size;
		this.#bytes = new Uint8Array(Math.min(size, FIRST));
	}

	bytes(): Uint8Array {
		return this.#bytes;
	}

	/** Once only: to copy more would keep calls waiting. */
	grow(): void {
		this.#bytes = new Uint8Array(this.#bytes.buffer.transfer(this.#size));
	}
}

const recordSize = (length: number): number => Math.ceil((HEAD + KEY_BYTES + length) / ALIGN) * ALIGN;

function home(from: Uint8Array, at: number): number {
	return from[at]! | (from[at + 1]! << 8) | (from[at + 2]! << 16) | (from[at + 3]! << 24);
}

function isSame(one: Uint8Array, at: number, other: Uint8Array, start: number): boolean {
	for (let index = 0; index < KEY_BYTES; index++) if (one[at + index] !== other[start + index]) return false;
	return true;
}
