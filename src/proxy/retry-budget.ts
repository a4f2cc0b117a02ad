/** How many retries at the same target all calls together may make: an upstream in trouble must not get more calls, but fewer. */

/** What is looked back on, s, and the share of its calls that may be made again. */
const WINDOW_S = 10;
const SHARE = 0.1;
/** As many are always allowed within a second. */
const LEAST_A_SECOND = 10;

/** Counts calls and retries. Times are ms on any clock that never goes back. Going elsewhere costs nothing. */
export class RetryBudget {
	readonly #calls = new Float64Array(WINDOW_S);
	readonly #retries = new Float64Array(WINDOW_S);
	/** The second that is being filled. */
	#second = 0;

	/** A call came. */
	call(now: number): void {
		this.#calls[this.#slot(now)]! += 1;
	}

	/** Whether there is room for a retry. */
	has(now: number): boolean {
		const slot = this.#slot(now);
		return this.#retries[slot]! < LEAST_A_SECOND || sum(this.#retries) + 1 <= SHARE * sum(this.#calls);
	}

	/** A retry is made. */
	spend(now: number): void {
		this.#retries[this.#slot(now)]! += 1;
	}

	#slot(now: number): number {
		const second = Math.floor(now / 1000);
		// A long pause empties each slot once.
		for (let left = Math.min(second - this.#second, WINDOW_S); left > 0; left--) {
			const slot = (second - left + 1) % WINDOW_S;
			this.#calls[slot] = 0;
			this.#retries[slot] = 0;
		}
		this.#second = Math.max(this.#second, second);
		return this.#second % WINDOW_S;
	}
}

function sum(values: Float64Array): number {
	let total = 0;
	for (const value of values) total += value;
	return total;
}
