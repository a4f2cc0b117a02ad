/** The official `openai` client, unmodified but for `baseURL`, calls `/v1/responses` on models of every kind of upstream. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import type { Response, ResponseCreateParamsNonStreaming } from "openai/resources/responses/responses";
import { z } from "zod";
import type { Json, Loose } from "./kit/exchange.ts";
import { openAiClient } from "./kit/openai-client.ts";
import { responseEvents } from "./kit/response-events.ts";
import { responseFaults } from "./kit/response-schema.ts";
import { SCENARIO_NAMES, type ScenarioName, scenario } from "./kit/scenarios.ts";
import { type UpstreamKind, upstreamKinds } from "./kit/upstream-kinds.ts";
import { VENDORS } from "./kit/vendor-fixtures.ts";

const upstreams = upstreamKinds(["openai", "vllm-box", "openrouter"]);
beforeAll(() => upstreams.start());
afterAll(() => upstreams.stop());
const clientOf = (kind: UpstreamKind) => openAiClient(kind.rig().router.url);

/** A scenario's question, in the words of this wire. */
function asking(kind: UpstreamKind, name: ScenarioName): ResponseCreateParamsNonStreaming {
	const { messages, tools, response_format, max_completion_tokens, reasoning_effort, temperature, ...rest } = scenario(
		name,
	).ask as Loose;
	const [system] = messages.filter(({ role }: Loose) => role === "system");
	return {
		model: kind.model,
		input: messages.flatMap(itemsOf),
		...rest,
		...(system ? { instructions: system.content } : {}),
		// Newer Claude models take none.
		...(temperature !== undefined && kind.name !== "anthropic" ? { temperature } : {}),
		...(tools ? { tools: tools.map(({ function: { ...fn } }: Loose) => ({ type: "function", ...fn })) } : {}),
		...(response_format ? { text: { format: { type: "json_schema", ...response_format.json_schema } } } : {}),
		...(max_completion_tokens ? { max_output_tokens: max_completion_tokens } : {}),
		...(reasoning_effort ? { reasoning: { effort: reasoning_effort, summary: "auto" } } : {}),
	} as ResponseCreateParamsNonStreaming;
}

function itemsOf({ role, content, tool_calls: calls, tool_call_id: call_id }: Loose): Json[] {
	if (role === "system") return [];
	if (role === "tool") return [{ type: "function_call_output", call_id, output: content }];
	const parts = Array.isArray(content)
		? content.map(({ type, text, image_url: image }: Loose) =>
				type === "text"
					? { type: "input_text", text }
					: { type: "input_image", image_url: image.url, detail: image.detail },
			)
		: content;
	const said = content === null ? [] : [{ role, content: parts }];
	return [
		...said,
		...(calls ?? []).map(({ id, function: fn }: Loose) => ({ type: "function_call", call_id: id, ...fn })),
	];
}

/** What a response says, as a scenario has it. */
function seen({ output, status, incomplete_details }: Response) {
	const parts = output.flatMap((item) => (item.type === "message" ? item.content : []));
	return {
		content: parts.map((part) => (part.type === "output_text" ? part.text : "")).join(""),
		refusal: parts.map((part) => (part.type === "refusal" ? part.refusal : "")).join(""),
		reasoning: output
			.flatMap((item) => (item.type === "reasoning" ? item.summary.map(({ text }) => text) : []))
			.join(""),
		calls: output.flatMap((item) =>
			item.type === "function_call" ? [[item.call_id, item.name, JSON.parse(item.arguments)]] : [],
		),
		end: String(incomplete_details?.reason ?? status),
	};
}

function expected(kind: UpstreamKind, name: ScenarioName) {
	const { content, refusal, reasoning, toolCalls, finish } = scenario(name).said;
	const isFiltered = refusal !== undefined && (kind.name === "anthropic" || kind.name === "gemini");
	return {
		content: content ?? "",
		// Gemini says that it stopped, not why in words.
		refusal: kind.name === "gemini" ? "" : (refusal ?? ""),
		reasoning: reasoning ?? "",
		calls: (toolCalls ?? []).map(({ id, name: fn, arguments: args }) => [id, fn, JSON.parse(args)]),
		end: isFiltered ? "content_filter" : finish === "length" ? "max_output_tokens" : "completed",
	};
}

const counted = (kind: UpstreamKind, name: ScenarioName) => {
	const reasoning_tokens = scenario(name).said.reasoning ? 30 : 0;
	return {
		input_tokens: 11,
		input_tokens_details: { cached_tokens: 4, ...(kind.name === "anthropic" ? { cache_write_tokens: 3 } : {}) },
		output_tokens: 7 + reasoning_tokens,
		output_tokens_details: { reasoning_tokens },
		total_tokens: 18 + reasoning_tokens,
	};
};

