/**
 * The spans of settled calls and closed attempts. Pure. A call is a span of a server (HTTP conventions), each attempt one of a client that asks a
 * model (GenAI conventions); what both say besides has names of the router's own (`router.…`). No prompt and no answer but of calls of keys that say so, no secret, and no text of a client's but names of
 * models, which are clipped, and a `tracestate` of the standard's form, which spans have to carry.
 */
import { shortText } from "../../short-text.ts";
import type { AttemptClosed, CallSettled } from "../events.ts";
import { operationName, providerName } from "./gen-ai-names.ts";
import type { AttemptSpan, CallSpan, SpanContents, StepSpan } from "./span-context.ts";

/** OTLP's numbers for kinds of spans. */
export const SPAN_KIND = { INTERNAL: 1, SERVER: 2, CLIENT: 3 } as const;

/** A value of an attribute. Numbers are whole, but for those of {@link FRACTIONS}. */
export type AttributeValue = string | number | boolean;

/** Attributes that are numbers with a fraction, also where theirs is 0: one name has one type. */
export const FRACTIONS: ReadonlySet<string> = new Set([
	"gen_ai.response.time_to_first_chunk",
	"router.cost_usd",
	"router.energy_joules",
	"router.time_to_first_token",
]);

/** A span as it is sent. Ids in hex, times in Unix time, ms. Attributes that are undefined are left out. */
export interface Span {
	readonly traceId: string;
	readonly spanId: string;
	readonly parentId: string | undefined;
	readonly traceState: string | undefined;
	/** The parent is of another process. */
	readonly isRemote: boolean;
	readonly name: string;
	readonly kind: (typeof SPAN_KIND)[keyof typeof SPAN_KIND];
	readonly startMs: number;
	readonly endMs: number;
	readonly attributes: Readonly<Record<string, AttributeValue | undefined>>;
	readonly isError: boolean;
}

/** Longest name of a model, UTF-16 units. */
const LONGEST = 200;
/** Statuses from here on are the server's fault: a span of a server is no error for its client's mistakes. */
const SERVER_ERROR = 500;

const clipped = (text: string): string => (text.length > LONGEST ? shortText(text, LONGEST) : text);

/** The spans of a call, its own first. @param contents what it asks and is answered, where that is to be sent */
export function callSpans(call: CallSettled, span: CallSpan, contents?: SpanContents): Span[] {
	const spans = [callSpan(call, span, contents)];
	const { endMs } = spans[0]!;
	for (const step of span.steps) spans.push(stepSpan(call, span, step, step.ms ?? endMs - step.startedAt));
	return spans;
}

function callSpan(call: CallSettled, span: CallSpan, contents: SpanContents | undefined): Span {
	const { tokens, status, error } = call;
	const model = call.requested ?? call.model;
	return {
		...contextOf(span),
		isRemote: span.isRemote,
		name: span.route === undefined ? span.method : `${span.method} ${span.route}`,
		kind: SPAN_KIND.SERVER,
		endMs: span.startedAt + call.ms,
		isError: status >= SERVER_ERROR,
		attributes: {
			"http.request.method": span.method,
			"http.route": span.route,
			"http.response.status_code": status,
			"error.type": status >= SERVER_ERROR ? (error ?? String(status)) : error,
			"gen_ai.operation.name": operationName(call.operation),
			"gen_ai.request.model": clipped(model),
			"gen_ai.request.stream": call.stream || undefined,
			"gen_ai.input.messages": contents?.input,
			"gen_ai.output.messages": contents?.output,
			"router.contents.cut": contents?.isCut || undefined,
			"router.call.id": call.id,
			"router.model": call.model,
			"router.provider": call.provider,
			"router.target": call.target,
			"router.agent": call.agent,
			"router.attempts": call.attempts,
			"router.route": call.reason,
			"router.cache": call.cache,
			"router.key.id": call.keyId,
			"router.team": call.team,
			"router.time_to_first_token": seconds(call.firstTokenMs),
			"router.input_tokens": tokens?.input,
			"router.output_tokens": tokens?.output,
			"router.cost_usd": call.cost,
			"router.energy_joules": call.energyJ,
		},
	};
}

function stepSpan(
	call: CallSettled,
	parent: CallSpan,
	{ name, spanId, startedAt, refused }: StepSpan,
	ms: number,
): Span {
	const { traceId, traceState } = parent;
	return {
		...{ traceId, traceState, spanId, parentId: parent.spanId, isRemote: false },
		name,
		kind: SPAN_KIND.INTERNAL,
		startMs: startedAt,
		endMs: startedAt + ms,
		isError: refused !== undefined,
		attributes: {
			"router.model": call.model,
			"router.cache": name === "cache" ? call.cache : undefined,
			"error.type": refused,
		},
	};
}

/** The span of an attempt. */
export function attemptSpan(attempt: AttemptClosed, span: AttemptSpan): Span {
	const { tokens, failure, status } = attempt;
	const operation = operationName(span.operation);
	const server = serverOf(span.origin);
	return {
		...contextOf(span),
		isRemote: false,
		name: `${operation} ${clipped(span.model)}`,
		kind: SPAN_KIND.CLIENT,
		endMs: span.startedAt + attempt.ms,
		isError: failure !== undefined,
		attributes: {
			"gen_ai.operation.name": operation,
			"gen_ai.provider.name": providerName(attempt.provider, span.vendor),
			"gen_ai.request.model": clipped(span.model),
			"gen_ai.request.stream": span.stream || undefined,
			"gen_ai.response.time_to_first_chunk": span.stream ? seconds(span.firstTokenMs) : undefined,
			"gen_ai.usage.input_tokens": tokens?.input,
			"gen_ai.usage.output_tokens": tokens?.output,
			"gen_ai.usage.cache_read.input_tokens": tokens?.cached || undefined,
			"gen_ai.usage.cache_write.input_tokens": tokens?.cacheWrite || undefined,
			"gen_ai.usage.reasoning.output_tokens": tokens?.reasoning || undefined,
			"server.address": server?.address,
			"server.port": server?.port,
			"http.response.status_code": status,
			"error.type": failure,
			"router.call.id": attempt.callId,
			"router.attempt": attempt.number,
			"router.attempt.reason": span.reason,
			"router.attempt.unused": attempt.isUnused,
			"router.provider": attempt.provider,
			"router.target": attempt.target,
			"router.agent": attempt.agent,
			"router.cost_usd": attempt.cost,
		},
	};
}

function contextOf({ traceId, spanId, parentId, traceState, startedAt }: AttemptSpan | CallSpan) {
	return { traceId, spanId, parentId, traceState, startMs: startedAt };
}

const seconds = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms / 1000);

/** Who is called, by the origins that calls go to: a handful. Bounded, since agents come and go. */
const known = new Map<string, { readonly address: string; readonly port: number } | undefined>();
const MOST_KNOWN = 1000;
/** Stands for an address that is filled in later: an agent's container. */
const NO_ADDRESS = "http://container";

/** Undefined where it is no address of a server: a tunnel, or this process. */
function serverOf(origin: string): { readonly address: string; readonly port: number } | undefined {
	if (!known.has(origin)) {
		if (known.size >= MOST_KNOWN) known.clear();
		const url = origin === NO_ADDRESS ? null : URL.parse(origin);
		const isServer = url?.protocol === "http:" || url?.protocol === "https:";
		const port = Number(url?.port || (url?.protocol === "https:" ? 443 : 80));
		known.set(origin, isServer ? { address: url!.hostname.replace(/^\[|\]$/g, ""), port } : undefined);
	}
	return known.get(origin);
}
