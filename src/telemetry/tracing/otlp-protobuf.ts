/** Spans as OTLP writes them in protobuf: the few messages of `trace/v1/trace.proto` that are needed, by their field numbers. Pure. */
import { type AttributeValue, FRACTIONS, type Span } from "./call-spans.ts";
import { ERROR_STATUS, type OtlpEncoding, spanFlags, unixNanos } from "./otlp.ts";
import { ProtobufReader, ProtobufWriter } from "./protobuf.ts";

/** Field numbers of opentelemetry-proto. */
const REQUEST = { resourceSpans: 1 } as const;
const RESOURCE_SPANS = { resource: 1, scopeSpans: 2 } as const;
const RESOURCE = { attributes: 1 } as const;
const SCOPE_SPANS = { scope: 1, spans: 2 } as const;
const SCOPE = { name: 1, version: 2 } as const;
const SPAN = {
	traceId: 1,
	spanId: 2,
	traceState: 3,
	parentSpanId: 4,
	name: 5,
	kind: 6,
	start: 7,
	end: 8,
	attributes: 9,
	status: 15,
	flags: 16,
} as const;
const STATUS = { code: 3 } as const;
const KEY_VALUE = { key: 1, value: 2 } as const;
const ANY_VALUE = { string: 1, bool: 2, int: 3, double: 4 } as const;
const RESPONSE = { partialSuccess: 1 } as const;
const PARTIAL_SUCCESS = { rejectedSpans: 1, errorMessage: 2 } as const;

/** The encoding. */
export const OTLP_PROTOBUF: OtlpEncoding = {
	contentType: "application/x-protobuf",
	span(span) {
		const writer = new ProtobufWriter();
		writer.message(SCOPE_SPANS.spans, () => writeSpan(writer, span));
		return writer.bytes();
	},
	request(spans, { resource, scope }) {
		const head = new ProtobufWriter();
		head.message(SCOPE_SPANS.scope, () => {
			head.text(SCOPE.name, scope.name);
			head.text(SCOPE.version, scope.version);
		});
		const scopeHead = head.bytes();
		const scopeLength = scopeHead.length + spans.reduce((sum, { length }) => sum + length, 0);
		const resourceHead = new ProtobufWriter();
		resourceHead.message(RESOURCE_SPANS.resource, () => writeAttributes(resourceHead, RESOURCE.attributes, resource));
		resourceHead.head(RESOURCE_SPANS.scopeSpans, scopeLength);
		const resourceBytes = resourceHead.bytes();
		const request = new ProtobufWriter();
		request.head(REQUEST.resourceSpans, resourceBytes.length + scopeLength);
		return [request.bytes(), resourceBytes, scopeHead, ...spans];
	},
	rejected(answer) {
		const rejected = { spans: 0, message: "" };
		for (const [field, value] of new ProtobufReader(answer)) {
			if (field !== RESPONSE.partialSuccess || typeof value === "number") continue;
			for (const [inner, given] of new ProtobufReader(value)) {
				if (inner === PARTIAL_SUCCESS.rejectedSpans && typeof given === "number") rejected.spans = given;
				if (inner === PARTIAL_SUCCESS.errorMessage && typeof given === "object") rejected.message = given.toString();
			}
		}
		return rejected;
	},
};

function writeSpan(writer: ProtobufWriter, span: Span): void {
	const { traceId, spanId, parentId, traceState, name, kind, startMs, endMs, attributes, isError } = span;
	writer.hex(SPAN.traceId, traceId);
	writer.hex(SPAN.spanId, spanId);
	if (traceState !== undefined) writer.text(SPAN.traceState, traceState);
	if (parentId !== undefined) writer.hex(SPAN.parentSpanId, parentId);
	writer.text(SPAN.name, name);
	writer.varint(SPAN.kind, kind);
	writer.fixed64(SPAN.start, BigInt(unixNanos(startMs)));
	writer.fixed64(SPAN.end, BigInt(unixNanos(endMs)));
	writeAttributes(writer, SPAN.attributes, attributes);
	if (isError) writer.message(SPAN.status, () => writer.varint(STATUS.code, ERROR_STATUS));
	writer.fixed32(SPAN.flags, spanFlags(span));
}

function writeAttributes(writer: ProtobufWriter, field: number, attributes: Span["attributes"]): void {
	for (const key in attributes) {
		const value = attributes[key];
		if (value === undefined) continue;
		writer.message(field, () => {
			writer.text(KEY_VALUE.key, key);
			writer.message(KEY_VALUE.value, () => writeValue(writer, key, value));
		});
	}
}

function writeValue(writer: ProtobufWriter, key: string, value: AttributeValue): void {
	if (typeof value === "string") writer.text(ANY_VALUE.string, value);
	else if (typeof value === "boolean") writer.varint(ANY_VALUE.bool, Number(value));
	else if (FRACTIONS.has(key)) writer.double(ANY_VALUE.double, value);
	else writer.varint(ANY_VALUE.int, Math.trunc(value));
}
