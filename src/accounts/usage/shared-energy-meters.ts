/** The energy of attempts, in memory that the threads of the process share: see `energy-meters.ts`. */
import type { BlockName } from "../../memory/block-name.ts";
import {
	BLOCK_CELLS,
	BLOCK_NUMBERS,
	FIRST_PART,
	makeBlocks,
	OWNERS_FLAG,
	PART_CELL,
	PART_NUMBERS,
	SharedBlocks,
} from "../../memory/shared-blocks.ts";
import { locked } from "../../memory/shared-lock.ts";
import { EnergyAccount, type EnergySums } from "./energy-account.ts";
import {
	type EnergyMeter,
	type EnergyMeters,
	type GpuPower,
	MOST_ENGINES,
	MOST_GPUS,
	MOST_GPUS_OF_ENGINE,
} from "./energy-meters.ts";
import { GpuEnergy } from "./gpu-energy.ts";

/** The kinds of blocks, and the number of a block at which the account or the GPU begins. */
const ACCOUNT = 2;
const GPU = 3;
const FIRST_NUMBER = 4;
/** Parts of an account have the blocks of its engine's GPUs, so many each; the part's cell says how many there are. */
const GPUS_OF_PART = BLOCK_NUMBERS - PART_NUMBERS;
/** Each account may have all the parts it can need. */
const MOST_BLOCKS = MOST_ENGINES * (1 + Math.ceil(MOST_GPUS_OF_ENGINE / GPUS_OF_PART)) + MOST_GPUS;

/** Memory for accounts and GPUs: some 3 MB of addresses. */
export const makeEnergyMeters = (): SharedArrayBuffer => makeBlocks(MOST_BLOCKS);

/** One thread's view of the accounts. */
export class SharedEnergyMeters implements EnergyMeters {
	readonly #blocks: SharedBlocks;
	readonly #time: () => number;
	/** The main thread's: engines that have an account, the one whose GPUs changed longest ago first; and GPUs that some of them are on. */
	readonly #engines = new Map<string, BlockName>();
	readonly #gpus = new Map<string, BlockName>();
	/** The main thread's: where engines are that are on GPUs. */
	readonly #places = new Map<string, readonly GpuPower[]>();

