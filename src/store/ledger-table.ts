/** The tables of the ledger: a row for each call and late attempt, and sums by day that outlive them. */
import { type HourRange, type HourSums, sumHours } from "./call-hours.ts";
import { type CallFilter, type CallRange, type FoundCalls, searchCalls } from "./call-search.ts";
import { type Connection, pragma, type Sql, statementsWrite, type WriteResult } from "./connection.ts";
import {
	decode,
	encode,
	insert,
	type LedgerAttempt,
	type LedgerBatch,
	type LedgerCall,
	lastToTrim,
	type TrimBounds,
	type UsageKey,
	type UsageRow,
	usedBytes,
} from "./ledger-batch.ts";
import { type CallRow, callOf } from "./ledger-columns.ts";

/** The ledger's tables. */
export interface LedgerStore {
	/** Writes a batch; one that is not `written` changes nothing. */
	write(batch: LedgerBatch): Promise<WriteResult>;
	/**
	 * Writes a batch that another thread has encoded, of so many rows. It may be used up without being written, where the writer thread ends in
	 * the midst: that is `refused`, too.
	 */
	writeEncoded(bytes: ArrayBuffer, rows: number): Promise<WriteResult>;
	/** The database's message about the row that it refused last; no value is in it. */
	fault(): string;
	/** Resolves when everything written would survive a loss of power. */
	sync(): Promise<void>;
	call(id: string): { call: LedgerCall; attempts: LedgerAttempt[] } | undefined;
	/** Calls, newest first, of a bounded number of rows. */
	search(filter: CallFilter, range: CallRange): FoundCalls;
	/** Sums of calls by the hour, newest first, of a bounded number of rows. */
	hours(range: HourRange): HourSums;
	/** The sums of these days, both included. */
	usage(from: string, to: string): UsageRow[];
	/** The current values of these sums. */
	sums(of: readonly UsageKey[]): UsageRow[];
	/** USD that a key has spent on days whose name begins so: `2026-01-31`, `2026-01`, or all; undefined where it can't be read. */
	spent(keyId: string, days: string): number | undefined;
	/** Ids of keys that have ever spent something. */
	spenders(): string[];
	/** Days with sums, the latest first. */
	days(): string[];
	/** Deletes the oldest calls. Whether there are more to delete; false, too, where nothing can be written now. */
	trim(bounds: TrimBounds): Promise<boolean>;
	/**
	 * Gives some of the room that deleted rows took back to the file system, at the next checkpoint, where more is free than what calls that come
	 * soon fill again. Whether there is more of it; false, too, where nothing can be written now, or a version made the file that gave none back.
	 */
	shrink(): Promise<boolean>;
	/** Size of the used pages, bytes. */
	used(): number;
}

/** Most that calls take in memory where there is no file, bytes: they are lost with the process. */
const MOST_IN_MEMORY = 64 * 1024 * 1024;

/** Rows of the ledger on a page of the file. */
const ROWS_ON_A_PAGE = 12;

/** Pages that are given back to the file system at once: some ms of the thread's. */
const PAGES_AT_ONCE = 250;
/** Free pages that a file keeps, and which part of all: calls that come fill them, and to give and take them would be for nothing. */
const SPARE_PAGES = 2_500;
const SPARE_PART = 0.1;
/** `auto_vacuum` of files whose free pages can be given back one by one. */
const INCREMENTAL = 2;

const SUM = "SELECT * FROM usage_days WHERE day = ? AND key_id = ? AND user = ? AND model = ? AND provider = ?";

const DAYS = "SELECT DISTINCT day FROM usage_days ORDER BY day DESC";

