/** Calls of `/v1/responses` through the pipeline that all calls go through: keys, limits, cache, targets, a cut stream that goes on elsewhere. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { apiRoutes } from "../src/api/routes.ts";
import { DONE, finishEvent, goodStream, textEvent } from "./kit/events.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, cutsAfter, streams } from "./kit/faults.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";
import { responseEvents } from "./kit/response-events.ts";

const upstream = startFaultUpstream();
const other = startFaultUpstream();
afterAll(() => {
	upstream.stop();
	other.stop();
});

const message = { role: "assistant", content: "Hello you" };
const WHOLE = JSON.stringify({
	...{ id: "x", object: "chat.completion", created: 1, model: "m" },
	choices: [{ index: 0, message, finish_reason: "stop" }],
	usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
});
const key = (name: string, more: Json = {}) => ({ name, key: `key-of-${name}-1234`, ...more });
const config = {
	providers: {
		box: { type: "vllm", base_url: upstream.origin, responses: "chat" },
		other: { type: "vllm", base_url: other.origin, responses: "chat" },
	},
	models: [{ name: "both", targets: ["box/m", "other/m"], policy: "order" }],
	prices: { "box/m": { input: 1, output: 1 } },
	keys: [key("open"), key("narrow", { models: ["other/*"] }), key("slow", { rpm: 1 })],
};

let router: Pipeline;
let app: ReturnType<typeof apiRoutes>;
beforeEach(() => {
	router = pipeline({ config, cached: true });
	app = apiRoutes(router.context);
});

interface Sent {
	readonly path?: string;
	readonly of?: string;
	readonly headers?: Record<string, string>;
}
const begin = (body: Json, { path = "/v1/responses", of = "open", headers = {} }: Sent = {}) =>
	app.handle(
		new Request(`http://localhost${path}`, {
			method: "POST",
			headers: { "content-type": "application/json", authorization: `Bearer key-of-${of}-1234`, ...headers },
			body: JSON.stringify({ model: "box/m", ...body }),
		}),
	);
async function send(body: Json, options?: Sent) {
	const answer = await begin(body, options);
	const said = (name: string) => answer.headers.get(`x-router-${name}`);
	return { status: answer.status, headers: answer.headers, text: await answer.text(), cache: said("cache"), said };
}
const whole = (text: string): Loose => JSON.parse(text);
const CHAT = { path: "/v1/chat/completions" };
const ask = { input: "Who is there?", temperature: 0 };
const chat = { messages: [{ role: "user", content: "Who is there?" }], temperature: 0 };

describe("a WebSocket", () => {
	const open = async (headers: Record<string, string>) => {
		const authorization = "Bearer key-of-open-1234";
		const request = new Request("http://localhost/v1/responses", { headers: { authorization, ...headers } });
		const answer = await app.handle(request);
		return answer;
	};
	// Without the server's error handler an error comes as it was thrown.
	test("is refused with the status at which Codex goes on by POST", async () => {
		expect((await open({ upgrade: "websocket" })).status).toBe(426);
	});

	test("is told of to whoever asks for something else", async () => {
		expect((await open({})).status).toBe(405);
	});

	test("is not even refused to whoever has no key", async () => {
		expect((await open({ upgrade: "websocket", authorization: "Bearer nobody" })).status).toBe(401);
	});
});

describe("is refused in OpenAI's shape", () => {
	test.each([
		["without a key", ask, { of: "nobody" }, 401, "invalid_api_key"],
		["for a model that its key may not use", ask, { of: "narrow" }, 403, "model_not_allowed"],
		["for a model that nobody has", { ...ask, model: "nobody" }, {}, 404, "model_not_found"],
		["with a field that is wrong", { ...ask, input: [{ role: "user" }] }, {}, 400, "invalid_value"],
	] as [string, Json, Sent, number, string][])("%s", async (_, body, options, status, code) => {
		const answer = await send(body, options);
		expect([answer.status, whole(answer.text)["error"].code]).toEqual([status, code]);
		expect(answer.headers.get("x-request-id")).toBe(router.settled[0]!.id);
	});

	test("where its upstream fails before the first word, streamed or not", async () => {
		upstream.run(answers("500 Internal Server Error", '{"error":{"message":"no"}}'));
		for (const stream of [true, false]) {
			const answer = await send({ ...ask, stream });
			expect([answer.status, whole(answer.text)["error"].type]).toEqual([502, "upstream_error"]);
		}
	});
});

test("an answer has the headers of every answer, its counts, and what was left out", async () => {
	upstream.run(answers("200 OK", WHOLE));
	const { status, text, headers, said } = await send({ ...ask, tools: [{ type: "web_search" }], truncation: "auto" });
	expect([status, headers.get("content-type"), said("provider")]).toEqual([200, "application/json", "box"]);
	expect(said("dropped")).toBe("tools.web_search, truncation");
	expect(headers.get("x-request-id")).toBe(router.settled[0]!.id);
	expect(whole(text)).toMatchObject({ object: "response", output: [{ content: [{ text: "Hello you" }] }] });
	expect(whole(text)["usage"]).toMatchObject({ input_tokens: 3, output_tokens: 2, total_tokens: 5 });
	expect(router.settled[0]).toMatchObject({
		operation: "chat",
		tokens: { input: 3, output: 2 },
		droppedFields: ["tools.web_search", "truncation"],
	});
	expect(JSON.parse(upstream.received[0]!.body)).toEqual({ ...chat, model: "m" });
});

test("names of what was left out are the client's, and none of them breaks a header, or fills it", async () => {
	upstream.run(answers("200 OK", WHOLE));
	const odd = { "ünï\r\nx-evil: 1": 1, ["long".repeat(99)]: 1, tools: [{ type: "söng\n" }] };
	const { status, said, headers } = await send({ ...ask, ...odd });
	expect([status, headers.get("x-evil")]).toEqual([200, null]);
	expect(said("dropped")).toBe(`tools.s_ng_, _n___x-evil:_1, ${"long".repeat(16)}`);
	const many = Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`field_${at}`, at]));
	expect((await send({ ...ask, ...many })).said("dropped")!.split(", ").length).toBe(32);
});

test("a stream has them, too", async () => {
	upstream.run(streams(goodStream(2)));
	const { text, headers, said } = await send({ ...ask, stream: true, tools: [{ type: "web_search" }] });
	expect([headers.get("content-type"), said("dropped")]).toEqual([
		"text/event-stream; charset=utf-8",
		"tools.web_search",
	]);
	const { response, comments } = responseEvents(text);
	expect(response["status"]).toBe("completed");
	expect(comments.at(-1)).toContain('"dropped":["tools.web_search"]');
});

test("an upstream that takes its time is waited for with comments, and fails as a response where it then breaks", async () => {
	router = pipeline({ config: { ...config, server: { keep_alive: "20ms" } } });
	app = apiRoutes(router.context);
	upstream.run(async (connection) => {
		await Bun.sleep(100);
		connection.destroy();
	});
	const { status, text } = await send({ ...ask, stream: true });
	expect([status, text.startsWith(": keep-alive\n\n")]).toEqual([200, true]);
	expect(responseEvents(text).types).toEqual(["created", "in_progress", "failed"]);
});

test("a stream that is cut goes on at another target, and its client sees one answer", async () => {
	upstream.run(cutsAfter(2));
	other.run(streams([textEvent("word2 "), textEvent("word3 "), finishEvent(), DONE]));
	const { text } = await send({ model: "both", input: "hi", stream: true });
	const { response } = responseEvents(text);
	expect([response["status"], response["output"].length]).toEqual(["completed", 1]);
	expect(response["output"][0].content[0].text).toBe("word0 word1 word2 word3 ");
	expect(JSON.parse(other.received[0]!.body).messages).toEqual([
		{ role: "user", content: "hi" },
		{ role: "assistant", content: "word0 word1" },
	]);
});

test("one that can go on nowhere fails as a response", async () => {
	upstream.run(cutsAfter(2));
	const { text } = await send({ input: "hi", stream: true });
	const { response } = responseEvents(text);
	expect(response).toMatchObject({ status: "failed", error: { code: "server_error" } });
	expect(router.settled[0]).toMatchObject({ status: 502, error: "upstream_truncated" });
});

describe("what is kept of an answer serves every wire", () => {
	test("of a chat's, to responses whole and streamed", async () => {
		upstream.run(answers("200 OK", WHOLE));
		expect((await send(chat, CHAT)).cache).toBe("miss");
		for (const more of [{}, { metadata: { a: "b" } }, { tools: [{ type: "web_search" }] }]) {
			const answer = await send({ ...ask, ...more });
			expect([answer.cache, whole(answer.text)["output"][0].content[0].text]).toEqual(["hit", "Hello you"]);
			expect(whole(answer.text)["metadata"]).toEqual("metadata" in more ? more.metadata : {});
			expect(answer.said("dropped")).toBe("tools" in more ? "tools.web_search" : null);
			const streamed = await send({ ...ask, ...more, stream: true });
			expect(streamed.cache).toBe("hit");
			const { response, comments } = responseEvents(streamed.text);
			expect(response).toMatchObject({ output: [{ content: [{ text: "Hello you" }] }], usage: { input_tokens: 3 } });
			expect(comments.at(-1)?.includes("tools.web_search")).toBe("tools" in more);
		}
		expect(upstream.received.length).toBe(1);
	});

	test("of a stream of this wire's, to chats, which need not know what was left out", async () => {
		upstream.run(streams([textEvent("Hello"), textEvent(" you"), finishEvent(), DONE]));
		const first = await send({ ...ask, stream: true, tools: [{ type: "web_search" }] });
		expect(first.cache).toBe("miss");
		const answer = await send(chat, CHAT);
		expect([answer.cache, answer.said("dropped")]).toEqual(["hit", null]);
		expect(whole(answer.text)["choices"]).toMatchObject([{ message: { content: "Hello you" }, finish_reason: "stop" }]);
		const again = await send({ ...ask, stream: true, tools: [{ type: "web_search" }] });
		expect([again.cache, again.said("dropped")]).toEqual(["hit", "tools.web_search"]);
		expect(upstream.received.length).toBe(1);
	});

	test("and no response is given twice under one id", async () => {
		upstream.run(answers("200 OK", WHOLE));
		const ids = new Set<string>();
		for (let round = 0; round < 4; round++) ids.add(whole((await send(ask)).text)["id"]);
		expect([ids.size, upstream.received.length]).toEqual([4, 1]);
	});
});

test("a stream on its way is read along by the same bytes alone: others have said other things of themselves", async () => {
	const gate = Promise.withResolvers<void>();
	upstream.run(async (connection) => {
		await begins([textEvent("Hello")])(connection);
		await gate.promise;
		await connection.write([textEvent(" you"), finishEvent(), DONE].join(""));
		connection.end();
	});
	const asked = upstream.next();
	const first = send({ ...ask, stream: true, metadata: { who: "first" } });
	await asked;
	const same = send({ ...ask, stream: true, metadata: { who: "first" } });
	const second = send({ ...ask, stream: true, metadata: { who: "second" } });
	await Bun.sleep(20);
	gate.resolve();
	const all = (await Promise.all([first, same, second])).map(({ text }) => responseEvents(text).response);
	expect(all.map(({ metadata }) => metadata.who)).toEqual(["first", "first", "second"]);
	expect(all.map(({ output }) => output[0].content[0].text)).toEqual(["Hello you", "Hello you", "Hello you"]);
	expect(upstream.received.length).toBe(1);
});

describe("a server that refuses a hint of the client's is asked without it, and that is told", () => {
	test.each([
		["422 Unprocessable Entity", "prompt_cache_key", null, "Extra inputs are not permitted: prompt_cache_key"],
		// As OpenAI says of its later models, whose tools think on /v1/responses alone.
		[
			"400 Bad Request",
			"reasoning_effort",
			"reasoning_effort",
			"Function tools with reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions. Please use /v1/responses instead.",
		],
	])("%s: %s", async (refused, field, param, message) => {
		upstream.run(async (connection) => {
			if (!(field in JSON.parse(connection.request.body))) return answers("200 OK", WHOLE)(connection);
			const error = { message, param, type: "invalid_request_error", code: null };
			return answers(refused, JSON.stringify({ error }))(connection);
		});
		const hints = { prompt_cache_key: "k", reasoning: { effort: "high" }, client_metadata: { a: "b" } };
		const { status, said } = await send({ ...ask, ...hints });
		expect([status, said("dropped"), upstream.received.length]).toEqual([200, field, 2]);
	});
});
