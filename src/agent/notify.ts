/** A wake-up for a loop that otherwise sleeps until its next turn is due. */

/** Who only tells that something changed. */
export interface Notifier {
	/** Something changed. Safe to call at any time and any number of times; it never throws. */
	notify(): void;
}

/** One loop waits, anybody notifies. A notification while the loop is at work is kept for its next wait. */
export class Notify implements Notifier {
	#isNotified = false;
	#wake: (() => void) | undefined;

	notify(): void {
		this.#isNotified = true;
		this.#wake?.();
	}

	/** Forgets a kept notification: what it told of is about to be read. */
	clear(): void {
		this.#isNotified = false;
	}

	/** Resolves at the next notification, but after `ms` at the latest; in the next turn of the event loop where one is kept. */
	async wait(ms: number): Promise<void> {
		const { promise, resolve } = Promise.withResolvers<void>();
		const timer = setTimeout(resolve, this.#isNotified ? 0 : ms);
		this.#wake = resolve;
		await promise;
		clearTimeout(timer);
		this.#wake = undefined;
		this.#isNotified = false;
	}
}
