/** One trace over several processes: a client, the router, its agent, and the engine there; and over the worker threads of a router. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { DONE, finishEvent, textEvent, usageEvent } from "./kit/events.ts";
import { type CollectedSpan, type OtlpCollector, startOtlpCollector } from "./kit/otlp-collector.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { CLIENT, SERVER, tracedBy, traceOf } from "./kit/traced-router.ts";
import { until } from "./kit/until.ts";

const TOKEN = "the-shared-agent-token";
const hex = (bytes: number) => Buffer.from(crypto.getRandomValues(new Uint8Array(bytes))).toString("hex");

let collector: OtlpCollector;
/** A vLLM that is traced: it sends a span of its own, whose parent is the `traceparent` that its call brought. */
let engine: Bun.Server<undefined>;
const engineSpans = new Set<string>();
beforeAll(() => {
	collector = startOtlpCollector();
	engine = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		async fetch(request) {
			const { pathname } = new URL(request.url);
			if (pathname === "/v1/models") return Response.json({ object: "list", data: [{ id: "qwen", object: "model" }] });
			if (request.method === "GET") return new Response("");
			await sendEngineSpan(request.headers.get("traceparent")!);
			const { stream } = (await request.json()) as { stream?: boolean };
			const events = [textEvent("Hello"), finishEvent(), usageEvent(), DONE].join("");
			if (stream) return new Response(events, { headers: { "content-type": "text/event-stream" } });
			const choice = { index: 0, message: { role: "assistant", content: "Hello" }, finish_reason: "stop" };
			return Response.json({ id: "x", object: "chat.completion", created: 1, model: "qwen", choices: [choice] });
		},
	});
});
afterAll(async () => {
	engine.stop(true);
	await collector.stop();
});

async function sendEngineSpan(header: string): Promise<void> {
	const [, traceId, parentSpanId] = header.split("-");
	const nanos = String(BigInt(Math.floor(performance.timeOrigin + performance.now())) * 1_000_000n);
	const times = { startTimeUnixNano: nanos, endTimeUnixNano: nanos };
	const span = { traceId, spanId: hex(8), parentSpanId, name: "llm_request", kind: SERVER, ...times };
	engineSpans.add(span.spanId);
	const resource = { attributes: [{ key: "service.name", value: { stringValue: "vllm" } }] };
	await fetch(`${collector.origin}/v1/traces`, {
		method: "POST",
		headers: { "content-type": "application/json" },
		body: JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ scope: { name: "vllm" }, spans: [span] }] }] }),
	});
}

async function routerAndAgent(tunnel: boolean, protocol: string): Promise<[RunningRouter, RunningRouter]> {
	const traced = { ...tracedBy(collector), OTEL_EXPORTER_OTLP_PROTOCOL: protocol };
	const router = await startRouter({ env: { ROUTER_AGENT_TOKEN: TOKEN, ...traced } });
	const agent = await startRouter({
		args: ["--agent", "--router", router.url, ...(tunnel ? ["--tunnel"] : [])],
		env: {
			...{ ROUTER_AGENT_TOKEN: TOKEN, ROUTER_AGENT_NAME: "gpu-1", AGENT_PORT: "0" },
			...{ VLLM_BASE_URL: engine.url.origin, ...traced },
		},
	});
	await until(
		async () => (await (await fetch(`${router.url}/v1/models`)).text()).includes('"local/qwen"'),
		"the model",
	);
	return [router, agent];
}

/** Each span with its parent, from the first. */
function chain(spans: readonly CollectedSpan[], last: CollectedSpan): CollectedSpan[] {
	const parent = spans.find(({ spanId }) => spanId === last.parentId);
	return parent ? [...chain(spans, parent), last] : [last];
}

describe.each([
	["at its address", false, "http/json"],
	["through its tunnel", true, "http/protobuf"],
] as const)("router, agent and engine, where the agent is called %s (%s, %s)", (_, tunnel, protocol) => {
	let router: RunningRouter;
	let agent: RunningRouter;
	beforeAll(async () => {
		[router, agent] = await routerAndAgent(tunnel, protocol);
	});
	afterAll(async () => {
		await agent.stop();
		await router.stop();
	});

	test.each([false, true])("one trace, each the parent of the next (stream: %p)", async (stream) => {
		const root = { traceId: hex(16), spanId: hex(8) };
		const answer = await fetch(`${router.url}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json", traceparent: `00-${root.traceId}-${root.spanId}-01` },
			body: JSON.stringify({ model: "local/qwen", stream, messages: [{ role: "user", content: "hi" }] }),
		});
		await answer.text();
		expect(answer.status).toBe(200);
		const spans = await collector.have(
			(all) => all.filter(({ traceId }) => traceId === root.traceId).length >= 5,
			"five spans",
		);
		const ours = spans.filter(({ traceId }) => traceId === root.traceId);
		const engines = ours.find(({ spanId }) => engineSpans.has(spanId))!;
		const path = chain(ours, engines);
		expect(path[0]!.parentId).toBe(root.spanId);
		expect(path.map(({ service, kind, name }) => [service, kind, name])).toEqual([
			["router", SERVER, "POST /v1/chat/completions"],
			["router", CLIENT, "chat qwen"],
			["router-agent", SERVER, "POST /v1/chat/completions"],
			["router-agent", CLIENT, "chat qwen"],
			["vllm", SERVER, "llm_request"],
		]);
		expect(ours).toHaveLength(5);
		expect(path[1]!.attributes).toMatchObject({ "router.agent": "gpu-1" });
		// Each begins within the one before, on one machine: clocks are read to the millisecond, and agree within one.
		for (const [at, span] of path.slice(1, 4).entries()) expect(span.start >= path[at]!.start - 1_000_000n).toBe(true);
	});
});

/** Whatever becomes of the test. */
const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0)) await stop();
});

test("the calls of all worker threads are sent by the process", async () => {
	const router = await startRouter({
		env: tracedBy(collector),
		config: { server: { workers: 2 }, providers: { vllm: { type: "vllm", base_url: engine.url.origin } } },
	});
	stops.push(() => router.stop());
	const ids: string[] = [];
	for (let at = 0; at < 30; at++) {
		const answer = await fetch(`${router.url}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json", connection: "close" },
			body: JSON.stringify({ model: "vllm/qwen", messages: [{ role: "user", content: "hi" }] }),
		});
		expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining("Hello")]);
		ids.push(answer.headers.get("x-request-id")!);
	}
	for (const id of ids) {
		const { call, rest } = await traceOf(collector, id, 2);
		expect(chain([call, ...rest], rest.find(({ spanId }) => engineSpans.has(spanId))!)).toHaveLength(3);
	}
	expect(collector.spans.filter(({ resource }) => resource["service.name"] === "router").length).toBeGreaterThan(60);
	expect(await router.metric("router_spans_dropped_total")).toBe(0);
});
