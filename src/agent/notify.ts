/** A wake-up for a loop that otherwise sleeps until its next turn is due. */

/** The side of a `Notify` that notifies. */
export interface Notifier {
	/** Something changed. Safe to call at any time and any number of times; it never throws. */
	notify(): void;
}

/** One loop waits, anybody notifies. A notification that comes while the loop works counts for its next wait. */
export class Notify implements Notifier {
	#isNotified = false;
	#wake: (() => void) | undefined;

	notify(): void {
		this.#isNotified = true;
		this.#wake?.();
	}

	/** Drops a notification that has come since the last wait: what changed is about to be read. */
	clear(): void {
		this.#isNotified = false;
	}

	/** Resolves at the next notification, but after `ms` at the latest; in the next turn of the event loop where one has come since the last wait. */
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
