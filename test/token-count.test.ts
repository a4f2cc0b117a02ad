/** `count_tokens`: exact where the upstream counts, else estimated and marked so. No call is made for it. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { estimatedPrompt } from "../src/accounts/usage/token-estimate.ts";
import { anthropicMessages } from "../src/dialects/anthropic-messages/messages-dialect.ts";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import type { Json } from "./kit/exchange.ts";
import type { Script } from "./kit/fault-upstream.ts";
import { answers, neverAnswers, resetsBeforeHeaders } from "./kit/faults.ts";
import { MODELS, messagesRig } from "./kit/messages.ts";

const rig = messagesRig();
afterAll(() => rig.stop());
beforeEach(() => void rig.restart());

const asking = (model: string, more: Json = {}) => ({
	model,
	messages: [
		{ role: "user", content: "Weather in Bern?" },
		{ role: "assistant", content: [{ type: "tool_use", id: "a", name: "weather", input: { city: "Bern" } }] },
		{ role: "user", content: [{ type: "tool_result", tool_use_id: "a", content: "Sunny." }] },
	],
	system: "Be brief.",
	tools: [{ name: "weather", description: "Tells it.", input_schema: { type: "object", properties: {} } }],
	...more,
});
const count = async (model: string, more?: Json) => {
	const { status, json, headers } = await rig.send(asking(model, more), {}, "/v1/messages/count_tokens?beta=true");
	return { status, tokens: json["input_tokens"], isEstimated: headers.get("x-router-estimated") === "true" };
};

const counts: Script = (connection) => {
	const { path } = connection.request;
	const answer = path.endsWith("/tokenize")
		? { count: 67, max_model_len: 4096, tokens: [1, 2] }
		: path.endsWith("/messages/count_tokens")
			? { input_tokens: 123 }
			: path.includes(":countTokens")
				? { totalTokens: 45 }
				: undefined;
	return answer
		? answers("200 OK", JSON.stringify(answer))(connection)
		: answers("500 Internal Server Error", "{}")(connection);
};

describe("is estimated, and marked so", () => {
	test.each([
		["an upstream that knows no such path", answers("404 Not Found", '{"detail":"Not Found"}')],
		["one that answers something else", answers("200 OK", '{"count":"many"}')],
		["one that answers no JSON", answers("200 OK", "<html>")],
		["one that resets the connection", resetsBeforeHeaders],
	] as [string, Script][])("before %s", async (_, script) => {
		for (const model of Object.values(MODELS)) {
			rig.upstream.run(script);
			const { status, tokens, isEstimated } = await count(model);
			expect([status, isEstimated]).toEqual([200, true]);
			expect(tokens).toBeGreaterThan(10);
		}
	});

	test("for a model in this process", async () => {
		expect(await count("dummy")).toMatchObject({ status: 200, isEstimated: true });
	});

	test("before one that never answers, once its time is over", async () => {
		rig.upstream.run(neverAnswers);
		expect(await count(MODELS.openai)).toMatchObject({ status: 200, isEstimated: true });
	});
});

test("vLLM counts by its own chat template, beside its API", async () => {
	rig.upstream.run(counts);
	expect(await count(MODELS.openai)).toEqual({ status: 200, tokens: 67, isEstimated: false });
	expect(rig.upstream.received.map(({ path }) => path)).toEqual(["/tokenize"]);
	expect(rig.asked()).toMatchObject({
		model: "m",
		messages: [{ role: "system" }, { role: "user" }, { role: "assistant" }, { role: "tool" }],
		tools: [{ type: "function" }],
		add_generation_prompt: true,
	});
});

test("Anthropic is asked in its own words, without what is of no prompt", async () => {
	rig.upstream.run(counts);
	expect(await count(MODELS.claude, { temperature: 1, stream: true })).toEqual({
		status: 200,
		tokens: 123,
		isEstimated: false,
	});
	expect(rig.upstream.received.map(({ path }) => path)).toEqual(["/v1/messages/count_tokens"]);
	expect(Object.keys(rig.asked()).sort()).toEqual(["messages", "model", "system", "tools"]);
});

test("Google is asked for the whole request's count", async () => {
	rig.upstream.run(counts);
	expect(await count(MODELS.gemini)).toEqual({ status: 200, tokens: 45, isEstimated: false });
	expect(rig.upstream.received.map(({ path }) => path)).toEqual(["/v1beta/models/gemini-2.5-flash:countTokens"]);
	expect(rig.asked()["generateContentRequest"]).toMatchObject({
		model: "models/gemini-2.5-flash",
		systemInstruction: { parts: [{ text: "Be brief." }] },
		tools: [{ functionDeclarations: [{ name: "weather" }] }],
	});
});

describe("an estimate needs no translation, and is near that of the same call in OpenAI's words", () => {
	const user = (content: unknown) => ({ role: "user", content });
	const words = "Wer hat den Käse zum Bahnhof gerollt? ".repeat(40);
	const image = { type: "image", source: { type: "base64", media_type: "image/png", data: "A".repeat(40_000) } };
	const pdf = {
		type: "document",
		source: { type: "base64", media_type: "application/pdf", data: "A".repeat(400_000) },
	};
	const text = { type: "document", source: { type: "text", media_type: "text/plain", data: words } };
	test.each([
		["words", { system: words, messages: [user(words), { role: "assistant", content: words }, user(words)] }],
		[
			"blocks",
			{
				messages: [
					user([
						{ type: "text", text: words },
						{ type: "text", text: words },
					]),
				],
			},
		],
		["tools", { messages: [user(words)], tools: asking("m").tools, system: null }],
		["a picture and files", { messages: [user([image, pdf, text, { type: "text", text: words }])] }],
		[
			"a picture in a result",
			{ messages: [user([{ type: "tool_result", tool_use_id: "a", content: [image] }, text])] },
		],
		[
			"a schema",
			{ messages: [user(words)], output_config: { format: { type: "json_schema", schema: { type: "object" } } } },
		],
		["an effort, which is none", { messages: [user(words)], output_config: { effort: "high" } }],
	] as [string, Json][])("%s", (_, body) => {
		const sent = JSON.stringify({ model: "m", max_tokens: 9, ...body });
		const { facts, body: chat } = anthropicMessages.parse("chat", Buffer.from(sent));
		const own = estimatedPrompt({ operation: "chat", facts });
		const translated = estimatedPrompt({ operation: "chat", facts: parseRequest("chat", chat().bytes).facts });
		expect(own.tokens / translated.tokens).toBeWithin(0.85, 1.2);
		expect(own.image).toBe(translated.image);
	});
});
