/** The energy of attempts at engines whose hosts say what their GPUs draw. */
import { ACCOUNT_NUMBERS, EnergyAccount, type EnergySums } from "./energy-account.ts";
import { GPU_NUMBERS, GpuEnergy } from "./gpu-energy.ts";

/**
 * Most engines that have an account: hosts choose their models' names, and a roll makes new engines. Where all have been given, the engine
 * gives its own up that has rested longest: nothing runs there, and nothing is drawn.
 */
export const MOST_ENGINES = 2_048;
/** Most GPUs that are counted at once, and most of one engine. What more there are count nothing. */
export const MOST_GPUS = 4_096;
export const MOST_GPUS_OF_ENGINE = 64;

/** Measures one attempt. */
export interface EnergyMeter {
	/** The attempt is over. Returns what it gets, J; see {@link EnergyAccount.end}. To be called once. */
	end(tokens: number | undefined): number | undefined;
}

/** A GPU that an engine is on. */
export interface GpuPower {
	/** Which one: engines on the same GPU say the same. */
	readonly gpu: string;
	/** What it draws, W. */
	readonly watts: number;
}

/** All engines. An engine is known by the id of the target that it is. */
export interface EnergyMeters {
	/** Some engine is known. While none is, nobody needs to ask for more. */
	readonly isKnown: boolean;
	/** An attempt has begun; undefined where its engine is not known. */
	start(engine: string): EnergyMeter | undefined;
	/**
	 * The engine is known, and is on these GPUs from now on. None: not yet, or not any more; what attempts that run there get begins with the first one.
	 */
	setGpus(engine: string, gpus: readonly GpuPower[]): void;
	/** Of an engine that is known, the part that this router has of what it gets while attempts of this router run there, 0 to 1; at first 1. */
	setShare(engine: string, share: number): void;
	/** By engine that is or was on GPUs, what it has got so far. */
	sums(): ReadonlyMap<string, EnergySums>;
}

/** Those of a process that answers calls in one thread. */
export class LocalEnergyMeters implements EnergyMeters {
	/** The one whose GPUs changed longest ago first. */
	readonly #accounts = new Map<string, EnergyAccount>();
	/** Where engines are that are on GPUs. */
	readonly #places = new Map<string, readonly GpuPower[]>();
	readonly #gpus = new Map<string, GpuEnergy>();

	/** @param time ms; never goes back, and is more than 0 */
	constructor(private readonly time: () => number = () => performance.now()) {}

	get isKnown(): boolean {
		return this.#accounts.size > 0;
	}

	start(engine: string): EnergyMeter | undefined {
		const account = this.#accounts.get(engine);
		if (!account) return undefined;
		const mark = account.begin(0, this.time());
		return { end: (tokens) => account.end(0, mark, tokens, this.time()) };
	}

	setGpus(engine: string, gpus: readonly GpuPower[]): void {
		let account = this.#accounts.get(engine);
		if (!account && !this.#hasRoom(gpus.length > 0)) return;
		account ??= new EnergyAccount(new Float64Array(ACCOUNT_NUMBERS));
		this.#accounts.delete(engine);
		this.#accounts.set(engine, account);
		const now = this.time();
		const itsGpus = gpus.slice(0, MOST_GPUS_OF_ENGINE).flatMap(({ gpu, watts }) => {
			const found = this.#gpu(gpu);
			found?.setPower(watts, now);
			return found ?? [];
		});
		account.setGpus(itsGpus, now);
		for (const { gpu } of this.#places.get(engine) ?? []) if (this.#gpus.get(gpu)?.isEmpty) this.#gpus.delete(gpu);
		if (gpus.length > 0) this.#places.set(engine, gpus);
		else this.#places.delete(engine);
	}

	setShare(engine: string, share: number): void {
		this.#accounts.get(engine)?.setShare(share, this.time());
	}

	#gpu(gpu: string): GpuEnergy | undefined {
		let found = this.#gpus.get(gpu);
		if (!found && this.#gpus.size < MOST_GPUS) {
			found = new GpuEnergy(new Float64Array(GPU_NUMBERS));
			this.#gpus.set(gpu, found);
		}
		return found;
	}

	/** Whether there is room for one more. @param mayDrop in the place of one that rests */
	#hasRoom(mayDrop: boolean): boolean {
		if (this.#accounts.size < MOST_ENGINES) return true;
		if (!mayDrop) return false;
		for (const [engine, account] of this.#accounts) if (account.isResting) return this.#accounts.delete(engine);
		return false;
	}

	sums(): ReadonlyMap<string, EnergySums> {
		const now = this.time();
		const known = [...this.#accounts].filter(([, account]) => account.isKnown);
		return new Map(known.map(([engine, account]) => [engine, account.sums(now)]));
	}
}
