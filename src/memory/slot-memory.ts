/**
 * Slots of shared memory that are given to ids: each is found by its id's hash, and given to another id when all are given, the least
 * recently used of those that nobody holds first.
 */
import { RecoverableLock, type SharingThreads } from "./recoverable-lock.ts";
import { MOST_THREADS } from "./shared-lock.ts";

/** The head of all, 32-bit cells; buckets follow, then slots. */
const HEAD_CELLS = 16;
const LOCK = 0;
/** Grows with each id that comes or goes. */
const VERSION = 1;
/** Times that any slot was taken hold of. */
const USES = 2;
/** Slots that were ever given to an id. */
const GIVEN = 3;

/** A slot's head, 32-bit cells; its id follows, then the cells of whoever uses it. */
const SLOT_CELLS = 24;
/** Even; odd while the slot is given to another id, and another even number afterwards. */
const GENERATION = 0;
const IS_GIVEN = 1;
const HASH = 2;
const SECOND_HASH = 3;
/** The next slot of the same bucket, plus 1. */
const NEXT = 4;
const LAST_USE = 5;
const ID_LENGTH = 6;
/** How often each thread holds it. */
const HOLDERS = 8;
/** Of longer ids the beginning is compared, the length and both hashes. */
const ID_BYTES = 416;
const SLOT_BYTES = SLOT_CELLS * 4 + ID_BYTES;

/** No slot. */
export const NO_SLOT = -1;
/** Slots that are tried before an id goes without one: each was taken hold of while it was being given away. */
const TRIES = 8;
/** More than any age. */
const IDLE_AND_WELL = 2 ** 32;

/** How many slots there are, and how large. */
export interface SlotSizes {
	readonly capacity: number;
	/** Bytes of a slot for whoever uses it; a multiple of 8. */
	readonly cellBytes: number;
}

/** Where a slot is. */
export interface SlotAddress {
	/** From 0. */
	readonly number: number;
	/** Where the cells of whoever uses it begin in the memory, bytes. */
	readonly cells: number;
	/** Where the counts of its holders begin, 32-bit cells: {@link MOST_THREADS} of them. */
	readonly holders: number;
}

/** How the cells of slots are looked after. */
export interface SlotOwner {
	/** Makes the cells of a slot those of something of which nothing is known. Under the lock of all. */
	reset(address: SlotAddress): void;
	/** Slots of which this is true are given away before others. */
	isWell(address: SlotAddress): boolean;
}

/**
 * Bytes that slots take; one more than the capacity, for all ids that find no room.
 * @param slots for how many of them: memory that may grow begins with few
 */
export function slotBytes({ capacity, cellBytes }: SlotSizes, slots = capacity): number {
	return (HEAD_CELLS + bucketsFor(capacity)) * 4 + (slots + 1) * (SLOT_BYTES + cellBytes);
}

const bucketsFor = (capacity: number) => Math.max(16, 2 ** Math.ceil(Math.log2(capacity * 2)));
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** An id as slots are found by it. */
export interface SlotKey {
	readonly bytes: Uint8Array;
	readonly hash: number;
	readonly secondHash: number;
}

/** The key of an id. */
export function slotKey(id: string): SlotKey {
	const bytes = encoder.encode(id);
	return { bytes, hash: Bun.hash.xxHash32(bytes, 0) | 0, secondHash: Bun.hash.xxHash32(bytes, 1) | 0 };
}

/** The slots, as one thread changes them. */
export class SlotMemory {
	readonly lock: RecoverableLock;
	readonly #thread: number;
	readonly #ints: Int32Array<SharedArrayBuffer>;
	readonly #bytes: Uint8Array<SharedArrayBuffer>;
	readonly #head: number;
	readonly #mask: number;
	readonly #slots: number;
	readonly #slotCells: number;
	readonly #capacity: number;

