/** The energy of attempts at engines whose hosts say what their GPUs draw. */
import { ACCOUNT_NUMBERS, EnergyAccount, type EnergySums } from "./energy-account.ts";

/**
 * Most engines that have an account: hosts choose their models' names, and a roll makes new engines. Where all have been given, the engine
 * gives its own up that has rested longest: nothing runs there, and nothing is drawn.
 */
export const MOST_ENGINES = 2_048;

/** Measures one attempt. */
export interface EnergyMeter {
	/** The attempt is over. Returns what it gets, J. To be called once. @param tokens see {@link EnergyAccount.end} */
	end(tokens: number | undefined): number;
}

/** All engines. An engine is known by the id of the target that it is. */
export interface EnergyMeters {
	/** Some engine's power is known. While none is, nobody needs to ask for more. */
	readonly isKnown: boolean;
	/** An attempt has begun; undefined where the power of its engine is not known. */
	start(engine: string): EnergyMeter | undefined;
	/** What the engine's GPUs draw from now on, W; 0 where that is not known any more. */
	setPower(engine: string, watts: number): void;
	/** By engine, what has been drawn so far. */
	sums(): ReadonlyMap<string, EnergySums>;
}

/** Those of a process that answers calls in one thread. */
export class LocalEnergyMeters implements EnergyMeters {
	/** The one whose power changed longest ago first. */
	readonly #accounts = new Map<string, EnergyAccount>();

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

	setPower(engine: string, watts: number): void {
		let account = this.#accounts.get(engine);
		if (!account && (watts === 0 || !this.#hasRoom())) return;
		account ??= new EnergyAccount(new Float64Array(ACCOUNT_NUMBERS));
		this.#accounts.delete(engine);
		this.#accounts.set(engine, account);
		account.setPower(watts, this.time());
	}

	#hasRoom(): boolean {
		if (this.#accounts.size < MOST_ENGINES) return true;
		for (const [engine, account] of this.#accounts) if (account.isResting) return this.#accounts.delete(engine);
		return false;
	}

	sums(): ReadonlyMap<string, EnergySums> {
		const now = this.time();
		return new Map([...this.#accounts].map(([engine, account]) => [engine, account.sums(now)]));
	}
}
