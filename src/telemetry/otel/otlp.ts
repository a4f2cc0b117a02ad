/** What both encodings of OTLP have in common (opentelemetry-proto 1.11, `trace/v1/trace.proto`, `metrics/v1/metrics.proto`). Pure. */
import type { Span } from "./call-spans.ts";
import type { TokenSum } from "./token-counters.ts";

/** Whose spans and metrics they are. */
export interface OtlpSource {
	/** Attributes of the process: `service.name`. */
	readonly resource: Readonly<Record<string, string>>;
	/** What made them. */
	readonly scope: { readonly name: string; readonly version: string };
}

/** What a collector did not take of what it answered with 200: spans, or data points. */
export interface Rejected {
	readonly count: number;
	readonly message: string;
}

/** From when to when sums were counted, Unix time, ms. */
export interface SumTimes {
	readonly startMs: number;
	readonly endMs: number;
}

/** A way to write. */
export interface OtlpEncoding {
	readonly contentType: string;
	/** One span. */
	span(span: Span): Buffer;
	/** The request's body for spans that are written already, in pieces. */
	traces(spans: readonly Buffer[], source: OtlpSource): Buffer[];
	/** That for sums, each counter's beside each other. */
	metrics(sums: readonly TokenSum[], times: SumTimes, source: OtlpSource): Buffer[];
	/** Reads the answer. Throws where it is none. */
	rejected(answer: Buffer): Rejected;
}

/** `AGGREGATION_TEMPORALITY_CUMULATIVE`: sums since the start. */
export const CUMULATIVE = 2;
/** Unit of what is counted (UCUM). */
export const TOKEN_UNIT = "{token}";

/** `STATUS_CODE_ERROR`. */
export const ERROR_STATUS = 2;

const SAMPLED = 0x01;
const KNOWS_REMOTE = 0x100;
const IS_REMOTE = 0x200;

/** Flags of W3C, and whether the parent is of another process. */
export const spanFlags = ({ isRemote }: Pick<Span, "isRemote">): number =>
	SAMPLED | KNOWS_REMOTE | (isRemote ? IS_REMOTE : 0);

/** Unix time in ns, whose digits no number holds. */
export function unixNanos(ms: number): string {
	const whole = Math.floor(ms);
	return `${whole}${String(Math.floor((ms - whole) * 1e6)).padStart(6, "0")}`;
}
