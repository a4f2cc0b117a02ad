/** The traces of a router's calls, as a collector gets them. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { callText } from "../src/cli/admin-tables.ts";
import type { FoundCall } from "../src/server/admin/past-calls.ts";
import { choiceEvent, DONE, finishEvent, goodStream, textEvent, usageEvent } from "./kit/events.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, streams } from "./kit/faults.ts";
import { CONTENTS } from "./kit/genai-conventions.ts";
import { type CollectedSpan, type OtlpCollector, startOtlpCollector } from "./kit/otlp-collector.ts";
import { type ClientAnswer, post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { CLIENT, INTERNAL, SERVER, tracedBy, traceOf } from "./kit/traced-router.ts";
import { until } from "./kit/until.ts";

const CHAT = "/v1/chat/completions";
const PROMPT = "what only the prompt says";
const ANSWER = "what only the answer says";
const KEY = "sk-key-of-the-client";
const ADMIN = "the-key-of-an-administrator";
const messages = [{ role: "user", content: PROMPT }];
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT = "00f067aa0ba902b7";
const whole = JSON.stringify({
	...{ id: "x", object: "chat.completion", created: 1, model: "m" },
	choices: [{ index: 0, message: { role: "assistant", content: ANSWER }, finish_reason: "stop" }],
	usage: { prompt_tokens: 9, completion_tokens: 4, prompt_tokens_details: { cached_tokens: 6 } },
});

const first = startFaultUpstream();
const second = startFaultUpstream();
let collector: OtlpCollector;
let router: RunningRouter;
beforeAll(async () => {
	collector = startOtlpCollector();
	router = await startRouter({
		env: { ...tracedBy(collector), OPENAI_API_KEY: "sk-secret-of-the-upstream" },
		config: {
			cache: { enabled: true },
			admin: { keys: [{ name: "boss", key: ADMIN }] },
			keys: [{ name: "someone", key: KEY, team: "red" }],
			providers: {
				one: { type: "vllm", base_url: first.origin },
				two: { type: "vllm", base_url: second.origin },
				paid: { type: "openai", base_url: first.origin, api_key: "sk-secret-of-the-upstream" },
			},
			models: [
				{ name: "fast", policy: "order", targets: ["one/a", "two/b"], cache: { enabled: false } },
				{ name: "kept", targets: ["one/a"], cache: { enabled: true, ttl: "1h" } },
				// A target that fails is kept out of use for a while: each test has its own.
				{ name: "failing", policy: "order", targets: ["one/failing", "two/b"], cache: { enabled: false } },
				{ name: "dead", targets: ["one/dead"], cache: { enabled: false } },
				{ name: "breaking", policy: "order", targets: ["one/breaking", "two/b"], cache: { enabled: false } },
				{ name: "narrow", targets: ["one/a"], concurrency: 1, queue: 5, cache: { enabled: false } },
			],
		},
	});
});
beforeEach(() => {
	for (const upstream of [first, second]) upstream.run(answers("200 OK", whole));
});
afterAll(async () => {
	await router.stop();
	await collector.stop();
	for (const upstream of [first, second]) upstream.stop();
});

const call = (body: object, headers: Record<string, string> = {}): Promise<ClientAnswer> =>
	post(router.url + CHAT, { messages, ...body }, { authorization: `Bearer ${KEY}`, ...headers });
const idOf = ({ headers }: ClientAnswer) => headers.get("x-request-id")!;
const sentHeader = (upstream: typeof first, at = -1) => upstream.received.at(at)!.headers.get("traceparent");
const headerOf = ({ traceId, spanId }: CollectedSpan) => `00-${traceId}-${spanId}-01`;

describe("a call that", () => {
	test("fails at one target and goes on at another has a span for each attempt, with what became of it", async () => {
		first.run(answers("500 Internal Server Error", '{"error":{"message":"broken"}}'));
		const answer = await call({ model: "failing" });
		const { call: span, rest } = await traceOf(collector, idOf(answer), 3);
		const [failed, again, good] = rest;
		expect(answer.status).toBe(200);
		expect(rest.every(({ kind, parentId }) => kind === CLIENT && parentId === span.spanId)).toBe(true);
		expect(failed).toMatchObject({ status: 2, name: "chat failing" });
		expect(failed!.attributes).toMatchObject({ "http.response.status_code": 500, "router.target": "one/failing" });
		expect(failed!.attributes["router.attempt.reason"]).toBeUndefined();
		expect(again!.attributes).toMatchObject({ "router.attempt": 2, "router.attempt.reason": "retry" });
		expect(failed!.attributes["error.type"]).toBeString();
		expect(good).toMatchObject({ status: 0, name: "chat b" });
		expect(good!.attributes).toMatchObject({ "router.attempt": 3, "router.attempt.reason": "failover" });
		expect(good!.attributes["error.type"]).toBeUndefined();
		const headers = [sentHeader(first, 0), sentHeader(first, 1), sentHeader(second)];
		expect(headers).toEqual([failed!, again!, good!].map(headerOf));
		expect(span.attributes).toMatchObject({ "router.attempts": 3, "http.response.status_code": 200 });
		expect(span.status).toBe(0);
	});

	test("is refused for want of a key is its client's mistake, and no error of the router's", async () => {
		const answer = await post(router.url + CHAT, { model: "fast", messages }, { authorization: "Bearer wrong" });
		const { call: span } = await traceOf(collector, idOf(answer), 0);
		expect([answer.status, span.status]).toEqual([401, 0]);
		expect(span.attributes).toMatchObject({ "http.response.status_code": 401, "error.type": "invalid_api_key" });
	});

	test("nobody answers is an error", async () => {
		for (const upstream of [first, second]) upstream.run((connection) => connection.destroy());
		const answer = await call({ model: "dead" });
		const attempts = Number(answer.headers.get("x-router-attempts"));
		const { call: span, rest } = await traceOf(collector, idOf(answer), attempts);
		expect([answer.status >= 500, span.status, rest.at(-1)!.status]).toEqual([true, 2, 2]);
		expect(rest.slice(1).every(({ attributes }) => attributes["router.attempt.reason"] === "retry")).toBe(true);
	});

	test("breaks off and goes on elsewhere has a resume, whose child the attempt for the rest is", async () => {
		first.run(async (connection) => {
			await begins([choiceEvent({ role: "assistant", content: "" }), textEvent("Hello ")])(connection);
			await Bun.sleep(20);
			connection.destroy();
		});
		second.run(streams([textEvent("world"), finishEvent(), usageEvent(), DONE]));
		const answer = await call({ model: "breaking", stream: true });
		expect(answer.text).toContain("[DONE]");
		const { call: span, rest } = await traceOf(collector, idOf(answer), 3);
		const [broken, resume, further] = rest;
		expect([broken!.name, resume!.name, further!.name]).toEqual(["chat breaking", "resume", "chat b"]);
		expect([broken!.parentId, resume!.parentId, further!.parentId]).toEqual([span.spanId, span.spanId, resume!.spanId]);
		expect([broken!.status, resume!.kind, further!.status]).toEqual([2, INTERNAL, 0]);
		expect(further!.attributes["router.attempt.reason"]).toBe("resume");
		expect(resume!.start <= further!.start && resume!.end <= span.end).toBe(true);
	});

	test("waits for its turn has a queue", async () => {
		const open = Promise.withResolvers<void>();
		first.run(async (connection) => {
			if (connection.nth === 0) await open.promise;
			await answers("200 OK", whole)(connection);
		});
		const running = first.next();
		const before = call({ model: "narrow" });
		await running;
		const waiting = call({ model: "narrow" });
		// Not asserted by the clock: it only has to have come to the queue.
		await router.printed(/listening/);
		for (let look = 0; (await router.metric("router_queue_waiting")) < 1 && look < 200; look++) await Bun.sleep(10);
		open.resolve();
		await before;
		const { rest } = await traceOf(collector, idOf(await waiting), 2);
		const [queue, attempt] = rest;
		expect([queue!.name, queue!.kind, attempt!.name]).toEqual(["queue", INTERNAL, "chat a"]);
		expect(queue!.end <= attempt!.start).toBe(true);
	});

	test("the cache answers has a look into it, and no attempt", async () => {
		const body = { model: "kept", temperature: 0, seed: 1 };
		await traceOf(collector, idOf(await call(body)), 1);
		const before = first.received.length;
		const again = await call(body);
		const { call: span, rest } = await traceOf(collector, idOf(again), 1);
		expect([rest[0]!.name, rest[0]!.attributes["router.cache"], first.received.length]).toEqual([
			"cache",
			"hit",
			before,
		]);
		expect(span.attributes).toMatchObject({ "router.cache": "hit", "router.attempts": 0 });
	});
});

describe("a span", () => {
	test("says of a whole answer who gave it, what it took and what it cost", async () => {
		const answer = await call({ model: "paid/gpt-5-mini" });
		const { call: span, rest } = await traceOf(collector, idOf(answer), 1);
		expect(span.attributes).toMatchObject({
			"http.request.method": "POST",
			"http.route": CHAT,
			"http.response.status_code": 200,
			"gen_ai.operation.name": "chat",
			"gen_ai.request.model": "paid/gpt-5-mini",
			"router.key.id": "config:someone",
			"router.team": "red",
			"router.input_tokens": 9,
			"router.output_tokens": 4,
		});
		expect(span.parentId).toBe("");
		expect(rest[0]!.attributes).toMatchObject({
			"gen_ai.operation.name": "chat",
			// The vendor's, whatever the configuration calls it.
			"gen_ai.provider.name": "openai",
			"gen_ai.request.model": "gpt-5-mini",
			"gen_ai.usage.input_tokens": 9,
			"gen_ai.usage.output_tokens": 4,
			"gen_ai.usage.cache_read.input_tokens": 6,
			"server.address": "127.0.0.1",
			"server.port": Number(new URL(first.origin).port),
			"router.provider": "paid",
		});
		expect(span.types["router.cost_usd"]).toBe("doubleValue");
		expect(span.start <= rest[0]!.start && rest[0]!.end <= span.end).toBe(true);
		expect(span.resource).toMatchObject({ "service.name": "router" });
	});

	test("of a call that is passed on has its route, too", async () => {
		const body = { model: "paid/omni-moderation-latest", input: PROMPT };
		const answer = await post(`${router.url}/v1/moderations`, body, { authorization: `Bearer ${KEY}` });
		const { call: span, rest } = await traceOf(collector, idOf(answer), 1);
		expect([answer.status, span.name, rest[0]!.name]).toEqual([
			...[200, "POST /v1/moderations", "moderations omni-moderation-latest"],
		]);
		expect(sentHeader(first)).toBe(headerOf(rest[0]!));
	});

	test("of a stream says when its first piece came", async () => {
		first.run(streams(goodStream()));
		const answer = await call({ model: "fast", stream: true });
		const { call: span, rest } = await traceOf(collector, idOf(answer), 1);
		expect(rest[0]!.attributes["gen_ai.request.stream"]).toBe(true);
		expect(rest[0]!.attributes["gen_ai.response.time_to_first_chunk"]).toBeNumber();
		expect(span.attributes["router.time_to_first_token"]).toBeNumber();
		expect(rest[0]!.types["gen_ai.response.time_to_first_chunk"]).toBe("doubleValue");
	});
});

describe("a caller's trace", () => {
	test("goes on, with its state", async () => {
		const answer = await call({ model: "fast" }, { traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: "a=1,b=2" });
		const { call: span, rest } = await traceOf(collector, idOf(answer), 1);
		expect([span.traceId, span.parentId, span.traceState, span.flags]).toEqual([TRACE, PARENT, "a=1,b=2", 0x301]);
		expect([rest[0]!.parentId, rest[0]!.flags]).toEqual([span.spanId, 0x101]);
		expect([sentHeader(first), first.received.at(-1)!.headers.get("tracestate")]).toEqual([
			headerOf(rest[0]!),
			"a=1,b=2",
		]);
	});

	test("that is not sampled is not sent, and is passed on as such", async () => {
		const trace = TRACE.replace("4", "5");
		const answer = await call({ model: "fast" }, { traceparent: `00-${trace}-${PARENT}-00` });
		expect(sentHeader(first)).toMatch(new RegExp(`^00-${trace}-(?!${PARENT})[\\da-f]{16}-00$`));
		// What comes behind it has been sent: so would this have been.
		await traceOf(collector, idOf(await call({ model: "fast" })), 1);
		expect(collector.spans.filter(({ traceId }) => traceId === trace)).toEqual([]);
		await router.printed(new RegExp(`"id":"${idOf(answer)}","trace_id":"${trace}"`));
	});

	test("that is none begins a new one, and its state goes no further", async () => {
		const answer = await call({ model: "fast" }, { traceparent: `00-${TRACE}-${PARENT}`, tracestate: "a=1" });
		const { call: span } = await traceOf(collector, idOf(answer), 1);
		expect([span.traceId === TRACE, span.parentId, span.traceState]).toEqual([false, "", ""]);
		expect(first.received.at(-1)!.headers.get("tracestate")).toBeNull();
	});

	test("brings no baggage to an upstream", async () => {
		await call({ model: "fast" }, { baggage: "user=1" });
		expect(first.received.at(-1)!.headers.get("baggage")).toBeNull();
	});
});

test("the log and the ledger name the trace", async () => {
	const answer = await call({ model: "fast" });
	const { call: span } = await traceOf(collector, idOf(answer), 1);
	await router.printed(new RegExp(`"id":"${idOf(answer)}","trace_id":"${span.traceId}"`));
	const past = await fetch(`${router.url}/admin/calls/${idOf(answer)}`, {
		headers: { authorization: `Bearer ${ADMIN}` },
	});
	const shown = (await past.json()) as FoundCall;
	expect(shown).toMatchObject({ id: idOf(answer), trace: span.traceId });
	expect(callText(shown)).toContain(`\ntrace ${span.traceId}\n`);
});

test("no prompt, answer or secret is in what was sent, and nothing that is named for them", async () => {
	expect(collector.spans.length).toBeGreaterThan(10);
	const text = JSON.stringify(collector.spans, (_, value) => (typeof value === "bigint" ? String(value) : value));
	for (const secret of [PROMPT, ANSWER, "Hello", KEY, "sk-secret-of-the-upstream"]) expect(text).not.toContain(secret);
	for (const name of CONTENTS) expect(text).not.toContain(name);
	expect(collector.faults).toEqual([]);
	expect([
		await router.metric("router_spans_dropped_total"),
		collector.requests.every(({ path }) => path === "/v1/traces" || path === "/v1/metrics"),
	]).toEqual([0, true]);
	expect(await router.metric("router_spans_exported_total")).toBe(collector.spans.length);
});

test("a call's span is a server's, an attempt's a client's, and all others are within", () => {
	const kinds = new Set(collector.spans.map(({ kind }) => kind));
	expect([...kinds].sort()).toEqual([INTERNAL, SERVER, CLIENT]);
});

test("the tokens of all calls are counted, as the ledger has them", async () => {
	const answer = await call({ model: "paid/gpt-5-mini" }, { traceparent: `00-${TRACE}-${PARENT}-00` });
	expect(answer.status).toBe(200);
	const input = () =>
		(collector.sums.get("router") ?? []).filter(
			({ name, attributes }) =>
				name === "gen_ai.client.inference.usage.input_tokens" && attributes["gen_ai.provider.name"] === "openai",
		);
	const counted = await router.metric("router_tokens_total", {
		direction: "input",
		provider: "paid",
		model: "gpt-5-mini",
	});
	expect(counted).toBeGreaterThanOrEqual(18);
	await until(() => input()[0]?.value === counted, "all of them");
	expect(input().map(({ attributes }) => attributes)).toEqual([
		{
			"gen_ai.operation.name": "chat",
			"gen_ai.provider.name": "openai",
			"gen_ai.request.model": "gpt-5-mini",
			"gen_ai.token.modality": "unknown",
		},
	]);
});
