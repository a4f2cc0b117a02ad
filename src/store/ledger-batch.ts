/** A batch of the ledger's rows, and its writing. */
import { type BoundStatement, pragma, runAll, type Sql, type Value } from "./connection.ts";
import { ATTEMPT_COLUMNS, CALL_COLUMNS, SUMS, USAGE_COLUMNS } from "./ledger-writes.ts";

/** The dimensions of the sums. */
export interface UsageKey {
	/** `2026-01-31` (UTC). */
	readonly day: string;
	readonly keyId: string;
	readonly key: string;
	readonly team: string;
	readonly user: string;
	readonly model: string;
	readonly provider: string;
}

/** One call. Texts that have no value are empty; times are Unix times, ms. */
export interface LedgerCall extends Omit<UsageKey, "day"> {
	/** `req_` and a UUID of version 7: later ones are greater. */
	readonly id: string;
	/** When it settled. */
	readonly at: number;
	readonly status: number;
	readonly tokensIn: number | undefined;
	readonly tokensOut: number | undefined;
	/** USD; undefined where the price is unknown. */
	readonly cost: number | undefined;
	/** All the rest, as JSON. */
	readonly details: string;
	/** Its attempts that are written with it: a JSON array of `LedgerAttempt`. Undefined where there are none. */
	readonly attempts: string | undefined;
}

/** One attempt: how long it took, and when it began, from when its call came in. */
export interface LedgerAttempt {
	/** From 1. */
	readonly number: number;
	readonly provider: string;
	readonly target: string;
	readonly failure?: string | undefined;
	readonly status?: number | undefined;
	readonly ms: number;
	readonly began_ms?: number | undefined;
	readonly agent?: string | undefined;
	/** The upstream's token counts, and USD. */
	readonly tokens?: object | undefined;
	readonly cost?: number | undefined;
	/** A hedge: sent while another target was late. */
	readonly hedge?: true | undefined;
	/**
	 * Its answer was not used. `router`: it counts to no key. `key`: to its call's, as a part of what the call cost, since it was of another form
	 * than that asked for.
	 */
	readonly paid_by?: "router" | "key" | undefined;
}

/** An attempt that is not written with its call's row: it ended later, or in an earlier batch. */
export interface LateAttempt {
	readonly call: string;
	readonly attempt: LedgerAttempt;
}

/** The sums. */
export interface UsageSums {
	calls: number;
	/** Calls that failed. */
	failed: number;
	/** Calls whose upstream reported no tokens. */
	estimated: number;
	/** Answered calls whose price is unknown: their cost is not in `cost`. */
	unpriced: number;
	tokensIn: number;
	tokensOut: number;
	tokensCached: number;
	tokensReasoning: number;
	/** USD. */
	cost: number;
	energy: number; // J
}

/** Sums of one day and one of each. */
export type UsageRow = UsageKey & Readonly<UsageSums>;

/** A batch of rows: all of them are written or none. */
export interface LedgerBatch {
	readonly calls: readonly LedgerCall[];
	readonly attempts: readonly LateAttempt[];
	/** Added to the sums that are there. */
	readonly usage: readonly UsageRow[];
	/** What is deleted in the same transaction. */
	readonly trim?: TrimBounds | undefined;
}

/** Which calls are deleted: the oldest, at most so many of them. */
export interface TrimBounds {
	/** Those that settled before this, Unix time, ms. */
	readonly before: number;
	/** And as many as it takes to keep the used part of the file below that. */
	readonly bytes: number;
	readonly most: number;
}

// Not `OR IGNORE`, which would silently skip rows that lack a value.
const CALL = `INSERT INTO ${CALL_COLUMNS} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`;
/** Calls that are written by one statement: it takes a third less of SQLite than one for each. */
const ALIKE = 25;
/** Of these calls key, team, user, model, provider and status are the same: they are given once, as the first seven values. */
const ALIKE_CALLS = `INSERT INTO ${CALL_COLUMNS} VALUES ${Array.from({ length: ALIKE }, (_, at) => {
	const own = (column: number) => `?${8 + at * 6 + column}`;
	return `(${own(0)}, ${own(1)}, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ${own(2)}, ${own(3)}, ${own(4)}, ${own(5)}, NULL)`;
}).join(", ")} ON CONFLICT DO NOTHING`;
/** Groups of calls that are alike; what is like none of them is written alone. */
const MOST_GROUPS = 16;
const ATTEMPT = `INSERT INTO ${ATTEMPT_COLUMNS} VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`;
const USAGE = `INSERT INTO ${USAGE_COLUMNS} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
	ON CONFLICT DO UPDATE SET key = excluded.key, team = excluded.team,
	${SUMS.map((sum) => `${sum} = ${sum} + excluded.${sum}`).join(", ")}`;

