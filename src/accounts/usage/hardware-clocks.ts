/** How long calls keep hardware busy that has a price by the hour. */

/** Measures one attempt's share of the time that its hardware worked. */
export interface Meter {
	/** So far, ms. */
	ms(): number;
	/** The attempt is over; the first call counts. */
	stop(): void;
}

interface Clock {
	/** What it shows, ms. */
	shown: number;
	/** When it was last looked at. */
	at: number;
	/** Attempts under way. */
	running: number;
}

/**
 * A clock a target that runs while calls are under way there, the more slowly the more of them: what it shows between a call's
 * beginning and its end is that call's share, and all shares together are the time that the hardware worked. The clocks outlive a reload
 * of the configuration.
 */
export class HardwareClocks {
	readonly #clocks = new Map<string, Clock>();

	/** @param time ms; never goes back */
	constructor(private readonly time: () => number = () => performance.now()) {}

	/** An attempt has begun. @param target its id */
	start(target: string): Meter {
		const clock = this.#clocks.get(target) ?? { shown: 0, at: this.time(), running: 0 };
		this.#clocks.set(target, clock);
		const look = () => {
			const now = this.time();
			if (clock.running > 0) clock.shown += (now - clock.at) / clock.running;
			clock.at = now;
			return clock.shown;
		};
		const began = look();
		clock.running++;
		let taken: number | undefined;
		return {
			ms: () => taken ?? look() - began,
			stop: () => {
				if (taken !== undefined) return;
				taken = look() - began;
				clock.running--;
				if (clock.running === 0 && clock.shown > 0) this.#clocks.delete(target);
			},
		};
	}
}
