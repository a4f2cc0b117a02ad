/** Streams of Ollama's API: a line each, whatever the upstream sends, and the same answer wherever it is kept. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { apiRoutes } from "../src/api/routes.ts";
import { ollamaChat } from "../src/dialects/ollama/ollama-dialect.ts";
import type { Call } from "../src/openai/call.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, streams } from "./kit/faults.ts";
import { HELLO } from "./kit/messages.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());
let router: Pipeline;
let app: ReturnType<typeof apiRoutes>;
beforeEach(() => {
	router = pipeline({ config: { providers: { box: { type: "vllm", base_url: upstream.origin } } }, cached: true });
	app = apiRoutes(router.context);
});

async function send(body: Json, path = "/api/chat") {
	const answer = await app.handle(
		new Request(`http://localhost${path}`, {
			method: "POST",
			headers: { host: "localhost", "content-type": "application/json" },
			body: JSON.stringify(body),
		}),
	);
	return { status: answer.status, headers: answer.headers, text: await answer.text() };
}
const linesOf = (text: string): Loose[] =>
	text
		.split("\n")
		.slice(0, -1)
		.map((line) => JSON.parse(line) as Loose);
const messages = [{ role: "user", content: "Who is there?" }];
const chat = (more: Json = {}) => ({ model: "box/m", messages, options: { temperature: 0 }, ...more });
const openAi = (more: Json = {}) => ({ model: "box/m", messages, temperature: 0, ...more });
const OPENAI = "/v1/chat/completions";

const chunk = (delta: Json, finish_reason: string | null = null, more: Json = {}) =>
	`data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason, ...more }] })}\n\n`;
const USAGE = `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [], usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } })}\n\n`;
const END = [USAGE, "data: [DONE]\n\n"];

test("a stream is the default, and `stream: null` is one", async () => {
	for (const more of [{}, { stream: null }]) {
		upstream.run(streams([chunk({ content: "Hello" }), chunk({}, "stop"), ...END]));
		const { headers, text } = await send({ ...chat(more), options: {} });
		expect(headers.get("content-type")).toStartWith("application/x-ndjson");
		expect(linesOf(text).map(({ message, done }) => [message.content, done])).toEqual([
			["Hello", false],
			["", true],
		]);
	}
});

test("the last line has the counts, how long it took, and what the router knows of the call", async () => {
	upstream.run(streams([chunk({ content: "Hello" }), chunk({}, "length"), ...END]));
	const last = linesOf((await send(chat())).text).at(-1)!;
	expect(last).toMatchObject({ done: true, done_reason: "length", prompt_eval_count: 3, eval_count: 2 });
	expect(last["router"]).toMatchObject({ provider: "box", model: "m", attempts: 1 });
	for (const name of ["total_duration", "prompt_eval_duration", "eval_duration"]) {
		expect([name, Number.isInteger(last[name]) && last[name] > 0]).toEqual([name, true]);
	}
	expect(new Date(last["created_at"]).getTime()).toBeGreaterThan(Date.UTC(2020));
});

test("a text that holds what some clients take for the end of a line stays on its line", async () => {
	const odd = "a\u0085b\u2028c\u2029d\ne";
	upstream.run(streams([chunk({ content: odd }), chunk({ content: `${odd}!` }), chunk({}, "stop"), ...END]));
	const { text } = await send(chat());
	expect(/[\u0085\u2028\u2029]/.test(text)).toBe(false);
	expect(
		linesOf(text)
			.map(({ message }) => message.content)
			.join(""),
	).toBe(`${odd}${odd}!`);
});

describe("calls of tools", () => {
	const call = (index: number, id: string | undefined, name: string | undefined, args: string) =>
		chunk({
			tool_calls: [
				{ index, ...(id && { id, type: "function" }), function: { ...(name && { name }), arguments: args } },
			],
		});

	test("come whole, in their order, however their pieces came", async () => {
		upstream.run(
			streams([
				chunk({ content: "Let me see." }),
				call(0, "call_a", "f", '{"n": 1234567890'),
				call(1, "call_b", "g", ""),
				call(0, undefined, undefined, '1234567890,\n "s": "x"}'),
				chunk({}, "tool_calls"),
				...END,
			]),
		);
		const { text } = await send(chat());
		expect(text).toContain('"arguments":{"n": 12345678901234567890,  "s": "x"}');
		const lines = linesOf(text);
		expect(
			lines.map(({ message }) => message.tool_calls?.map((each: Loose) => [each["id"], each["function"].name])),
		).toEqual([undefined, [["call_a", "f"]], [["call_b", "g"]], undefined]);
		expect(lines[2]!["message"].tool_calls[0].function.arguments).toEqual({});
		expect(lines.at(-1)!["done_reason"]).toBe("stop");
	});

	test.each([[{}], [{ index: 0 }]])("that all have the number %p are told by their ids", async (number) => {
		const whole = (id: string, args: string) =>
			chunk({ tool_calls: [{ ...number, id, type: "function", function: { name: "f", arguments: args } }] });
		upstream.run(streams([whole("call_a", '{"n":1}'), whole("call_b", '{"n":2}'), chunk({}, "tool_calls"), ...END]));
		const lines = linesOf((await send(chat())).text);
		expect(lines.flatMap(({ message }) => message.tool_calls ?? []).map((each: Loose) => each["function"])).toEqual([
			{ index: 0, name: "f", arguments: { n: 1 } },
			{ index: 1, name: "f", arguments: { n: 2 } },
		]);
	});

	test("of tools with names longer than every server takes have them back whole, in the history, too", async () => {
		const name = `mcp__${"long_".repeat(20)}`;
		const tools = [{ type: "function", function: { name, parameters: { type: "object" } } }];
		const history = [
			...messages,
			{ role: "assistant", tool_calls: [{ function: { name, arguments: {} } }] },
			{ role: "tool", tool_name: name, content: "done" },
		];
		upstream.run((connection) => {
			const asked = JSON.parse(connection.request.body) as Loose;
			const sent = asked["tools"][0].function.name;
			expect(sent.length).toBe(64);
			expect(asked["messages"][1].tool_calls[0].function.name).toBe(sent);
			expect(asked["messages"][2]).toMatchObject({ role: "tool", tool_call_id: "call_0" });
			return streams([call(0, "call_a", sent, "{}"), chunk({}, "tool_calls"), ...END])(connection);
		});
		const lines = linesOf((await send(chat({ tools, messages: history }))).text);
		expect(lines[0]!["message"].tool_calls[0].function.name).toBe(name);
		expect(upstream.errors).toEqual([]);
		const whole = await send(chat({ tools, messages: history, stream: false }));
		expect(whole.headers.get("x-router-cache")).toBe("hit");
		expect((JSON.parse(whole.text) as Loose)["message"].tool_calls[0].function.name).toBe(name);
	});

	test("what is no object is said in one", async () => {
		upstream.run(streams([call(0, "call_a", "f", "Bern"), chunk({}, "tool_calls"), ...END]));
		const [first] = linesOf((await send(chat())).text);
		expect(first!["message"].tool_calls[0].function.arguments).toEqual({ arguments: "Bern" });
	});

	test("are not sent where the stream breaks off before their end", async () => {
		upstream.run(streams([chunk({ content: "Hm" }), call(0, "call_a", "f", '{"n":')]));
		const { text } = await send({ ...chat(), options: {} });
		const lines = linesOf(text);
		expect(text).not.toContain("tool_calls");
		expect(Object.keys(lines.at(-1)!)).toEqual(["error"]);
		expect(lines.some(({ done }) => done)).toBe(false);
		expect(router.settled[0]).toMatchObject({ status: 502, error: "upstream_truncated" });
	});
});

test("thoughts and log probabilities have fields of their own", async () => {
	const logprobs = { content: [{ token: "Hi", logprob: -0.1, bytes: [72, 105], top_logprobs: [] }] };
	upstream.run(
		streams([
			chunk({ reasoning: "Hmm" }),
			chunk({ reasoning_content: "." }),
			chunk({ content: "Hi" }, null, { logprobs }),
			chunk({}, "stop"),
			...END,
		]),
	);
	const lines = linesOf((await send(chat({ logprobs: true }))).text);
	expect(lines.map(({ message }) => message.thinking ?? "").join("")).toBe("Hmm.");
	expect(lines.map(({ message }) => message.content).join("")).toBe("Hi");
	expect(lines.flatMap((line) => line["logprobs"] ?? [])).toEqual(logprobs.content);
});

test("while there is nothing to say a line says nothing", async () => {
	upstream.run(async (connection) => {
		await begins([": waiting\n\n", chunk({ content: "Hi" })])(connection);
		await connection.write([chunk({}, "stop"), ...END].join(""));
	});
	const { text } = await send(chat());
	for (const line of linesOf(text)) expect(typeof line["done"]).toBe("boolean");
	const call = { id: "req_1", facts: { model: "m" }, stream: true } as unknown as Call;
	const writer = ollamaChat.stream(call);
	expect(JSON.parse(writer.keepAlive)).toMatchObject({ message: { role: "assistant", content: "" }, done: false });
	expect(writer.push(": comment\n\n")).toBe(writer.keepAlive);
});

describe("what is kept of an answer serves every wire", () => {
	const isHit = ({ headers }: { headers: Headers }) => headers.get("x-router-cache");
	const said = (text: string) =>
		linesOf(text)
			.map(({ message, response }) => message?.content ?? response)
			.join("");

	test("of OpenAI's, this one's, whole and in lines, chat and prompt", async () => {
		upstream.run(answers("200 OK", HELLO.openai));
		expect(isHit(await send(openAi(), OPENAI))).toBe("miss");
		const whole = await send(chat({ stream: false }));
		expect([isHit(whole), (JSON.parse(whole.text) as Loose)["message"].content]).toEqual(["hit", "Hello"]);
		expect(JSON.parse(whole.text)).toMatchObject({ prompt_eval_count: 3, eval_count: 2, done: true });
		const streamed = await send(chat());
		expect([isHit(streamed), said(streamed.text)]).toEqual(["hit", "Hello"]);
		expect(linesOf(streamed.text).at(-1)).toMatchObject({ prompt_eval_count: 3, eval_count: 2 });
		const prompt = { model: "box/m", prompt: "Who is there?", options: { temperature: 0 } };
		const generated = await send(prompt, "/api/generate");
		expect([isHit(generated), said(generated.text)]).toEqual(["hit", "Hello"]);
		expect(upstream.received.length).toBe(1);
	});

	test("of this one's stream, OpenAI's: words, thoughts, calls and counts", async () => {
		upstream.run(
			streams([
				chunk({ reasoning: "Hmm" }),
				chunk({ content: "Hi" }),
				chunk({
					tool_calls: [
						{
							index: 0,
							id: "call_a",
							type: "function",
							function: { name: "f", arguments: '{"n": 12345678901234567890}' },
						},
					],
				}),
				chunk({}, "tool_calls"),
				...END,
			]),
		);
		await send(chat());
		const answer = await send(openAi(), OPENAI);
		expect(isHit(answer)).toBe("hit");
		const { choices, usage } = JSON.parse(answer.text) as Loose;
		expect(choices[0]).toMatchObject({
			finish_reason: "tool_calls",
			message: {
				content: "Hi",
				reasoning_content: "Hmm",
				tool_calls: [{ id: "call_a", function: { name: "f", arguments: '{"n": 12345678901234567890}' } }],
			},
		});
		expect(usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 2 });
	});

	test("a refusal is one in OpenAI's words, too", async () => {
		upstream.run(streams([chunk({ refusal: "I " }), chunk({ refusal: "won't." }), chunk({}, "stop"), ...END]));
		expect(linesOf((await send(chat())).text).at(-1)!["done_reason"]).toBe("refusal");
		const { choices } = JSON.parse((await send(openAi(), OPENAI)).text) as Loose;
		expect(choices[0]).toMatchObject({ finish_reason: "stop", message: { content: null, refusal: "I won't." } });
	});

	test("a stream with what lines have no place for says so, and is not kept", async () => {
		const annotations = [{ type: "url_citation", url_citation: { url: "https://a.example" } }];
		upstream.run(streams([chunk({ content: "Hi", annotations }), chunk({}, "stop"), ...END]));
		expect(linesOf((await send(chat())).text).at(-1)!["left_out"]).toEqual(["annotations"]);
		expect(isHit(await send(openAi({ stream: true }), OPENAI))).toBe("miss");
	});

	test("an answer that goes on with the assistant's words is no answer that follows them", async () => {
		upstream.run(answers("200 OK", HELLO.openai));
		const begun = [...messages, { role: "assistant", content: "It is" }];
		await send(openAi({ messages: begun }), OPENAI);
		expect(isHit(await send(chat({ messages: begun, stream: false })))).toBe("miss");
	});

	test("a request that asks nothing is no answer to one that does", async () => {
		upstream.run(answers("200 OK", HELLO.openai));
		await send({ model: "box/m", messages: [], options: { temperature: 0 } });
		expect(isHit(await send(chat({ stream: false })))).toBe("miss");
	});
});
