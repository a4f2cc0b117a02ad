/**
 * The trace of a call while it runs: ids and times, nothing else. What spans say is read of the settled call and of its attempts, later
 * and elsewhere (`call-spans.ts`).
 */
import type { Operation } from "../../openai/operations.ts";
import type { AttemptStep, Queued } from "../events.ts";
import { createSampler, type Sampler, type Sampling } from "./sampler.ts";
import type { AttemptReason, AttemptSpan, SpanContents, StepSpan, TraceOfCall } from "./span-context.ts";
import {
	newSpanId,
	newTraceId,
	type RemoteContext,
	readContext,
	TRACEPARENT,
	TRACESTATE,
	traceparent,
} from "./trace-context.ts";

/** What of a request its trace needs. */
export type TracedRequest = Pick<Request, "headers" | "method">;

/** What of an upstream's request does. */
export interface TracedAttempt {
	readonly url: string;
	/** Gets the `traceparent` of the attempt. */
	readonly headers: Record<string, string>;
}

/** What of a call. */
export interface TracedCall {
	readonly operation: Operation;
	readonly stream: boolean;
}

/** And of its target. */
export interface TracedTarget {
	readonly model: string;
	readonly provider: { readonly priceId?: string | undefined };
}

/** Begins the traces of calls. */
export class Tracer {
	readonly #isSampled: Sampler;

	constructor(sampling: Sampling) {
		this.#isSampled = createSampler(sampling);
	}

	/**
	 * The trace of a call that has come in.
	 * @param route its path, as the router lists it
	 * @param startedAt `performance.now()` at its arrival
	 */
	begin(request: TracedRequest, route: string | undefined, startedAt: number): CallTrace {
		const parent = readContext(request.headers);
		const traceId = parent?.traceId ?? newTraceId();
		if (!this.#isSampled(traceId, parent?.isSampled)) return new UnsentTrace(traceId, parent !== undefined);
		return new SentTrace(traceId, parent, request.method, route, startedAt);
	}
}

/** The trace of one call. */
export type CallTrace = SentTrace | UnsentTrace;

/** Tells an upstream which span its own are children of. @param hasParent the client has sent a trace of its own */
function passOn(headers: Record<string, string>, context: string, hasParent: boolean): void {
	// The state of a trace that is none: a standard's "MUST NOT".
	if (!hasParent && headers[TRACESTATE] !== undefined) delete headers[TRACESTATE];
	headers[TRACEPARENT] = context;
}

/** That of a call of which nothing is sent, as most are: upstreams and the log get its ids, and nothing else is made. */
class UnsentTrace {
	readonly isSent = false;
	/** One for all attempts, none of which is a span. */
	private readonly context: string;

	constructor(
		private readonly traceId: string,
		private readonly hasParent: boolean,
	) {
		this.context = traceparent(traceId, newSpanId(), false);
	}

	attempt({ headers }: TracedAttempt): undefined {
		passOn(headers, this.context, this.hasParent);
	}

	followed(): void {}

	queued(): void {}

	begin(): undefined {}

	end(): void {}

	drop(): void {}

	settled(): TraceOfCall {
		return { traceId: this.traceId };
	}
}

/** That of a call whose spans are sent. */
class SentTrace {
	readonly isSent = true;
	readonly #spanId = newSpanId();
	/** Whose children attempts are: the call, or what it does just now. */
	#parentId = this.#spanId;
	readonly #steps: StepSpan[] = [];
	/** Why the next attempt is made. */
	#reason: AttemptReason | undefined;
	/** Asked once, when the call settles, with its status: what it asks and is answered. */
	contents: ((status: number) => SpanContents | undefined) | undefined;
	/** What is added to `performance.now()` for Unix time. */
	readonly #wallOffset: number;

	constructor(
		private readonly traceId: string,
		private readonly parent: RemoteContext | undefined,
		private readonly method: string,
		private readonly route: string | undefined,
		private readonly startedAt: number,
	) {
		this.#wallOffset = wallOffset();
	}

	/**
	 * An attempt is about to be sent: its request gets the `traceparent` that its upstream continues. Its span.
	 * @param isSecond it runs beside another one
	 */
	attempt(
		{ url, headers }: TracedAttempt,
		{ operation, stream }: TracedCall,
		{ model, provider: { priceId: vendor } }: TracedTarget,
		isSecond: boolean,
	): AttemptSpan {
		const { traceId, parent } = this;
		const spanId = newSpanId();
		passOn(headers, traceparent(traceId, spanId, true), parent !== undefined);
		const isResumed = this.#parentId !== this.#spanId;
		const reason = isSecond ? "hedge" : isResumed ? "resume" : this.#reason;
		this.#reason = undefined;
		const origin = originOf(url);
		const context = { traceId, spanId, parentId: this.#parentId, traceState: parent?.traceState };
		return { ...context, startedAt: this.#now(), operation, stream, model, vendor, origin, reason };
	}

	/** The call goes on after an attempt, or beside it. */
	followed({ how }: AttemptStep): void {
		if (how === "retry" || how === "failover") this.#reason = how;
	}

	/** The call has waited for its turn, or was refused it. */
	queued({ waitedMs = 0, refused }: Queued): void {
		if (waitedMs < SHORTEST_STEP_MS && !refused) return;
		const startedAt = this.#now() - waitedMs;
		this.#steps.push({ name: "queue", spanId: newSpanId(), startedAt, ms: waitedMs, refused });
	}

	/** A step begins. One that nobody ends, ends with the call. Attempts within a `resume` are its children. */
	begin(name: "cache" | "resume"): StepSpan {
		const step: StepSpan = { name, spanId: newSpanId(), startedAt: this.#now() };
		this.#steps.push(step);
		if (name === "resume") this.#parentId = step.spanId;
		return step;
	}

	/** It has ended. */
	end(step: StepSpan): void {
		step.ms = this.#now() - step.startedAt;
		if (step.name === "resume") this.#parentId = this.#spanId;
	}

	/** It took no time that anybody would look for. */
	drop(step: StepSpan): void {
		this.#steps.splice(this.#steps.indexOf(step), 1);
	}

	/** What its events say of it when the call has settled. @param status as the call settles with it */
	settled(status = 200): TraceOfCall {
		const { traceId, parent, method, route } = this;
		return {
			traceId,
			span: {
				traceId,
				spanId: this.#spanId,
				parentId: parent?.spanId,
				isRemote: parent !== undefined,
				traceState: parent?.traceState,
				startedAt: this.startedAt + this.#wallOffset,
				method,
				route,
				steps: this.#steps,
				...(this.contents && { contents: this.contents(status) }),
			},
		};
	}

	#now(): number {
		return performance.now() + this.#wallOffset;
	}
}

/** A shorter wait in a queue, ms, is none. */
const SHORTEST_STEP_MS = 1;

/** Scheme, host and port. */
function originOf(url: string): string {
	const host = url.indexOf("//") + 2;
	const end = url.indexOf("/", host);
	return end === -1 ? url : url.slice(0, end);
}

/** Of this thread; 0: not known yet. */
let offset = 0;

/**
 * Unix time less `performance.now()`, ms. The calendar's clock tells whole milliseconds alone: the offset is kept as long as both agree within
 * one, so that spans of several processes of a machine stand right beside each other, and follows where the clock is set.
 */
function wallOffset(): number {
	const wall = Date.now();
	const now = performance.now();
	if (now + offset < wall) offset = wall - now;
	else if (now + offset >= wall + 1) offset = wall + 1 - now;
	return offset;
}
