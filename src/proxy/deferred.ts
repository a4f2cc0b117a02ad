/**
 * What has only just begun. Most whole answers of small models, embeddings above all, are there before anything could be
 * late: to listen for a client's leaving and to set a timer for each costs 5 of their 100 µs. So one timer is set for all that begin
 * within its time, and only what is still there when it fires gets its own.
 */

/** How long anything is young at most, ms: a client that leaves is noticed that much later, and has 100 ms. */
export const YOUNG_MS = 40;

let young: Young[] = [];
let count = 0;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Something that grows up within {@link YOUNG_MS}, unless it is over before. */
export abstract class Young {
	#isYoung = true;

	constructor() {
		young.push(this);
		count++;
		timer ??= setTimeout(growAll, YOUNG_MS);
	}

	/** It has not grown up, and is not over. */
	protected get isYoung(): boolean {
		return this.#isYoung;
	}

	/** It grows up now, if it is still young. */
	grow(): void {
		if (this.#leave()) this.grown();
	}

	/** It is over: never grows up any more. Whether it had. */
	protected end(): boolean {
		return !this.#leave();
	}

	/** It has grown up. */
	protected abstract grown(): void;

	/** Whether it was young until now. */
	#leave(): boolean {
		if (!this.#isYoung) return false;
		this.#isYoung = false;
		count--;
		if (count === 0) {
			clearTimeout(timer);
			timer = undefined;
			young = [];
		}
		return true;
	}
}

function growAll(): void {
	const grown = young;
	young = [];
	timer = undefined;
	for (const one of grown) one.grow();
}