/** The ledger's tables in this database. */
export function ledgerStore(connection: Connection): LedgerStore {
	const within = (bounds: TrimBounds): TrimBounds =>
		connection.isInMemory ? { ...bounds, bytes: Math.min(bounds.bytes, MOST_IN_MEMORY) } : bounds;
	const insertHere = (to: Sql, batch: LedgerBatch) =>
		insert(to, batch.trim ? { ...batch, trim: within(batch.trim) } : batch);
	return {
		used: () => connection.read((db) => [usedBytes(db)])[0] ?? 0,
		write: (batch) =>
			connection.writeLedger({
				message: () => encode(batch),
				apply: (to) => insertHere(to, batch),
				pages: rowsIn(batch) / ROWS_ON_A_PAGE,
			}),
		writeEncoded: (bytes, rows) =>
			connection.writeLedger({
				message: () => bytes,
				// Of bytes that the thread has got none are left here: to read them throws a `TypeError`, as a row does that can't be bound.
				apply: (to) => insertHere(to, decode(bytes)),
				pages: rows / ROWS_ON_A_PAGE,
			}),
		fault: () => connection.fault(),
		sync: () => connection.sync(),
		call: (id) => storedCall(connection, id),
		search: (filter, range) => searchCalls(connection, filter, range),
		hours: (range) => sumHours(connection, range),
		usage: (from, to) =>
			connection
				.read((db) => db.query("SELECT * FROM usage_days WHERE day BETWEEN ? AND ?").all(from, to) as DayRow[])
				.map(usageOf),
		sums: (of) =>
			connection
				.read((from) => {
					const row = from.query(SUM);
					return of.flatMap(
						({ day, keyId, user, model, provider }) => row.all(day, keyId, user, model, provider) as DayRow[],
					);
				})
				.map(usageOf),
		spent(keyId, days) {
			const sql = "SELECT TOTAL(cost) AS usd FROM usage_days WHERE key_id = ? AND day BETWEEN ? AND ?";
			// No digit or dash comes after "~".
			const sums = connection.tryRead((from) => from.query(sql).all(keyId, days, `${days}~`) as { usd: number }[]);
			return sums && (sums[0]?.usd ?? 0);
		},
		spenders: () =>
			connection
				.read((db) => db.query("SELECT DISTINCT key_id AS id FROM usage_days WHERE cost > 0").all() as { id: string }[])
				.map(({ id }) => id)
				.filter((id) => id !== ""),
		days: () => connection.read((db) => db.query(DAYS).all() as { day: string }[]).map(({ day }) => day),
		trim: (bounds) => trim(connection, within(bounds)),
		shrink: () => shrink(connection),
	};
}

/** A call with all its attempts. */
function storedCall(connection: Connection, id: string): ReturnType<LedgerStore["call"]> {
	const [call] = connection.read((from) => from.query("SELECT * FROM calls WHERE id = ?").all(id) as CallRow[]);
	if (!call) return undefined;
	const late = connection.read((from) => from.query("SELECT * FROM attempts WHERE call = ?").all(id) as AttemptRow[]);
	const attempts = [...(JSON.parse(call.attempts ?? "[]") as LedgerAttempt[]), ...late.map(attemptOf)];
	return { call: callOf(call), attempts: attempts.sort((a, b) => a.number - b.number) };
}

async function trim(connection: Connection, bounds: TrimBounds): Promise<boolean> {
	// Found by a look at one page; those to delete are read, as they are deleted, in the thread.
	const areThere = () => connection.read((from) => [lastToTrim(from, { ...bounds, most: 1 })])[0] !== undefined;
	if (!areThere()) return false;
	const batch: LedgerBatch = { calls: [], attempts: [], usage: [], trim: bounds };
	const written = await connection.changeInThread({
		message: () => encode(batch),
		apply: (to) => insert(to, batch),
		pages: (2 * bounds.most) / ROWS_ON_A_PAGE,
	});
	return written === "written" && areThere();
}

async function shrink(connection: Connection): Promise<boolean> {
	if (spareOf(connection) <= 0) return false;
	const statement = [`PRAGMA incremental_vacuum(${PAGES_AT_ONCE})`] as const;
	const written = await connection.changeInThread(statementsWrite([statement], 2 * PAGES_AT_ONCE));
	return written === "written" && spareOf(connection) > 0;
}

/** Pages to give back: those that are free beyond what the file keeps. None in a file that can't give any, or in memory. */
function spareOf(connection: Connection): number {
	if (connection.isInMemory) return 0;
	const [spare = 0] = connection.read((db) => {
		if (pragma(db, "auto_vacuum") !== INCREMENTAL) return [];
		return [pragma(db, "freelist_count") - Math.max(SPARE_PAGES, SPARE_PART * pragma(db, "page_count"))];
	});
	return spare;
}

/** How many rows a batch has. */
function rowsIn({ calls, attempts, usage }: LedgerBatch): number {
	return calls.length + attempts.length + usage.length;
}

interface AttemptRow extends Pick<LedgerAttempt, "number" | "provider" | "target" | "ms"> {
	readonly call: string;
	readonly failure: string | null;
	readonly status: number | null;
	readonly details: string;
}

function attemptOf({ call: _, failure, status, details, ...rest }: AttemptRow): LedgerAttempt {
	return { ...rest, failure: failure ?? undefined, status: status ?? undefined, ...JSON.parse(details) };
}

interface DayRow extends Omit<UsageKey, "keyId"> {
	readonly key_id: string;
	readonly calls: number;
	readonly failed: number;
	readonly estimated: number;
	readonly unpriced: number;
	readonly tokens_in: number;
	readonly tokens_out: number;
	readonly tokens_cached: number;
	readonly tokens_reasoning: number;
	readonly cost: number;
	readonly energy: number;
}

function usageOf(row: DayRow): UsageRow {
	const { key_id, tokens_in, tokens_out, tokens_cached, tokens_reasoning, ...rest } = row;
	return {
		...rest,
		keyId: key_id,
		tokensIn: tokens_in,
		tokensOut: tokens_out,
		tokensCached: tokens_cached,
		tokensReasoning: tokens_reasoning,
	};
}
