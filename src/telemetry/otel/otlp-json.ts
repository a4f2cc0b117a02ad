/** Spans as OTLP writes them in JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding): ids in hex, 64-bit numbers as texts. Pure. */
import { type AttributeValue, FRACTIONS, type Span } from "./call-spans.ts";
import {
	CUMULATIVE,
	ERROR_STATUS,
	type OtlpEncoding,
	type OtlpSource,
	type SumTimes,
	spanFlags,
	TOKEN_UNIT,
	unixNanos,
} from "./otlp.ts";
import { TOKEN_COUNTERS, type TokenSum, type UsageCounter } from "./token-counters.ts";

/** The encoding. */
export const OTLP_JSON: OtlpEncoding = {
	contentType: "application/json",
	span: (span) => Buffer.from(JSON.stringify(spanObject(span))),
	traces(spans, source) {
		const pieces = spans.flatMap((span, at) => (at === 0 ? [span] : [COMMA, span]));
		return [Buffer.from(opening(source)), ...pieces, CLOSING];
	},
	metrics(sums, times, { resource, scope }) {
		const metrics = [...Map.groupBy(sums, ({ counter }) => counter)].map(([name, of]) => metricObject(name, of, times));
		const scopeMetrics = [{ scope, metrics }];
		const request = { resourceMetrics: [{ resource: { attributes: attributesOf(resource) }, scopeMetrics }] };
		return [Buffer.from(JSON.stringify(request))];
	},
	rejected(answer) {
		const { partialSuccess = {} } = JSON.parse(answer.toString()) as Partial<Response>;
		const { rejectedSpans, rejectedDataPoints, errorMessage = "" } = partialSuccess;
		return { count: Number(rejectedSpans ?? rejectedDataPoints) || 0, message: String(errorMessage) };
	},
};

/** The answer, as far as it is read. */
interface Response {
	readonly partialSuccess?: {
		readonly rejectedSpans?: unknown;
		readonly rejectedDataPoints?: unknown;
		readonly errorMessage?: unknown;
	};
}

const COMMA = Buffer.from(",");
const CLOSING = Buffer.from("]}]}]}");

function opening({ resource, scope }: OtlpSource): string {
	const attributes = JSON.stringify(attributesOf(resource));
	return `{"resourceSpans":[{"resource":{"attributes":${attributes}},"scopeSpans":[{"scope":${JSON.stringify(scope)},"spans":[`;
}

function spanObject(span: Span): object {
	const { traceId, spanId, parentId, traceState, name, kind, startMs, endMs, attributes, isError } = span;
	return {
		traceId,
		spanId,
		traceState,
		parentSpanId: parentId,
		flags: spanFlags(span),
		name,
		kind,
		startTimeUnixNano: unixNanos(startMs),
		endTimeUnixNano: unixNanos(endMs),
		attributes: attributesOf(attributes),
		status: isError ? { code: ERROR_STATUS } : {},
	};
}

function metricObject(name: UsageCounter, sums: readonly TokenSum[], { startMs, endMs }: SumTimes): object {
	const times = { startTimeUnixNano: unixNanos(startMs), timeUnixNano: unixNanos(endMs) };
	const dataPoints = sums.map(({ attributes, value }) => ({
		attributes: attributesOf(attributes),
		...times,
		asInt: String(value),
	}));
	const sum = { aggregationTemporality: CUMULATIVE, isMonotonic: true, dataPoints };
	return { name, description: TOKEN_COUNTERS[name], unit: TOKEN_UNIT, sum };
}

function attributesOf(attributes: Span["attributes"]): object[] {
	const list: object[] = [];
	for (const key in attributes) {
		const value = attributes[key];
		if (value !== undefined) list.push({ key, value: anyValue(key, value) });
	}
	return list;
}

function anyValue(key: string, value: AttributeValue): object {
	if (typeof value === "string") return { stringValue: value };
	if (typeof value === "boolean") return { boolValue: value };
	return FRACTIONS.has(key) ? { doubleValue: value } : { intValue: String(Math.trunc(value)) };
}
