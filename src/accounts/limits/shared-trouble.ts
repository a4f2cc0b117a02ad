/** What threads know together of trouble with Redis: in the header of the memory in which they count (`shared-limiter.ts`), under its lock. */
import { OWNERS_NUMBERS, type SharedBlocks } from "../../memory/shared-blocks.ts";
import { MOST_THREADS } from "../../memory/shared-lock.ts";
import type { RedisTrouble } from "./redis-trouble.ts";

/** Numbers of the header: how many losses there were; when the last one was heard of, and its `since`; since when each thread hears nothing, 0 where it hears. */
const LOSSES = OWNERS_NUMBERS;
const LOST_AT = OWNERS_NUMBERS + 1;
const LOST_SINCE = OWNERS_NUMBERS + 2;
const SILENT_OF = OWNERS_NUMBERS + 3;

/** A thread that still got an answer may have, by so much, when another one had begun to get none, ms. */
export const AGREES_MS = 1_000;
/** Times of threads differ by what they are rounded by when clocks are added up: what one asked for at that moment itself came not before it. ms */
const ROUNDED_MS = 1e-6;

/** One thread's view. */
export class SharedTrouble implements RedisTrouble {
	losses = 0;

	/** @param offset how far the main thread's `performance.now()` is ahead of this thread's, ms */
	constructor(
		private readonly blocks: SharedBlocks,
		private readonly offset: number,
	) {}

	/** Finds how many losses there were, while the lock is held. */
	look(): void {
		this.losses = this.blocks.numbers[LOSSES]!;
	}

	lost(since: number, now: number): number {
		const { blocks, offset } = this;
		blocks.acquire();
		try {
			const { numbers } = blocks;
			if (numbers[LOST_SINCE] !== since) {
				numbers[LOST_SINCE] = since;
				numbers[LOST_AT] = now + offset;
				numbers[LOSSES]! += 1;
			}
			this.look();
			return numbers[LOST_AT]! - offset;
		} finally {
			blocks.release();
		}
	}

	silent(since: number | undefined): void {
		const { blocks, offset } = this;
		blocks.acquire();
		blocks.numbers[SILENT_OF + blocks.thread] = since === undefined ? 0 : since + offset;
		blocks.release();
	}

	silentSince(own: number, heardAt: number): number {
		const { blocks, offset } = this;
		let first = own + offset;
		blocks.acquire();
		try {
			for (let thread = 0; thread < MOST_THREADS; thread++) {
				const since = blocks.numbers[SILENT_OF + thread]!;
				// One that has been silent for longer has an outage of its own.
				if (since !== 0 && since >= heardAt + offset - AGREES_MS && since < first) first = since - ROUNDED_MS;
			}
		} finally {
			blocks.release();
		}
		return first - offset;
	}

	/** A thread has ended: that it hears nothing says nothing. */
	freed(thread: number): void {
		this.blocks.numbers[SILENT_OF + thread] = 0;
	}
}