/** What neighbours mostly have in common is sent once. */
type SharedColumns = Omit<UsageKey, "day"> & Pick<LedgerCall, "status">;

/** What is sent of a batch as JSON. Its calls follow: numbers as such, of each an id and its details, which is JSON already, as lines. */
interface BatchHead extends Omit<LedgerBatch, "calls"> {
	readonly shared: readonly SharedColumns[];
	/** Attempts that are written with a call: its place in the batch, and they. */
	readonly attemptsOf: readonly (readonly [at: number, attempts: string])[];
}

/** Numbers of a call: which of the shared columns it has, and its own. NaN where one is not known. */
const NUMBERS = 5;

/** A batch as bytes, for another thread. Throws a `TypeError` where a number is none, since it would be taken for one that is not known. */
export function encode({ calls, ...rest }: LedgerBatch): ArrayBuffer {
	const shared: SharedColumns[] = [];
	const attemptsOf: [number, string][] = [];
	// Before them, how many calls there are.
	const numbers = new Float64Array(1 + calls.length * NUMBERS);
	numbers[0] = calls.length;
	let text = "";
	let last: SharedColumns | undefined;
	for (let row = 0; row < calls.length; row++) {
		const call = calls[row]!;
		if (!last || !isAlike(last, call)) {
			const { keyId, key, team, user, model, provider, status } = call;
			last = { keyId, key, team, user, model, provider, status };
			shared.push(last);
		}
		const from = 1 + row * NUMBERS;
		numbers[from] = shared.length - 1;
		numbers[from + 1] = call.at;
		numbers[from + 2] = numberOf(call.tokensIn);
		numbers[from + 3] = numberOf(call.tokensOut);
		numbers[from + 4] = numberOf(call.cost);
		text += `\n${call.id}\n${call.details}`;
		if (call.attempts !== undefined) attemptsOf.push([row, call.attempts]);
	}
	// JSON has no number without an end, and makes nothing of it: calls of that many bytes, 0, would go.
	if (rest.trim && !Object.values(rest.trim).every(Number.isFinite))
		throw new TypeError("a bound of the ledger is none");
	const head: BatchHead = { ...rest, shared, attemptsOf };
	const lines = new TextEncoder().encode(JSON.stringify(head) + text);
	const bytes = new Uint8Array(numbers.byteLength + lines.length);
	bytes.set(new Uint8Array(numbers.buffer));
	bytes.set(lines, numbers.byteLength);
	return bytes.buffer;
}

function numberOf(value: number | undefined): number {
	if (value === undefined) return Number.NaN;
	if (!Number.isFinite(value)) throw new TypeError("a number of a call is none");
	return value;
}

const known = (value: number): number | undefined => (Number.isNaN(value) ? undefined : value);

/** The batch in these bytes. Throws a `TypeError` where details were no line. */
export function decode(bytes: ArrayBuffer): LedgerBatch {
	const [count = 0] = new Float64Array(bytes, 0, 1);
	const numbers = new Float64Array(bytes, 0, 1 + count * NUMBERS);
	const lines = new TextDecoder().decode(new Uint8Array(bytes, numbers.byteLength)).split("\n");
	if (lines.length !== 1 + 2 * count) throw new TypeError("details of a call are no line");
	const { shared, attemptsOf, ...rest } = JSON.parse(lines[0]!) as BatchHead;
	const attempts = new Map(attemptsOf);
	const calls: LedgerCall[] = [];
	for (let row = 0; row < count; row++) {
		const from = 1 + row * NUMBERS;
		calls.push({
			...shared[numbers[from]!]!,
			id: lines[1 + 2 * row]!,
			at: numbers[from + 1]!,
			tokensIn: known(numbers[from + 2]!),
			tokensOut: known(numbers[from + 3]!),
			cost: known(numbers[from + 4]!),
			details: lines[2 + 2 * row]!,
			attempts: attempts.get(row),
		});
	}
	return { ...rest, calls };
}

