/** The official `openai` client, unmodified but for `baseURL`, reads what Claude and Gemini say through the router. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import OpenAI from "openai";
import type { ChatCompletionCreateParamsNonStreaming } from "openai/resources";
import type { Loose } from "./kit/exchange.ts";
import { folded } from "./kit/folded.ts";
import { openAiClient } from "./kit/openai-client.ts";
import { SCENARIO_NAMES, type ScenarioName, scenario } from "./kit/scenarios.ts";
import { VENDORS, type Vendor } from "./kit/vendor-fixtures.ts";
import { startVendorRig, type VendorRig } from "./kit/vendor-rig.ts";

let rig: VendorRig;
let client: OpenAI;
beforeAll(async () => {
	rig = await startVendorRig();
	client = openAiClient(rig.router.url);
});
afterAll(() => rig.stop());

/** What a scenario asks for, but for what newer Claude models refuse. */
function params({ name: vendor, model }: Vendor, name: ScenarioName): ChatCompletionCreateParamsNonStreaming {
	const { temperature, ...ask } = scenario(name).ask;
	return { model, ...ask, ...(vendor === "gemini" ? { temperature } : {}) } as never;
}

describe.each(VENDORS.map((vendor) => [vendor.name, vendor] as const))("%s", (_, vendor) => {
	function expected(name: ScenarioName) {
		const { content, refusal, reasoning, toolCalls, finish } = scenario(name).said;
		// Gemini says that it stopped, not why in words.
		const says = vendor.name === "anthropic" ? (refusal ?? null) : null;
		return {
			content: content ?? "",
			refusal: says,
			reasoning,
			calls: (toolCalls ?? []).map(({ id, name: fn, arguments: args }) => [id, fn, JSON.parse(args)]),
			finish: refusal === undefined ? finish : "content_filter",
		};
	}
	const seen = ({ message, finish_reason }: Loose) => ({
		content: message.content ?? "",
		refusal: message.refusal ?? null,
		reasoning: message.reasoning_content,
		calls: (message.tool_calls ?? []).map(({ id, function: fn }: Loose) => [id, fn.name, JSON.parse(fn.arguments)]),
		finish: finish_reason,
	});
	const counted = (name: ScenarioName) => {
		const reasoning = scenario(name).said.reasoning ? 30 : 0;
		return {
			prompt_tokens: 11,
			completion_tokens: 7 + reasoning,
			total_tokens: 18 + reasoning,
			prompt_tokens_details: { cached_tokens: 4, ...(vendor.name === "anthropic" ? { cache_write_tokens: 3 } : {}) },
			completion_tokens_details: { reasoning_tokens: reasoning },
		};
	};

	test.each(SCENARIO_NAMES)("%s", async (name) => {
		rig.replay.play(vendor.answer(name, false));
		const completion = await client.chat.completions.create(params(vendor, name));
		expect(seen(completion.choices[0]!)).toEqual(expected(name));
		expect(completion.usage as unknown).toEqual(counted(name));
		expect(completion.model).toBe(vendor.model);
	});

	test.each(SCENARIO_NAMES)("%s, streamed", async (name) => {
		rig.replay.play(vendor.answer(name, true), "event");
		const answer = await rig.post("/v1/chat/completions", {
			...params(vendor, name),
			stream: true,
			stream_options: { include_usage: true },
		} as never);
		expect(answer.headers.get("content-type")).toStartWith("text/event-stream");
		const whole = folded(answer.text);
		expect(seen(whole["choices"][0])).toEqual(expected(name));
		expect(whole["usage"]).toEqual(counted(name));
		expect(whole["model"]).toBe(vendor.model);
	});

	test.each(["tools", "parallel tools", "text", "JSON schema"] as const)("%s, added up by the client", async (name) => {
		rig.replay.play(vendor.answer(name, true), "event");
		const completion = await client.chat.completions.stream(params(vendor, name) as never).finalChatCompletion();
		expect({ ...seen(completion.choices[0]!), reasoning: undefined }).toEqual({
			...expected(name),
			reasoning: undefined,
		});
		expect(completion.usage).toBeUndefined();
	});

	test("the client's own parser reads structured output", async () => {
		rig.replay.play(vendor.answer("JSON schema", false));
		const completion = await client.chat.completions.parse(params(vendor, "JSON schema"));
		expect(JSON.parse(completion.choices[0]!.message.content ?? "")).toEqual({ name: "Bern", people: 134000 });
	});

	test("a stream is passed on piece by piece, not gathered", async () => {
		const gate = Promise.withResolvers<void>();
		rig.replay.play(vendor.answer("text", true), { before: "line.", until: gate.promise });
		let text = "";
		for await (const chunk of await client.chat.completions.create({ ...params(vendor, "text"), stream: true })) {
			text += chunk.choices[0]?.delta.content ?? "";
			if (text.includes("🙂")) gate.resolve();
		}
		expect(text).toBe(scenario("text").said.content!);
	});

	test("usage counts in the metrics, cached and reasoning apart", async () => {
		const labels = { provider: vendor.name, direction: "input" };
		const before = await rig.router.metric("router_tokens_total", labels);
		rig.replay.play(vendor.answer("reasoning", true));
		await rig.post("/v1/chat/completions", { ...params(vendor, "reasoning"), stream: true } as never);
		await rig.router.idle();
		expect((await rig.router.metric("router_tokens_total", labels)) - before).toBe(11);
	});

	test("legacy completions are refused, with what to use", async () => {
		rig.replay.play(vendor.answer("text", false));
		const error = await client.completions.create({ model: vendor.model, prompt: "Hi" }).catch((thrown) => thrown);
		expect(error).toBeInstanceOf(OpenAI.BadRequestError);
		expect([error.code, error.param]).toEqual(["unsupported_parameter", "model"]);
		expect(error.message).toContain("/v1/chat/completions");
		expect(rig.replay.received).toEqual([]);
	});
});

