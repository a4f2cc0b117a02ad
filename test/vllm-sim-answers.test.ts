/** The look-alike of vLLM answers and refuses as vLLM does. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Json } from "./kit/exchange.ts";
import { chat, choices, error, hi, MODEL, post, stream, textOf } from "./kit/vllm-sim-client.ts";
import { type Sim, startSim } from "./kit/vllm-sim-process.ts";

// Each starts a process or three, which is nothing on an idle machine.
setDefaultTimeout(60_000);

describe("answers", () => {
	let sim: Sim;
	let other: Sim;
	beforeAll(async () => {
		const args = ["--served-model-name", MODEL, "alias", "--enable-auto-tool-choice", "--tool-call-parser", "hermes"];
		[sim, other] = await Promise.all([
			startSim({ args: [...args, "--enable-prompt-tokens-details"] }),
			startSim({ args: ["--served-model-name", MODEL] }),
		]);
	});
	afterAll(async () => {
		await Promise.all([sim.stop(), other.stop()]);
	});

	test("are the same for the same conversation, from every replica, and others for others", async () => {
		const [first, again, elsewhere, different] = await Promise.all([
			chat(sim, hi()),
			chat(sim, hi()),
			chat(other, hi()),
			chat(sim, hi("ho")),
		]);
		const content = (answer: { json: Json }) => choices(answer.json)[0]!.message.content;
		expect(first.status).toBe(200);
		expect(content(first)!.length).toBeGreaterThan(20);
		expect(content(again)).toBe(content(first));
		expect(content(elsewhere)).toBe(content(first));
		expect(content(different)).not.toBe(content(first));
	});

	test("streamed have the same text, a role first, a reason last, and usage where it is asked for", async () => {
		const whole = await chat(sim, hi());
		const { status, chunks, done, headers } = await stream(sim, { ...hi(), stream_options: { include_usage: true } });
		expect([status, done, headers.get("content-type")]).toEqual([200, true, "text/event-stream; charset=utf-8"]);
		expect(textOf(chunks)).toBe(choices(whole.json)[0]!.message.content!);
		expect(choices(chunks[0]!)[0]!.delta.role).toBe("assistant");
		const last = chunks.at(-1)!;
		const { prompt_tokens, completion_tokens } = whole.json["usage"] as Record<string, number>;
		expect(last["choices"]).toEqual([]);
		expect(last["usage"]).toMatchObject({ prompt_tokens, completion_tokens });
		const reasons = chunks.slice(0, -1).map((chunk) => choices(chunk)[0]!.finish_reason);
		expect(reasons.filter(Boolean)).toEqual(["stop"]);
		expect(reasons.at(-1)).toBe("stop");
		// A role, every token, and usage.
		expect(chunks.length).toBe(completion_tokens! + 2);
	});

	test("end at max_tokens, and go on to there with ignore_eos", async () => {
		const short = await chat(sim, { ...hi(), max_tokens: 3 });
		expect(choices(short.json)[0]!.finish_reason).toBe("length");
		expect((short.json["usage"] as Json)["completion_tokens"]).toBe(3);
		const long = await chat(sim, { ...hi(), max_tokens: 200, ignore_eos: true });
		expect((long.json["usage"] as Json)["completion_tokens"]).toBe(200);
		expect(choices(long.json)[0]!.message.content).toStartWith(choices(short.json)[0]!.message.content!);
	});

	test("stop before a stop string, which is told", async () => {
		const content = choices((await chat(sim, hi())).json)[0]!.message.content!;
		const stop = content.split(" ")[3]!;
		const cut = choices((await chat(sim, { ...hi(), stop: [stop] })).json)[0]!;
		expect(cut).toMatchObject({ finish_reason: "stop", stop_reason: stop });
		expect(cut.message.content).toBe(content.slice(0, content.indexOf(stop)));
	});

	test("continue a partial answer exactly, wherever it was cut", async () => {
		const content = choices((await chat(sim, hi())).json)[0]!.message.content!;
		for (const at of [0, 1, 9, 17, content.length - 1, content.length]) {
			const messages = [...hi().messages, { role: "assistant", content: content.slice(0, at) }];
			const body = { model: MODEL, messages, add_generation_prompt: false, continue_final_message: true };
			const { chunks } = await stream(sim, body);
			expect(content.slice(0, at) + textOf(chunks)).toBe(content);
			expect(chunks.flatMap(choices).at(-1)!.finish_reason).toBe("stop");
		}
	});

	test("go on in other words after a beginning that isn't theirs", async () => {
		const messages = [...hi().messages, { role: "assistant", content: "Once upon a time" }];
		const body = { model: MODEL, messages, add_generation_prompt: false, continue_final_message: true };
		const content = choices((await chat(sim, body)).json)[0]!.message.content!;
		expect(content).toMatch(/^ \S+/);
		const both = await chat(sim, { ...body, add_generation_prompt: true });
		expect([both.status, error(both.json).message]).toEqual([
			400,
			"Cannot set both `continue_final_message` and `add_generation_prompt` to True.",
		]);
	});

	test("come n at a time", async () => {
		const { json } = await chat(sim, { ...hi(), n: 3, max_tokens: 5 });
		const texts = choices(json).map(({ message }) => message.content);
		expect(new Set(texts).size).toBe(3);
		const { chunks } = await stream(sim, { ...hi(), n: 3, max_tokens: 5 });
		const streamed = texts.map((_, index) =>
			textOf(chunks.map((chunk) => ({ choices: choices(chunk).filter((choice) => choice.index === index) }))),
		);
		expect(streamed).toEqual(texts as string[]);
	});

	const tools = [
		{
			type: "function",
			function: {
				name: "get_weather",
				parameters: { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } } },
			},
		},
	];
	const args = { city: "river", days: 7 };

	test("call a tool that the message names, streamed too, and talk otherwise", async () => {
		const body = { ...hi("use get_weather"), tools };
		const called = choices((await chat(sim, body)).json)[0]!;
		expect(called).toMatchObject({ finish_reason: "tool_calls", message: { content: null } });
		expect(JSON.parse(called.message.tool_calls[0]!.function.arguments)).toEqual(args);
		const { chunks } = await stream(sim, body);
		const deltas = chunks.flatMap(choices).flatMap(({ delta }) => delta.tool_calls ?? []);
		expect(deltas.map((delta) => delta.function.name).filter(Boolean)).toEqual(["get_weather"]);
		expect(JSON.parse(deltas.map((delta) => delta.function.arguments).join(""))).toEqual(args);
		const talk = choices((await chat(sim, { ...hi(), tools })).json)[0]!;
		expect(talk).toMatchObject({ finish_reason: "stop", message: { tool_calls: [] } });
		const required = choices((await chat(sim, { ...hi(), tools, tool_choice: "required" })).json)[0]!;
		expect(required.message.tool_calls).toHaveLength(1);
	});

	test("are JSON of the schema that is asked for", async () => {
		const schema = tools[0]!.function.parameters;
		const response_format = { type: "json_schema", json_schema: { name: "w", schema } };
		const { json } = await chat(sim, { ...hi(), response_format });
		expect(JSON.parse(choices(json)[0]!.message.content!)).toEqual(args);
	});

	test("to a plain prompt, one or several", async () => {
		const one = await post(sim, "/v1/completions", { model: MODEL, prompt: "Once" });
		expect(one.json).toMatchObject({ object: "text_completion", usage: { completion_tokens: 16 } });
		const two = await post(sim, "/v1/completions", { model: MODEL, prompt: ["Once", "Twice"] });
		expect(choices(two.json).map(({ index }) => index)).toEqual([0, 1]);
		expect(choices(two.json)[0]!.text).toBe(choices(one.json)[0]!.text);
		const { chunks, done } = await stream(sim, { model: MODEL, prompt: "Once" }, "/v1/completions");
		expect([textOf(chunks), done]).toEqual([choices(one.json)[0]!.text, true]);
	});

	test("list every name, and take each", async () => {
		const { data } = (await (await fetch(`${sim.origin}/v1/models`)).json()) as { data: Json[] };
		expect(
			data.map(({ id, object, owned_by, root, parent, max_model_len }) => [
				id,
				object,
				owned_by,
				root,
				parent,
				max_model_len,
			]),
		).toEqual([
			[MODEL, "model", "vllm", MODEL, null, 40_960],
			["alias", "model", "vllm", MODEL, null, 40_960],
		]);
		expect((await chat(sim, { ...hi(), model: "alias" })).json["model"]).toBe("alias");
	});

	test("count tokens", async () => {
		const { json } = await post(sim, "/tokenize", hi());
		expect(json["count"]).toBe(((await chat(sim, hi())).json["usage"] as Json)["prompt_tokens"]);
		expect((json["tokens"] as number[]).length).toBe(json["count"] as number);
	});
});

describe("refusals", () => {
	let sim: Sim;
	beforeAll(async () => {
		sim = await startSim({ args: ["--max-model-len", "100", "--api-key", "key-1"] });
	});
	afterAll(() => sim.stop());
	const key = { authorization: "Bearer key-1" };

	test.each([
		["another model", { ...hi(), model: "nope" }, 404, "The model `nope` does not exist.", "NotFoundError"],
		[
			"a long prompt",
			hi("word ".repeat(120)),
			400,
			"This model's maximum context length is 100 tokens. However, your request has 133 input tokens. Please reduce the length of the input messages.",
			"BadRequestError",
		],
		[
			"too long an answer",
			{ ...hi(), max_tokens: 95 },
			400,
			"'max_tokens' or 'max_completion_tokens' is too large: 95. This model's maximum context length is 100 tokens and your request has 10 input tokens (95 > 100 - 10).",
			"BadRequestError",
		],
		[
			"tools without a parser",
			{ ...hi(), tools: [{ type: "function", function: { name: "f" } }] },
			400,
			'"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
			"BadRequestError",
		],
		["no messages", { model: MODEL }, 400, "'loc': ('body', 'messages'), 'msg': 'Field required'", "Bad Request"],
		["no JSON", "{", 400, "JSON decode error", "Bad Request"],
	] as [string, Json | string, number, string, string][])("%s", async (_, body, status, message, type) => {
		const { status: got, json } = await post(sim, "/v1/chat/completions", body, key);
		expect(got).toBe(status);
		expect(error(json)).toMatchObject({ type, code: status });
		expect(error(json).message).toContain(message);
	});

	test("a missing or wrong key, below /v1 only", async () => {
		for (const headers of [undefined, { authorization: "Bearer key-2" }]) {
			const { status, json } = await chat(sim, hi(), headers);
			expect([status, json]).toEqual([401, { error: "Unauthorized" }]);
		}
		expect((await chat(sim, { ...hi(), max_tokens: 2 }, key)).status).toBe(200);
		expect((await post(sim, "/tokenize", { prompt: "hi" })).status).toBe(200);
		expect((await fetch(`${sim.origin}/health`)).status).toBe(200);
	});

	test("paths and methods it hasn't, the sleep routes among them", async () => {
		const status = async (path: string, method = "GET") => (await fetch(`${sim.origin}${path}`, { method })).status;
		expect(await status("/nope")).toBe(404);
		expect(await status("/health", "POST")).toBe(405);
		expect(await status("/sleep?level=1", "POST")).toBe(404);
	});

	test("embeddings by a model that generates, and the other way round", async () => {
		const body = { model: MODEL, input: "hi" };
		expect((await post(sim, "/v1/embeddings", body, key)).status).toBe(400);
		await using pooling = await startSim({ model: "Qwen/Qwen3-Embedding-0.6B" });
		const input = { model: "Qwen/Qwen3-Embedding-0.6B", input: ["hi", "ho", "hi"] };
		const { status, json } = await post(pooling, "/v1/embeddings", input);
		const [a, b, c] = (json["data"] as { embedding: number[] }[]).map(({ embedding }) => embedding);
		expect([status, a!.length]).toEqual([200, 384]);
		expect(c).toEqual(a!);
		expect(b).not.toEqual(a!);
		expect((await chat(pooling, { ...hi(), model: input.model })).status).toBe(400);
	});
});

describe("a stream that packs tokens into chunks", () => {
	const counted = (chunks: readonly Json[]) =>
		chunks.map(({ usage }) => (usage as { completion_tokens: number } | undefined)?.completion_tokens);

	test("says the same, in fewer chunks, and counts with each where it is asked to", async () => {
		await using packing = await startSim({ env: { SIM_PACK: "8" } });
		const body = { ...hi(), max_tokens: 100, ignore_eos: true };
		const whole = await chat(packing, body);
		const options = { include_usage: true, continuous_usage_stats: true };
		const { chunks } = await stream(packing, { ...body, stream_options: options });
		expect(textOf(chunks)).toBe(choices(whole.json)[0]!.message.content!);
		expect(chunks.length).toBeLessThan(60);
		// The role, then the first token by itself, then up to eight.
		const counts = counted(chunks) as number[];
		expect(counts.slice(0, 2)).toEqual([0, 1]);
		expect(Math.max(...counts.slice(1, -1).map((count, at) => count - counts[at]!))).toBeGreaterThan(4);
		expect(counts.slice(-2)).toEqual([100, 100]);
	});

	test("counts nothing before its end where it is not asked to, or for no usage at all", async () => {
		await using sim = await startSim();
		for (const options of [{ include_usage: true }, { continuous_usage_stats: true }]) {
			const { chunks } = await stream(sim, { ...hi(), stream_options: options });
			const isLast = "include_usage" in options;
			expect(counted(chunks).filter((count) => count !== undefined)).toHaveLength(isLast ? 1 : 0);
		}
	});
});