describe.each(upstreams.kinds.map((kind) => [kind.name, kind] as const))("%s", (_, kind) => {
	test.each(SCENARIO_NAMES)("%s", async (name) => {
		kind.rig().replay.play(kind.answer(name, false));
		const response = await clientOf(kind).responses.create(asking(kind, name));
		expect(seen(response)).toEqual(expected(kind, name));
		expect(response.usage as unknown).toEqual(counted(kind, name));
		expect(response.output_text).toBe(scenario(name).said.content ?? "");
		const { output_text, _request_id, ...wire } = response as Loose;
		expect(responseFaults(wire)).toEqual([]);
	});

	test.each(SCENARIO_NAMES)("%s, streamed, added up by the client", async (name) => {
		kind.rig().replay.play(kind.answer(name, true), "event");
		const stream = clientOf(kind).responses.stream(asking(kind, name) as never);
		const response = await stream.finalResponse();
		expect(seen(response as Response)).toEqual(expected(kind, name));
		expect(response.usage as unknown).toEqual(counted(kind, name));
	});

	test("the client's own parser reads structured output", async () => {
		kind.rig().replay.play(kind.answer("JSON schema", false));
		const format = zodTextFormat(z.object({ name: z.string(), people: z.number().int() }), "city");
		const response = await clientOf(kind).responses.parse({ model: kind.model, input: "A city.", text: { format } });
		expect(response.output_parsed).toEqual({ name: "Bern", people: 134000 });
	});

	test("words come piece by piece, not gathered", async () => {
		const gate = Promise.withResolvers<void>();
		kind.rig().replay.play(kind.answer("text", true), { before: "line.", until: gate.promise });
		let text = "";
		for await (const event of await clientOf(kind).responses.create({ ...asking(kind, "text"), stream: true })) {
			if (event.type === "response.output_text.delta") text += event.delta;
			if (text.includes("🙂")) gate.resolve();
		}
		expect(text).toBe(scenario("text").said.content!);
	});

	test("a stream that breaks off ends with a response that failed", async () => {
		const whole = kind.answer("text", true).sse!;
		const end = /\r?\n\r?\n/g;
		end.lastIndex = whole.indexOf("🙂");
		end.test(whole);
		const sse = whole.slice(0, end.lastIndex);
		kind.rig().replay.play({ status: 200, headers: { "content-type": "text/event-stream" }, sse });
		const events = await Array.fromAsync(
			await clientOf(kind).responses.create({ ...asking(kind, "text"), stream: true }),
		);
		const last = events.at(-1)!;
		if (last.type !== "response.failed") throw new Error(`it ended with ${last.type}`);
		expect(last.response.error).toMatchObject({ code: "server_error", message: expect.stringContaining(kind.name) });
		expect(seen(last.response).content).toStartWith("Grüße zurück, 你好 🙂");
	});

	test("an upstream that refuses the router's key is no fault of the client's", async () => {
		kind.rig().replay.play({
			status: 401,
			headers: { "content-type": "application/json" },
			body: { error: { message: "Invalid key" } },
		});
		for (const stream of [false, true]) {
			const error = await clientOf(kind)
				.responses.create({ ...asking(kind, "text"), stream })
				.catch((thrown) => thrown);
			expect(error).toBeInstanceOf(OpenAI.InternalServerError);
			expect([error.status, error.code]).toEqual([502, "upstream_auth"]);
		}
	});
});

describe("a prompt that is too long is told with the code that agents act on", () => {
	const message = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.";
	const error = { message, type: "invalid_request_error", param: "messages", code: "context_length_exceeded" };
	const asking = { model: "gpt-5-mini", input: "hi" };
	beforeEach(() => {
		upstreams.rig.replay.play({ status: 400, headers: { "content-type": "application/json" }, body: { error } });
	});

	test("of a whole answer", async () => {
		const client = openAiClient(upstreams.rig.router.url);
		const thrown = await client.responses.create(asking).catch((each) => each);
		expect(thrown).toBeInstanceOf(OpenAI.BadRequestError);
		expect([thrown.code, thrown.param]).toEqual(["context_length_exceeded", "input"]);
	});

	test("in a stream, as OpenAI does", async () => {
		const { status, headers, text } = await upstreams.rig.post("/v1/responses", { ...asking, stream: true });
		expect([status, headers.get("content-type")]).toEqual([200, "text/event-stream; charset=utf-8"]);
		expect(headers.get("x-request-id")).toStartWith("req_");
		const { types, response } = responseEvents(text);
		expect(types).toEqual(["created", "in_progress", "failed"]);
		expect(response["error"]).toEqual({
			code: "context_length_exceeded",
			message: expect.stringContaining("8192 tokens"),
		});
	});
});