test("Claude has no embeddings, and says so", async () => {
	const error = await client.embeddings.create({ model: "claude-opus-4-7", input: "Hi" }).catch((thrown) => thrown);
	expect(error).toBeInstanceOf(OpenAI.BadRequestError);
	expect(error.message).toContain("no embeddings");
});

describe("Gemini's embeddings", () => {
	const answer = {
		status: 200,
		headers: { "content-type": "application/json" },
		body: { embeddings: [{ values: [0.25, -0.5] }, { values: [1, 0] }], usageMetadata: { promptTokenCount: 6 } },
	};

	test("come through the official client, which asks for base64", async () => {
		rig.replay.play(answer);
		const { data, usage } = await client.embeddings.create({
			model: "gemini-embedding-001",
			input: ["Grüße", "🙂"],
			dimensions: 2,
			gemini: { taskType: "RETRIEVAL_QUERY" },
		} as never);
		expect(data.map(({ index }) => index)).toEqual([0, 1]);
		expect(data.map(({ embedding }) => embedding as unknown)).toEqual([
			[0.25, -0.5],
			[1, 0],
		]);
		expect(usage).toEqual({ prompt_tokens: 6, total_tokens: 6 });
		const { path, body } = rig.replay.only();
		expect(path).toBe("/v1beta/models/gemini-embedding-001:batchEmbedContents");
		const request = (text: string) => ({
			model: "models/gemini-embedding-001",
			content: { parts: [{ text }] },
			outputDimensionality: 2,
			taskType: "RETRIEVAL_QUERY",
		});
		expect(JSON.parse(body)).toEqual({ requests: [request("Grüße"), request("🙂")] });
	});

	test("of another number of texts are no answer", async () => {
		rig.replay.play(answer);
		const error = await client.embeddings
			.create({ model: "gemini-embedding-001", input: ["a", "b", "c"] })
			.catch((thrown) => thrown);
		expect([error.status, error.code]).toEqual([502, "upstream_error"]);
	});

	test("come as numbers where numbers are asked for", async () => {
		rig.replay.play({ ...answer, body: { embeddings: answer.body.embeddings.slice(0, 1) } });
		const embedding = { model: "gemini-embedding-001", input: "Hi", encoding_format: "float" as const };
		expect((await client.embeddings.create(embedding)).data[0]?.embedding).toEqual([0.25, -0.5]);
	});

	test("of tokens are refused by name", async () => {
		const error = await client.embeddings
			.create({ model: "gemini-embedding-001", input: [1, 2] })
			.catch((thrown) => thrown);
		expect([error.status, error.param]).toEqual([400, "input[0]"]);
	});
});
