/** `/v1/responses` on upstreams that speak it themselves: the client's bytes go up, and the answer's come down. The official client on a strict OpenAI. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import OpenAI from "openai";
import type { Json, Loose } from "./kit/exchange.ts";
import { responseEvents } from "./kit/response-events.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { callsFunction, type StrictResponses, says, startStrictResponses, thinks } from "./kit/strict-responses.ts";

/** What a model would say: it calls the tool that there is, and then says what that came to. */
function reply({ input, tools }: Loose): readonly Json[] {
	const last = Array.isArray(input) ? input.at(-1) : undefined;
	if (tools?.length && last?.type !== "function_call_output")
		return [thinks("1", "Hm."), callsFunction("call_1", tools[0].name ?? "find", '{"city":"Bern"}')];
	return [thinks("2", "Well."), says(`Grey "skies"\nover ${last?.output ?? "Bern"}.`)];
}

const openAi = startStrictResponses(reply);
const box = startStrictResponses(reply);
let router: RunningRouter;
beforeAll(async () => {
	router = await startRouter({
		env: { OPENAI_BASE_URL: `${openAi.origin}/v1`, OPENAI_API_KEY: "sk-openai-of-the-router" },
		config: {
			usage: { cost_in_answers: false },
			providers: {
				box: { type: "vllm", base_url: box.origin },
				plain: { type: "openai-compatible", base_url: box.origin },
				asked: { type: "openai-compatible", base_url: box.origin, responses: "native" },
				chats: { type: "openai", base_url: openAi.origin, api_key: "sk-of-chats", responses: "chat" },
			},
			models: [{ name: "both", targets: ["openai/gpt-5.4", "box/m"], policy: "order", resume: "targets" }],
		},
	});
});
afterAll(() => Promise.all([router.stop(), openAi.stop(), box.stop()]));
beforeEach(() => {
	for (const fake of [openAi, box])
		Object.assign(fake, { refuse: undefined, breakAfter: undefined, reply }).asked.length = 0;
});

const client = () => new OpenAI({ baseURL: `${router.url}/v1`, apiKey: "sk-any-of-clients", maxRetries: 0 });
const send = (body: Json) => post(`${router.url}/v1/responses`, { input: "hi", store: false, ...body });
const paths = ({ asked }: StrictResponses) => asked.map(({ path }) => path);

test("a call that comes again in the same bytes goes up as it came, whether its answer was cached or not", async () => {
	const body = JSON.stringify({ model: "asked/m", input: "hi", temperature: 0, store: false });
	const cached = async (headers: Record<string, string> = {}) => {
		const sent = { "content-type": "application/json", authorization: "Bearer sk-any-of-clients", ...headers };
		const answer = await fetch(`${router.url}/v1/responses`, { method: "POST", headers: sent, body });
		await answer.text();
		return answer.headers.get("x-router-cache");
	};
	for (const expected of ["miss", "hit", "hit"]) expect(await cached()).toBe(expected);
	expect(await cached({ "cache-control": "no-cache" })).not.toBe("hit");
	expect(paths(box)).toEqual(["/v1/responses", "/v1/responses"]);
	expect(box.asked[1]!.text).toBe(box.asked[0]!.text);
});

test("a conversation is summed up by the router, for every model to go on from, though OpenAI would do so itself", async () => {
	const input = [{ role: "user", content: "long ago" }, { type: "compaction_trigger" }];
	const { status, text } = await send({ model: "gpt-5.4", input });
	const [summary] = JSON.parse(text).output as Loose[];
	expect([status, summary!["type"], paths(openAi)]).toEqual([200, "compaction", ["/v1/chat/completions"]]);
	for (const model of ["gpt-5.4", "box/m"]) {
		expect((await send({ model, input: [summary, { role: "user", content: "And now?" }] })).status).toBe(200);
	}
	expect([openAi, box].map(({ asked }) => asked.at(-1)!.text.includes("by chat"))).toEqual([true, true]);
});

