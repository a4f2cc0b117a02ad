/** How much the ledger keeps. Pure. */
import type { TrimBounds } from "../../store/ledger-batch.ts";

/** Calls deleted at once where they are too old or take too many bytes. */
const MOST_TRIMMED = 500;

/** How long calls are kept, ms, and how many bytes they may take. */
export interface LedgerBounds {
	readonly keep: number;
	readonly size: number;
}

/** Which calls are to be deleted now. @param now Unix time, ms */
export const trimBounds = ({ keep, size }: LedgerBounds, now: number): TrimBounds => ({
	before: now - keep,
	bytes: size,
	most: MOST_TRIMMED,
});
