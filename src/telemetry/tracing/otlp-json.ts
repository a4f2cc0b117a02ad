/** Spans as OTLP writes them in JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding): ids in hex, 64-bit numbers as texts. Pure. */
import { type AttributeValue, FRACTIONS, type Span } from "./call-spans.ts";
import { ERROR_STATUS, type OtlpEncoding, type SpanSource, spanFlags, unixNanos } from "./otlp.ts";

/** The encoding. */
export const OTLP_JSON: OtlpEncoding = {
	contentType: "application/json",
	span: (span) => Buffer.from(JSON.stringify(spanObject(span))),
	request(spans, source) {
		const pieces = spans.flatMap((span, at) => (at === 0 ? [span] : [COMMA, span]));
		return [Buffer.from(opening(source)), ...pieces, CLOSING];
	},
	rejected(answer) {
		const { partialSuccess: { rejectedSpans = 0, errorMessage = "" } = {} } = JSON.parse(
			answer.toString(),
		) as Partial<Response>;
		return { spans: Number(rejectedSpans) || 0, message: String(errorMessage) };
	},
};

/** The answer, as far as it is read. */
interface Response {
	readonly partialSuccess?: { readonly rejectedSpans?: unknown; readonly errorMessage?: unknown };
}

const COMMA = Buffer.from(",");
const CLOSING = Buffer.from("]}]}]}");

function opening({ resource, scope }: SpanSource): string {
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