describe("what is wrong is told in the upstream's words, of a field as the client has written it", () => {
	test("a value that OpenAI refuses", async () => {
		openAi.refuse = () => [
			400,
			{ error: { message: "Invalid.", type: "invalid_request_error", param: "input[0].content", code: "bad" } },
		];
		const { status, text } = await send({ model: "gpt-5.4" });
		expect([status, JSON.parse(text).error]).toEqual([
			400,
			{ message: "Invalid.", type: "invalid_request_error", param: "input[0].content", code: "bad" },
		]);
		expect(paths(openAi)).toEqual(["/v1/responses"]);
	});

	test("a model that there is not", async () => {
		openAi.refuse = ({ model }) => [
			404,
			{
				error: {
					message: `The model '${model}' does not exist.`,
					type: "invalid_request_error",
					param: null,
					code: "model_not_found",
				},
			},
		];
		const { status, text } = await send({ model: "gpt-5.4-nothing" });
		expect([status, JSON.parse(text).error.code, openAi.asked.length]).toEqual([404, "model_not_found", 1]);
	});

	test("a response that fails before its first word", async () => {
		const failed = { status: "failed", error: { code: "server_error", message: "Broken." } };
		openAi.reply = () => {
			throw new Error("no answer");
		};
		openAi.refuse = () => [500, { error: { message: "Broken.", type: "server_error" } }];
		const { status, text } = await send({ model: "gpt-5.4", stream: true });
		expect([status, JSON.parse(text).error.code, failed.status]).toEqual([502, "upstream_error", "failed"]);
	});
});

describe("a server that does not speak it, or not all of it, is asked by chat completions", () => {
	test.each([
		["has no such path", "a", 404, { detail: "Not Found" }],
		["takes no POST there", "b", 405, { detail: "Method Not Allowed" }],
		["has not written it yet", "c", 501, { error: { message: "Not implemented", type: "NotImplementedError" } }],
		[
			"minds a field",
			"d",
			400,
			{ error: { message: "1 validation error", type: "Bad Request", param: null, code: 400 } },
		],
	])("one that %s, once and then remembered", async (_, model, status, refusal) => {
		box.refuse = () => [status, refusal];
		for (const stream of [false, true, false]) {
			const answer = await send({ model: `box/${model}`, stream });
			expect([answer.status, answer.text.includes("by chat")]).toEqual([200, true]);
		}
		expect(paths(box)).toEqual(["/v1/responses", ...Array(3).fill("/v1/chat/completions")]);
	});

	test("one that knows no tools of namespaces is not even asked", async () => {
		const tools = [{ type: "namespace", name: "crm", tools: [{ type: "function", name: "find", parameters: {} }] }];
		expect((await send({ model: "box/m", tools })).status).toBe(200);
		expect(paths(box)).toEqual(["/v1/chat/completions"]);
	});

	test("a field that only chats have, to OpenAI, too", async () => {
		expect((await send({ model: "gpt-5.2", stop: ["x"] })).status).toBe(200);
		expect(paths(openAi)).toEqual(["/v1/chat/completions"]);
	});

	test.each(["plain/m", "chats/gpt-5.2"])(
		"%s, of which nobody has said that it does, or somebody that it is not to",
		async (model) => {
			expect((await send({ model })).status).toBe(200);
			expect(paths(model === "plain/m" ? box : openAi)).toEqual(["/v1/chat/completions"]);
		},
	);

	test("and one of which somebody has said so, in its own words", async () => {
		expect((await send({ model: "asked/m" })).status).toBe(200);
		expect(paths(box)).toEqual(["/v1/responses"]);
	});
});

test("the client's bytes go up as they came, but for the model's name", async () => {
	const body =
		'{ "input":"hi","model":"openai/gpt-5.4",  "store":false, "new_field_of_tomorrow":12345678901234567890 }';
	openAi.refuse = () => [400, { error: { message: "x", type: "invalid_request_error" } }];
	await post(`${router.url}/v1/responses`, body);
	expect(openAi.asked[0]!.text).toBe(body.replace("openai/gpt-5.4", "gpt-5.4"));
	expect(openAi.asked[0]!.headers.get("authorization")).toBe("Bearer sk-openai-of-the-router");
});

test("an empty id of a previous response is none, here as elsewhere", async () => {
	const { status } = await send({ model: "gpt-5.4", previous_response_id: "" });
	expect([status, JSON.parse(openAi.asked[0]!.text)]).toEqual([
		200,
		expect.not.objectContaining({ previous_response_id: expect.anything() }),
	]);
});

