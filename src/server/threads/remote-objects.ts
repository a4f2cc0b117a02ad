/** Whose files and batches there are, as threads tell each other: for the time in which the database that all of them read can't be written. */
import type { SharedRow } from "../../store/shared-table.ts";
import type { Store } from "../../store/store.ts";

/**
 * Has a worker's store tell of its changes.
 * @param known when the worker starts
 * @param tell resolves when all threads know
 */
export function tellObjects(
	store: Store,
	known: readonly SharedRow[],
	tell: (row: SharedRow) => Promise<unknown>,
): void {
	store.takeObjects(known);
	store.onObject = tell;
}

/** The main thread's side: a worker has changed some. Other routers of a Redis are told, too. */
export function takeObjects(store: Store, rows: readonly SharedRow[]): void {
	store.takeObjects(rows);
	for (const row of rows) store.onObject?.(row);
}
