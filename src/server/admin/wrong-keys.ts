/** Wrong keys that come to one place, counted by the addresses that send them: in windows that begin with the first, in bounded memory. */

/** The time in which they are counted, ms. */
const WINDOW_MS = 60_000;
/** From how many of one address, and of all, within that time there are too many. */
const MOST_OF_ONE = 10;
const MOST_OF_ALL = 200;
/** Addresses that are counted apart; what comes from further ones counts for all alone. */
const MOST_ADDRESSES = 1_000;

/** What it works with. */
export interface WrongKeysOptions {
	/** A clock that never goes back, ms. */
	readonly time?: (() => number) | undefined;
	/** Told of the first address that has sent too many: once in a window. */
	readonly onMany?: ((address: string) => void) | undefined;
}

/** Counts them. Refuses nobody. */
export class WrongKeys {
	readonly #wrong = new Map<string, number>();
	#all = 0;
	#since = Number.NEGATIVE_INFINITY;
	#hasTold = false;
	readonly #time: () => number;

	constructor(private readonly options: WrongKeysOptions = {}) {
		this.#time = options.time ?? (() => performance.now());
	}

	/** One came from there. Whether that is one too many. */
	count(address: string): boolean {
		const now = this.#time();
		if (now - this.#since >= WINDOW_MS) {
			this.#since = now;
			this.#all = 0;
			this.#hasTold = false;
			this.#wrong.clear();
		}
		const before = this.#wrong.get(address) ?? 0;
		if (this.#all >= MOST_OF_ALL || before >= MOST_OF_ONE) {
			if (!this.#hasTold) this.options.onMany?.(address);
			this.#hasTold = true;
			return true;
		}
		this.#all++;
		if (before > 0 || this.#wrong.size < MOST_ADDRESSES) this.#wrong.set(address, before + 1);
		return false;
	}

	/** Until the window ends, ms. */
	get leftMs(): number {
		return Math.max(0, this.#since + WINDOW_MS - this.#time());
	}
}
