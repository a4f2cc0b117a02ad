/**
 * Spans as OTLP writes them in protobuf: the few messages of `trace/v1/trace.proto` that are needed, by their field numbers. Pure. Our own, since
 * a serializer of any message takes several times as long (`@opentelemetry/otlp-transformer` 0.301.1), and a fraction that is 0 has to stay one.
 */
import { type AttributeValue, FRACTIONS, type Span } from "./call-spans.ts";
import {
	CUMULATIVE,
	ERROR_STATUS,
	type OtlpEncoding,
	type OtlpSource,
	type SumTimes,
	spanFlags,
	TOKEN_UNIT,
} from "./otlp.ts";
import { ProtobufReader, ProtobufWriter, varintSize } from "./protobuf.ts";
import { TOKEN_COUNTERS, type TokenSum, type UsageCounter } from "./token-counters.ts";

/** Field numbers of opentelemetry-proto. */
/** `resource_spans` and `resource_metrics`, and so on. */
const REQUEST = { resources: 1 } as const;
const OF_RESOURCE = { resource: 1, scopes: 2 } as const;
const RESOURCE = { attributes: 1 } as const;
const OF_SCOPE = { scope: 1, items: 2 } as const;
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
const PARTIAL_SUCCESS = { rejected: 1, errorMessage: 2 } as const;
const METRIC = { name: 1, description: 2, unit: 3, sum: 7 } as const;
const SUM = { dataPoints: 1, temporality: 2, isMonotonic: 3 } as const;
const POINT = { start: 2, time: 3, int: 6, attributes: 7 } as const;

/** One for all spans, which are written one after the other. */
const writer = new ProtobufWriter();

/** The encoding. */
export const OTLP_PROTOBUF: OtlpEncoding = {
	contentType: "application/x-protobuf",
	span(span) {
		const begin = writer.begin(OF_SCOPE.items);
		writeSpan(span);
		writer.end(begin);
		return writer.take();
	},
	traces: (spans, source) => requestOf(spans, source),
	metrics(sums, times, source) {
		const metrics = [...Map.groupBy(sums, ({ counter }) => counter)].map(([name, of]) => {
			writeMetric(name, of, times);
			return writer.take();
		});
		return requestOf(metrics, source);
	},
	rejected(answer) {
		const rejected = { count: 0, message: "" };
		for (const [field, value] of new ProtobufReader(answer)) {
			if (field !== RESPONSE.partialSuccess || typeof value === "number") continue;
			for (const [inner, given] of new ProtobufReader(value)) {
				if (inner === PARTIAL_SUCCESS.rejected && typeof given === "number") rejected.count = given;
				if (inner === PARTIAL_SUCCESS.errorMessage && typeof given === "object") rejected.message = given.toString();
			}
		}
		return rejected;
	},
};

/** A request around what is written already: spans, or metrics. */
function requestOf(items: readonly Buffer[], { resource, scope }: OtlpSource): Buffer[] {
	const inScope = writer.begin(OF_SCOPE.scope);
	writer.text(SCOPE.name, scope.name);
	writer.text(SCOPE.version, scope.version);
	writer.end(inScope);
	const scopeBytes = writer.take();
	const scopeLength = scopeBytes.length + items.reduce((sum, { length }) => sum + length, 0);
	const inResource = writer.begin(OF_RESOURCE.resource);
	writeAttributes(RESOURCE.attributes, resource);
	writer.end(inResource);
	writer.head(OF_RESOURCE.scopes, scopeLength);
	const resourceBytes = writer.take();
	writer.head(REQUEST.resources, resourceBytes.length + scopeLength);
	return [writer.take(), resourceBytes, scopeBytes, ...items];
}

function writeMetric(name: UsageCounter, sums: readonly TokenSum[], { startMs, endMs }: SumTimes): void {
	const inMetric = writer.begin(OF_SCOPE.items);
	writer.text(METRIC.name, name);
	writer.text(METRIC.description, TOKEN_COUNTERS[name]);
	writer.text(METRIC.unit, TOKEN_UNIT);
	const inSum = writer.begin(METRIC.sum);
	for (const { attributes, value } of sums) {
		const inPoint = writer.begin(SUM.dataPoints);
		writer.nanos(POINT.start, startMs);
		writer.nanos(POINT.time, endMs);
		writer.fixed64(POINT.int, BigInt(value));
		writeAttributes(POINT.attributes, attributes);
		writer.end(inPoint);
	}
	writer.varint(SUM.temporality, CUMULATIVE);
	writer.varint(SUM.isMonotonic, 1);
	writer.end(inSum);
	writer.end(inMetric);
}

function writeSpan(span: Span): void {
	const { traceId, spanId, parentId, traceState, name, kind, startMs, endMs, attributes, isError } = span;
	writer.hex(SPAN.traceId, traceId);
	writer.hex(SPAN.spanId, spanId);
	if (traceState !== undefined) writer.text(SPAN.traceState, traceState);
	if (parentId !== undefined) writer.hex(SPAN.parentSpanId, parentId);
	writer.text(SPAN.name, name);
	writer.varint(SPAN.kind, kind);
	writer.nanos(SPAN.start, startMs);
	writer.nanos(SPAN.end, endMs);
	writeAttributes(SPAN.attributes, attributes);
	if (isError) {
		const begin = writer.begin(SPAN.status);
		writer.varint(STATUS.code, ERROR_STATUS);
		writer.end(begin);
	}
	writer.fixed32(SPAN.flags, spanFlags(span));
}

/** The keys of attributes, as they stand in each: there are some forty. Bounded, since resources may have others. */
const keys = new Map<string, Buffer>();
const MOST_KEYS = 1000;

function keyBytes(key: string): Buffer {
	let bytes = keys.get(key);
	if (bytes) return bytes;
	const writing = new ProtobufWriter();
	writing.text(KEY_VALUE.key, key);
	bytes = writing.take();
	if (keys.size >= MOST_KEYS) keys.clear();
	keys.set(key, bytes);
	return bytes;
}

/** Lengths are known before, so that nothing is moved: values are not nested. */
function writeAttributes(field: number, attributes: Span["attributes"]): void {
	for (const key in attributes) {
		const value = attributes[key];
		if (value === undefined) continue;
		const keyed = keyBytes(key);
		const textLength = typeof value === "string" ? Buffer.byteLength(value) : 0;
		const length = 1 + valueSize(key, value, textLength);
		writer.head(field, keyed.length + 1 + varintSize(length) + length);
		writer.raw(keyed);
		writer.head(KEY_VALUE.value, length);
		if (typeof value === "string") writer.text(ANY_VALUE.string, value, textLength);
		else if (typeof value === "boolean") writer.varint(ANY_VALUE.bool, Number(value));
		else if (FRACTIONS.has(key)) writer.double(ANY_VALUE.double, value);
		else writer.varint(ANY_VALUE.int, whole(value));
	}
}

/** Bytes of a value behind its tag. */
function valueSize(key: string, value: AttributeValue, textLength: number): number {
	if (typeof value === "string") return varintSize(textLength) + textLength;
	if (typeof value === "boolean") return 1;
	return FRACTIONS.has(key) ? 8 : varintSize(whole(value));
}

const whole = (value: number): number => Math.max(0, Math.trunc(value));
