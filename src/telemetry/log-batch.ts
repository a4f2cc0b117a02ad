/**
 * Lines gathered for a moment and written in one go. Writing each line on its own through rotating-file-stream
 * costs more than half of what a bare relay spends on a call; in batches it costs a thirtieth of that.
 */

/** How long a line waits for company, ms. A person watching does not notice; a crash loses no more than this. */
const WAIT_MS = 50;
/** A batch is written early at this many UTF-16 units. */
const FULL = 64 * 1024;
/** What may wait for a stalled disk or pipe, in UTF-16 units, before lines are dropped: logging never eats the memory. */
const MOST_WAITING = 8 * 1024 * 1024;

/** Where batches go. Calls `done` once the text is written or lost; must not throw. */
export type WriteBatch = (text: string, done: () => void) => void;

/** Takes lines; has the shape of a stream that pino writes to. */
export interface Batch {
	write(line: string): void;
	/** Resolves once everything taken so far is written, or lost. */
	flush(): Promise<void>;
	/** Lines dropped since the last call of this. */
	dropped(): number;
}

/**
 * A batch in front of `writeBatch`.
 * @param onRoom called when there is room again after lines were dropped
 * @param full written early at so many UTF-16 units
 */
export function createBatch(writeBatch: WriteBatch, onRoom?: () => void, full = FULL): Batch {
	let text = "";
	let waiting = 0;
	let dropped = 0;
	let timer: ReturnType<typeof setTimeout> | undefined;
	let idle: (() => void)[] = [];

	const send = () => {
		clearTimeout(timer);
		timer = undefined;
		if (text === "") return;
		const batch = text;
		text = "";
		waiting += batch.length;
		writeBatch(batch, () => {
			waiting -= batch.length;
			if (dropped > 0 && waiting < MOST_WAITING / 2) onRoom?.();
			if (waiting > 0) return;
			for (const resolve of idle) resolve();
			idle = [];
		});
	};

	return {
		write(line) {
			if (waiting + text.length > MOST_WAITING) {
				// Those of another thread come many at a time.
				dropped += Math.max(1, line.split("\n").length - 1);
				return;
			}
			text += line;
			if (text.length >= full) send();
			else timer ??= setTimeout(send, WAIT_MS);
		},
		flush() {
			send();
			return waiting === 0 ? Promise.resolve() : new Promise((resolve) => idle.push(resolve));
		},
		dropped() {
			const count = dropped;
			dropped = 0;
			return count;
		},
	};
}
