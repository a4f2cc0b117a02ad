/**
 * Timers and listeners that are set only where they are needed. Most whole answers of small models, embeddings above all, are
 * there before anything could be late, and to listen for a client's leaving and to set a timer for each costs a twentieth of such a
 * call. So one timer is set for all calls that begin within its time, and only what is still there when it fires gets its own.
 */

/** How long arming is deferred at most, ms: a client that leaves is noticed that much later, and has 100 ms. */
export const DEFER_MS = 40;

let waiting: Deferred[] = [];
let count = 0;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Something that is armed within {@link DEFER_MS}, unless it is over before. */
export abstract class Deferred {
	#isUnarmed = true;

	constructor() {
		waiting.push(this);
		count++;
		timer ??= setTimeout(armAll, DEFER_MS);
	}

	/** Whether it is neither armed nor over. */
	protected get isUnarmed(): boolean {
		return this.#isUnarmed;
	}

	/** Arms it now, if that is still to be done. */
	arm(): void {
		if (this.#leave()) this.armed();
	}

	/** Ends it: it is never armed any more. Returns whether it was armed. */
	protected end(): boolean {
		return !this.#leave();
	}

	/** Sets its timer, or its listener. */
	protected abstract armed(): void;

	/** Whether it was unarmed until now. */
	#leave(): boolean {
		if (!this.#isUnarmed) return false;
		this.#isUnarmed = false;
		count--;
		if (count === 0) {
			clearTimeout(timer);
			timer = undefined;
			waiting = [];
		}
		return true;
	}
}

function armAll(): void {
	const grown = waiting;
	waiting = [];
	timer = undefined;
	for (const one of grown) one.arm();
}
