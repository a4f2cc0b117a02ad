/** Thoughts in the history of calls to servers that speak OpenAI: which go on, which are put back, and that all else stays as it was sent. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { addDetail, carriedDetails, carriesDetails, detailsIn } from "../src/openai/thought-details.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, streams } from "./kit/faults.ts";
import { hello } from "./kit/messages.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());
let router: Pipeline;
const at = { api_key: "sk-of-the-router", base_url: upstream.origin };
beforeEach(() => {
	const gateway = { type: "openai-compatible", base_url: upstream.origin };
	const providers = { openai: at, openrouter: at, venice: at, gateway };
	const keys = ["ann", "bob"].map((name) => ({ name, key: `key-of-${name}` }));
	router = pipeline({ config: { providers, keys } });
});

const tool_calls = [
	{ id: "call_1", type: "function", function: { name: "look", arguments: '{"n":12345678901234567890}' } },
];
const result = { role: "tool", tool_call_id: "call_1", content: "nothing" };
const claudes = { type: "reasoning.text", text: "Hm.", signature: "c2ln", format: "anthropic-claude-v1", index: 0 };
const googles = { type: "reasoning.encrypted", data: "Z29v", format: "google-gemini-v1", id: "call_1", index: 1 };
const asked = { role: "user", content: "Grüße 🙂" };

async function send(model: string, messages: readonly Json[], more: Json = {}, key = "ann"): Promise<Response> {
	const answer = await router.send(
		{ model, messages, ...more },
		{ headers: { authorization: `Bearer key-of-${key}` } },
	);
	expect([answer.status, answer.status === 200 ? "" : await answer.text()]).toEqual([200, ""]);
	return answer;
}
const sentMessage = (nth = upstream.received.length - 1): Loose =>
	JSON.parse(upstream.received[nth]!.body)["messages"][1];
const sentTo = async (model: string, message: Json): Promise<Loose> => {
	upstream.run(hello);
	await send(model, [asked, message, result]);
	return sentMessage();
};

describe("what another vendor has signed is taken out", () => {
	const message = { role: "assistant", content: "Grüße.", tool_calls, x_note: [1, { ü: null }] };

	test("with its words, and nothing else is changed", async () => {
		upstream.run(hello);
		const signed = { reasoning: "Hm.", reasoning_content: "Hm.", reasoning_details: [claudes] };
		await send("gpt-5-mini", [asked, { ...signed, ...message }, result]);
		expect(upstream.received[0]!.body).toContain(JSON.stringify([asked, message, result]));
	});

	test("Google's signatures of a message, of calls and of pictures", async () => {
		const extra_content = { google: { thought_signature: "c2ln" } };
		const images = [{ type: "image_url", image_url: { url: "data:," }, extra_content }];
		const calls = [{ extra_content, ...tool_calls[0] }];
		const sent = await sentTo("gpt-5-mini", { ...message, tool_calls: calls, images, extra_content });
		expect(sent).toEqual({ ...message, images: [{ type: "image_url", image_url: { url: "data:," } }] });
	});

	test("of several vendors' at OpenRouter each model's own stays", async () => {
		const both = { ...message, reasoning_details: [claudes, googles] };
		expect((await sentTo("openrouter/google/gemini-3-pro", both))["reasoning_details"]).toEqual([googles]);
		expect((await sentTo("openrouter/anthropic/claude-opus-5", both))["reasoning_details"]).toEqual([claudes]);
		expect((await sentTo("openrouter/qwen/qwen3-8b", both))["reasoning_details"]).toBeUndefined();
		expect((await sentTo("openrouter/auto", both))["reasoning_details"]).toEqual([claudes, googles]);
	});

	test("words that nobody has signed, and a message of the user's, stay", async () => {
		const words = { ...message, reasoning_content: "Hm." };
		expect(await sentTo("gpt-5-mini", words)).toEqual(words);
		upstream.run(hello);
		await send("gpt-5-mini", [{ ...asked, reasoning_details: [claudes] }, message, result]);
		expect(upstream.received[0]!.body).toContain('"reasoning_details"');
	});

	test("a gateway gets it, and one that refuses it is asked without", async () => {
		const signed = { ...message, reasoning_details: [claudes] };
		expect(await sentTo("gateway/m", signed)).toEqual(signed);
		const refusal = JSON.stringify({ error: { message: "property 'reasoning_details' is unsupported" } });
		upstream.run((connection) =>
			(connection.request.body.includes("reasoning_details") ? answers("400 Bad Request", refusal) : hello)(connection),
		);
		await send("gateway/m", [asked, signed, result]);
		expect(sentMessage()).toEqual(message);
	});
});

describe("what a server has signed is put back where its client dropped it", () => {
	const plain = { role: "assistant", content: null, tool_calls };
	const answer = (message: Json) =>
		answers(
			"200 OK",
			JSON.stringify({ choices: [{ index: 0, message: { ...plain, ...message }, finish_reason: "tool_calls" }] }),
		);

	test.each<[string, string, Json]>([
		["openrouter/anthropic/claude-opus-5", "OpenRouter's details", { reasoning_details: [claudes] }],
		[
			"venice/m",
			"what Venice has encrypted, with its words",
			{ reasoning_encrypted: "ZW5j", reasoning_content: "Hm." },
		],
		["gateway/m", "a gateway's details", { reasoning_details: [claudes, googles] }],
	])("before %s: %s", async (model, _, signed) => {
		upstream.run(answer(signed));
		await (await send(model, [asked])).text();
		expect(await sentTo(model, plain)).toEqual({ ...plain, ...signed });
	});

	test("Google's signature of a call by a gateway", async () => {
		const calls = [{ ...tool_calls[0], extra_content: { google: { thought_signature: "c2ln" } } }];
		upstream.run(answer({ tool_calls: calls }));
		await (await send("gateway/m", [asked])).text();
		expect(await sentTo("gateway/m", plain)).toEqual({ ...plain, tool_calls: calls });
	});

	test("in pieces of a stream, of which some have one index", async () => {
		const chunk = (delta: Json, finish_reason: string | null = null) =>
			`data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
		const summary = { type: "reasoning.summary", summary: "H", format: "openai-responses-v1", index: 0 };
		const encrypted = { type: "reasoning.encrypted", data: "gAAAAA", format: "openai-responses-v1", index: 0 };
		upstream.run(
			streams([
				chunk({ role: "assistant", reasoning: "H", reasoning_details: [summary] }),
				chunk({ reasoning: "m.", reasoning_details: [{ ...summary, summary: "m." }] }),
				chunk({ reasoning_details: [encrypted] }),
				chunk({
					tool_calls: [{ index: 0, id: "call_1", type: "function", function: { name: "look", arguments: "" } }],
				}),
				chunk({ tool_calls: [{ index: 0, function: { arguments: "{}" } }] }),
				chunk({}, "tool_calls"),
				"data: [DONE]\n\n",
			]),
		);
		await (await send("openrouter/openai/gpt-5-mini", [asked], { stream: true })).text();
		const sent = await sentTo("openrouter/openai/gpt-5-mini", plain);
		expect(sent["reasoning_details"]).toEqual([{ ...summary, summary: "Hm." }, encrypted]);
	});

	test("but for another key, another upstream, another vendor's model, or a message that has its own", async () => {
		const model = "openrouter/anthropic/claude-opus-5";
		upstream.run(answer({ reasoning_details: [claudes] }));
		await (await send(model, [asked])).text();
		upstream.run(hello);
		await send(model, [asked, plain, result], {}, "bob");
		expect(sentMessage()).toEqual(plain);
		expect(await sentTo("gateway/m", plain)).toEqual(plain);
		expect(await sentTo("openrouter/google/gemini-3-pro", plain)).toEqual(plain);
		const own = { ...plain, reasoning_details: [{ ...claudes, text: "Own." }] };
		expect(await sentTo(model, own)).toEqual(own);
	});
});

describe("details on their way through other wires", () => {
	test("are read back whole, and one that a client has bent is none", () => {
		const carried = carriedDetails([claudes, googles]);
		expect(carriesDetails(carried)).toBe(true);
		expect(Buffer.from(carried, "base64").toString("base64")).toBe(carried);
		expect(detailsIn(carried)).toEqual([claudes, googles]);
		for (const bent of [carried.slice(0, 40), `${carried.slice(0, 12)}bnVsbA==`]) expect(detailsIn(bent)).toEqual([]);
		for (const other of ["EqoDCkYICxgCKkBb", "", undefined, null, 7]) expect(carriesDetails(other)).toBe(false);
	});

	test("pieces of one are joined, and those of another kind are not", () => {
		const details: unknown[] = [];
		for (const piece of [{ ...claudes, text: "H", signature: null }, { ...claudes, text: "m." }, googles, "odd", null])
			addDetail(details, piece);
		expect(details).toEqual([claudes, googles, "odd", null]);
	});
});
