/** The energy of attempts, in memory that the threads of the process share: see `energy-meters.ts`. */
import { BLOCK_NUMBERS, type BlockName, makeBlocks, OWNERS_FLAG, SharedBlocks } from "../../memory/shared-blocks.ts";
import { EnergyAccount, type EnergySums } from "./energy-account.ts";
import { type EnergyMeter, type EnergyMeters, MOST_ENGINES } from "./energy-meters.ts";

/** The kind of blocks in memory that is for accounts alone, and the number of a block at which the account begins. */
const ACCOUNT = 2;
const FIRST_NUMBER = 4;

/** Memory for the accounts: some 600 KB of addresses. */
export const makeEnergyMeters = (): SharedArrayBuffer => makeBlocks(MOST_ENGINES);

/** One thread's view of the accounts. */
export class SharedEnergyMeters implements EnergyMeters {
	readonly #blocks: SharedBlocks;
	readonly #time: () => number;
	/** The main thread's: engines that have an account, the one whose power changed longest ago first. */
	readonly #engines = new Map<string, BlockName>();

	/**
	 * @param memory of {@link makeEnergyMeters}
	 * @param thread the number of this thread; the main one, 0, alone says what engines draw
	 * @param offset how far the main thread's `performance.now()` is ahead of this thread's, ms
	 * @param time ms; never goes back
	 */
	constructor(memory: SharedArrayBuffer, thread: number, offset: number, time: () => number = () => performance.now()) {
		this.#blocks = new SharedBlocks(memory, MOST_ENGINES, thread);
		this.#blocks.threads.onEnded = (ended) => this.freed(ended);
		this.#time = () => time() + offset;
	}

	get isKnown(): boolean {
		return this.#blocks.numbers[OWNERS_FLAG] !== 0;
	}

	start(engine: string): EnergyMeter | undefined {
		const blocks = this.#blocks;
		const { thread } = blocks;
		const name = blocks.nameOf(ACCOUNT, engine);
		const mark = this.#locked(() => this.#account(name)?.begin(thread, this.#time()));
		if (!mark) return undefined;
		return { end: (tokens) => this.#locked(() => this.#account(name)?.end(thread, mark, tokens, this.#time()) ?? 0) };
	}

	setPower(engine: string, watts: number): void {
		const blocks = this.#blocks;
		const known = this.#engines.get(engine);
		if (!known && watts === 0) return;
		const name = known ?? blocks.nameOf(ACCOUNT, engine);
		this.#locked(() => {
			if (!known && !this.#make(name)) return;
			this.#engines.delete(engine);
			this.#engines.set(engine, name);
			this.#account(name)!.setPower(watts, this.#time());
			blocks.numbers[OWNERS_FLAG] = 1;
		});
	}

	sums(): ReadonlyMap<string, EnergySums> {
		return this.#locked(() => {
			const now = this.#time();
			return new Map([...this.#engines].map(([engine, name]) => [engine, this.#account(name)!.sums(now)]));
		});
	}

	/** The main thread's: a thread has died, and its attempts with it. */
	freed(thread: number): void {
		this.#blocks.freed(thread, (block) => this.#accountAt(block).freed(thread, this.#time()));
	}

	/** Makes an account, in the place of one that rests where there is no other. Whether there was room. */
	#make(name: BlockName): boolean {
		const blocks = this.#blocks;
		return blocks.make(ACCOUNT, name) !== 0 || (this.#drop() && blocks.make(ACCOUNT, name) !== 0);
	}

	#drop(): boolean {
		for (const [engine, name] of this.#engines) {
			if (!this.#account(name)!.isResting) continue;
			this.#blocks.remove(this.#blocks.find(ACCOUNT, name));
			return this.#engines.delete(engine);
		}
		return false;
	}

	#account(name: BlockName): EnergyAccount | undefined {
		const block = this.#blocks.find(ACCOUNT, name);
		return block === 0 ? undefined : this.#accountAt(block);
	}

	#accountAt(block: number): EnergyAccount {
		return new EnergyAccount(this.#blocks.numbers, block * BLOCK_NUMBERS + FIRST_NUMBER);
	}

	#locked<T>(step: () => T): T {
		this.#blocks.acquire();
		try {
			return step();
		} finally {
			this.#blocks.release();
		}
	}
}
