/**
 * A line in front of a model that takes only so many calls at once. Who would be served too late is told so at once, while there
 * is time to go elsewhere.
 */

/** What a model's line is held to. */
export interface QueueSettings {
	/** Calls that may run at once. */
	readonly concurrency: number;
	/** Calls that may wait. */
	readonly size: number;
}

/** Why a call was not let in. */
export interface QueueRefused {
	/** `full`: the line is. `late`: its turn would come after its deadline. */
	readonly reason: "full" | "late";
	/** When those that wait now will have been served, ms from now. */
	readonly retryAfterMs: number;
}

/** A call's place. */
export interface Ticket {
	/** Resolves when it may run. */
	readonly turn: Promise<void>;
	/** It has run, or waits no longer. Must be called; the first call counts. */
	leave(): void;
}

interface Waiter {
	/** Where it stands: the time of its coming, earlier by what its priority is worth. */
	readonly rank: number;
	readonly admit: () => void;
}

/** What a step of priority is worth, ms of waiting: the lowest call is not passed for ever. */
const STEP_MS = 10_000;
/** Said of a line of which no call has ended yet, ms a call. */
const UNKNOWN_MS = 2_000;
/** Weight of the newest call in the mean. */
const WEIGHT = 0.1;

/** One model's line. Times are ms on any clock that never goes back. */
export class CallQueue {
	/** The next to run first. */
	readonly #waiting: Waiter[] = [];
	#running = 0;
	/** How long a call runs: a moving mean. */
	#meanMs: number | undefined;

	constructor(
		/** May change while calls wait: the next to leave sees it. */
		public settings: QueueSettings,
		private readonly time: () => number = () => performance.now(),
	) {}

	/** Calls that wait. */
	get waiting(): number {
		return this.#waiting.length;
	}

	/** A call that came now would run at once. */
	get hasRoom(): boolean {
		return this.#running < this.settings.concurrency && this.#waiting.length === 0;
	}

	/** A place for a call that can wait `withinMs` at most; or why it gets none. */
	enter(priority: number, withinMs: number): Ticket | QueueRefused {
		const { size } = this.settings;
		const now = this.time();
		if (this.hasRoom) {
			this.#running++;
			return { turn: Promise.resolve(), leave: this.#end(now) };
		}
		const rank = now - priority * STEP_MS;
		const behind = this.#waiting.findIndex((other) => other.rank > rank);
		const ahead = behind === -1 ? this.#waiting.length : behind;
		if (this.#waiting.length >= size) {
			return { reason: "full", retryAfterMs: this.#waitMs(this.#waiting.length, UNKNOWN_MS) };
		}
		// Nothing is refused on a guess.
		const waitMs = this.#waitMs(ahead + 1, 0);
		return waitMs > withinMs ? { reason: "late", retryAfterMs: waitMs } : this.#join(rank, ahead);
	}

	/** How long it takes until so many have had their turn: one that runs ends every mean ÷ concurrency. */
	#waitMs(turns: number, unknownMs: number): number {
		return (Math.max(1, turns) * (this.#meanMs ?? unknownMs)) / this.settings.concurrency;
	}

	#join(rank: number, ahead: number): Ticket {
		const { promise: turn, resolve } = Promise.withResolvers<void>();
		let end: (() => void) | undefined;
		const waiter: Waiter = {
			rank,
			admit: () => {
				end = this.#end(this.time());
				resolve();
			},
		};
		this.#waiting.splice(ahead, 0, waiter);
		const leave = () => {
			if (end) return end();
			const at = this.#waiting.indexOf(waiter);
			if (at !== -1) this.#waiting.splice(at, 1);
		};
		return { turn, leave };
	}

	/** What ends a call that runs from now on. */
	#end(startedAt: number): () => void {
		let isOver = false;
		return () => {
			if (isOver) return;
			isOver = true;
			const ms = this.time() - startedAt;
			this.#meanMs = this.#meanMs === undefined ? ms : this.#meanMs + (ms - this.#meanMs) * WEIGHT;
			this.#running--;
			while (this.#running < this.settings.concurrency && this.#waiting.length > 0) {
				this.#running++;
				this.#waiting.shift()!.admit();
			}
		};
	}
}
