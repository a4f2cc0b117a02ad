/** How wrong keys are answered at the console's sign-in: from a number of them on by a 429, which takes nothing of the router. A right key is never refused for it. */
import { RouterError } from "../../errors.ts";

/** The time in which they are counted, ms. */
const WINDOW_MS = 60_000;
/** Wrong keys of one address, and of all, within that time. */
const MOST_OF_ONE = 10;
const MOST_OF_ALL = 200;
/** Addresses that are counted apart; what comes from further ones counts for all alone. */
const MOST_ADDRESSES = 1_000;

/** What it works with. */
export interface SignInLimitOptions {
	/** A clock that never goes back, ms. */
	readonly time?: () => number;
	/** Told of the first address that has sent too many: once in a window. */
	readonly onLimited?: (address: string) => void;
}

/** Counts them, in windows that begin with the first. */
export class SignInLimit {
	readonly #wrong = new Map<string, number>();
	#all = 0;
	#since = Number.NEGATIVE_INFINITY;
	#hasTold = false;
	readonly #time: () => number;

	constructor(private readonly options: SignInLimitOptions = {}) {
		this.#time = options.time ?? (() => performance.now());
	}

	/** A wrong key came from there, be it alone or one of many. Throws `rate_limit_exceeded` where there were too many. */
	count(address: string): void {
		const now = this.#time();
		if (now - this.#since >= WINDOW_MS) {
			this.#since = now;
			this.#all = 0;
			this.#hasTold = false;
			this.#wrong.clear();
		}
		const before = this.#wrong.get(address) ?? 0;
		if (this.#all >= MOST_OF_ALL || before >= MOST_OF_ONE) throw this.#refusal(address, now);
		this.#all++;
		if (before > 0 || this.#wrong.size < MOST_ADDRESSES) this.#wrong.set(address, before + 1);
	}

	#refusal(address: string, now: number): RouterError {
		if (!this.#hasTold) this.options.onLimited?.(address);
		this.#hasTold = true;
		const seconds = Math.max(1, Math.ceil((this.#since + WINDOW_MS - now) / 1000));
		const message = `This is no admin key of this router, and too many wrong ones came: another one is answered in ${seconds} s.`;
		return new RouterError("rate_limit_exceeded", message, { headers: { "retry-after": String(seconds) } });
	}
}
