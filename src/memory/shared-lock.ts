/**
 * A lock between the threads of one process, for steps of some µs on memory that they share. It holds the number of its thread: what a
 * thread that has died holds, the main thread lets go.
 */

/** Threads that may share memory, the main thread, which is number 0, among them: what each of them holds stands in a column of its own. */
export const MOST_THREADS = 9;

/** Turns that a thread spins before it sleeps: the holder is done by then, unless it was interrupted. */
const SPINS = 200;
/** How long it sleeps at a time, ms: a holder that died wakes nobody. */
const SLEEP_MS = 1;

/** One lock, in a cell of shared memory. 0: free; else the holder's number plus 1. */
export class SharedLock {
	/**
	 * @param cells on shared memory
	 * @param at the cell's place in it
	 * @param thread the number of the thread that holds it by this object
	 */
	constructor(
		protected readonly cells: Int32Array<SharedArrayBuffer>,
		protected readonly at: number,
		protected readonly thread: number,
	) {}

	/** Waits until it is this thread's. Must be followed by `release` in a `finally`; nothing is awaited between. Not to be taken twice. */
	acquire(): void {
		const { cells, at } = this;
		const mine = this.thread + 1;
		for (let turn = 0; ; turn++) {
			const holder = Atomics.compareExchange(cells, at, 0, mine);
			if (holder === 0) return;
			if (holder === mine) throw new Error("a thread has taken a lock twice");
			if (turn >= SPINS) Atomics.wait(cells, at, holder, SLEEP_MS);
		}
	}

	/**
	 * The same, but gives up after some turns of which so many are asleep: for the main thread, which alone frees what the dead hold, and must
	 * not wait for one of whose death it has not heard yet. Whether it is this thread's.
	 */
	acquireWithin(sleeps: number): boolean {
		const { cells, at } = this;
		for (let turn = 0; turn < SPINS + sleeps; turn++) {
			const holder = Atomics.compareExchange(cells, at, 0, this.thread + 1);
			if (holder === 0) return true;
			if (turn >= SPINS) Atomics.wait(cells, at, holder, SLEEP_MS);
		}
		return false;
	}

	/** Lets it go. */
	release(): void {
		Atomics.store(this.cells, this.at, 0);
	}

	/** Takes it from a thread that has died. Whether that held it: what it guards may be half changed then. */
	takeFrom(thread: number): boolean {
		return Atomics.compareExchange(this.cells, this.at, thread + 1, this.thread + 1) === thread + 1;
	}
}

/** Does a step while the lock, or what is under one, is this thread's. Nothing is awaited in it, and it takes no lock twice. */
export function locked<T>(lock: Pick<SharedLock, "acquire" | "release">, step: () => T): T {
	lock.acquire();
	try {
		return step();
	} finally {
		lock.release();
	}
}
