/** How many hedges may be sent: a share of the calls. */

/** Share of the calls: every twentieth. */
const SHARE = 0.05;
/** Unused ones are saved up to this many. */
const MOST_SAVED = 10;

/** Never more than every twentieth call so far, and what was there at first. */
export class HedgeBudget {
	/** In twentieths of a hedge: whole numbers, which add up exactly. */
	#saved: number;

	/** @param isFull it begins with as many as can be saved up */
	constructor(isFull = false) {
		this.#saved = isFull ? MOST_SAVED / SHARE : 0;
	}

	/** A call came. */
	call(): void {
		this.#saved = Math.min(this.#saved + 1, MOST_SAVED / SHARE);
	}

	/** Takes one, if there is one. */
	take(): boolean {
		if (this.#saved < 1 / SHARE) return false;
		this.#saved -= 1 / SHARE;
		return true;
	}
}
