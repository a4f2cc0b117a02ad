/** Deadlines of the same length, with one timer for all: a timer for each command is expensive. */

/** A wait. Set `isOver` when its result has come. */
export interface Wait {
	isOver: boolean;
}

interface Entry extends Wait {
	readonly until: number;
	readonly expire: () => void;
}

/** Waits of `ms` each, so that they end in the order in which they began. */
export class Deadlines {
	#entries: Entry[] = [];
	#timer: ReturnType<typeof setTimeout> | undefined;

	constructor(private readonly ms: number) {}

	/** Begins a wait; `expire` is called, with `isOver` set, when it reaches the deadline. */
	add(expire: () => void): Wait {
		const entry: Entry = { until: performance.now() + this.ms, expire, isOver: false };
		this.#entries.push(entry);
		this.#timer ??= setTimeout(this.#expire, this.ms);
		return entry;
	}

	readonly #expire = (): void => {
		this.#timer = undefined;
		const now = performance.now();
		const open = this.#entries.filter(({ isOver }) => !isOver);
		const late = open.filter(({ until }) => until <= now);
		this.#entries = open.slice(late.length);
		const next = this.#entries[0];
		if (next) this.#timer = setTimeout(this.#expire, Math.max(1, next.until - now));
		for (const entry of late) {
			entry.isOver = true;
			entry.expire();
		}
	};
}
