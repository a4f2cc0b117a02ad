/** What both encodings of OTLP have in common (opentelemetry-proto 1.11, `trace/v1/trace.proto`). Pure. */
import type { Span } from "./call-spans.ts";

/** Whose spans they are. */
export interface SpanSource {
	/** Attributes of the process: `service.name`. */
	readonly resource: Readonly<Record<string, string>>;
	/** What made the spans. */
	readonly scope: { readonly name: string; readonly version: string };
}

/** What a collector did not take of a batch that it answered with 200. */
export interface Rejected {
	readonly spans: number;
	readonly message: string;
}

/** A way to write spans. */
export interface OtlpEncoding {
	readonly contentType: string;
	/** One span. */
	span(span: Span): Buffer;
	/** The request's body for spans that are written already, in pieces. */
	request(spans: readonly Buffer[], source: SpanSource): Buffer[];
	/** Reads the answer. Throws where it is none. */
	rejected(answer: Buffer): Rejected;
}

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
