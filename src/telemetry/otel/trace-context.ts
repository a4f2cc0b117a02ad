/** W3C Trace Context (https://www.w3.org/TR/trace-context/): `traceparent` and `tracestate` as they are read and written, and ids for them. */

/** The caller's span. */
export interface RemoteContext {
	readonly traceId: string;
	readonly spanId: string;
	readonly isSampled: boolean;
	readonly traceState: string | undefined;
}

/** The headers, in lower case. */
export const TRACEPARENT = "traceparent";
export const TRACESTATE = "tracestate";

/** Version, trace, parent and flags; further fields may follow where the version is a later one. */
const FORM = /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/;
const NO_VERSION = "ff";
const FIRST_VERSION = "00";
const NO_TRACE = "0".repeat(32);
const NO_SPAN = "0".repeat(16);
const SAMPLED = 1;
/** Longest `tracestate` that is kept in spans: what all have to pass on. */
const LONGEST_STATE = 512;
/** Entries `key=value` by commas, some of which may be empty. Of a value all plain characters but commas and equals signs, the last no space. */
const STATE_ENTRY =
	/^(?:[a-z\d][a-z\d_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])?$/;
const MOST_STATE_ENTRIES = 32;

/** The context that a request brings; undefined where it brings none, or what is none by the standard: a trace then begins here. */
export function readContext(headers: Pick<Headers, "get">): RemoteContext | undefined {
	const parent = headers.get(TRACEPARENT);
	if (parent === null) return undefined;
	const [, version, traceId, spanId, flags, more] = FORM.exec(parent) ?? [];
	if (version === undefined || version === NO_VERSION || (version === FIRST_VERSION && more !== undefined))
		return undefined;
	if (traceId === NO_TRACE || spanId === NO_SPAN) return undefined;
	const state = headers.get(TRACESTATE);
	return {
		traceId: traceId!,
		spanId: spanId!,
		isSampled: (Number.parseInt(flags!, 16) & SAMPLED) !== 0,
		traceState: state !== null && isState(state) ? state : undefined,
	};
}

/** Whether it is a `tracestate` by the standard, of a length that all have to pass on. */
function isState(text: string): boolean {
	if (text.trim() === "" || text.length > LONGEST_STATE) return false;
	const entries = text.split(",");
	return entries.length <= MOST_STATE_ENTRIES && entries.every((entry) => STATE_ENTRY.test(entry.trim()));
}

/** The header that says the same to whoever is called next. */
export const traceparent = (traceId: string, spanId: string, isSampled: boolean): string =>
	`${FIRST_VERSION}-${traceId}-${spanId}-${isSampled ? "01" : "00"}`;

/** Random digits, made many at once: to ask the system for each id, or to write each as text, costs more than all else of it. */
const pool = Buffer.alloc(1536);
let digits = "";
let used = 0;

function randomHex(count: number): string {
	if (used + count > digits.length) {
		crypto.getRandomValues(pool);
		digits = pool.toString("hex");
		used = 0;
	}
	used += count;
	return digits.slice(used - count, used);
}

/** A new trace's id: 16 bytes. */
export const newTraceId = (): string => randomHex(32);

/** A new span's id: 8 bytes. */
export const newSpanId = (): string => randomHex(16);
