/** A {@link Ring} that all threads of the process share: what one puts, every other finds. */
import { RecoverableLock, SharingThreads } from "./recoverable-lock.ts";
import {
	ALIGN,
	RING_STATE,
	Ring,
	type RingBlock,
	type RingKey,
	type RingSize,
	ringSize,
	type ValueRing,
} from "./ring.ts";

/** Its memory: made once, and handed to each thread. */
export interface RingMemory {
	/** All that it may take, bytes. */
	readonly limit: number;
	/** Lock, state and index. It grows once, when there is something to find. */
	readonly index: SharedArrayBuffer;
	/** The values, growable: pages are taken as they are used. */
	readonly values: SharedArrayBuffer;
}

/** Cells of 4 bytes: the lock, the front of the ring as readers look at it, ids of threads. */
const LOCK = 0;
const FRONT = 1;
const THREAD_IDS = 4;
/** Where the state stands, and where the index begins, bytes. */
const STATE = 64;
const INDEX = STATE + RING_STATE.cells * Uint32Array.BYTES_PER_ELEMENT;
/** What the values begin with, bytes. Each thread's garbage collector counts what the memory was when the thread got it, and leaves as much garbage. */
const FIRST = 64 * 1024;

/** @param limit all memory that the ring may take, bytes; at least 4096 */
export function ringMemory(limit: number): RingMemory {
	const { slots, size } = ringSize(limit);
	return {
		limit,
		index: new SharedArrayBuffer(INDEX, { maxByteLength: INDEX + slots * Uint32Array.BYTES_PER_ELEMENT }),
		values: new SharedArrayBuffer(Math.min(size, FIRST), { maxByteLength: size }),
	};
}

/**
 * One thread's view of it. One lock is held for a `put`, and to find a value; values are read without: whoever has copied one looks whether it
 * was still all there.
 */
export class SharedRing implements ValueRing {
	readonly #ring: Ring;
	readonly #lock: RecoverableLock;
	readonly #cells: Int32Array<SharedArrayBuffer>;
	readonly #state: Uint32Array;
	/** How far behind the front a value may lie that nobody is writing over, in units. */
	readonly #reach: number;

	/** @param thread the number of the thread that it is for */
	constructor({ limit, index, values }: RingMemory, thread: number) {
		this.#cells = new Int32Array(index, 0, STATE / Int32Array.BYTES_PER_ELEMENT);
		this.#state = new Uint32Array(index, STATE, RING_STATE.cells);
		const threads = new SharingThreads(this.#cells, THREAD_IDS, thread);
		threads.onEnded = (ended) => this.freed(ended);
		this.#lock = new RecoverableLock(this.#cells, LOCK, threads);
		this.#ring = new Ring(limit, (size) => new SharedBlock(index, values, size));
		// A put that is under way has not moved the front yet: it writes one record at most, behind one that fills the ring's end.
		this.#reach = (ringSize(limit).size - 2 * this.#ring.largestRecord) / ALIGN;
	}

	get count(): number {
		return this.#state[RING_STATE.count]!;
	}

	get used(): number {
		return this.#state[RING_STATE.used]! * ALIGN;
	}

	/** Largest value it takes, bytes. */
	get largest(): number {
		return this.#ring.largest;
	}

	/** All memory it may take, bytes. */
	get limit(): number {
		return this.#ring.limit;
	}

	find(key: RingKey): number | undefined {
		if (this.count === 0) return undefined;
		const ring = this.#open();
		try {
			return ring.find(key);
		} finally {
			this.#close();
		}
	}

	/** A copy. */
	read(position: number): Uint8Array | undefined {
		const value = this.#ring.read(position);
		// The length, too, may have been written over.
		if (value.length > this.#ring.largest) return undefined;
		const copy = value.slice();
		return this.#isThere(position) ? copy : undefined;
	}

	/** A copy of the value; undefined where there is none. */
	get(key: RingKey): Uint8Array | undefined {
		const position = this.find(key);
		return position === undefined ? undefined : this.read(position);
	}

	put(key: RingKey, value: Uint8Array): boolean {
		if (value.length > this.#ring.largest) return false;
		const ring = this.#open();
		try {
			return ring.put(key, value);
		} finally {
			this.#close();
		}
	}

	/** Forgets a value. */
	delete(key: RingKey): void {
		const ring = this.#open();
		try {
			ring.delete(key);
		} finally {
			this.#close();
		}
	}

	/** Lets go what a thread held that has died. Where it was changing the ring nobody knows how far it came: all values go then. */
	freed(thread: number): void {
		if (!this.#lock.takeFrom(thread)) return;
		this.#ring.load(this.#state);
		this.#ring.clear();
		this.#close();
	}

	/** Begins a step, which `#close` ends. */
	#open(): Ring {
		this.#lock.acquire();
		try {
			this.#ring.load(this.#state);
		} catch (error) {
			// No memory to look at it.
			this.#lock.release();
			throw error;
		}
		return this.#ring;
	}

	#close(): void {
		this.#ring.save(this.#state);
		// The lowest 32 bits: a reader is never so far behind that they mean two fronts.
		Atomics.store(this.#cells, FRONT, (this.#ring.front / ALIGN) | 0);
		this.#lock.release();
	}

	/** Whether nobody has begun to write where that value lies. */
	#isThere(position: number): boolean {
		// Not a load: no processor moves what was read before behind this.
		const front = Atomics.add(this.#cells, FRONT, 0);
		return (front - position / ALIGN) >>> 0 <= this.#reach;
	}
}

/** The memory as one thread sees it. */
class SharedBlock implements RingBlock {
	readonly index: Uint32Array;
	#bytes: Uint8Array;

	constructor(
		index: SharedArrayBuffer,
		private readonly values: SharedArrayBuffer,
		{ slots }: RingSize,
	) {
		index.grow(index.maxByteLength);
		this.index = new Uint32Array(index, INDEX, slots);
		this.#bytes = this.#view();
	}

	bytes(): Uint8Array {
		if (this.#bytes.length !== this.values.byteLength) this.#bytes = this.#view();
		return this.#bytes;
	}

	/** Twice as long each time: nothing is copied. */
	grow(least: number): void {
		const { byteLength, maxByteLength } = this.values;
		this.values.grow(Math.min(maxByteLength, Math.max(least, 2 * byteLength)));
	}

	/** Of a fixed length, which is read faster than one that grows along. */
	#view(): Uint8Array {
		return new Uint8Array(this.values, 0, this.values.byteLength);
	}
}
