/** The same promises as in `wire-recorded.test.ts`, on exchanges written for this project: every upstream, every scenario. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
	clientError,
	expectBroken,
	expectForwarded,
	expectHeadersPassed,
	expectRouterHeaders,
	expectStream,
	withReasoningCounted,
} from "./kit/contract.ts";
import { DIALECTS, type Dialect, dialect } from "./kit/dialects.ts";
import { BROKEN_STREAMS, ENGINE_DEAD, FINISHED_STREAM, REFUSALS } from "./kit/error-fixtures.ts";
import { DONE, event, finishEvent, textEvent } from "./kit/events.ts";
import { answerText, chunksOf, type Exchange, eventData } from "./kit/exchange.ts";
import { type FixtureOptions, fixture } from "./kit/fixtures.ts";
import { CLIENT_KEY, type Rig, startRig } from "./kit/rig.ts";
import { SCENARIO_NAMES } from "./kit/scenarios.ts";

let rig: Rig;
beforeAll(async () => {
	rig = await startRig();
});
afterAll(() => rig.stop());

const CHAT = "/v1/chat/completions";
const SSE = { "content-type": "text/event-stream" };

async function through(upstream: Dialect, exchange: Exchange, cut?: "event") {
	const sent = JSON.stringify(exchange.request.body);
	rig.replay.play(exchange.response, cut);
	const answer = await rig.post(CHAT, sent);
	const got = rig.replay.only();
	expect(got.path).toBe(exchange.request.path);
	expect(got.headers.get("authorization")).toBe(upstream.key ? `Bearer ${upstream.key}` : null);
	expect(got.headers.get("content-type")).toBe("application/json");
	expect(got.headers.get("accept-encoding")).toBe("identity");
	expect(JSON.stringify([...got.headers])).not.toContain(CLIENT_KEY);
	expectForwarded(got.body, sent, { model: upstream.upstreamModel, venice: upstream.name === "venice" });
	return answer;
}

test.each([false, true])(
	"a dead engine that is not back in the call's time refuses it: streamed %p",
	async (stream) => {
		const own = await startRig();
		try {
			own.replay.play(ENGINE_DEAD.response);
			const { body } = fixture(dialect(ENGINE_DEAD.provider), "text", { stream }).request;
			const { status, text, headers } = await own.post(CHAT, body!, { "x-router-timeout-ms": "1000" });
			expect({ status, code: clientError(text).code }).toEqual({ status: ENGINE_DEAD.status, code: ENGINE_DEAD.code });
			expect(Number(headers.get("retry-after"))).toBeGreaterThan(0);
		} finally {
			await own.stop();
		}
	},
);

describe.each(DIALECTS.map((row) => [row.name, row] as const))("%s", (_, upstream) => {
	test.each(REFUSALS.filter(({ provider }) => provider === upstream.name).map((row) => [row.name, row] as const))(
		"refuses: %s",
		async (_, refusal) => {
			rig.replay.play(refusal.response);
			const { status, text, headers } = await rig.post(CHAT, fixture(upstream, "text").request.body!);
			const error = clientError(text);
			expect({ status, code: error.code }).toEqual({ status: refusal.status, code: refusal.code });
			if (refusal.message) expect(error.message).toContain(refusal.message);
			if (refusal.hidden) expect(text).not.toContain(refusal.hidden);
			if (refusal.retryAfter) expect(Number(headers.get("retry-after"))).toBeGreaterThan(0);
		},
	);

	test.each(REFUSALS.filter(({ provider }) => provider === upstream.name).map((row) => [row.name, row] as const))(
		"refuses a streamed call with a status, not with a stream: %s",
		async (_, refusal) => {
			rig.replay.play(refusal.response);
			const { status, text } = await rig.post(CHAT, fixture(upstream, "text", { stream: true }).request.body!);
			expect({ status, code: clientError(text).code }).toEqual({ status: refusal.status, code: refusal.code });
		},
	);

	test.each(SCENARIO_NAMES)("%s, whole", async (name) => {
		const exchange = fixture(upstream, name);
		const answer = await through(upstream, exchange);
		expect(answer.status).toBe(200);
		expect(answer.text).toBe(withReasoningCounted(answerText(exchange.response)));
		expectRouterHeaders(answer.headers, upstream.name, upstream.upstreamModel);
		expectHeadersPassed(answer.headers, exchange.response.headers);
	});

	const asked: [string, FixtureOptions][] = [
		["usage asked for", { stream: true, usage: true }],
		["usage declined", { stream: true, usage: false }],
		["usage not mentioned", { stream: true }],
	];
	const streams = SCENARIO_NAMES.flatMap((name) => asked.map(([how, options]) => [name, how, options] as const));
	test.each(streams)("%s, streamed, %s", async (name, _, options) => {
		const exchange = fixture(upstream, name, options);
		const answer = await through(upstream, exchange, "event");
		expect(answer.status).toBe(200);
		expect(answer.headers.get("content-type")).toStartWith("text/event-stream");
		expectStream(answer.text, answerText(exchange.response), options.usage === true);
		expectRouterHeaders(answer.headers, upstream.name, upstream.upstreamModel);
	});
});

test("embeddings go through, both ways byte for byte", async () => {
	const sent = '{"input":["Grüße",""],"encoding_format":"float","model":"text-embedding-3-small","dimensions":2}';
	const text =
		'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[-0.10,1e-7]}],"usage":{"prompt_tokens":2,"total_tokens":2}}';
	rig.replay.play({ status: 200, headers: { "content-type": "application/json" }, text });
	expect((await rig.post("/v1/embeddings", sent)).text).toBe(text);
	const { path, body } = rig.replay.only();
	expect({ path, body }).toEqual({ path: "/v1/embeddings", body: sent });
});

test("legacy completions stream, and know no chat parameters of Venice", async () => {
	const chunk = (text: string, finish_reason: string | null) =>
		event({
			id: "cmpl-1",
			object: "text_completion",
			created: 1,
			model: "m",
			choices: [{ index: 0, text, finish_reason }],
		});
	const sse = chunk("once ", null) + chunk("more", "stop") + DONE;
	rig.replay.play({ status: 200, headers: SSE, sse }, "event");
	const answer = await rig.post("/v1/completions", { model: "venice/m", prompt: "Say it", stream: true });
	expectStream(answer.text, sse, false);
	const { path, body } = rig.replay.only();
	expect(path).toBe("/api/v1/completions");
	const stream_options = { include_usage: true };
	expect(JSON.parse(body)).toEqual({ model: "m", prompt: "Say it", stream: true, stream_options });
});

test("xAI: reasoning tokens are counted into completion_tokens, whole and streamed", async () => {
	const xai = dialect("xai");
	const whole = await through(xai, fixture(xai, "reasoning"));
	expect(JSON.parse(whole.text).usage).toMatchObject({ prompt_tokens: 11, completion_tokens: 37, total_tokens: 48 });
	const streamed = await through(xai, fixture(xai, "reasoning", { stream: true, usage: true }));
	const usage = chunksOf(streamed.text).at(-1)?.["usage"];
	expect(usage).toMatchObject({ prompt_tokens: 11, completion_tokens: 37, total_tokens: 48 });
});

test("Venice's system prompt stays on when the client asks for it", async () => {
	const venice = dialect("venice");
	const exchange = fixture(venice, "text");
	const venice_parameters = { enable_web_search: "auto", include_venice_system_prompt: true };
	const sent = JSON.stringify({ ...exchange.request.body, venice_parameters });
	rig.replay.play(exchange.response);
	await rig.post(CHAT, sent);
	expect(rig.replay.only().body).toBe(sent.replace(venice.model, venice.upstreamModel));
});

test("Venice's system prompt is switched off beside other Venice parameters", async () => {
	const venice = dialect("venice");
	const exchange = fixture(venice, "text");
	rig.replay.play(exchange.response);
	await rig.post(CHAT, { ...exchange.request.body, venice_parameters: { enable_web_search: "auto" } });
	expect(JSON.parse(rig.replay.only().body).venice_parameters).toEqual({
		enable_web_search: "auto",
		include_venice_system_prompt: false,
	});
});

test("OpenRouter: the client's attribution headers go on, its cookie and its credentials do not", async () => {
	const openrouter = dialect("openrouter");
	const exchange = fixture(openrouter, "text");
	rig.replay.play(exchange.response);
	await rig.post(CHAT, exchange.request.body!, {
		"http-referer": "https://app.example",
		"x-title": "App",
		cookie: "a=b",
		"x-api-key": "client-1",
		"api-key": "client-2",
		"x-goog-api-key": "client-3",
	});
	const { headers } = rig.replay.only();
	expect([...headers].join()).not.toContain("client-");
	expect(headers.get("http-referer")).toBe("https://app.example");
	expect(headers.get("x-title")).toBe("App");
	expect(headers.get("cookie")).toBeNull();
});

test("OpenRouter: a 200 that carries an error is an error", async () => {
	const openrouter = dialect("openrouter");
	rig.replay.play({
		status: 200,
		headers: { "content-type": "application/json" },
		body: { error: { message: "Host is down", code: 502 }, user_id: "user_secret" },
	});
	const { status, text } = await rig.post(CHAT, fixture(openrouter, "text").request.body!);
	expect(status).toBe(502);
	expect(clientError(text).message).toContain("Host is down");
	expect(text).not.toContain("user_secret");
});

test("llm-d: routing headers of a client stay outside", async () => {
	rig.replay.play(fixture(dialect("llm-d"), "text").response);
	const routing = {
		"x-gateway-destination-endpoint": "10.0.0.1:80",
		"x-llm-d-inference-objective": "critical",
		"x-llm-d-inference-fairness-id": "someone-else",
		"x-session-id": "kept",
	};
	await rig.post(CHAT, fixture(dialect("llm-d"), "text").request.body!, routing);
	const { headers } = rig.replay.only();
	expect(headers.get("x-gateway-destination-endpoint")).toBeNull();
	expect(headers.get("x-llm-d-inference-objective")).toBeNull();
	expect(headers.get("x-llm-d-inference-fairness-id")).not.toBe("someone-else");
	expect(headers.get("x-session-id")).toBe("kept");
});

test("rate headers come through on a 429, where clients need them most", async () => {
	const headers = { "content-type": "application/json", "x-ratelimit-remaining-tokens": "0", "retry-after": "9" };
	rig.replay.play({ status: 429, headers, body: { error: "Too many requests" } });
	const answer = await rig.post(CHAT, fixture(dialect("venice"), "text").request.body!);
	expect(answer.status).toBe(429);
	expectHeadersPassed(answer.headers, headers);
});

test("Venice's rate headers and OpenAI's come through; cookies and connection headers do not", async () => {
	const exchange = fixture(dialect("venice"), "text");
	const headers = {
		...exchange.response.headers,
		"x-ratelimit-remaining-tokens": "99",
		"x-venice-balance-usd": "1.5",
		"openai-processing-ms": "12",
		"retry-after": "3",
		"set-cookie": ["a=b; Path=/", "c=d"],
		"keep-alive": "timeout=5",
	};
	rig.replay.play({ ...exchange.response, headers });
	const answer = await rig.post(CHAT, exchange.request.body!);
	expectHeadersPassed(answer.headers, headers);
	expect(answer.headers.get("x-venice-balance-usd")).toBe("1.5");
});

const broken = BROKEN_STREAMS.map((row) => [row.name, row] as const);

test.each(broken)("a stream that breaks after its first bytes: %s", async (_, { provider, sse, message }) => {
	const { body } = fixture(dialect(provider), "text", { stream: true }).request;
	const cut = { before: '"error"', marker: "so far" };
	const { status, text } = await rig.postInTwo({ status: 200, headers: SSE, sse }, cut, body!);
	expect(status).toBe(200);
	const before = sse.split("\n\n").filter((each) => each.startsWith("data: {") && !each.includes('"error"'));
	const error = expectBroken(
		text,
		before.map((each) => each.slice(6)),
	);
	expect(error.message).toContain(message);
});

test.each(broken)(
	"a stream that breaks within its first bytes has a status: %s",
	async (_, { provider, sse, message }) => {
		rig.replay.play({ status: 200, headers: SSE, sse });
		const { status, text } = await rig.post(CHAT, fixture(dialect(provider), "text", { stream: true }).request.body!);
		expect(status).toBeGreaterThanOrEqual(400);
		expect(clientError(text).message).toContain(message);
	},
);

test("a stream that brings an error behind its finish reason is complete", async () => {
	rig.replay.play({ status: 200, headers: SSE, sse: FINISHED_STREAM });
	const { status, text } = await rig.post(CHAT, fixture(dialect("openrouter"), "text", { stream: true }).request.body!);
	expect(status).toBe(200);
	const told = FINISHED_STREAM.split("\n\n").filter((each) => each !== "" && !each.includes('"error"'));
	expect(eventData(text)).toEqual(eventData(`${told.join("\n\n")}\n\n`));
});

test("an error as a stream's first event is an ordinary error with a status", async () => {
	const sse = 'data: {"error":{"message":"No room","code":503}}\n\ndata: [DONE]\n\n';
	rig.replay.play({ status: 200, headers: SSE, sse });
	const { status, text } = await rig.post(CHAT, fixture(dialect("openrouter"), "text", { stream: true }).request.body!);
	expect(status).toBe(503);
	expect(clientError(text).message).toContain("No room");
});

test("a complete stream without [DONE] gets one", async () => {
	const sse = textEvent("all of it") + finishEvent();
	rig.replay.play({ status: 200, headers: SSE, sse }, "event");
	const { text } = await rig.post(
		CHAT,
		fixture(dialect("openai"), "text", { stream: true, usage: true }).request.body!,
	);
	// Its usage was asked for, and nobody has counted it: it is estimated.
	const [usage] = eventData(text).splice(-2, 1);
	expect(JSON.parse(usage!)).toMatchObject({ choices: [], usage: { estimated: true } });
	expect(eventData(text).toSpliced(-2, 1)).toEqual(eventData(sse + DONE));
});

test("a stream cut inside characters, line ends and `usage` reads the same", async () => {
	const upstream = dialect("openai");
	const { request, response } = fixture(upstream, "text", { stream: true, usage: true });
	const text = answerText(response);
	const near = ["ü", "🙂", "\n\ndata", '"usage"', "[DONE]"].map(
		(mark) => Buffer.byteLength(text.slice(0, text.indexOf(mark))) + 1,
	);
	rig.replay.play(
		response,
		near.sort((a, b) => a - b),
	);
	const answer = await rig.post(CHAT, request.body!);
	expectStream(answer.text, text, true);
});
