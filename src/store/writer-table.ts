/**
 * The table of writers: each process that writes to the database counts its changes there, in the transactions of the changes themselves. So
 * others see that it has written, and it sees itself, after a writer thread that ended without a word, which batch was the last.
 */
import type { Sql } from "./connection.ts";

const COUNT = `INSERT INTO writers (id, changes, batch, written_at) VALUES (?1, 1, ?2, unixepoch()) ON CONFLICT DO UPDATE
	SET changes = changes + 1, batch = max(batch, excluded.batch), written_at = excluded.written_at`;
/** A process that has written nothing for a week has ended. */
const FORGET = "DELETE FROM writers WHERE written_at < unixepoch() - 604800";

/** Counts a change of this writer's. To be called in the change's own transaction. @param batch its number, where the writer thread makes it */
export function countChange(to: Sql, writer: string, batch = 0): void {
	to.query(COUNT).run(writer, batch);
	to.query(FORGET).run();
}

/** The number of the last batch that a writer's thread has written; 0 where there is none. */
export function lastBatch(from: Sql, writer: string): number {
	const [row] = from.query("SELECT batch FROM writers WHERE id = ?").all(writer) as { batch: number }[];
	return row?.batch ?? 0;
}

/** Another number after each change by another writer than the one that is asked for. */
export const CHANGES_BY_OTHERS = "SELECT TOTAL(changes) FROM writers WHERE id <> ?";

/** The same, but for two writers. */
export const CHANGES_BESIDE = "SELECT TOTAL(changes) FROM writers WHERE id NOT IN (?, ?)";
