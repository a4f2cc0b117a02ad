/** A call's trace while it runs: whose children its spans are, why attempts were made, and what its upstreams are told. */
import { describe, expect, test } from "bun:test";
import { Tracer } from "../src/telemetry/otel/call-trace.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT = "00f067aa0ba902b7";
const chat = { operation: "chat", stream: false } as const;
const target = { model: "m", provider: { priceId: "openai" } };

function traceOf(headers: Record<string, string> = {}, ratio = 1) {
	const tracer = new Tracer({ isParentBased: true, ratio });
	const trace = tracer.begin(new Request("http://localhost/v1", { headers }), "/v1", performance.now());
	/** An attempt, and the headers that it is sent with. */
	const attempt = (isSecond = false, sent: Record<string, string> = {}) => {
		const request = { url: "https://api.openai.com/v1/chat/completions", headers: { ...headers, ...sent } };
		return { span: trace.attempt(request, chat, target, isSecond), headers: request.headers };
	};
	return { trace, attempt };
}

describe("a trace that is not sent", () => {
	test("has no span, no step and no wait, and says so to upstreams", () => {
		const { trace, attempt } = traceOf({}, 0);
		trace.queued({ model: "m", waitedMs: 100 });
		expect(trace.begin("cache")).toBeUndefined();
		const { span, headers } = attempt();
		expect([span, trace.settled().span]).toEqual([undefined, undefined]);
		expect(headers["traceparent"]).toMatch(new RegExp(`^00-${trace.settled().traceId}-[\\da-f]{16}-00$`));
	});

	test("has one id for all its attempts, in the trace of its client, and passes on the state of that alone", () => {
		const { trace, attempt } = traceOf({ traceparent: `00-${TRACE}-${PARENT}-00`, tracestate: "a=1" });
		const [one, two] = [attempt(), attempt(true)];
		expect(trace.settled()).toEqual({ traceId: TRACE });
		expect(one.headers).toEqual(two.headers);
		expect(one.headers["traceparent"]).not.toContain(PARENT);
		expect(one.headers["tracestate"]).toBe("a=1");
		expect(traceOf({}, 0).attempt(false, { tracestate: "a=1" }).headers).not.toHaveProperty("tracestate");
	});
});

describe("an attempt", () => {
	test("is a child of its call, with a parent of its own in what it is sent with", () => {
		const { trace, attempt } = traceOf({ traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: "a=1" });
		const [one, two] = [attempt(), attempt()];
		const call = trace.settled().span!;
		expect([call.traceId, call.parentId, call.isRemote]).toEqual([TRACE, PARENT, true]);
		expect([one.span!.parentId, two.span!.parentId]).toEqual([call.spanId, call.spanId]);
		expect(one.span!.spanId).not.toBe(two.span!.spanId);
		for (const { span, headers } of [one, two]) {
			expect(headers).toEqual({ traceparent: `00-${TRACE}-${span!.spanId}-01`, tracestate: "a=1" });
		}
		expect(one.span).toMatchObject({
			model: "m",
			vendor: "openai",
			origin: "https://api.openai.com",
			traceState: "a=1",
		});
	});

	test.each(["retry", "failover"] as const)("after a %s says so, and the one after that does not", (how) => {
		const { trace, attempt } = traceOf();
		expect(attempt().span!.reason).toBeUndefined();
		trace.followed({ how, provider: "box" });
		expect(attempt().span!.reason).toBe(how);
		expect(attempt().span!.reason).toBeUndefined();
	});

	test("beside another one is a hedge; what is told of those that were not made, or not used, makes none", () => {
		const { trace, attempt } = traceOf();
		trace.followed({ how: "hedge", provider: "box" });
		expect(attempt(true).span!.reason).toBe("hedge");
		trace.followed({ how: "hedge-won", provider: "box" });
		trace.followed({ how: "refused", provider: "box" });
		expect(attempt().span!.reason).toBeUndefined();
	});

	test("for the rest of an answer is a child of the resume, and those behind it are the call's", () => {
		const { trace, attempt } = traceOf();
		const step = trace.begin("resume")!;
		const [first, second] = [attempt(), attempt()];
		trace.end(step);
		const after = attempt();
		expect([first.span!.parentId, second.span!.parentId]).toEqual([step.spanId, step.spanId]);
		expect([first.span!.reason, second.span!.reason, after.span!.reason]).toEqual(["resume", "resume", undefined]);
		expect(after.span!.parentId).toBe(trace.settled().span!.spanId);
		expect(trace.settled().span!.steps).toEqual([step]);
		expect(step.ms).toBeGreaterThanOrEqual(0);
	});
});

describe("a step", () => {
	test("that took no time is none", () => {
		const { trace } = traceOf();
		trace.drop(trace.begin("cache")!);
		trace.queued({ model: "m", waitedMs: 0.2 });
		expect(trace.settled().span!.steps).toEqual([]);
	});

	test("of a queue says how long, or why not", () => {
		const { trace } = traceOf();
		trace.queued({ model: "m", waitedMs: 40 });
		trace.queued({ model: "m", refused: "full" });
		const { steps, startedAt } = trace.settled().span!;
		expect(steps.map(({ name, ms, refused }) => [name, ms, refused])).toEqual([
			["queue", 40, undefined],
			["queue", 0, "full"],
		]);
		expect(steps[1]!.startedAt).toBeGreaterThanOrEqual(startedAt);
	});
});

test("times are Unix time, and follow the call's own clock", () => {
	const before = Date.now();
	const { trace, attempt } = traceOf();
	const { span } = attempt();
	const after = Date.now();
	expect(trace.settled().span!.startedAt).toBeWithin(before - 1, after + 2);
	expect(span!.startedAt).toBeGreaterThanOrEqual(trace.settled().span!.startedAt);
});
