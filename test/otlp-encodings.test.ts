/** Spans in OTLP's two encodings, read by another decoder than the router's; and the answers of collectors. */
import { describe, expect, test } from "bun:test";
import { attemptSpan, callSpans, type Span } from "../src/telemetry/otel/call-spans.ts";
import { unixNanos } from "../src/telemetry/otel/otlp.ts";
import { OTLP_JSON } from "../src/telemetry/otel/otlp-json.ts";
import { OTLP_PROTOBUF } from "../src/telemetry/otel/otlp-protobuf.ts";
import { ProtobufWriter } from "../src/telemetry/otel/protobuf.ts";
import { type CollectedSpan, spansIn, taken } from "./kit/otlp-collector.ts";
import { tracedAttempt, tracedCall } from "./kit/spans.ts";

const SOURCE = { resource: { "service.name": "router", "host.name": "höst" }, scope: { name: "router", version: "1" } };
const encodings = [OTLP_JSON, OTLP_PROTOBUF] as const;
const both = [
	["http/json", OTLP_JSON],
	["http/protobuf", OTLP_PROTOBUF],
] as const;

function sent(encoding: (typeof encodings)[number], spans: readonly Span[]): CollectedSpan[] {
	const written = spans.map((span) => encoding.span(span));
	return spansIn(Buffer.concat(encoding.traces(written, SOURCE)), encoding.contentType);
}

describe.each(both)("%s", (_, encoding) => {
	test("an answer that is none throws, and one cut off does", () => {
		expect(() => encoding.rejected(Buffer.from([0xff, 0xff]))).toThrow();
		expect(() => encoding.rejected(Buffer.from([0x0a, 0x20, 0x08]))).toThrow();
	});

	test.each([
		[0, ""],
		[7, "the tenant is över its limit"],
		[300, "x".repeat(300)],
	])("an answer that refuses %d spans is read", async (spans, message) => {
		const answer = Buffer.from(await taken(encoding.contentType, spans, message).arrayBuffer());
		expect(encoding.rejected(answer)).toEqual({ count: spans, message });
	});

	test("a span has its ids, times, flags and state, and each attribute its type", () => {
		const [span] = callSpans(
			tracedCall(
				{ cost: 0, tokens: { input: 3_000_000_000, output: 0 }, ms: 1000.5, status: 503, error: "overloaded" },
				{ spanId: "00f067aa0ba902b7", parentId: "0af7651916cd43dd", isRemote: true, traceState: "a=1" },
			),
			tracedCall({}, { spanId: "00f067aa0ba902b7", parentId: "0af7651916cd43dd", isRemote: true, traceState: "a=1" })
				.trace!.span!,
		);
		const [got] = sent(encoding, [{ ...span!, traceId: "4bf92f3577b34da6a3ce929d0e0e4736" }]);
		expect(got).toMatchObject({
			traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
			spanId: "00f067aa0ba902b7",
			parentId: "0af7651916cd43dd",
			traceState: "a=1",
			flags: 0x301,
			name: "POST /v1/chat/completions",
			kind: 2,
			start: 1_790_000_000_000_250_000n,
			end: 1_790_000_001_000_750_000n,
			status: 2,
			service: "router",
			resource: { "host.name": "höst" },
		});
		expect(got!.attributes).toMatchObject({ "router.input_tokens": 3_000_000_000, "router.output_tokens": 0 });
		expect([got!.types["router.cost_usd"], got!.types["router.output_tokens"]]).toEqual(["doubleValue", "intValue"]);
		expect(got!.types["gen_ai.request.stream"] ?? "boolValue").toBe("boolValue");
	});

	test("texts of any length and script arrive as they are", () => {
		for (const model of ["", "模型", "a".repeat(199), "😀".repeat(60), '\u0000\n"\\']) {
			const attempt = tracedAttempt({}, { model });
			const [got] = sent(encoding, [attemptSpan(attempt, attempt.span!)]);
			expect(got!.attributes["gen_ai.request.model"]).toBe(model);
		}
	});

	test("a resource has attributes of any name", () => {
		const long = { ["k".repeat(200)]: "v".repeat(20_000), "": "" };
		const attempt = tracedAttempt();
		const written = encoding.span(attemptSpan(attempt, attempt.span!));
		const body = Buffer.concat(encoding.traces([written], { ...SOURCE, resource: long }));
		expect(spansIn(body, encoding.contentType)[0]!.resource).toEqual(long);
	});

	test("no span, one and five hundred make one request", () => {
		for (const count of [0, 1, 500]) {
			const attempts = Array.from({ length: count }, (_each, number) => tracedAttempt({ number }));
			const got = sent(
				encoding,
				attempts.map((attempt) => attemptSpan(attempt, attempt.span!)),
			);
			expect(got.map(({ spanId }) => spanId)).toEqual(attempts.map(({ span }) => span!.spanId));
		}
	});
});

test("both encodings say the same", () => {
	const call = tracedCall({ cost: 0.001, cache: "hit" });
	const spans = callSpans(call, call.trace!.span!);
	expect(sent(OTLP_PROTOBUF, spans)).toEqual(sent(OTLP_JSON, spans));
});

test.each([
	[1_790_000_000_000, "1790000000000000000"],
	[1_790_000_000_000.5, "1790000000000500000"],
	[0.25, "0250000"],
	[0, "0000000"],
	[1_790_000_000_000.999, "1790000000000999023"],
	[4_294_967_295.75, "4294967295750000"],
	[8_000_000_000_000, "8000000000000000000"],
])("%d ms are %s ns, in bytes, too", (ms, nanos) => {
	expect(unixNanos(ms)).toBe(nanos);
	const writer = new ProtobufWriter();
	writer.nanos(1, ms);
	expect(writer.take().readBigUInt64LE(1)).toBe(BigInt(nanos));
});