	/**
	 * @param memory as long as `slotBytes` says from there on; or shorter, and growable to that: there is more of it as ids come
	 * @param begin where they begin in the memory, bytes; a multiple of 8
	 * @param threads those that share the memory
	 */
	constructor(
		private readonly memory: SharedArrayBuffer,
		begin: number,
		sizes: SlotSizes,
		threads: SharingThreads,
		private readonly owner: SlotOwner,
	) {
		const buckets = bucketsFor(sizes.capacity);
		// These grow with the memory.
		this.#ints = new Int32Array(memory);
		this.#bytes = new Uint8Array(memory);
		this.#head = begin / 4;
		this.#mask = buckets - 1;
		this.#slots = this.#head + HEAD_CELLS + buckets;
		this.#slotCells = (SLOT_BYTES + sizes.cellBytes) / 4;
		this.#capacity = sizes.capacity;
		this.#thread = threads.thread;
		this.lock = new RecoverableLock(this.#ints, this.#head + LOCK, threads);
	}

	/** Another one when an id has come or gone. */
	get version(): number {
		return Atomics.load(this.#ints, this.#head + VERSION);
	}

	/** Times that any slot was taken hold of; begins anew at 2³². */
	get uses(): number {
		return this.#ints[this.#head + USES]!;
	}

	/** Numbers below this one were given to ids. */
	get given(): number {
		return this.#ints[this.#head + GIVEN]!;
	}

	addressOf(number: number): SlotAddress {
		const head = this.#slot(number);
		return { number, cells: head * 4 + SLOT_BYTES, holders: head + HOLDERS };
	}

	/** Which id's it is: the same as long as it is one's. Odd: it is just being given to another one. */
	generation(holders: number): number {
		return Atomics.load(this.#ints, holders - HOLDERS + GENERATION);
	}

	/**
	 * Takes hold of a slot, where it is still what it was in that generation. Whoever gives it away makes that odd first and looks at the
	 * holders then: one of both sees the other.
	 */
	hold(holders: number, generation: number): boolean {
		const ints = this.#ints;
		const head = holders - HOLDERS;
		Atomics.add(ints, holders + this.#thread, 1);
		if (Atomics.load(ints, head + GENERATION) !== generation) {
			Atomics.sub(ints, holders + this.#thread, 1);
			return false;
		}
		ints[head + LAST_USE] = Atomics.add(ints, this.#head + USES, 1) + 1;
		return true;
	}

	letGo(holders: number): void {
		Atomics.sub(this.#ints, holders + this.#thread, 1);
	}

	/** The number of the slot that has this id; `NO_SLOT` where none has. Without the lock it may be missed, or no longer be so. */
	numberOf(key: SlotKey): number {
		let number = Atomics.load(this.#ints, this.#bucketOf(key.hash)) - 1;
		for (let steps = 0; number !== NO_SLOT && steps <= this.#capacity; steps++) {
			if (this.is(number, key)) return number;
			number = this.#ints[this.#slot(number) + NEXT]! - 1;
		}
		return NO_SLOT;
	}

	/** Whether the slot has this id. */
	is(number: number, { hash, secondHash, bytes }: SlotKey): boolean {
		const ints = this.#ints;
		const head = this.#slot(number);
		if (ints[head + HASH] !== hash || ints[head + SECOND_HASH] !== secondHash) return false;
		if (ints[head + ID_LENGTH] !== bytes.length) return false;
		const begin = (head + SLOT_CELLS) * 4;
		for (let at = 0; at < bytes.length && at < ID_BYTES; at++) {
			if (this.#bytes[begin + at] !== bytes[at]) return false;
		}
		return true;
	}

	/** The id that a slot has, and whether that is all of it; undefined where it has none. */
	idAt(number: number): { readonly id: string; readonly isWhole: boolean } | undefined {
		const head = this.#slot(number);
		if (this.#ints[head + IS_GIVEN] === 0) return undefined;
		const begin = (head + SLOT_CELLS) * 4;
		const length = this.#ints[head + ID_LENGTH]!;
		// A copy: decoders take no shared memory.
		const bytes = new Uint8Array(this.#bytes.subarray(begin, begin + Math.min(length, ID_BYTES)));
		return { id: decoder.decode(bytes), isWhole: length <= ID_BYTES };
	}

	/** Gives a slot to an id; `NO_SLOT` where all are held. Under the lock. */
	give(key: SlotKey): number {
		const ints = this.#ints;
		const number = this.#choose();
		if (number === NO_SLOT) return NO_SLOT;
		const head = this.#slot(number);
		if (ints[head + IS_GIVEN] === 1) this.#unlink(number);
		ints[head + IS_GIVEN] = 0;
		this.owner.reset(this.addressOf(number));
		ints[head + HASH] = key.hash;
		ints[head + SECOND_HASH] = key.secondHash;
		ints[head + ID_LENGTH] = key.bytes.length;
		this.#bytes.set(key.bytes.subarray(0, ID_BYTES), (head + SLOT_CELLS) * 4);
		ints[head + IS_GIVEN] = 1;
		this.#link(number);
		Atomics.add(ints, head + GENERATION, 1);
		Atomics.add(ints, this.#head + VERSION, 1);
		return number;
	}

	/** The slot that all ids share that find no room: what is counted there nobody reads. Under the lock. */
	noRoom(): SlotAddress {
		const address = this.addressOf(this.#capacity);
		const isGiven = this.#slot(this.#capacity) + IS_GIVEN;
		if (this.#ints[isGiven] === 0) {
			this.owner.reset(address);
			this.#ints[isGiven] = 1;
		}
		return address;
	}

	/** A thread has died: lets go what it held. By the main thread, before what is in the slots is given back. */
	freed(thread: number): void {
		if (this.lock.takeFrom(thread)) {
			this.#mend();
			this.lock.release();
		}
		for (const { holders } of this.addresses()) Atomics.store(this.#ints, holders + thread, 0);
	}

	/** Of all slots that were ever given to an id, and of the one that ids share. */
	*addresses(): Iterable<SlotAddress> {
		for (let number = 0; number < this.given; number++) yield this.addressOf(number);
		if (this.#ints[this.#slot(this.#capacity) + IS_GIVEN] === 1) yield this.addressOf(this.#capacity);
	}

	/** A slot that was never given, or that nobody holds; its generation is odd then. */
	#choose(): number {
		const ints = this.#ints;
		const given = ints[this.#head + GIVEN]!;
		if (given < this.#capacity && this.#hasMemory(given)) {
			ints[this.#head + GIVEN] = given + 1;
			Atomics.add(ints, this.#slot(given) + GENERATION, 1);
			return given;
		}
		for (let turn = 0; turn < TRIES; turn++) {
			const number = this.#leastRecent();
			if (number === NO_SLOT) return NO_SLOT;
			const head = this.#slot(number);
			Atomics.add(ints, head + GENERATION, 1);
			if (!this.#isHeld(head)) return number;
			// Not back to what it was: what a thread has seen of it meanwhile must not become true.
			Atomics.add(ints, head + GENERATION, 1);
		}
		return NO_SLOT;
	}

	/** Whether there is memory for the next slot: where there was none, for twice as many as before. */
	#hasMemory(number: number): boolean {
		const bytesOf = (slots: number) => 4 * (this.#slots + (slots + 1) * this.#slotCells);
		if (bytesOf(number + 1) <= this.memory.byteLength) return true;
		try {
			this.memory.grow(bytesOf(Math.min(this.#capacity, 2 * number + 1)));
			return true;
		} catch {
			// The machine has no more: the least recently used makes room.
			return false;
		}
	}

	#leastRecent(): number {
		const ints = this.#ints;
		const { uses, given } = this;
		let least = NO_SLOT;
		let greatestAge = -1;
		for (let number = 0; number < given; number++) {
			const head = this.#slot(number);
			const age = (uses - ints[head + LAST_USE]!) >>> 0;
			// Most are looked at no further.
			if (age + IDLE_AND_WELL <= greatestAge || this.#isHeld(head)) continue;
			if (ints[head + IS_GIVEN] === 0) return number;
			const isWell = this.owner.isWell(this.addressOf(number));
			const worth = isWell ? age + IDLE_AND_WELL : age;
			if (worth <= greatestAge) continue;
			least = number;
			greatestAge = worth;
		}
		return least;
	}

	#isHeld(head: number): boolean {
		for (let thread = 0; thread < MOST_THREADS; thread++) {
			if (Atomics.load(this.#ints, head + HOLDERS + thread) !== 0) return true;
		}
		return false;
	}

	#link(number: number): void {
		const head = this.#slot(number);
		const bucket = this.#bucketOf(this.#ints[head + HASH]!);
		this.#ints[head + NEXT] = this.#ints[bucket]!;
		Atomics.store(this.#ints, bucket, number + 1);
	}

	#unlink(number: number): void {
		const ints = this.#ints;
		const head = this.#slot(number);
		let at = this.#bucketOf(ints[head + HASH]!);
		while (ints[at] !== 0 && ints[at] !== number + 1) at = this.#slot(ints[at]! - 1) + NEXT;
		if (ints[at] !== 0) ints[at] = ints[head + NEXT]!;
	}

	/** The lock was held by a thread that died: links all slots anew. What was about to be given to an id is nobody's. */
	#mend(): void {
		const ints = this.#ints;
		ints.fill(0, this.#head + HEAD_CELLS, this.#slots);
		for (let number = 0; number < this.given; number++) {
			const head = this.#slot(number);
			if (ints[head + GENERATION]! & 1) Atomics.add(ints, head + GENERATION, 1);
			if (ints[head + IS_GIVEN] === 1) this.#link(number);
		}
		Atomics.add(ints, this.#head + VERSION, 1);
	}

	#bucketOf(hash: number): number {
		return this.#head + HEAD_CELLS + (hash & this.#mask);
	}

	/** The one that ids share comes first: there is memory for it from the start. */
	#slot(number: number): number {
		return this.#slots + (number === this.#capacity ? 0 : number + 1) * this.#slotCells;
	}
}
