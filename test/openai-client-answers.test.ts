/** The official `openai` client, unmodified but for `baseURL`, reads every upstream's answers through the router. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type OpenAI from "openai";
import type { ChatCompletionChunk } from "openai/resources";
import { DIALECTS, type Dialect } from "./kit/dialects.ts";
import { fixture, usageOf } from "./kit/fixtures.ts";
import { openAiClient, params, streamParams } from "./kit/openai-client.ts";
import { type Rig, startRig } from "./kit/rig.ts";
import { PIXEL, type ScenarioName, scenario } from "./kit/scenarios.ts";

let rig: Rig;
let client: OpenAI;
beforeAll(async () => {
	rig = await startRig();
	client = openAiClient(rig.router.url);
});
afterAll(() => rig.stop());

/** Upstreams reason in a field the client's types do not know. */
type Reasoned = { reasoning?: string; reasoning_content?: string };
const thoughts = (message: object) => (message as Reasoned).reasoning ?? (message as Reasoned).reasoning_content;

/** The usage the client must see: xAI's with reasoning counted in. */
const usage = (upstream: Dialect, name: ScenarioName) =>
	usageOf({ ...upstream, countsReasoning: true }, scenario(name).said) as { completion_tokens: number };

describe.each(DIALECTS.map((row) => [row.name, row] as const))("%s", (_, upstream) => {
	async function ask(name: ScenarioName) {
		const exchange = fixture(upstream, name);
		rig.replay.play(exchange.response);
		return await client.chat.completions.create(params(exchange));
	}

	async function stream(name: ScenarioName, withUsage?: boolean): Promise<ChatCompletionChunk[]> {
		const exchange = fixture(upstream, name, {
			stream: true,
			...(withUsage === undefined ? {} : { usage: withUsage }),
		});
		rig.replay.play(exchange.response, "event");
		return await Array.fromAsync(await client.chat.completions.create(streamParams(exchange)));
	}

	/** The client's own accumulation of a stream. */
	async function accumulate(name: ScenarioName) {
		const exchange = fixture(upstream, name, { stream: true });
		rig.replay.play(exchange.response, "event");
		const completion = await client.chat.completions.stream(streamParams(exchange)).finalChatCompletion();
		return completion.choices[0]!;
	}

	const said = (name: ScenarioName) => scenario(name).said;
	const toolCalls = (name: ScenarioName) =>
		(said(name).toolCalls ?? []).map(({ id, name: fn, arguments: text }) => ({
			id,
			type: "function",
			function: { name: fn, arguments: text },
		}));

	test("text", async () => {
		const completion = await ask("text");
		expect(completion.choices[0]?.message.content).toBe(said("text").content);
		expect(completion.choices[0]?.finish_reason).toBe("stop");
		expect(completion.model).toBe(upstream.upstreamModel);
	});

	test("text, streamed", async () => {
		const chunks = await stream("text");
		expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe(said("text").content!);
		expect(chunks.map((chunk) => chunk.choices[0]?.finish_reason).filter(Boolean)).toContain("stop");
	});

	test("an answer cut at the token limit says length", async () => {
		expect((await ask("cut at the token limit")).choices[0]?.finish_reason).toBe("length");
		expect((await accumulate("text")).finish_reason).toBe("stop");
	});

	test.each(["tools", "parallel tools"] as const)("%s", async (name) => {
		const { message, finish_reason } = (await ask(name)).choices[0]!;
		expect(message.tool_calls).toEqual(toolCalls(name) as never);
		expect(finish_reason).toBe("tool_calls");
		expect(JSON.parse(rig.replay.only().body).tools).toEqual(scenario(name).ask["tools"]);
	});

	test.each(["tools", "parallel tools"] as const)("%s, streamed", async (name) => {
		const { message, finish_reason } = await accumulate(name);
		const calls = message.tool_calls?.map((call) => {
			if (call.type !== "function") throw new Error(`a call of type ${call.type}`);
			const { id, type, function: fn } = call;
			return { id, type, function: { name: fn.name, arguments: fn.arguments } };
		});
		expect(calls).toEqual(toolCalls(name) as never);
		expect(finish_reason).toBe("tool_calls");
	});

	test("tool results go up, big numbers in them intact", async () => {
		expect((await ask("tool results")).choices[0]?.message.content).toBe("Hot.");
		expect(rig.replay.only().body).toContain("12345678901234567890");
	});

	test("JSON schema", async () => {
		const content = (await ask("JSON schema")).choices[0]?.message.content;
		expect(JSON.parse(content ?? "")).toEqual({ name: "Bern", people: 134000 });
		const schema = JSON.parse(rig.replay.only().body).response_format;
		expect(schema).toEqual(scenario("JSON schema").ask["response_format"]);
	});

	test("JSON schema, streamed", async () => {
		expect((await accumulate("JSON schema")).message.content).toBe(said("JSON schema").content);
	});

	test("images", async () => {
		expect((await ask("image")).choices[0]?.message.content).toBe("Red.");
		expect(rig.replay.only().body).toContain(PIXEL);
	});

	test("reasoning", async () => {
		const completion = await ask("reasoning");
		expect(completion.choices[0]?.message.content).toBe("51");
		expect(thoughts(completion.choices[0]!.message)).toBe(said("reasoning").reasoning);
		expect(completion.usage?.completion_tokens).toBe(usage(upstream, "reasoning").completion_tokens);
	});

	test("reasoning, streamed", async () => {
		const chunks = await stream("reasoning");
		const thought = chunks.map((chunk) => thoughts(chunk.choices[0]?.delta ?? {}) ?? "").join("");
		expect(thought).toBe(said("reasoning").reasoning!);
	});

	test("usage", async () => {
		const { completion_tokens, prompt_tokens } = (await ask("text")).usage!;
		expect({ completion_tokens, prompt_tokens }).toEqual({ completion_tokens: 7, prompt_tokens: 11 });
	});

	test("usage, streamed, where it was asked for", async () => {
		const last = (await stream("reasoning", true)).at(-1);
		expect(last?.usage).toEqual(usage(upstream, "reasoning") as never);
	});

	test("no usage, streamed, where it was not asked for; the upstream is asked all the same", async () => {
		const chunks = await stream("text");
		expect(chunks.filter((chunk) => chunk.usage)).toBeEmpty();
		expect(chunks.filter((chunk) => chunk.choices.length === 0)).toBeEmpty();
		expect(JSON.parse(rig.replay.only().body).stream_options).toEqual({ include_usage: true });
	});
});