test("a whole answer comes as it came, with what OpenAI alone has", async () => {
	openAi.reply = () => [
		{ type: "web_search_call", status: "completed", action: { type: "search", query: "Bern" } },
		says("Grey."),
	];
	const { text, headers } = await send({ model: "gpt-5.4", tools: [{ type: "web_search" }] });
	const response = JSON.parse(text) as Loose;
	expect(response["output"].map(({ type }: Loose) => type)).toEqual(["web_search_call", "message"]);
	expect([response["model"], response["usage"].output_tokens]).toEqual(["gpt-5.4-2026-10-01", 7]);
	expect([headers.get("x-router-dropped"), headers.get("x-router-provider")]).toEqual([null, "openai"]);
	expect(response["id"]).toMatch(/^resp_0/);
});

test("a stream comes with each of its events as it came, the router's last word before the last of them", async () => {
	const { text } = await send({ model: "gpt-5.4", stream: true, include: ["reasoning.encrypted_content"] });
	const { types, response, comments } = responseEvents(text);
	expect(types.filter((type) => type.endsWith("delta"))).toEqual(["reasoning_summary_text.delta", "output_text.delta"]);
	expect(text).toContain('"obfuscation":"xxx"');
	expect(response["output"]).toMatchObject([
		{ encrypted_content: "gAAAA2" },
		{ content: [{ text: 'Grey "skies"\nover Bern.' }] },
	]);
	expect(comments.at(-1)).toStartWith(': router {"provider":"openai"');
	expect(comments.at(-1)).toContain('"output":7');
});

test("a loop over a tool goes on with what the model has thought, whole and streamed, by the official client", async () => {
	const tools = [{ type: "function" as const, name: "weather", parameters: {}, strict: false }];
	const input: Loose[] = [{ role: "user", content: "Weather in Bern?" }];
	const asked = { model: "gpt-5.4", tools, store: false, include: ["reasoning.encrypted_content" as const] };
	const first = await client().responses.create({ ...asked, input: input as never });
	input.push(...(first.output as Loose[]), { type: "function_call_output", call_id: "call_1", output: "Bern" });
	const second = await client()
		.responses.stream({ ...asked, input: input as never })
		.finalResponse();
	expect(second.output_text).toBe('Grey "skies"\nover Bern.');
	expect(openAi.asked[1]!.body["input"].map(({ type }: Loose) => type)).toEqual([
		undefined,
		"reasoning",
		"function_call",
		"function_call_output",
	]);
});

describe("what the router stores", () => {
	test("is asked for unstored, with what goes on from it, and has the router's id", async () => {
		const first = await client().responses.create({ model: "gpt-5.4", input: "hi" });
		expect(openAi.asked[0]!.body).toMatchObject({ store: false, include: ["reasoning.encrypted_content"] });
		expect((first as Loose)["store"]).toBe(true);
		const got = await client().responses.retrieve(first.id);
		expect(got.output).toEqual(first.output);
		const second = await client().responses.create({ model: "gpt-5.4", input: "and?", previous_response_id: first.id });
		expect(second.previous_response_id).toBe(first.id);
		const { body } = openAi.asked.at(-1)!;
		expect(body["previous_response_id"]).toBeUndefined();
		expect(body["input"]).toMatchObject([
			{ role: "user" },
			{ type: "reasoning", encrypted_content: "gAAAA2" },
			{ type: "message", role: "assistant" },
			{ role: "user", content: "and?" },
		]);
	});

	test("streamed, too, and goes on elsewhere", async () => {
		const stream = client().responses.stream({ model: "gpt-5.4", input: "hi" });
		const first = await stream.finalResponse();
		const kept = await client().responses.retrieve(first.id);
		expect(kept.output.map(({ id }) => id)).toEqual(first.output.map(({ id }) => id));
		expect(kept.output_text).toBe(first.output_text);
		const second = await client().responses.create({ model: "plain/m", input: "and?", previous_response_id: first.id });
		expect(second.output_text).toBe("by chat");
		expect(box.asked.at(-1)!.body["messages"].map(({ role }: Loose) => role)).toEqual(["user", "assistant", "user"]);
	});

	test("of another vendor's goes to OpenAI without what only the router, and that vendor, know", async () => {
		const first = await client().responses.create({ model: "plain/m", input: "hi" });
		await client().responses.create({ model: "gpt-5.4", input: "and?", previous_response_id: first.id });
		expect(paths(openAi)).toEqual(["/v1/responses"]);
	});

	test("of an item is found by its id", async () => {
		const first = await client().responses.create({ model: "plain/m", input: "hi" });
		const input = [
			{ type: "item_reference", id: first.output[0]!.id! },
			{ role: "user", content: "and?" },
		];
		await client().responses.create({ model: "gpt-5.4", input: input as never });
		expect(openAi.asked[0]!.body["input"]).toMatchObject([{ role: "assistant" }, { role: "user" }]);
	});

	test("of a model that does not think is asked for without thoughts", async () => {
		for (const model of ["gpt-4.1", "chatgpt-4o-latest"]) expect((await send({ model, store: true })).status).toBe(200);
		expect(openAi.asked.length).toBe(2);
	});
});

