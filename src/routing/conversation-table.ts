/**
 * Which conversations the prompt caches of vendors have: hashes and times, in memory that threads share. What is kept for longest goes last:
 * in buckets of so many entries, of which the one goes that would end first. Nothing is locked: where threads meet, an entry may be lost, which
 * costs a guess.
 */

/** Buckets, a power of 2, and entries of each: 32,768, and 393 KB. */
const BUCKETS = 4_096;
const ENTRIES = 8;
/** 32-bit cells of a bucket: of all its entries first one half of the key, then the other, then when it ends, s. */
const SECOND = ENTRIES;
const UNTIL = ENTRIES * 2;
const BUCKET_CELLS = ENTRIES * 3;
const BYTES = BUCKETS * BUCKET_CELLS * 4;

/** A conversation at one cache, as nobody can read it who has not the key of that account: see `cache-places.ts`. */
export interface ConversationKey {
	readonly first: number;
	readonly second: number;
}

/** Memory for them: none until there is one. */
export const makeConversations = (): SharedArrayBuffer => new SharedArrayBuffer(0, { maxByteLength: BYTES });

/** One thread's view. */
export class ConversationTable {
	/** Told of each that is kept, and for how long, ms. */
	onKept: ((key: ConversationKey, ms: number) => void) | undefined;
	readonly #cells: Int32Array<SharedArrayBuffer>;

	/**
	 * @param memory see {@link makeConversations}
	 * @param time a clock that is the same for all threads, ms
	 */
	constructor(
		private readonly memory: SharedArrayBuffer,
		private readonly time: () => number,
	) {
		this.#cells = new Int32Array(memory);
	}

	/** For how long it is kept from now on, ms; 0: it is not. */
	leftMs(key: ConversationKey): number {
		if (this.#cells.length === 0) return 0;
		const entry = this.#find(key);
		return entry === -1 ? 0 : Math.max(0, this.#cells[entry + UNTIL]! * 1000 - this.time());
	}

	/** It is kept for so long from now on, ms, or as long as it is already, if that is longer. */
	keep(key: ConversationKey, ms: number): void {
		this.learn(key, ms);
		this.onKept?.(key, ms);
	}

	/** The same, which another router says. */
	learn(key: ConversationKey, ms: number): void {
		if (this.#cells.length === 0 && !this.#grow()) return;
		const cells = this.#cells;
		const until = Math.ceil((this.time() + ms) / 1000);
		const found = this.#find(key);
		if (found !== -1) {
			if (cells[found + UNTIL]! < until) cells[found + UNTIL] = until;
			return;
		}
		const entry = this.#least(bucketOf(key));
		// Nobody who reads it meanwhile finds one key beside another's time.
		cells[entry + UNTIL] = 0;
		cells[entry] = key.first;
		cells[entry + SECOND] = key.second;
		cells[entry + UNTIL] = until;
	}

	/** It is not kept any more. */
	forget(key: ConversationKey): void {
		const entry = this.#cells.length === 0 ? -1 : this.#find(key);
		if (entry !== -1) this.#cells[entry + UNTIL] = 0;
	}

	/** All that are kept, and for how long from now on, ms. */
	*all(): Iterable<readonly [key: ConversationKey, ms: number]> {
		const cells = this.#cells;
		const now = this.time();
		for (let bucket = 0; bucket < cells.length; bucket += BUCKET_CELLS) {
			for (let entry = bucket; entry < bucket + ENTRIES; entry++) {
				const ms = cells[entry + UNTIL]! * 1000 - now;
				if (cells[entry + UNTIL] !== 0 && ms > 0) yield [{ first: cells[entry]!, second: cells[entry + SECOND]! }, ms];
			}
		}
	}

	/** The place of an entry that is there; -1 where none is. */
	#find(key: ConversationKey): number {
		const cells = this.#cells;
		const bucket = bucketOf(key);
		for (let entry = bucket; entry < bucket + ENTRIES; entry++) {
			if (cells[entry] === key.first && cells[entry + SECOND] === key.second && cells[entry + UNTIL] !== 0)
				return entry;
		}
		return -1;
	}

	/** A free entry of a bucket, or the one that ends first. */
	#least(bucket: number): number {
		const cells = this.#cells;
		let least = bucket;
		for (let entry = bucket + 1; entry < bucket + ENTRIES; entry++) {
			if (cells[entry + UNTIL]! < cells[least + UNTIL]!) least = entry;
		}
		return least;
	}

	#grow(): boolean {
		try {
			this.memory.grow(BYTES);
		} catch {
			// The machine has no more, or another thread was faster.
		}
		return this.#cells.length > 0;
	}
}

const bucketOf = ({ first }: ConversationKey): number => (first & (BUCKETS - 1)) * BUCKET_CELLS;
