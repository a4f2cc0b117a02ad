/** What all threads of a process that count together know of trouble with Redis, where other routers count, too. */

/** It, as one thread sees it. Times are that thread's `performance.now()`, ms. */
export interface RedisTrouble {
	/** How many times Redis had lost what it counted, as this thread found it when it last took something of a limit, or gave something back. */
	readonly losses: number;
	/**
	 * Redis has lost what it counted. Returns when a thread first said so: what was taken before that is to be put back, and nothing else.
	 * @param since by Redis's clock, when it began anew: of one loss all threads say the same
	 */
	lost(since: number, now: number): number;
	/** This thread hears nothing since that moment; undefined: it hears again. */
	silent(since: number | undefined): void;
	/**
	 * Since when all hear nothing of the outage that this thread is in: calls that others asked for since then are part of the router's share, too.
	 * @param own since when this one does @param heardAt when this one had last heard something
	 */
	silentSince(own: number, heardAt: number): number;
}

/** Where there is one thread. */
export class LocalTrouble implements RedisTrouble {
	losses = 0;

	lost(_since: number, now: number): number {
		this.losses++;
		return now;
	}

	silent(): void {}

	silentSince(own: number): number {
		return own;
	}
}
