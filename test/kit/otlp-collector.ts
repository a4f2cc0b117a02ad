/** A small OpenTelemetry collector: takes OTLP over HTTP in both encodings, by a decoder of its own, and keeps the spans. */
import { gunzipSync } from "node:zlib";
import protobuf from "protobufjs";
import { until } from "./until.ts";

/** A span as it arrived: ids in hex, times in Unix ns. */
export interface CollectedSpan {
	readonly traceId: string;
	readonly spanId: string;
	/** "" of a trace's first. */
	readonly parentId: string;
	readonly traceState: string;
	readonly flags: number;
	readonly name: string;
	readonly kind: number;
	readonly start: bigint;
	readonly end: bigint;
	readonly attributes: Readonly<Record<string, string | number | boolean>>;
	/** By attribute: the field of OTLP's `AnyValue` that it came in. */
	readonly types: Readonly<Record<string, string>>;
	/** 2: an error. */
	readonly status: number;
	/** `service.name` of who sent it. */
	readonly service: string;
	readonly resource: Readonly<Record<string, string | number | boolean>>;
}

/** Of `opentelemetry/proto/{collector,trace,metrics,common,resource}/v1` 1.11.0: the messages and fields that collectors read of traces and sums. */
const PROTO = `syntax = "proto3";
message ExportTraceServiceRequest { repeated ResourceSpans resource_spans = 1; }
message ExportTraceServiceResponse { ExportTracePartialSuccess partial_success = 1; }
message ExportTracePartialSuccess { int64 rejected_spans = 1; string error_message = 2; }
message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; string schema_url = 3; }
message Resource { repeated KeyValue attributes = 1; uint32 dropped_attributes_count = 2; }
message ScopeSpans { InstrumentationScope scope = 1; repeated Span spans = 2; string schema_url = 3; }
message InstrumentationScope { string name = 1; string version = 2; repeated KeyValue attributes = 3; }
message Span {
	bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; bytes parent_span_id = 4; fixed32 flags = 16;
	string name = 5; int32 kind = 6; fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8;
	repeated KeyValue attributes = 9; uint32 dropped_attributes_count = 10; Status status = 15;
}
message Status { string message = 2; int32 code = 3; }
message ExportMetricsServiceRequest { repeated ResourceMetrics resource_metrics = 1; }
message ResourceMetrics { Resource resource = 1; repeated ScopeMetrics scope_metrics = 2; }
message ScopeMetrics { InstrumentationScope scope = 1; repeated Metric metrics = 2; }
message Metric { string name = 1; string description = 2; string unit = 3; Sum sum = 7; }
message Sum { repeated NumberDataPoint data_points = 1; int32 aggregation_temporality = 2; bool is_monotonic = 3; }
message NumberDataPoint { repeated KeyValue attributes = 7; fixed64 start_time_unix_nano = 2; fixed64 time_unix_nano = 3; double as_double = 4; sfixed64 as_int = 6; }
message KeyValue { string key = 1; AnyValue value = 2; }
message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; bytes bytes_value = 7; } }
`;
const { root } = protobuf.parse(PROTO);
const REQUEST = root.lookupType("ExportTraceServiceRequest");
const METRICS = root.lookupType("ExportMetricsServiceRequest");
const RESPONSE = root.lookupType("ExportTraceServiceResponse");

type AnyValue = Record<string, string | number | boolean>;
interface WireSpan {
	readonly traceId: string;
	readonly spanId: string;
	readonly parentSpanId?: string;
	readonly traceState?: string;
	readonly flags?: number;
	readonly name: string;
	readonly kind: number;
	readonly startTimeUnixNano: string;
	readonly endTimeUnixNano: string;
	readonly attributes?: readonly { readonly key: string; readonly value: AnyValue }[];
	readonly status?: { readonly code?: number };
}
interface WireRequest {
	readonly resourceSpans: readonly {
		readonly resource: Pick<WireSpan, "attributes">;
		readonly scopeSpans: readonly { readonly scope: { readonly name: string }; readonly spans?: readonly WireSpan[] }[];
	}[];
}

/** What a request's body says. Throws where it is not what its type says. */
export function spansIn(body: Uint8Array, contentType: string): CollectedSpan[] {
	if (contentType === "application/json")
		return spansOf(JSON.parse(Buffer.from(body).toString()) as WireRequest, (id) => id);
	if (contentType !== "application/x-protobuf") throw new Error(`not OTLP: ${contentType}`);
	const message = REQUEST.decode(body);
	const plain = REQUEST.toObject(message, { longs: String, bytes: String, defaults: false }) as WireRequest;
	return spansOf(plain, (base64) => Buffer.from(base64, "base64").toString("hex"));
}

/** A sum as it arrived. */
export interface CollectedSum {
	readonly name: string;
	readonly unit: string;
	readonly isCumulative: boolean;
	readonly attributes: Readonly<Record<string, string | number | boolean>>;
	readonly value: number;
	readonly start: bigint;
	readonly time: bigint;
	readonly service: string;
}

interface WireMetrics {
	readonly resourceMetrics: readonly {
		readonly resource: Pick<WireSpan, "attributes">;
		readonly scopeMetrics: readonly { readonly metrics?: readonly WireMetric[] }[];
	}[];
}
interface WireMetric {
	readonly name: string;
	readonly unit: string;
	readonly sum: {
		readonly aggregationTemporality: number;
		readonly isMonotonic: boolean;
		readonly dataPoints: readonly {
			readonly attributes?: WireSpan["attributes"];
			readonly startTimeUnixNano: string;
			readonly timeUnixNano: string;
			readonly asInt?: string;
		}[];
	};
}

