import { describe, expect, test } from "bun:test";
import type { CallSettled } from "../src/telemetry/events.ts";
import { boundedLabels, statusLabel } from "../src/telemetry/labels.ts";
import { createMetrics } from "../src/telemetry/metrics.ts";

const call = (over: Partial<CallSettled> = {}): CallSettled => ({
	id: "cmpl-1",
	operation: "chat",
	stream: true,
	model: "gpt-5-mini",
	provider: "openai",
	status: 200,
	attempts: 1,
	ms: 1500,
	...over,
});

/** The value of one sample line, found by its whole name with labels. */
function sample(text: string, name: string): number | undefined {
	const line = text.split("\n").find((each) => each.startsWith(`${name} `));
	return line === undefined ? undefined : Number(line.slice(name.length + 1));
}

describe("metrics stay bounded and truthful", () => {
	test("the 501st model is counted as other, the first 500 keep their names", async () => {
		const { sink, text } = createMetrics("router");
		for (let i = 0; i < 520; i++) sink.callSettled(call({ model: `m${i}` }));
		sink.callSettled(call({ model: "m7" }));
		const page = await text();
		expect(sample(page, 'router_requests_total{model="m7",provider="openai",status="200"}')).toBe(2);
		expect(sample(page, 'router_requests_total{model="other",provider="openai",status="200"}')).toBe(20);
		expect(page).not.toContain('"m500"');
	});

	test("an impossible status is counted as other", () => {
		expect([200, 499, 599].map(statusLabel)).toEqual(["200", "499", "599"]);
		expect([0, 99, 600, 200.5, Number.NaN].map(statusLabel)).toEqual(["other", "other", "other", "other", "other"]);
	});

	test("a label bound of two lets a known value through after it is full", () => {
		const label = boundedLabels(2);
		expect(["a", "b", "c", "a", "d"].map(label)).toEqual(["a", "b", "other", "a", "other"]);
	});

	test("an upstream's nonsense usage neither throws nor counts", async () => {
		const { sink, text } = createMetrics("router");
		const tokens = { input: Number.NaN, output: -4, cached: Number.POSITIVE_INFINITY };
		sink.callSettled(call({ tokens, ms: Number.NaN, firstTokenMs: -1 }));
		const page = await text();
		expect(page).not.toContain("router_tokens_total{");
		expect(page).not.toContain("router_request_duration_seconds_count{");
		expect(sample(page, 'router_requests_total{model="gpt-5-mini",provider="openai",status="200"}')).toBe(1);
	});

	test("nor do numbers whose sum is none", async () => {
		const { sink, text } = createMetrics("router");
		const huge = { cost: Number.MAX_VALUE, tokens: { input: Number.MAX_VALUE, output: 1 } };
		for (let calls = 0; calls < 2; calls++) sink.callSettled(call(huge));
		const page = await text();
		expect(sample(page, 'router_requests_total{model="gpt-5-mini",provider="openai",status="200"}')).toBe(2);
		expect(sample(page, 'router_tokens_total{direction="output",model="gpt-5-mini",provider="openai"}')).toBe(2);
	});

	test("what never happened reads zero instead of being absent", async () => {
		const page = await createMetrics("router").text();
		for (const name of ["cache_hits", "cache_misses", "dropped_events", "crashes", "log_failures"])
			expect(sample(page, `router_${name}_total`)).toBe(0);
		expect(sample(page, "router_in_flight_requests")).toBe(0);
	});

	test("two registries in one process do not see each other's calls", async () => {
		const [one, two] = [createMetrics("router"), createMetrics("agent")];
		one.sink.callSettled(call());
		expect(await one.text()).toContain('provider="openai"');
		expect(await two.text()).not.toContain('provider="openai"');
		expect(sample(await two.text(), 'router_info{role="agent"}')).toBe(1);
	});
});

