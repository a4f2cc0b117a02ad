/** Past calls as `GET /admin/calls` lists them: newest first, by what they were. */
import { setImmediate } from "node:timers/promises";
import { RouterError } from "../../errors.ts";
import type { CallFilter } from "../../store/call-search.ts";
import type { LedgerAttempt, LedgerCall } from "../../store/ledger-batch.ts";
import type { LedgerStore } from "../../store/ledger-table.ts";
import { type ShownCall, shownCall } from "./call-view.ts";

/** What `GET /admin/calls` takes. */
export interface CallSearch {
	readonly filter: CallFilter;
	/** Ids from this one on, and before that one. */
	readonly from: string;
	readonly before: string;
	/** Most calls of one answer. */
	readonly limit: number;
}

/** What is listed of a call. */
export type ListedCall = Omit<
	ShownCall,
	"decision" | "price" | "attempts" | "estimated" | "dropped_fields" | "skipped" | "trace"
>;

/** The answer. */
export interface ShownCalls {
	readonly data: readonly ListedCall[];
	/** `before` of the next request; absent where there are no more. */
	readonly next?: string;
	/** Where there are: when the call began that was looked at last, ISO 8601. */
	readonly looked_at?: string | undefined;
	/** Calls that have ended, and could not be written yet; absent where there are none. */
	readonly waiting?: number;
}

/** Most rows that one request looks at, and that are looked at without a pause: some 20 ms, and some 3 ms. */
const MOST_ROWS = 20_000;
const ROWS_AT_ONCE = 2_500;
const MOST_LISTED = 200;
const LISTED = 50;
/** Longest text that is searched by, UTF-16 units; longer ones are in no ledger. */
const LONGEST_TEXT = 1_000;
/** Before and behind all ids. */
const FIRST_ID = "req_";
const LAST_ID = "req_~";
/** The greatest time of a UUID, and that of a date, Unix time, ms. */
const MOST_TIME = 2 ** 48 - 1;
const MOST_DATE = 8.64e15;
const DAY_MS = 86_400_000;

const TEXTS = ["key", "team", "user", "model", "provider"] as const;
const PARAMETERS: readonly string[] = [...TEXTS, "status", "from", "to", "before", "limit"];

/**
 * Searches, a part of the ledger at a time, so that no other call waits for it.
 * @param waiting calls that are in no ledger yet
 * @param signal of whoever asks: rejects with `cancelled` once it is aborted, and reads no further
 */
export async function shownCalls(
	{ filter, from, before, limit }: CallSearch,
	store: Pick<LedgerStore, "search">,
	waiting: number,
	signal?: AbortSignal,
): Promise<ShownCalls> {
	const found: LedgerCall[] = [];
	let next: string | undefined = before;
	for (let rows = 0; rows < MOST_ROWS && next !== undefined && found.length < limit; rows += ROWS_AT_ONCE) {
		if (rows > 0) await setImmediate();
		throwIfLeft(signal);
		const range = { from, before: next, limit: limit - found.length, rows: ROWS_AT_ONCE };
		const part = store.search(filter, range);
		found.push(...part.calls);
		next = part.next;
	}
	return {
		data: found.map(listedCall),
		...(next === undefined ? {} : { next, looked_at: beganAt(next) }),
		...(waiting > 0 ? { waiting } : {}),
	};
}

/** Throws `cancelled` where the client that asks has left. */
export function throwIfLeft(signal: AbortSignal | undefined): void {
	if (signal?.aborted) throw new RouterError("cancelled", "The client has left.");
}

function listedCall(call: LedgerCall): ListedCall {
	const attempts = JSON.parse(call.attempts ?? "[]") as LedgerAttempt[];
	const { decision: _d, price: _p, attempts: _a, estimated: _e, ...rest } = shownCall(call, attempts);
	const { dropped_fields: _f, skipped: _s, trace: _t, ...listed } = rest;
	return listed;
}

/** Reads what is asked for. @throws {RouterError} `invalid_value`, naming the parameter */
export function callSearch(query: Readonly<Record<string, string | undefined>>): CallSearch {
	const unknown = Object.keys(query).find((name) => !PARAMETERS.includes(name));
	if (unknown !== undefined) throw wrong(unknown.slice(0, 100), `is no parameter: there are ${PARAMETERS.join(", ")}`);
	const texts = TEXTS.map((name) => [name, textIn(query[name], name)] as const);
	const from = query["from"] ? idAt(timeIn(query["from"], "from", 0)) : FIRST_ID;
	const to = query["to"] ? idAt(timeIn(query["to"], "to", DAY_MS - 1) + 1) : LAST_ID;
	if (from >= to) throw wrong("from", "must not be later than to");
	const before = query["before"] || to;
	if (!/^req_[0-9a-f~-]{0,40}$/.test(before)) throw wrong("before", "must be the `next` of another answer");
	return {
		filter: { ...Object.fromEntries(texts.filter(([, text]) => text)), status: statusIn(query["status"]) },
		from,
		// The lesser.
		before: [before, to].sort()[0]!,
		limit: limitIn(query["limit"]),
	};
}

function textIn(text: string | undefined, param: string): string | undefined {
	if (text === undefined || text.length <= LONGEST_TEXT) return text;
	throw wrong(param, `must have ${LONGEST_TEXT} characters at most`);
}

function statusIn(text: string | undefined): CallFilter["status"] {
	if (!text) return undefined;
	if (text === "failed") return [400, 999];
	const [, digits = "", rest] = /^([1-9])(xx|\d\d)$/.exec(text) ?? [];
	if (digits === "") throw wrong("status", "must be a status such as 429, a class such as 5xx, or `failed`");
	return rest === "xx" ? [Number(digits) * 100, Number(digits) * 100 + 99] : [Number(text), Number(text)];
}

function limitIn(text: string | undefined): number {
	if (!text) return LISTED;
	const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0;
	if (limit >= 1 && limit <= MOST_LISTED) return limit;
	throw wrong("limit", `must be a number from 1 to ${MOST_LISTED}`);
}

/** @param ofDay added to a day, which has no time, ms */
function timeIn(text: string, param: string, ofDay: number): number {
	const isDay = /^\d{4}-\d{2}-\d{2}$/.test(text);
	const isTime = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/.test(text);
	const at = isDay || isTime ? Date.parse(text) : Number.NaN;
	if (at >= 0 && at < MOST_TIME && isDate(text.slice(0, "2026-01-31".length))) return isDay ? at + ofDay : at;
	throw wrong(param, "must be a day such as 2026-01-31 (UTC), or a time such as 2026-01-31T09:00:00Z");
}

/** Whether the month has such a day: `Date.parse` makes the 30th of February the 2nd of March. */
function isDate(day: string): boolean {
	const at = Date.parse(day);
	return !Number.isNaN(at) && new Date(at).toISOString().startsWith(day);
}

/** The first id of a time, Unix time, ms. */
function idAt(at: number): string {
	const hex = at.toString(16).padStart(12, "0");
	return `req_${hex.slice(0, 8)}-${hex.slice(8)}`;
}

/** When the call of an id began; undefined of an id that says no time. */
function beganAt(id: string): string | undefined {
	const at = Number.parseInt(id.slice("req_".length).replaceAll("-", "").slice(0, 12), 16);
	return at <= MOST_DATE ? new Date(at).toISOString() : undefined;
}

const wrong = (param: string, what: string) => new RouterError("invalid_value", `${param} ${what}.`, { param });
