/** Long requests that go on as they came: nothing is made of all of one, however it is answered. */
import { afterAll, afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import type { Operation } from "../src/openai/operations.ts";
import { event, goodStream, usageEvent } from "./kit/events.ts";
import type { Json } from "./kit/exchange.ts";
import { type Script, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, streams } from "./kit/faults.ts";
import { hello, MODELS, messagesRig } from "./kit/messages.ts";
import { pipeline } from "./kit/pipeline.ts";

const LONG = 20_000;
const text = "words and more words ".repeat(LONG / 20);

const upstream = startFaultUpstream();
const rig = messagesRig();
const parse = spyOn(JSON, "parse");
const stringify = spyOn(JSON, "stringify");
afterEach(() => {
	parse.mockClear();
	stringify.mockClear();
});
afterAll(() => {
	parse.mockRestore();
	stringify.mockRestore();
	upstream.stop();
	rig.stop();
});
const longParses = () => parse.mock.calls.filter(([json]) => String(json).length >= LONG).length;
const box = { type: "vllm", base_url: upstream.origin };
const router = pipeline({
	config: {
		providers: { box, other: box },
		models: [{ name: "twice", policy: "order", targets: ["box/m", "other/m"] }],
	},
});

const chunk = (more: Json) => event({ object: "text_completion", choices: [{ index: 0, text: "", ...more }] });
const completion = [chunk({ text: "one" }), chunk({ finish_reason: "stop" }), usageEvent(), "data: [DONE]\n\n"];
const whole = (choice: Json) => answers("200 OK", JSON.stringify({ choices: [{ index: 0, ...choice }] }));
const message = { role: "assistant", content: "one" };

test.each<[string, Operation, Json, Script]>([
	["a chat's stream", "chat", { messages: [{ role: "user", content: text }], stream: true }, streams(goodStream())],
	["a chat", "chat", { messages: [{ role: "user", content: text }] }, whole({ message })],
	["a text's stream", "completions", { prompt: text, stream: true }, streams(completion)],
	["a text", "completions", { prompt: text }, whole({ text: "one" })],
])("of %s", async (_, operation, body, script) => {
	upstream.run(script);
	const answer = await router.send({ model: "box/m", ...body }, { operation });
	expect([answer.status, await answer.text()]).toEqual([200, expect.stringMatching(/one|word1/)]);
	expect(longParses()).toBe(0);
});

const tools = [{ type: "function", function: { name: "f", description: text, parameters: { type: "object" } } }];
const response_format = {
	type: "json_schema",
	json_schema: { name: "x", schema: { description: text.slice(0, 2000) } },
};
const asked = { role: "user", content: [{ type: "text", text: `${text} {"type":"image_url"}` }] };
const called = { role: "assistant", content: null, tool_calls: [{ id: "1", type: "function", function: {} }] };
const turns = [asked, called, { role: "tool", tool_call_id: "1", content: text }];

describe.each(["twice", "box/m"])("a chat of %s", (model) => {
	test("with tools, a schema and parts is chosen a target for, and counted", async () => {
		upstream.run(whole({ message }));
		const body = { model, tools, response_format, messages: turns };
		expect((await router.send(body)).status).toBe(200);
		expect(longParses()).toBe(0);
		const { facts } = parseRequest("chat", Buffer.from(JSON.stringify(body)));
		const { hasTools, hasSchema, images } = facts.promptContent();
		expect([hasTools, hasSchema, images]).toEqual([true, true, 0]);
		expect(facts.promptSizes().parts.map(({ kind, count }) => [kind, count])).toEqual([
			["tools", 0],
			["schema", 0],
			["messages", 3],
		]);
		expect(longParses()).toBe(0);
	});
});

test.each(['"type":"image_url"', '"type" :\n"image_url"', '"\\u0074ype":"image_url"', '"type":"image\\u005furl"'])(
	"a picture is found however its type is written: %s",
	(type) => {
		const part = `{${type},"image_url":{"url":"data:image/png;base64,AAAA"}}`;
		const request = `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"${text}"},${part}]}]}`;
		const { facts } = parseRequest("chat", Buffer.from(request));
		expect(facts.promptContent()).toMatchObject({ images: 1, imageCharacters: 26, hasTools: false, hasSchema: false });
		expect(facts.promptSizes().media).toHaveLength(1);
	},
);

test("of Claude's clients to Claude, whose words are made in no other wire's", async () => {
	rig.upstream.run(hello);
	const messages = [{ role: "user", content: text }];
	const body = JSON.stringify({ model: MODELS.claude, max_tokens: 9, stream: true, messages });
	stringify.mockClear();
	const { status } = await rig.send(body);
	expect(status).toBe(200);
	expect(longParses()).toBe(1);
	expect(stringify.mock.calls.filter(([value]) => value === text || value?.messages !== undefined)).toEqual([]);
});

describe("the memory of a long one", () => {
	const transfer = spyOn(ArrayBuffer.prototype, "transfer");
	beforeEach(() => void transfer.mockClear());
	afterAll(() => transfer.mockRestore());
	const ask = async (model: string) => {
		const messages = [{ role: "user", content: text.repeat(2) }];
		return (await router.send({ model, stream: true, messages })).text();
	};

	test("is not given back where one attempt has failed", async () => {
		upstream.run((connection) =>
			(connection.nth === 0 ? answers("503 Service Unavailable", "{}") : streams(goodStream()))(connection),
		);
		expect(await ask("twice")).toContain("[DONE]");
		expect(transfer).not.toHaveBeenCalled();
	});

	test("is not given back where the stream broke", async () => {
		upstream.run(async (connection) => {
			await begins(goodStream().slice(0, 2))(connection);
			connection.destroy();
		});
		await ask("box/m");
		expect(transfer).not.toHaveBeenCalled();
	});

	test("is given back at a stream's good end", async () => {
		upstream.run(streams(goodStream()));
		expect(await ask("box/m")).toContain("[DONE]");
		expect(transfer).toHaveBeenCalledTimes(1);
	});
});