/** The same of metrics. */
export function sumsIn(body: Uint8Array, contentType: string): CollectedSum[] {
	const { resourceMetrics } = (
		contentType === "application/json"
			? JSON.parse(Buffer.from(body).toString())
			: METRICS.toObject(METRICS.decode(body), { longs: String, defaults: false })
	) as WireMetrics;
	return resourceMetrics.flatMap(({ resource, scopeMetrics }) => {
		const service = String(valuesOf(resource.attributes ?? [])["service.name"]);
		return scopeMetrics.flatMap(({ metrics = [] }) =>
			metrics.flatMap(({ name, unit, sum }) =>
				sum.dataPoints.map(({ attributes, startTimeUnixNano, timeUnixNano, asInt = "0" }) => ({
					...{ name, unit, service, isCumulative: sum.aggregationTemporality === 2 && sum.isMonotonic },
					...{ attributes: valuesOf(attributes ?? []), value: Number(asInt) },
					...{ start: BigInt(startTimeUnixNano), time: BigInt(timeUnixNano) },
				})),
			),
		);
	});
}

function spansOf({ resourceSpans }: WireRequest, hex: (id: string) => string): CollectedSpan[] {
	return resourceSpans.flatMap(({ resource, scopeSpans }) => {
		const own = valuesOf(resource.attributes ?? []);
		return scopeSpans.flatMap(({ spans = [] }) =>
			spans.map((span) => ({
				traceId: hex(span.traceId),
				spanId: hex(span.spanId),
				parentId: span.parentSpanId ? hex(span.parentSpanId) : "",
				traceState: span.traceState ?? "",
				flags: span.flags ?? 0,
				name: span.name,
				kind: span.kind,
				start: BigInt(span.startTimeUnixNano),
				end: BigInt(span.endTimeUnixNano),
				attributes: valuesOf(span.attributes ?? []),
				types: Object.fromEntries((span.attributes ?? []).map(({ key, value }) => [key, Object.keys(value)[0]!])),
				status: span.status?.code ?? 0,
				service: String(own["service.name"]),
				resource: own,
			})),
		);
	});
}

function valuesOf(attributes: NonNullable<WireSpan["attributes"]>): CollectedSpan["attributes"] {
	return Object.fromEntries(
		attributes.map(({ key, value }) => {
			const [[type, held] = ["", ""]] = Object.entries(value);
			return [key, type === "intValue" ? Number(held) : held];
		}),
	);
}

/** One request that it got. */
export interface CollectedRequest {
	readonly path: string;
	readonly headers: Headers;
}

/** The collector. */
export interface OtlpCollector {
	/** `http://127.0.0.1:<port>` */
	readonly origin: string;
	readonly requests: readonly CollectedRequest[];
	readonly spans: readonly CollectedSpan[];
	/** Of the last request for metrics, by the service that it came from. */
	readonly sums: ReadonlyMap<string, readonly CollectedSum[]>;
	/** What could not be read. */
	readonly faults: readonly unknown[];
	/** Answers requests from now on with this, and takes none of their spans; undefined: takes them. */
	answer: ((request: CollectedRequest) => Response | Promise<Response>) | undefined;
	/** Waits until the spans meet this; gives them. */
	have(holds: (spans: readonly CollectedSpan[]) => boolean, what: string): Promise<readonly CollectedSpan[]>;
	stop(): Promise<void>;
}

/** Starts one. @param port a free one unless given */
export function startOtlpCollector(port = 0): OtlpCollector {
	const requests: CollectedRequest[] = [];
	const spans: CollectedSpan[] = [];
	const faults: unknown[] = [];
	const sums = new Map<string, readonly CollectedSum[]>();
	const server = Bun.serve({
		port,
		hostname: "127.0.0.1",
		idleTimeout: 0,
		async fetch(request) {
			const { pathname: path } = new URL(request.url);
			const bytes = Buffer.from(await request.arrayBuffer());
			const got = { path, headers: request.headers };
			requests.push(got);
			if (collector.answer) return collector.answer(got);
			const contentType = request.headers.get("content-type") ?? "";
			try {
				const body = request.headers.get("content-encoding") === "gzip" ? gunzipSync(bytes) : bytes;
				if (path.endsWith("/metrics")) {
					const got = sumsIn(body, contentType);
					sums.set(got[0]!.service, got);
				} else spans.push(...spansIn(body, contentType));
			} catch (fault) {
				faults.push(fault);
				return new Response("not OTLP", { status: 400 });
			}
			return taken(contentType);
		},
	});
	const collector: OtlpCollector = {
		origin: `http://127.0.0.1:${server.port}`,
		requests,
		spans,
		sums,
		faults,
		answer: undefined,
		async have(holds, what) {
			await until(() => holds(spans), what);
			if (faults.length > 0) throw faults[0];
			return spans;
		},
		stop: () => server.stop(true),
	};
	return collector;
}

/** The answer that says that all was taken, or all but some. */
export function taken(contentType: string, rejectedSpans = 0, errorMessage = ""): Response {
	const partialSuccess = rejectedSpans > 0 ? { rejectedSpans, errorMessage } : undefined;
	const headers = { "content-type": contentType };
	if (contentType === "application/json") {
		const rejected = partialSuccess && { partialSuccess: { ...partialSuccess, rejectedSpans: String(rejectedSpans) } };
		return new Response(JSON.stringify(rejected ?? {}), { headers });
	}
	return new Response(new Uint8Array(RESPONSE.encode(RESPONSE.fromObject({ partialSuccess })).finish()), { headers });
}