/** Writes a batch. Throws what SQLite throws. */
export function insert(to: Sql, { calls, attempts, usage, trim }: LedgerBatch): void {
	insertCalls(to, calls);
	const late = to.query(ATTEMPT);
	for (const { call: id, attempt } of attempts) {
		const { number, provider, target, failure = null, status = null, ms, ...details } = attempt;
		late.run(id, number, provider, target, failure, status, ms, JSON.stringify(details));
	}
	const day = to.query(USAGE);
	for (const each of usage) {
		day.run(
			each.day,
			each.keyId,
			each.user,
			each.model,
			each.provider,
			each.key,
			each.team,
			each.calls,
			each.failed,
			each.estimated,
			each.unpriced,
			each.tokensIn,
			each.tokensOut,
			each.tokensCached,
			each.tokensReasoning,
			each.cost,
			each.energy,
		);
	}
	const last = trim && lastToTrim(to, trim);
	if (last) runAll(to, trimStatements(last.id));
}

/** The newest of the oldest calls, and their number. */
const OLDEST = "SELECT MAX(id) AS id, COUNT(*) AS count FROM (SELECT id FROM calls WHERE id < ? ORDER BY id LIMIT ?)";

/** The newest call that is to be deleted, and how many those are; undefined where there are none. */
export function lastToTrim(from: Sql, bounds: TrimBounds): { readonly id: string; readonly count: number } | undefined {
	const below = usedBytes(from) > bounds.bytes ? "~" : firstIdAt(bounds.before);
	const [row] = from.query(OLDEST).all(below, bounds.most) as { id: string | null; count: number }[];
	return row?.id ? { id: row.id, count: row.count } : undefined;
}

/** These delete this call, those before it, and their attempts. */
function trimStatements(last: string): readonly BoundStatement[] {
	return [
		["DELETE FROM calls WHERE id <= ?", last],
		["DELETE FROM attempts WHERE call <= ?", last],
	];
}

/** Less than the id of every call that settled at this Unix time, ms, or later. */
function firstIdAt(time: number): string {
	return `req_${Math.max(0, time).toString(16).padStart(12, "0").replace(/^.{8}/, "$&-")}`;
}

/** Size of the used pages, bytes. */
export function usedBytes(from: Sql): number {
	return (pragma(from, "page_count") - pragma(from, "freelist_count")) * pragma(from, "page_size");
}

function insertCalls(to: Sql, calls: readonly LedgerCall[]): void {
	const { groups, others } = groupsOf(calls);
	for (const group of groups) {
		const rest = group.length % ALIKE;
		for (let at = 0; at < group.length - rest; at += ALIKE) {
			// Bun binds the values of a list, which takes less than so many arguments; its types don't say so.
			to.query(ALIKE_CALLS).run(alikeValues(group, at) as unknown as Value);
		}
		for (const call of group.slice(group.length - rest)) insertCall(to, call);
	}
	for (const call of others) insertCall(to, call);
}

function insertCall(to: Sql, call: LedgerCall): void {
	to.query(CALL).run(
		call.id,
		call.at,
		call.keyId,
		call.key,
		call.team,
		call.user,
		call.model,
		call.provider,
		call.status,
		call.tokensIn ?? null,
		call.tokensOut ?? null,
		call.cost ?? null,
		call.details,
		call.attempts ?? null,
	);
}

/** Calls by what they have in common, in their order; and those that are like none of them, or have attempts of their own. */
function groupsOf(calls: readonly LedgerCall[]): {
	readonly groups: readonly (readonly LedgerCall[])[];
	readonly others: readonly LedgerCall[];
} {
	const groups: LedgerCall[][] = [];
	const others: LedgerCall[] = [];
	let last: LedgerCall[] | undefined;
	for (const call of calls) {
		if (call.attempts !== undefined) {
			others.push(call);
			continue;
		}
		if (!last || !isAlike(last[0]!, call)) last = groups.find(([first]) => isAlike(first!, call));
		if (!last && groups.length < MOST_GROUPS) {
			last = [];
			groups.push(last);
		}
		(last ?? others).push(call);
	}
	return { groups, others };
}

function isAlike(one: SharedColumns, other: SharedColumns): boolean {
	return (
		one.keyId === other.keyId &&
		one.model === other.model &&
		one.provider === other.provider &&
		one.status === other.status &&
		one.user === other.user &&
		one.key === other.key &&
		one.team === other.team
	);
}

/** The values of {@link ALIKE_CALLS}. @param from of the first call */
function alikeValues(calls: readonly LedgerCall[], from: number): Value[] {
	const { keyId, key, team, user, model, provider, status } = calls[from]!;
	const values: Value[] = [keyId, key, team, user, model, provider, status];
	for (let at = from; at < from + ALIKE; at++) {
		const { id, at: settledAt, tokensIn = null, tokensOut = null, cost = null, details } = calls[at]!;
		values.push(id, settledAt, tokensIn, tokensOut, cost, details);
	}
	return values;
}
