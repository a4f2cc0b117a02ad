/** The clocks of hardware that has a price by the hour, in memory that the threads of the process share: see `hardware-clocks.ts`. */
import { BLOCK_CELLS, BLOCK_NUMBERS, makeBlocks, SharedBlocks } from "../../memory/shared-blocks.ts";
import { locked, MOST_THREADS } from "../../memory/shared-lock.ts";
import { HardwareClocks, type Meter } from "./hardware-clocks.ts";

/** The kind of blocks in memory that is for clocks alone. */
const CLOCK = 2;
/** Targets that work at the same time, at most. */
const CLOCK_BLOCKS = 2_048;
/** Numbers of a block: what the clock shows, ms, and when it was last looked at, on the main thread's clock. */
const SHOWN = 4;
const LOOKED_AT = 5;
/** The first cell of the attempts under way, one for each thread, which no other changes. */
const RUNNING = 12;

/** Memory for the clocks: some 600 KB of addresses. */
export const makeHardwareClocks = (): SharedArrayBuffer => makeBlocks(CLOCK_BLOCKS);

/** One thread's view of the clocks. */
export class SharedHardwareClocks implements Pick<HardwareClocks, "start"> {
	readonly #blocks: SharedBlocks;
	readonly #time: () => number;
	/** Of targets for which there is no room. */
	readonly #own: HardwareClocks;

	/**
	 * @param memory of {@link makeHardwareClocks}
	 * @param thread the number of this thread
	 * @param offset how far the main thread's `performance.now()` is ahead of this thread's, ms
	 * @param time ms; never goes back
	 */
	constructor(memory: SharedArrayBuffer, thread: number, offset: number, time: () => number = () => performance.now()) {
		this.#blocks = new SharedBlocks(memory, CLOCK_BLOCKS, thread);
		this.#blocks.threads.onEnded = (ended) => this.freed(ended);
		this.#time = () => time() + offset;
		this.#own = new HardwareClocks(time);
	}

	/** An attempt has begun. @param target its id */
	start(target: string): Meter {
		const blocks = this.#blocks;
		const { thread } = blocks;
		const name = blocks.nameOf(CLOCK, target);
		const began = locked(this.#blocks, () => {
			const block = blocks.find(CLOCK, name) || blocks.make(CLOCK, name);
			if (block === 0) return undefined;
			const shown = this.#look(block);
			blocks.cells[block * BLOCK_CELLS + RUNNING + thread]! += 1;
			return shown;
		});
		if (began === undefined) return this.#own.start(target);
		let taken: number | undefined;
		const stop = () => {
			const block = blocks.find(CLOCK, name);
			const shown = this.#look(block);
			blocks.cells[block * BLOCK_CELLS + RUNNING + thread]! -= 1;
			if (this.#running(block) === 0) blocks.remove(block);
			return shown;
		};
		return {
			ms: () => taken ?? locked(this.#blocks, () => this.#look(blocks.find(CLOCK, name))) - began,
			stop: () => {
				taken ??= locked(this.#blocks, stop) - began;
			},
		};
	}

	/** The main thread's: a thread has died, and its attempts with it. */
	freed(thread: number): void {
		this.#blocks.freed(thread, (block) => {
			this.#look(block);
			this.#blocks.cells[block * BLOCK_CELLS + RUNNING + thread] = 0;
			if (this.#running(block) === 0) this.#blocks.remove(block);
		});
	}

	/** What the clock shows now. */
	#look(block: number): number {
		const { numbers } = this.#blocks;
		const at = block * BLOCK_NUMBERS;
		const running = this.#running(block);
		const before = numbers[at + LOOKED_AT]!;
		// Another thread's clock may have been read a little later.
		const now = running > 0 ? Math.max(before, this.#time()) : this.#time();
		if (running > 0) numbers[at + SHOWN]! += (now - before) / running;
		numbers[at + LOOKED_AT] = now;
		return numbers[at + SHOWN]!;
	}

	#running(block: number): number {
		const { cells } = this.#blocks;
		const at = block * BLOCK_CELLS + RUNNING;
		let running = 0;
		for (let thread = 0; thread < MOST_THREADS; thread++) running += cells[at + thread]!;
		return running;
	}
}