describe("metrics of a call", () => {
	test("in-flight counts up with an arrival and down with its settling, never below zero", async () => {
		const { sink, text } = createMetrics("router");
		sink.callStarted();
		sink.callStarted();
		expect(sample(await text(), "router_in_flight_requests")).toBe(2);
		for (let i = 0; i < 3; i++) sink.callSettled(call());
		expect(sample(await text(), "router_in_flight_requests")).toBe(0);
	});

	test("latency and time to first token land in seconds, in buckets up to ten minutes", async () => {
		const { sink, text } = createMetrics("router");
		sink.callSettled(call({ ms: 599_000, firstTokenMs: 40 }));
		const page = await text();
		const series = 'model="gpt-5-mini",provider="openai"';
		expect(sample(page, `router_request_duration_seconds_bucket{le="300",${series}}`)).toBe(0);
		expect(sample(page, `router_request_duration_seconds_bucket{le="600",${series}}`)).toBe(1);
		expect(sample(page, `router_request_duration_seconds_sum{${series}}`)).toBe(599);
		expect(sample(page, `router_time_to_first_token_seconds_bucket{le="0.025",${series}}`)).toBe(0);
		expect(sample(page, `router_time_to_first_token_seconds_bucket{le="0.05",${series}}`)).toBe(1);
	});

	test("tokens are counted by direction, cached and reasoning apart", async () => {
		const { sink, text } = createMetrics("router");
		sink.callSettled(call({ tokens: { input: 10, output: 20, cached: 4, reasoning: 7 } }));
		const page = await text();
		for (const [direction, count] of Object.entries({ input: 10, output: 20, cached: 4, reasoning: 7 }))
			expect(sample(page, `router_tokens_total{direction="${direction}",model="gpt-5-mini",provider="openai"}`)).toBe(
				count,
			);
	});

	test("attempts, failures by kind, dropped events, cache, crashes and log failures are counted", async () => {
		const metrics = createMetrics("router");
		const attempt = { callId: "c", provider: "venice", target: "t", ms: 1 };
		metrics.sink.attemptClosed({ ...attempt, failure: "overloaded" });
		metrics.sink.attemptClosed(attempt);
		metrics.sink.callSettled(call({ dropped: 3, cache: "hit" }));
		metrics.sink.callSettled(call({ cache: "miss" }));
		metrics.crash();
		metrics.logFailure();
		const page = await metrics.text();
		expect(sample(page, 'router_attempts_total{provider="venice"}')).toBe(2);
		expect(sample(page, 'router_upstream_failures_total{provider="venice",kind="overloaded"}')).toBe(1);
		for (const name of ["cache_hits", "cache_misses", "crashes", "log_failures"])
			expect(sample(page, `router_${name}_total`)).toBe(1);
		expect(sample(page, "router_dropped_events_total")).toBe(3);
	});

	test("what calls did after a failure is counted by the provider that failed", async () => {
		const { sink, text } = createMetrics("router");
		const said = { provider: "venice", failure: "overloaded" } as const;
		for (const how of ["retry", "failover", "refused", "hedge", "hedge-won"] as const)
			sink.attemptFollowed?.({ how, ...said });
		const page = await text();
		for (const name of ["retries", "failovers", "retries_refused", "hedges", "hedges_won"])
			expect(sample(page, `router_${name}_total{provider="venice"}`)).toBe(1);
	});

	test("lines and keys out of use are counted when they are asked for", async () => {
		const { sink, text, watchProxy } = createMetrics("router");
		let waiting = 3;
		watchProxy({ waiting: () => [["fast", waiting]], keysOut: () => [["venice", 2]] });
		sink.queued?.({ model: "fast", waitedMs: 300 });
		sink.queued?.({ model: "fast", refused: "full" });
		expect(sample(await text(), 'router_queue_waiting{model="fast"}')).toBe(3);
		waiting = 0;
		const page = await text();
		expect(sample(page, 'router_queue_waiting{model="fast"}')).toBe(0);
		expect(sample(page, 'router_keys_out_of_use{provider="venice"}')).toBe(2);
		expect(sample(page, 'router_queue_wait_seconds_sum{model="fast"}')).toBe(0.3);
		expect(sample(page, 'router_queue_refused_total{model="fast",reason="full"}')).toBe(1);
	});

	test("process metrics are live numbers, and none of Bun's zero heap spaces (trap: prom-client)", async () => {
		const { text } = createMetrics("router");
		const page = await text();
		expect(sample(page, "router_process_resident_memory_bytes")).toBeGreaterThan(10e6);
		expect(sample(page, "router_process_cpu_seconds_total")).toBeGreaterThan(0);
		expect(sample(await text(), "router_process_cpu_seconds_total")).toBeLessThan(3600);
		expect(page).not.toContain("heap_space");
	});
});