test("a field that an upstream can't take is named as the client wrote it", async () => {
	const client = openAiClient(upstreams.vendorRig.router.url);
	const part = { type: "input_audio", input_audio: { data: "AA", format: "wav" } };
	const input = [
		{ role: "system", content: "Listen." },
		{ role: "user", content: [{ type: "input_text", text: "What?" }, part] },
	];
	const refused = async (more: Json) =>
		client.responses.create({ model: "claude-opus-4-7", input, ...more } as never).catch((thrown) => thrown);
	const audio = await refused({});
	expect([audio.status, audio.code, audio.param]).toEqual([400, "unsupported_parameter", "input[1].content[1].type"]);
	expect(audio.message).toContain('"input[1].content[1].type"');
	const several = [
		{ role: "user", content: "One." },
		{ role: "user", content: [{ type: "input_text", text: "Two." }, part] },
	];
	expect((await refused({ input: several })).param).toBe("input[1].content[1].type");
	const calling = [
		{ role: "user", content: "hi" },
		{ role: "assistant", content: "I look." },
		{ type: "function_call", call_id: "a", name: "f", arguments: "{}" },
		{ type: "function_call", call_id: "b", name: "f", arguments: "no JSON" },
		{ type: "function_call_output", call_id: "a", output: "1" },
		{ type: "function_call_output", call_id: "b", output: "2" },
	];
	expect((await refused({ input: calling })).param).toBe("input[3].arguments");
	const tools = [{ type: "web_search" }, { type: "function", name: "f.g" }];
	expect((await refused({ input: "hi", tools })).param).toBe("tools[1].name");
});

test("a loop of tools goes on from what the client sends back", async () => {
	const { replay, router } = upstreams.vendorRig;
	const client = openAiClient(router.url);
	const claude = VENDORS.find(({ name }) => name === "anthropic")!;
	const tools = [
		{ type: "function", name: "weather", parameters: { type: "object", properties: {} }, strict: false },
	] as const;
	replay.play(claude.answer("tools", true), "event");
	const first = await client.responses
		.stream({ model: claude.model, input: "Weather in Bern?", tools: [...tools] })
		.finalResponse();
	const input = [
		{ role: "user", content: "Weather in Bern?" },
		...first.output,
		{ type: "function_call_output", call_id: "call_a", output: "Grey." },
	];
	replay.play(claude.answer("tool results", false));
	const second = await client.responses.create({ model: claude.model, input: input as never, tools: [...tools] });
	expect(second.output_text).toBe("Hot.");
	const sent = JSON.parse(replay.only().body);
	expect(sent.messages.slice(1)).toMatchObject([
		{ role: "assistant", content: [{ type: "tool_use", id: "call_a", name: "weather", input: { city: "Bern" } }] },
		{ role: "user", content: [{ type: "tool_result", tool_use_id: "call_a" }] },
	]);
});

test("a strict tool, as the Agents SDK sends it, is called by a model that holds its calls to no schema, and that is told", async () => {
	const { replay, post } = upstreams.vendorRig;
	const claude = VENDORS.find(({ name }) => name === "anthropic")!;
	const model = "claude-sonnet-4-20250514";
	const weather = { name: "weather", parameters: { type: "object", properties: {} }, strict: true };
	replay.play(claude.answer("tools", false));
	const answer = await post("/v1/responses", { model, input: "hi", tools: [{ type: "function", ...weather }] });
	expect([answer.status, answer.headers.get("x-router-dropped")]).toEqual([200, "tools.strict"]);
	expect(JSON.parse(replay.only().body).tools).toEqual([expect.not.objectContaining({ strict: true })]);
	const messages = [{ role: "user", content: "hi" }];
	const chat = await post("/v1/chat/completions", {
		model,
		messages,
		tools: [{ type: "function", function: weather }],
	});
	expect([chat.status, JSON.parse(chat.text).error.param]).toEqual([400, "tools[0].function.strict"]);
});

test("what instructs later on stands where the model takes it: in a turn of its own, or marked in the user's", async () => {
	const input = [
		{ role: "user", content: "Hi." },
		{ role: "developer", content: "Be brief." },
		{ role: "assistant", content: "Hello." },
		{ role: "user", content: "So?" },
	];
	const sent: Loose[] = [];
	for (const kind of upstreams.kinds) {
		const { replay, post } = kind.rig();
		replay.play(kind.answer("text", false));
		const model = kind.name === "anthropic" ? "claude-opus-4-8" : kind.model;
		expect((await post("/v1/responses", { model, input })).status).toBe(200);
		sent.push(JSON.parse(replay.only().body));
	}
	const [openAi, , , claude, gemini] = sent;
	const marked = "<system>\nBe brief.\n</system>";
	expect(openAi!["messages"][0]).toEqual({ role: "user", content: `Hi.\n\n${marked}` });
	expect(claude!["messages"].map(({ role }: Loose) => role)).toEqual(["user", "system", "assistant", "user"]);
	expect(JSON.stringify(gemini!["contents"][0])).toContain(JSON.stringify(marked).slice(1, -1));
});
