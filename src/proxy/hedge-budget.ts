/** How many hedges may be sent: a share of the calls. */

/** Share of the calls: every twentieth. */
const SHARE = 0.05;
/** Unused ones are saved up to this many. */
const MOST_SAVED = 10;

/** A hedge, and the most that is saved up, in twentieths of a hedge: whole numbers, which add up exactly. */
export const HEDGE_PARTS = 1 / SHARE;
export const MOST_HEDGE_PARTS = MOST_SAVED / SHARE;

/** Never more than every twentieth call so far, and what was there at first. */
export class HedgeBudget {
	/** In parts of a hedge. */
	#saved: number;

	/** @param isFull it begins with as many as can be saved up */
	constructor(isFull = false) {
		this.#saved = isFull ? MOST_HEDGE_PARTS : 0;
	}

	/** A call came. */
	call(): void {
		this.#saved = Math.min(this.#saved + 1, MOST_HEDGE_PARTS);
	}

	/** Takes one, if there is one. */
	take(): boolean {
		if (this.#saved < HEDGE_PARTS) return false;
		this.#saved -= HEDGE_PARTS;
		return true;
	}

	/** One that was taken is not sent. */
	giveBack(): void {
		this.#saved = Math.min(this.#saved + HEDGE_PARTS, MOST_HEDGE_PARTS);
	}
}
