/** Many waits of the same length, with one timer: a timer each would cost a fifth of a command. */

/** One wait. Set `isOver` when what was awaited came. */
export interface Wait {
	isOver: boolean;
}

interface Entry extends Wait {
	readonly until: number;
	readonly expire: () => void;
}

/** Waits of `ms` each, so the first to begin is the first to end. */
export class Deadlines {
	#entries: Entry[] = [];
	#timer: ReturnType<typeof setTimeout> | undefined;

	constructor(private readonly ms: number) {}

	/** Begins one; `expire` is called, with `isOver` set, when it lasted too long. */
	add(expire: () => void): Wait {
		const entry: Entry = { until: performance.now() + this.ms, expire, isOver: false };
		this.#entries.push(entry);
		this.#timer ??= setTimeout(this.#look, this.ms);
		return entry;
	}

	readonly #look = (): void => {
		this.#timer = undefined;
		const now = performance.now();
		const open = this.#entries.filter(({ isOver }) => !isOver);
		const late = open.filter(({ until }) => until <= now);
		this.#entries = open.slice(late.length);
		const next = this.#entries[0];
		if (next) this.#timer = setTimeout(this.#look, Math.max(1, next.until - now));
		for (const entry of late) {
			entry.isOver = true;
			entry.expire();
		}
	};
}