	/**
	 * @param memory of {@link makeEnergyMeters}
	 * @param thread the number of this thread; the main one, 0, alone says where engines are
	 * @param offset how far the main thread's `performance.now()` is ahead of this thread's, ms
	 * @param time ms; never goes back
	 */
	constructor(memory: SharedArrayBuffer, thread: number, offset: number, time: () => number = () => performance.now()) {
		this.#blocks = new SharedBlocks(memory, MOST_BLOCKS, thread);
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
		const mark = locked(this.#blocks, () => this.#account(name)?.begin(thread, this.#time()));
		if (!mark) return undefined;
		return {
			end: (tokens) => locked(this.#blocks, () => this.#account(name)?.end(thread, mark, tokens, this.#time())),
		};
	}

	setGpus(engine: string, gpus: readonly GpuPower[]): void {
		const blocks = this.#blocks;
		const known = this.#engines.get(engine);
		const name = known ?? blocks.nameOf(ACCOUNT, engine);
		// Each step makes one block: memory grows between.
		if (!known && !locked(this.#blocks, () => this.#make(name, gpus.length > 0))) return;
		const itsGpus = gpus.slice(0, MOST_GPUS_OF_ENGINE).flatMap((each) => this.#setPower(each) ?? []);
		locked(this.#blocks, () => {
			this.#engines.delete(engine);
			this.#engines.set(engine, name);
			const block = blocks.find(ACCOUNT, name);
			const found = itsGpus.map((gpu) => blocks.find(GPU, gpu));
			this.#accountAt(block).setGpus(
				found.map((gpu) => this.#gpuAt(gpu)),
				this.#time(),
			);
			this.#link(block, found);
			for (const { gpu } of this.#places.get(engine) ?? []) this.#dropEmpty(gpu);
			if (gpus.length > 0) this.#places.set(engine, gpus);
			else this.#places.delete(engine);
			blocks.numbers[OWNERS_FLAG] = 1;
		});
	}

	setShare(engine: string, share: number): void {
		const name = this.#engines.get(engine);
		if (name) locked(this.#blocks, () => this.#account(name)?.setShare(share, this.#time()));
	}

	sums(): ReadonlyMap<string, EnergySums> {
		return locked(this.#blocks, () => {
			const now = this.#time();
			const accounts = [...this.#engines].map(([engine, name]) => [engine, this.#account(name)!] as const);
			return new Map(accounts.flatMap(([engine, each]) => (each.isKnown ? [[engine, each.sums(now)]] : [])));
		});
	}

	/** The main thread's: a thread has died, and its attempts with it. */
	freed(thread: number): void {
		this.#blocks.freed(thread, (block, kind) => {
			if (kind === ACCOUNT) this.#accountAt(block).freed(thread, this.#time());
		});
		locked(this.#blocks, () => this.#recount());
	}

	/** Counts engines with calls anew: the thread may have died half way. */
	#recount(): void {
		const busy = new Map<number, number>();
		this.#blocks.forEach((block, kind) => {
			if (kind !== ACCOUNT || !this.#accountAt(block).isBusy) return;
			for (const gpu of this.#gpusOf(block)) busy.set(gpu, (busy.get(gpu) ?? 0) + 1);
		});
		this.#blocks.forEach((block, kind) => {
			if (kind === GPU) this.#gpuAt(block).recount(busy.get(block) ?? 0);
		});
	}

	/** Says what a GPU draws. Its name; undefined where there is no room for it. */
	#setPower({ gpu, watts }: GpuPower): BlockName | undefined {
		const blocks = this.#blocks;
		const known = this.#gpus.get(gpu);
		if (!known && this.#gpus.size >= MOST_GPUS) return undefined;
		const name = known ?? blocks.nameOf(GPU, gpu);
		return locked(this.#blocks, () => {
			const block = known ? blocks.find(GPU, name) : blocks.make(GPU, name);
			if (block === 0) return undefined;
			this.#gpus.set(gpu, name);
			this.#gpuAt(block).setPower(watts, this.#time());
			return name;
		});
	}

	/** Notes the GPUs of an engine. */
	#link(block: number, gpus: readonly number[]): void {
		const blocks = this.#blocks;
		while (blocks.cells[block * BLOCK_CELLS + FIRST_PART] !== 0) blocks.dropPart(block);
		for (let from = 0; from < gpus.length; from += GPUS_OF_PART) {
			const some = gpus.slice(from, from + GPUS_OF_PART);
			const part = blocks.addPart(block, some.length);
			blocks.numbers.set(some, part * BLOCK_NUMBERS + PART_NUMBERS);
		}
	}

	/** The blocks of an engine's GPUs. */
	#gpusOf(block: number): number[] {
		const { cells, numbers } = this.#blocks;
		const gpus: number[] = [];
		let part = cells[block * BLOCK_CELLS + FIRST_PART]!;
		for (; part !== 0; part = this.#blocks.nextPart(part)) {
			const from = part * BLOCK_NUMBERS + PART_NUMBERS;
			const count = cells[part * BLOCK_CELLS + PART_CELL]!;
			for (let at = 0; at < count; at++) gpus.push(numbers[from + at]!);
		}
		return gpus;
	}

	/** Forgets a GPU where no engine is on it any more. */
	#dropEmpty(gpu: string): void {
		const blocks = this.#blocks;
		const name = this.#gpus.get(gpu);
		const block = name ? blocks.find(GPU, name) : 0;
		if (block === 0 || !this.#gpuAt(block).isEmpty) return;
		blocks.remove(block);
		this.#gpus.delete(gpu);
	}

	/** Makes an account. Whether there was room. @param mayDrop in the place of one that rests, where there is no other */
	#make(name: BlockName, mayDrop: boolean): boolean {
		const hasRoom = this.#engines.size < MOST_ENGINES || (mayDrop && this.#drop());
		return hasRoom && this.#blocks.make(ACCOUNT, name) !== 0;
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
		const gpus = this.#gpusOf(block).map((gpu) => this.#gpuAt(gpu));
		return new EnergyAccount(this.#blocks.numbers, block * BLOCK_NUMBERS + FIRST_NUMBER, gpus);
	}

	#gpuAt(block: number): GpuEnergy {
		return new GpuEnergy(this.#blocks.numbers, block * BLOCK_NUMBERS + FIRST_NUMBER);
	}
}