describe("thoughts that OpenAI can't read", () => {
	const thought = (encrypted_content: string) => ({ type: "reasoning", id: "rs_1", summary: [], encrypted_content });
	const input = (encrypted: string) => [
		{ role: "user", content: "hi" },
		thought(encrypted),
		{ type: "message", role: "assistant", content: [{ type: "output_text", text: "Hello." }] },
		{ role: "user", content: "and?" },
	];
	const types = () => openAi.asked.map(({ body }) => body["input"].map(({ type, role }: Loose) => type ?? role));
	const without = ["user", "message", "user"];

	test("another vendor's never reach it", async () => {
		expect((await send({ model: "gpt-5.4", input: input("of-another") })).status).toBe(200);
		expect(types()).toEqual([without]);
	});

	test("another account's are left out once it has refused them, which says nothing of other calls", async () => {
		openAi.refuse = ({ input: sent }) =>
			JSON.stringify(sent).includes("gAAAAof-another")
				? [
						400,
						{
							error: {
								message: "The encrypted content gAAA... could not be verified.",
								code: "invalid_encrypted_content",
							},
						},
					]
				: undefined;
		expect((await send({ model: "gpt-5.4", input: input("gAAAAof-another") })).status).toBe(200);
		expect((await send({ model: "gpt-5.4", input: input("gAAAAown") })).status).toBe(200);
		const whole = ["user", "reasoning", "message", "user"];
		expect(types()).toEqual([whole, without, whole]);
	});
});

describe("tokens of a request", () => {
	const count = async (body: Json) => {
		const answer = await post(`${router.url}/v1/responses/input_tokens`, { input: "hi", ...body });
		return [JSON.parse(answer.text).input_tokens, answer.headers.get("x-router-estimated")];
	};

	test("are counted by OpenAI in its own words", async () => {
		openAi.count = 77;
		expect(await count({ model: "gpt-5.4", instructions: "Be brief.", temperature: 1 })).toEqual([77, null]);
		const { path, body } = openAi.asked[0]!;
		expect([path, body]).toEqual([
			"/v1/responses/input_tokens",
			{ model: "gpt-5.4", input: "hi", instructions: "Be brief." },
		]);
	});

	test("are counted by vLLM of the same as a chat", async () => {
		box.count = 78;
		expect(await count({ model: "box/m" })).toEqual([78, null]);
		expect(paths(box)).toEqual(["/tokenize"]);
	});
});

describe("a stream that breaks", () => {
	const ask = { model: "both", stream: true };
	test("before the first word goes on at another target, unseen", async () => {
		openAi.breakAfter = 2;
		const { response } = responseEvents((await send(ask)).text);
		expect(response["output"].at(-1).content[0].text).toBe('Grey "skies"\nover Bern.');
		expect([paths(openAi), paths(box)]).toEqual([["/v1/responses"], ["/v1/responses"]]);
	});

	test("in the middle of a word goes on there by chat, as one message of one response", async () => {
		openAi.reply = () => [says("by chats of many")];
		openAi.breakAfter = 5;
		const { text } = await send(ask);
		const { response, types } = responseEvents(text);
		expect(response["output"]).toMatchObject([{ type: "message", content: [{ text: "by chat" }] }]);
		expect([types.at(-1), paths(box)]).toEqual(["completed", ["/v1/chat/completions"]]);
		expect(openAi.asked).toHaveLength(1);
	});

	test("and can go on nowhere fails as a response, with the next number", async () => {
		openAi.breakAfter = 12;
		const { response } = responseEvents((await send({ model: "gpt-5.4", stream: true })).text);
		expect([response["status"], response["error"].code]).toEqual(["failed", "server_error"]);
		expect(response["id"]).toMatch(/^resp_0/);
	});
});
