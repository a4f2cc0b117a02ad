/** The end users that have sums of their own, in memory that the threads of the process share: see `EndUsers`. */
import type { BlockName } from "../../memory/block-name.ts";
import { BLOCK_CELLS, makeBlocks, SharedBlocks } from "../../memory/shared-blocks.ts";
import { locked } from "../../memory/shared-lock.ts";
import type { CommonUsers } from "./ledger-rows.ts";

/** Kinds of blocks, in memory that is for this alone: of a key's day, and of a part of its users. */
const KEY_DAY = 2;
const BUCKET = 3;
/** A key's day has so many buckets, by the hashes of its users; one that is full is followed by another one. */
const BUCKETS = 512;
const USER_BLOCKS = 65_536;
/** Cells of both: which day it is of, as a number, and how many users it has. */
const DAY = 8;
const COUNT = 9;
/** The first of a bucket's users, two cells each, and how many fit. */
const USERS = 10;
const MOST_IN_BUCKET = (BLOCK_CELLS - USERS) / 2;

/** Memory for them: 19 MB of addresses, of which pages are taken as they are used. */
export const makeEndUsers = (): SharedArrayBuffer => makeBlocks(USER_BLOCKS);

/** A thread's view of {@link makeEndUsers}. @param thread its number */
export const sharedEndUsers = (memory: SharedArrayBuffer, thread: number): SharedEndUsers =>
	new SharedEndUsers(new SharedBlocks(memory, USER_BLOCKS, thread));

/** One thread's view. Days before the latest are forgotten. */
export class SharedEndUsers implements CommonUsers {
	#day = 0;
	readonly #seeds: readonly number[];

	/** @param blocks this thread's view of memory that is for this alone */
	constructor(private readonly blocks: SharedBlocks) {
		this.#seeds = blocks.seeds.map((seed) => seed >>> 0);
		blocks.threads.onEnded = (ended) => this.freed(ended);
	}

	add(day: string, keyId: string, user: string, most: number): boolean | undefined {
		const { blocks } = this;
		const [first = 0, second = 0] = this.#seeds.map((seed) => Bun.hash.xxHash32(user, seed) | 0);
		const number = Number(day.replaceAll("-", ""));
		const key = `${day}\n${keyId}`;
		const ofKey = blocks.nameOf(KEY_DAY, key);
		const bucketName = (at: number) => blocks.nameOf(BUCKET, `${key}\n${first & (BUCKETS - 1)}\n${at}`);
		return locked(blocks, () => {
			if (number > this.#day) this.#begin(number);
			for (let at = 0; ; at++) {
				const name = bucketName(at);
				const bucket = blocks.find(BUCKET, name);
				const count = bucket === 0 ? 0 : blocks.cells[bucket * BLOCK_CELLS + COUNT]!;
				if (this.#has(bucket, count, first, second)) return true;
				if (count < MOST_IN_BUCKET) return this.#put({ ofKey, name, number, most }, first, second);
			}
		});
	}

	/** The main thread's: a thread has died. At most one user that it was about to add is not counted. */
	freed(thread: number): void {
		this.blocks.freed(thread, () => {});
	}

	#has(bucket: number, count: number, first: number, second: number): boolean {
		const { cells } = this.blocks;
		const from = bucket * BLOCK_CELLS + USERS;
		for (let at = from; at < from + 2 * count; at += 2)
			if (cells[at] === first && cells[at + 1] === second) return true;
		return false;
	}

	/** Into the bucket of that name, which has room. Undefined where there is no memory. */
	#put(
		of: { readonly ofKey: BlockName; readonly name: BlockName; readonly number: number; readonly most: number },
		first: number,
		second: number,
	): boolean | undefined {
		const key = this.#made(KEY_DAY, of.ofKey, of.number);
		if (key === 0) return undefined;
		if (this.blocks.cells[key * BLOCK_CELLS + COUNT]! >= of.most) return false;
		const bucket = this.#made(BUCKET, of.name, of.number);
		if (bucket === 0) return undefined;
		const { cells } = this.blocks;
		const count = cells[bucket * BLOCK_CELLS + COUNT]!;
		const at = bucket * BLOCK_CELLS + USERS + 2 * count;
		cells[at] = first;
		cells[at + 1] = second;
		// Last, so that what a thread which dies here has not finished is not there.
		cells[bucket * BLOCK_CELLS + COUNT] = count + 1;
		cells[key * BLOCK_CELLS + COUNT]! += 1;
		return true;
	}

	#made(kind: number, name: BlockName, day: number): number {
		const { blocks } = this;
		const known = blocks.find(kind, name);
		if (known !== 0) return known;
		const made = blocks.make(kind, name);
		if (made !== 0) blocks.cells[made * BLOCK_CELLS + DAY] = day;
		return made;
	}

	#begin(day: number): void {
		const { blocks } = this;
		this.#day = day;
		blocks.forEach((block) => {
			if (blocks.cells[block * BLOCK_CELLS + DAY]! < day) blocks.remove(block);
		});
	}
}
