/** Which spans a call is, as plain values: what of a trace goes with its events from thread to thread. Ids in lower-case hex, times in Unix time, ms. */
import type { Operation } from "../../openai/operations.ts";

/** How one span is known, and whose child it is. */
export interface SpanContext {
	/** 16 bytes. */
	readonly traceId: string;
	/** 8 bytes. */
	readonly spanId: string;
	/** Of the same trace; undefined: it is the trace's first. */
	readonly parentId?: string | undefined;
	/** `tracestate`, as the caller sent it. */
	readonly traceState?: string | undefined;
	readonly startedAt: number;
}

/** Why an attempt was made, where it was not the first. */
export type AttemptReason = "retry" | "failover" | "hedge" | "resume";

/** The span of an attempt, and what its event does not say of it. */
export interface AttemptSpan extends SpanContext {
	readonly operation: Operation;
	readonly stream: boolean;
	/** What the upstream calls the model. */
	readonly model: string;
	/** The upstream's vendor, as price lists call it; undefined: its name says all. */
	readonly vendor?: string | undefined;
	/** Where it was sent: `https://api.openai.com`. */
	readonly origin: string;
	readonly reason?: AttemptReason | undefined;
	/** From its sending to the first piece of the answer that its client got, ms; set when it closes. */
	firstTokenMs?: number | undefined;
}

/** What a call does besides attempts, and takes time. */
export type StepName = "queue" | "cache" | "resume";

/** A step of a call. */
export interface StepSpan {
	readonly name: StepName;
	readonly spanId: string;
	readonly startedAt: number;
	/** Absent where it ended with the call. */
	ms?: number | undefined;
	/** Of a queue: why the call was not let in. */
	readonly refused?: "full" | "late" | undefined;
}

/** What a call asks and is answered (`span-contents.ts`), JSON. */
export interface SpanContents {
	readonly input?: string | undefined;
	readonly output?: string | undefined;
	/** Some of it is left out: it is too long, or is no text. */
	readonly isCut: boolean;
}

/** The span of a call. */
export interface CallSpan extends SpanContext {
	/** The parent is of another process. */
	readonly isRemote: boolean;
	readonly method: string;
	/** The route's path as the router lists it: no text of a client's. */
	readonly route?: string | undefined;
	readonly steps: readonly StepSpan[];
	/** What it asks and is answered, of calls of keys with `trace_contents`; until it is taken. */
	contents?: SpanContents | undefined;
}

/** Takes the contents out of a span, so that whoever else hears of its call, and keeps it for longer, has none. */
export function takeContents(span: CallSpan | undefined): SpanContents | undefined {
	if (!span?.contents) return undefined;
	const { contents } = span;
	span.contents = undefined;
	return contents;
}

/** Leaves of the contents of a span only that they are missing. Whether there was more. */
export function cutContents(span: CallSpan | undefined): boolean {
	if (span?.contents?.input === undefined && span?.contents?.output === undefined) return false;
	span.contents = { isCut: true };
	return true;
}

/** The trace that a call belongs to. */
export interface TraceOfCall {
	readonly traceId: string;
	/** Absent where the trace is not sampled: nothing is sent of it. */
	readonly span?: CallSpan | undefined;
}
