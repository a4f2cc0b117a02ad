/** Which thread of the process makes which call: claims in memory that all of them share. */
import { RecoverableLock, SharingThreads } from "../memory/recoverable-lock.ts";
import type { RingKey } from "../memory/ring.ts";

/** Places for claims: of sets, each of some ways. A set that is full turns its calls away, which is rare below some thousand at once. */
const SETS = 4096;
const WAYS = 8;
/** Cells of a claim: its key, the number of its thread plus 1, one bit for each thread that waits for it. */
const KEY_CELLS = 8;
const OWNER = KEY_CELLS;
const WAITING = OWNER + 1;
const CELLS = WAITING + 1;
/** Cells in front of the claims: the lock, ids of threads. */
export const CLAIMS_HEAD = 16;
const THREAD_IDS = 4;

/** Bytes of shared memory that the table needs. */
export const CLAIM_BYTES = (CLAIMS_HEAD + SETS * WAYS * CELLS) * Int32Array.BYTES_PER_ELEMENT;

/** A claim that is over, and who waited for that. */
export interface EndedClaim {
	readonly id: string;
	/** Numbers of threads. */
	readonly waiting: readonly number[];
}

/** What a call is known by among the threads. Should two calls ever have the same, one waits for the other, and then finds no answer of its own. */
export const claimId = (key: RingKey): string => idOf(cellOf(key, 0), cellOf(key, 4));

/** One thread's view of the claims. What a thread that died was writing may stay half written: a claim counts from its owner on, written last. */
export class ClaimTable {
	readonly #cells: Int32Array<SharedArrayBuffer>;
	readonly #lock: RecoverableLock;
	readonly #threads: SharingThreads;

	/**
	 * @param memory {@link CLAIM_BYTES} of it
	 * @param thread the number of the thread that it is for: below 31
	 */
	constructor(
		memory: SharedArrayBuffer,
		private readonly thread: number,
	) {
		this.#cells = new Int32Array(memory);
		this.#threads = new SharingThreads(this.#cells, THREAD_IDS, thread);
		this.#lock = new RecoverableLock(this.#cells, 0, this.#threads);
	}

	/** The main thread's: what is done where a worker has ended for whose lock it waits. */
	set onEnded(free: (thread: number) => void) {
		this.#threads.onEnded = free;
	}

	/** Claims a call, unless another thread has. `full`: nobody can say whether one has. */
	take(key: RingKey): "ours" | "elsewhere" | "full" {
		const cells = this.#cells;
		this.#lock.acquire();
		try {
			const found = this.#find(key);
			if (found !== -1) return cells[found + OWNER] === this.thread + 1 ? "full" : "elsewhere";
			const free = this.#free(key);
			if (free === -1) return "full";
			for (let at = 0; at < KEY_CELLS; at++) cells[free + at] = cellOf(key, 4 * at);
			cells[free + WAITING] = 0;
			Atomics.store(cells, free + OWNER, this.thread + 1);
			return "ours";
		} finally {
			this.#lock.release();
		}
	}

	/** Has this thread told when the call is over. Number of the thread that makes it; undefined where nobody does. */
	wait(key: RingKey): number | undefined {
		this.#lock.acquire();
		try {
			const found = this.#find(key);
			if (found === -1) return undefined;
			this.#cells[found + WAITING]! |= 1 << this.thread;
			return this.#cells[found + OWNER]! - 1;
		} finally {
			this.#lock.release();
		}
	}

	/** Gives back this thread's claim. */
	release(key: RingKey): EndedClaim | undefined {
		this.#lock.acquire();
		try {
			const found = this.#find(key);
			return found === -1 || this.#cells[found + OWNER] !== this.thread + 1 ? undefined : this.#end(found);
		} finally {
			this.#lock.release();
		}
	}

	/**
	 * Gives back all claims of a thread that has died: the keys of its calls. It waits for nothing any more; who waited for them is not said.
	 */
	freed(thread: number): RingKey[] {
		if (!this.#lock.takeFrom(thread)) this.#lock.acquire();
		try {
			const cells = this.#cells;
			const keys: RingKey[] = [];
			for (let at = CLAIMS_HEAD; at < cells.length; at += CELLS) {
				cells[at + WAITING]! &= ~(1 << thread);
				if (cells[at + OWNER] !== thread + 1) continue;
				keys.push(new Uint8Array(cells.slice(at, at + KEY_CELLS).buffer));
				Atomics.store(cells, at + OWNER, 0);
			}
			return keys;
		} finally {
			this.#lock.release();
		}
	}

	#end(at: number): EndedClaim {
		const cells = this.#cells;
		Atomics.store(cells, at + OWNER, 0);
		const bits = cells[at + WAITING]!;
		const waiting: number[] = [];
		for (let thread = 0; bits >> thread !== 0; thread++) if ((bits >> thread) & 1) waiting.push(thread);
		return { id: idOf(cells[at]!, cells[at + 1]!), waiting };
	}

	/** Where the call is claimed; -1 where it is not. */
	#find(key: RingKey): number {
		const cells = this.#cells;
		const first = cellOf(key, 0);
		const second = cellOf(key, 4);
		const set = setOf(second);
		for (let at = set; at < set + WAYS * CELLS; at += CELLS) {
			if (cells[at] === first && cells[at + 1] === second && cells[at + OWNER] !== 0) return at;
		}
		return -1;
	}

	/** A place that is free; -1 where none is. */
	#free(key: RingKey): number {
		const set = setOf(cellOf(key, 4));
		for (let at = set; at < set + WAYS * CELLS; at += CELLS) if (this.#cells[at + OWNER] === 0) return at;
		return -1;
	}
}

const setOf = (second: number): number => CLAIMS_HEAD + (second & (SETS - 1)) * WAYS * CELLS;

const idOf = (first: number, second: number): string => `${first},${second}`;

function cellOf(key: RingKey, at: number): number {
	return key[at]! | (key[at + 1]! << 8) | (key[at + 2]! << 16) | (key[at + 3]! << 24);
}
