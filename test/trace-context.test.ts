/** W3C Trace Context, and which traces are sent. */
import { describe, expect, test } from "bun:test";
import { createSampler } from "../src/telemetry/otel/sampler.ts";
import { newSpanId, newTraceId, readContext, traceparent } from "../src/telemetry/otel/trace-context.ts";
import { random } from "./kit/random.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";
const read = (headers: Record<string, string>) => readContext(new Headers(headers));

describe("a traceparent that is none by the standard begins no trace of its caller's:", () => {
	test.each([
		["nothing", {}],
		["an empty one", { traceparent: "" }],
		["capitals", { traceparent: `00-${TRACE.toUpperCase()}-${SPAN}-01` }],
		["a trace id of zeros", { traceparent: `00-${"0".repeat(32)}-${SPAN}-01` }],
		["a parent of zeros", { traceparent: `00-${TRACE}-${"0".repeat(16)}-01` }],
		["a short trace id", { traceparent: `00-${TRACE.slice(1)}-${SPAN}-01` }],
		["no flags", { traceparent: `00-${TRACE}-${SPAN}` }],
		["more than its version has", { traceparent: `00-${TRACE}-${SPAN}-01-more` }],
		["the version that is none", { traceparent: `ff-${TRACE}-${SPAN}-01` }],
		["what is behind it without a dash", { traceparent: `01-${TRACE}-${SPAN}-01more` }],
		["two in one", { traceparent: `00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01` }],
		["a state alone", { tracestate: "a=b" }],
	] as [string, Record<string, string>][])("%s", (_, headers) => expect(read(headers)).toBeUndefined());
});

describe("a traceparent is read", () => {
	test.each([
		["sampled", `00-${TRACE}-${SPAN}-01`, true],
		["not sampled", `00-${TRACE}-${SPAN}-00`, false],
		["with further flags", `00-${TRACE}-${SPAN}-03`, true],
		["with further flags alone", `00-${TRACE}-${SPAN}-02`, false],
		["of a later version", `cc-${TRACE}-${SPAN}-01`, true],
		["of a later version that has more", `cc-${TRACE}-${SPAN}-01-what-will-be`, true],
	])("%s", (_, header, sampled) => {
		expect(read({ traceparent: header })).toEqual({
			traceId: TRACE,
			spanId: SPAN,
			isSampled: sampled,
			traceState: undefined,
		});
	});

	test("with its state, unless that is longer than must be kept", () => {
		const header = `00-${TRACE}-${SPAN}-01`;
		expect(read({ traceparent: header, tracestate: "a=1,b=2" })?.traceState).toBe("a=1,b=2");
		expect(read({ traceparent: header, tracestate: `a=${"x".repeat(511)}` })?.traceState).toBeUndefined();
	});

	test.each([
		"words of a client's",
		"a",
		"A=1",
		"a=1,b=2=3",
		"=1",
		"a=\u00e9",
		" ",
		Array.from({ length: 33 }, (_, at) => `a${at}=1`).join(","),
	])("without a state that is none: %p", (tracestate) => {
		const context = read({ traceparent: `00-${TRACE}-${SPAN}-01`, tracestate });
		expect([context?.traceId, context?.traceState]).toEqual([TRACE, undefined]);
	});

	test.each(["a=1, b=2", "a=1,,b=2", "tenant@vendor=x y;z:1", "rojo=00f067aa0ba902b7"])(
		"with the state %p",
		(tracestate) => {
			expect(read({ traceparent: `00-${TRACE}-${SPAN}-01`, tracestate })?.traceState).toBe(tracestate);
		},
	);

	test("as it is written", () => {
		for (const sampled of [true, false]) {
			const context = read({ traceparent: traceparent(TRACE, SPAN, sampled) });
			expect([context?.traceId, context?.spanId, context?.isSampled]).toEqual([TRACE, SPAN, sampled]);
		}
	});
});

test("ids are as long as they have to be, and never come twice", () => {
	const ids = Array.from({ length: 20_000 }, (_, at) => (at % 2 ? newTraceId() : newSpanId()));
	expect(ids.filter((id, at) => !(at % 2 ? /^[\da-f]{32}$/ : /^[\da-f]{16}$/).test(id))).toEqual([]);
	expect(new Set(ids).size).toBe(ids.length);
});

describe("which traces are sent", () => {
	const numbers = random(7);
	const next = () =>
		numbers
			.below(2 ** 32)
			.toString(16)
			.padStart(8, "0");
	const ids = Array.from({ length: 20_000 }, () => Array.from({ length: 4 }, next).join(""));

	test.each([0, 0.001, 0.1, 0.5, 0.999, 1])("of new ones a share of %d", (ratio) => {
		const sent = ids.filter((id) => createSampler({ isParentBased: true, ratio })(id, undefined)).length;
		const expected = ids.length * ratio;
		// Five standard errors.
		expect(Math.abs(sent - expected)).toBeLessThanOrEqual(5 * Math.sqrt(expected * (1 - ratio)));
	});

	test("those of a smaller share are among those of a larger one", () => {
		const few = ids.filter((id) => createSampler({ isParentBased: false, ratio: 0.1 })(id, undefined));
		expect(few.every((id) => createSampler({ isParentBased: false, ratio: 0.2 })(id, undefined))).toBe(true);
	});

	test.each([
		[true, true, 0, true],
		[true, false, 1, false],
		[false, true, 0, false],
		[false, false, 1, true],
	])(
		"where callers' decisions count (%p) and one is %p, of a share of %d: %p",
		(isParentBased, parent, ratio, sent) => {
			expect(createSampler({ isParentBased, ratio })(TRACE, parent)).toBe(sent);
		},
	);
});
