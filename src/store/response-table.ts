/** The table of stored responses: what clients may go on from by an id, each key its own. Values are bytes that only their author reads. */
import { type BoundStatement, type Connection, statementsWrite } from "./connection.ts";

/** A stored response. */
export interface ResponseRow {
	/** The key that it belongs to; "" where there are no keys. */
	readonly key: string;
	/** Unique for a key. */
	readonly id: string;
	readonly value: Uint8Array<ArrayBuffer>;
}

/** The name of a row. */
export type ResponseName = Pick<ResponseRow, "key" | "id">;

/** The table. Times are Unix times, ms. */
export interface ResponseTable {
	/** The value of a response that was used since `since`. */
	get(name: ResponseName, since: number): Uint8Array<ArrayBuffer> | undefined;
	/** Writes responses, and marks others as used; all or nothing. Whether it is done, be it in memory. */
	write(rows: readonly ResponseRow[], used: readonly ResponseName[], now: number): Promise<boolean>;
	/** Whether there was one. */
	remove(name: ResponseName): boolean;
	/** The keys that were revoked. */
	revokedKeys(): readonly string[];
	/**
	 * Deletes those that were last used before `before`, those of keys that were revoked, and the longest unused until the others take no more
	 * than `bytes`: not all at once where they are many. What has lapsed is read by nobody before it is deleted.
	 */
	trim(before: number, bytes: number): Promise<void>;
}

/** Most that they take in memory where there is no file, bytes: they are lost with the process. */
const MOST_IN_MEMORY = 64 * 1024 * 1024;
/** Most that are deleted of each kind at once: calls wait meanwhile. */
const MOST_DELETED = 5_000;
const PAGE_BYTES = 4096;

const GET = "SELECT value FROM responses WHERE key_id = ? AND id = ? AND used_at >= ?";
const PUT = "INSERT OR REPLACE INTO responses (key_id, id, used_at, size, value) VALUES (?, ?, ?, ?, ?)";
const USE = "UPDATE responses SET used_at = ? WHERE key_id = ? AND id = ?";
const EXISTS = "SELECT 1 FROM responses WHERE key_id = ? AND id = ?";
const REMOVE = "DELETE FROM responses WHERE key_id = ? AND id = ?";
const REMOVE_LAPSED = `DELETE FROM responses WHERE rowid IN
	(SELECT rowid FROM responses WHERE used_at < ? ORDER BY used_at LIMIT ${MOST_DELETED})`;
const REVOKED = "SELECT id FROM keys WHERE json_valid(value) AND value ->> 'revokedAt' IS NOT NULL";
const REMOVE_REVOKED = `DELETE FROM responses WHERE key_id IN (${REVOKED})`;
const REMOVE_ROWS = "DELETE FROM responses WHERE rowid IN (SELECT value FROM json_each(?))";
const OLDEST_FIRST = "SELECT rowid AS row, size FROM responses ORDER BY used_at LIMIT ?";

/** The table in this database. */
export function responseTable(connection: Connection): ResponseTable {
	/** The longest unused that have no room. */
	function overflow(bytes: number): number[] {
		const sums = connection.read((from) => from.query("SELECT SUM(size) AS size FROM responses").all());
		let excess = ((sums[0] as { size: number | null } | undefined)?.size ?? 0) - bytes;
		if (excess <= 0) return [];
		const oldest = connection.read(
			(from) => from.query(OLDEST_FIRST).all(MOST_DELETED) as { row: number; size: number }[],
		);
		const rows: number[] = [];
		for (const { row, size } of oldest) {
			if (excess <= 0) break;
			rows.push(row);
			excess -= size;
		}
		return rows;
	}
	return {
		get({ key, id }, since) {
			const rows = connection.read(
				(from) => from.query(GET).all(key, id, since) as { value: Uint8Array<ArrayBuffer> }[],
			);
			return rows[0]?.value;
		},
		async write(rows, used, now) {
			const size = rows.reduce((sum, { value }) => sum + value.length, 0);
			const statements: BoundStatement[] = [
				...rows.map(({ key, id, value }) => [PUT, key, id, now, value.length, value] as const),
				...used.map(({ key, id }) => [USE, now, key, id] as const),
			];
			const pages = Math.ceil(size / PAGE_BYTES) + rows.length + used.length;
			return (await connection.changeInThread(statementsWrite(statements, pages))) === "written";
		},
		remove({ key, id }) {
			if (connection.read((from) => from.query(EXISTS).all(key, id)).length === 0) return false;
			let removed = 0;
			connection.change((to) => {
				removed = to.query(REMOVE).run(key, id).changes;
			});
			return removed > 0;
		},
		revokedKeys: () => connection.read((from) => from.query(REVOKED).all() as { id: string }[]).map(({ id }) => id),
		async trim(before, bytes) {
			// Where there are none nothing is written: that would make a file.
			if (connection.read((from) => from.query("SELECT 1 FROM responses LIMIT 1").all()).length === 0) return;
			await connection.changeInThread(statementsWrite([[REMOVE_LAPSED, before], [REMOVE_REVOKED]]));
			const rows = overflow(connection.isInMemory ? Math.min(bytes, MOST_IN_MEMORY) : bytes);
			if (rows.length === 0) return;
			await connection.changeInThread(statementsWrite([[REMOVE_ROWS, JSON.stringify(rows)]]));
		},
	};
}
