/** How old calls are let go beside those that come: a few at a time, until the ledger is within its bounds. */
import type { LedgerStore } from "../../store/ledger-table.ts";
import { type LedgerBounds, trimBounds } from "./ledger-bounds.ts";

/** How often old calls are looked for, ms. */
const LOOK_MS = 60_000;
/** Between two deletions, ms at least, and times what the one before took: calls are written meanwhile, and most of a slow disk is theirs. */
const PAUSE_MS = 25;
const PAUSE_TIMES = 3;

/** What it works with. */
export interface RetentionOptions {
	readonly store: Pick<LedgerStore, "trim" | "shrink">;
	/** How much is kept now. */
	readonly bounds: () => LedgerBounds;
	/** Unix time, ms. */
	readonly wall: () => number;
}

/** Begins to look for old calls, now and each minute. Returns how to end that; a deletion under way is made. */
export function startRetention(options: RetentionOptions): () => void {
	let isEnded = false;
	let isRunning = false;
	const look = async () => {
		if (isRunning) return;
		isRunning = true;
		try {
			await letGo(options, () => isEnded);
		} finally {
			isRunning = false;
		}
	};
	const timer = setInterval(() => void look(), LOOK_MS);
	timer.unref();
	void look();
	return () => {
		isEnded = true;
		clearInterval(timer);
	};
}

/** Deletes what is beyond the bounds, then gives the room back. */
async function letGo({ store, bounds, wall }: RetentionOptions, isEnded: () => boolean): Promise<void> {
	await inSteps(() => store.trim(trimBounds(bounds(), wall())), isEnded);
	await inSteps(() => store.shrink(), isEnded);
}

/** @param step resolves with whether there is another one */
async function inSteps(step: () => Promise<boolean>, isEnded: () => boolean): Promise<void> {
	while (!isEnded()) {
		const begunAt = performance.now();
		if (!(await step())) return;
		await Bun.sleep(Math.max(PAUSE_MS, PAUSE_TIMES * (performance.now() - begunAt)));
	}
}
