/**
 * Where the last call of each session went, in memory that threads share: by the hash of its name, in buckets of so many entries, of which
 * the least recently used goes.
 */
import { RecoverableLock, type SharingThreads } from "../memory/recoverable-lock.ts";
import { type SessionHash, sessionHash } from "./named-sessions.ts";

/** Buckets, a power of 2, and entries of each: the last 10,000 sessions find room, 65,536 at most. */
const BUCKETS = 4_096;
const ENTRIES = 16;
/** 32-bit cells of a bucket: of all its entries first one hash of the name, then the other, then where it went, then when. */
const SECOND_HASH = ENTRIES;
const TARGET = ENTRIES * 2;
const LAST_USE = ENTRIES * 3;
const BUCKET_CELLS = ENTRIES * 4;
/** Before the buckets: a lock, and how often a session was told of. */
const HEAD_CELLS = 16;
const USES = 1;

/** Bytes that they take. */
export const SESSIONS_BYTES = (HEAD_CELLS + BUCKETS * BUCKET_CELLS) * 4;

/** One thread's view of them. */
export class SharedSessions {
	readonly #lock: RecoverableLock;

	/** @param begin where they begin in `ints` */
	constructor(
		private readonly ints: Int32Array<SharedArrayBuffer>,
		private readonly begin: number,
		threads: SharingThreads,
	) {
		this.#lock = new RecoverableLock(ints, begin, threads);
	}

	/** Where it went last; 0 where it is not known. */
	get(name: string): number {
		const { ints } = this;
		const [hash, secondHash] = sessionHash(name);
		const bucket = this.#bucketOf(hash);
		const entry = this.#entryOf(bucket, hash, secondHash);
		if (entry === -1) return 0;
		const target = Atomics.load(ints, entry + TARGET);
		// It may have been given to another session meanwhile.
		return ints[entry] === hash && ints[entry + SECOND_HASH] === secondHash ? target : 0;
	}

	/** It goes there now. @param target any number but 0 */
	set(name: string, target: number): void {
		this.setHashed(sessionHash(name), target);
	}

	/** The same of the session of this hash. */
	setHashed([hash, secondHash]: SessionHash, target: number): void {
		const { ints } = this;
		const bucket = this.#bucketOf(hash);
		this.#lock.acquire();
		try {
			const uses = ints[this.begin + USES]! + 1;
			ints[this.begin + USES] = uses;
			let entry = this.#entryOf(bucket, hash, secondHash);
			if (entry === -1) {
				entry = this.#leastRecent(bucket, uses);
				// Nobody who reads it meanwhile finds one session's name beside another's target.
				Atomics.store(ints, entry + TARGET, 0);
				ints[entry] = hash;
				ints[entry + SECOND_HASH] = secondHash;
			}
			ints[entry + LAST_USE] = uses;
			Atomics.store(ints, entry + TARGET, target);
		} finally {
			this.#lock.release();
		}
	}

	/** All of them, the most recent last. What other threads change meanwhile may be missed. */
	all(): (readonly [hash: SessionHash, target: number])[] {
		const { ints, begin } = this;
		const uses = ints[begin + USES]!;
		const found: { readonly hash: SessionHash; readonly target: number; readonly age: number }[] = [];
		for (let bucket = 0; bucket < BUCKETS; bucket++) {
			const at = this.#bucketOf(bucket);
			for (let entry = at; entry < at + ENTRIES; entry++) {
				const target = Atomics.load(ints, entry + TARGET);
				if (target === 0) continue;
				const hash = [ints[entry]!, ints[entry + SECOND_HASH]!] as const;
				const isOne = Atomics.load(ints, entry + TARGET) === target;
				if (isOne) found.push({ hash, target, age: (uses - ints[entry + LAST_USE]!) >>> 0 });
			}
		}
		return found.sort((one, other) => other.age - one.age).map(({ hash, target }) => [hash, target]);
	}

	/** A thread has died: what it held is let go. The entry that it was about to write is nobody's, or whole. */
	freed(thread: number): void {
		if (this.#lock.takeFrom(thread)) this.#lock.release();
	}

	#entryOf(bucket: number, hash: number, secondHash: number): number {
		const { ints } = this;
		for (let entry = bucket; entry < bucket + ENTRIES; entry++) {
			if (ints[entry] === hash && ints[entry + SECOND_HASH] === secondHash && ints[entry + TARGET] !== 0) return entry;
		}
		return -1;
	}

	/** An entry that is free, or that was told of longest ago. */
	#leastRecent(bucket: number, uses: number): number {
		const { ints } = this;
		let least = bucket;
		let greatestAge = -1;
		for (let entry = bucket; entry < bucket + ENTRIES; entry++) {
			if (ints[entry + TARGET] === 0) return entry;
			const age = (uses - ints[entry + LAST_USE]!) >>> 0;
			if (age <= greatestAge) continue;
			least = entry;
			greatestAge = age;
		}
		return least;
	}

	#bucketOf(hash: number): number {
		return this.begin + HEAD_CELLS + (hash & (BUCKETS - 1)) * BUCKET_CELLS;
	}
}
