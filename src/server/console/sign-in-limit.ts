/** How many wrong keys are taken at the console's sign-in. */
import { RouterError } from "../../errors.ts";

/** The time in which they are counted, ms. */
const WINDOW_MS = 60_000;
/** Wrong keys of one address, and of all, within that time. */
const MOST_OF_ONE = 10;
const MOST_OF_ALL = 200;
/** Addresses that are counted apart; what comes from further ones counts for all alone. */
const MOST_ADDRESSES = 1_000;

/** Counts them, in windows that begin with the first. */
export class SignInLimit {
	readonly #wrong = new Map<string, number>();
	#all = 0;
	#since = Number.NEGATIVE_INFINITY;

	/** @param time a clock that never goes back, ms */
	constructor(private readonly time: () => number = () => performance.now()) {}

	/** Throws `rate_limit_exceeded` where no key is looked at any more, be it the right one. */
	admit(address: string): void {
		this.#look();
		if (this.#all < MOST_OF_ALL && (this.#wrong.get(address) ?? 0) < MOST_OF_ONE) return;
		const seconds = Math.max(1, Math.ceil((this.#since + WINDOW_MS - this.time()) / 1000));
		throw new RouterError("rate_limit_exceeded", `Too many wrong keys: try again in ${seconds} s.`, {
			headers: { "retry-after": String(seconds) },
		});
	}

	/** A wrong key came from there. */
	failed(address: string): void {
		this.#look();
		this.#all++;
		if (this.#wrong.size < MOST_ADDRESSES || this.#wrong.has(address)) {
			this.#wrong.set(address, (this.#wrong.get(address) ?? 0) + 1);
		}
	}

	#look(): void {
		const now = this.time();
		if (now - this.#since < WINDOW_MS) return;
		this.#since = now;
		this.#all = 0;
		this.#wrong.clear();
	}
}
