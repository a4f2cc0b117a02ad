/** Long requests that go on as they came: nothing is made of all of one, however it is answered. */
import { afterAll, afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test";
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
