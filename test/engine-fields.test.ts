/** Fields by which a call steers an inference server itself: what they are, and who may send them where, by every API. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { parseCommand } from "../src/cli/flags.ts";
import { LARGEST_GRAMMAR, LARGEST_SCHEMA } from "../src/openai/engine-fields.ts";
import { clientError } from "./kit/contract.ts";
import type { Json } from "./kit/exchange.ts";
import { factsOf } from "./kit/facts.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { MODEL } from "./kit/vllm-sim-client.ts";
import { type Sim, startSim } from "./kit/vllm-sim-process.ts";

const text = (length: number) => "x".repeat(length);
const schema = (length: number) => ({ type: "object", description: text(length) });
const format = (length: number) => ({ type: "json_schema", json_schema: { name: "a", schema: schema(length) } });

describe("a field", () => {
	test.each([
		["chat_template", { chat_template: "{{ x }}" }],
		["chat_template", { temperature: 0, chat_template: "" }],
		["chat_template_kwargs.chat_template", { chat_template_kwargs: { a: 1, chat_template: "{{ x }}" } }],
		["mm_processor_kwargs", { mm_processor_kwargs: {} }],
		["media_io_kwargs", { media_io_kwargs: { video: { num_frames: 9999 } } }],
		["kv_transfer_params", { kv_transfer_params: { do_remote_prefill: true, remote_host: "10.0.0.9" } }],
		["ec_transfer_params", { ec_transfer_params: {} }],
		["vllm_xargs.kv_transfer_params", { vllm_xargs: { a: 1, kv_transfer_params: "x" } }],
		["vllm_xargs.ec_transfer_params", { vllm_xargs: { ec_transfer_params: "x" } }],
		["vllm_xargs.kv_cache_report_mode", { vllm_xargs: { kv_cache_report_mode: "full" } }],
		["bootstrap_host", { bootstrap_host: ["10.0.0.9"] }],
		["bootstrap_port", { bootstrap_port: 8998 }],
		["bootstrap_room", { bootstrap_room: 0 }],
		["custom_logit_processor", { custom_logit_processor: "80049500" }],
		["response_format", { response_format: format(LARGEST_SCHEMA) }],
		["json_schema", { json_schema: text(LARGEST_SCHEMA) }],
		["regex", { regex: text(LARGEST_GRAMMAR) }],
		["ebnf", { ebnf: text(LARGEST_GRAMMAR) }],
		["stop_regex", { stop_regex: [text(LARGEST_GRAMMAR)] }],
		["guided_json", { guided_json: schema(LARGEST_SCHEMA) }],
		["structured_outputs", { structured_outputs: { json: schema(LARGEST_SCHEMA) } }],
		["structured_outputs.regex", { structured_outputs: { json: {}, regex: text(LARGEST_GRAMMAR) } }],
		["structured_outputs.choice", { structured_outputs: { choice: [text(LARGEST_GRAMMAR)] } }],
		["guided_regex", { guided_regex: text(LARGEST_GRAMMAR) }],
		["guided_choice", { guided_choice: [text(LARGEST_GRAMMAR)] }],
		["guided_grammar", { guided_grammar: text(LARGEST_GRAMMAR) }],
		["guided_grammar", { guided_grammar: "é".repeat(LARGEST_GRAMMAR / 2) }],
	] as [string, Json][])("%s is found", (name, body) => {
		expect(factsOf({ messages: [], ...body }).engineField()?.name).toBe(name);
	});

	test.each([
		{},
		{ chat_template: null, mm_processor_kwargs: null, media_io_kwargs: null, chat_template_kwargs: null },
		{ chat_template_kwargs: { enable_thinking: false, chat_template: null } },
		{ response_format: format(LARGEST_SCHEMA - 200) },
		{ structured_outputs: { json: schema(LARGEST_GRAMMAR * 2), regex: "a+" } },
		{ guided_regex: text(LARGEST_GRAMMAR - 2) },
		{ regex: "a+", ebnf: 'root ::= "a"', stop_regex: "b", json_schema: "{}" },
		{ kv_transfer_params: null, ec_transfer_params: null, bootstrap_host: null, custom_logit_processor: null },
		{ vllm_xargs: { my_plugin: 1, kv_transfer_params: null } },
		{ vllm_xargs: "x", chat_template_kwargs: 5 },
		// As a value, or within a prompt, it is only a word.
		{ messages: [{ role: "user", content: "chat_template", chat_template: "x" }], metadata: { chat_template: "x" } },
	] as Json[])("of %j is anyone's", (body) => expect(factsOf({ messages: [], ...body }).engineField()).toBeUndefined());
});

test("`router keys create --engine-fields` asks for such a key", () => {
	const created = (flags: string) =>
		parseCommand(["keys", "create", "--name", "x", ...flags.split(" ").filter(Boolean)]);
	expect(JSON.stringify(created("--engine-fields"))).toContain('"engineFields":true');
	expect(JSON.stringify(created(""))).not.toContain("engineFields");
});

describe("at a router with keys", () => {
	let sim: Sim;
	let router: RunningRouter;
	beforeAll(async () => {
		sim = await startSim({ args: ["--trust-request-chat-template"] });
		router = await startRouter({
			config: {
				admin: { keys: [{ name: "ops", key: "key-of-the-admin" }] },
				keys: [
					{ name: "plain", key: "key-plain" },
					{ name: "trusted", key: "key-trusted", engine_fields: true },
				],
				providers: {
					engine: { type: "vllm", base_url: sim.origin },
					box: { type: "openai-compatible", base_url: sim.origin },
					openai: { base_url: `${sim.origin}/v1`, api_key: "none" },
				},
			},
		});
	}, 60_000);
	afterAll(async () => {
		await router?.stop();
		await sim?.stop();
	});
	const send = (path: string, body: Json, key = "key-plain") =>
		post(router.url + path, body, { authorization: `Bearer ${key}` });

	const messages = [{ role: "user", content: "hi" }];
	const template = { chat_template: "{{ messages }}" };
	const inKwargs = { chat_template_kwargs: template };
	const model = `engine/${MODEL}`;
	const large = schema(LARGEST_SCHEMA);
	const ROWS: [string, string, Json, string][] = [
		["a chat", "/v1/chat/completions", { messages, ...template }, "chat_template"],
		[
			"a chat, in its switches",
			"/v1/chat/completions",
			{ messages, ...inKwargs },
			"chat_template_kwargs.chat_template",
		],
		[
			"where a prompt's cache is",
			"/v1/chat/completions",
			{ messages, kv_transfer_params: { a: 1 } },
			"kv_transfer_params",
		],
		["a response's", "/v1/responses", { input: "hi", bootstrap_host: "10.0.0.9" }, "bootstrap_host"],
		["a completion", "/v1/completions", { prompt: "hi", guided_grammar: text(LARGEST_GRAMMAR) }, "guided_grammar"],
		["an embedding", "/v1/embeddings", { input: "hi", ...template }, "chat_template"],
		["a response", "/v1/responses", { input: "hi", ...template }, "chat_template"],
		[
			"a response's schema",
			"/v1/responses",
			{ input: "hi", text: { format: { type: "json_schema", name: "a", schema: large } } },
			"text",
		],
		[
			"a message's schema",
			"/v1/messages",
			{ messages, max_tokens: 9, output_config: { format: { type: "json_schema", schema: large } } },
			"output_config.format",
		],
		["an Ollama chat's", "/api/chat", { messages, format: large }, "format"],
		["tokens", "/tokenize", { messages, ...template }, "chat_template"],
		["tokens, in its switches", "/tokenize", { messages, ...inKwargs }, "chat_template_kwargs.chat_template"],
		["a rerank", "/v1/rerank", { query: "a", documents: ["b"], mm_processor_kwargs: {} }, "mm_processor_kwargs"],
	];

	test.each(ROWS)("%s is refused by name, and says how to allow it", async (_, path, body, field) => {
		const { status, text: said } = await send(path, { model, ...body });
		expect(status).toBe(400);
		expect(said).toContain(field);
		expect(said).toContain("engine_fields: true");
		expect(said).toContain("plain");
		expect(said).not.toContain("{{ messages }}");
	});

	test("a request of Google's API with a large schema is refused, too", async () => {
		const body = {
			contents: [{ parts: [{ text: "hi" }] }],
			generationConfig: { responseMimeType: "application/json", responseJsonSchema: large },
		};
		const { status, text: said } = await send(`/v1beta/models/${model}:generateContent`, body);
		expect([status, said.includes("engine_fields: true")]).toEqual([400, true]);
	});

	test.each([`box/${MODEL}`, `openai/${MODEL}`])("%s may be a vLLM as well", async (other) => {
		const { status, text: said } = await send("/v1/chat/completions", { model: other, messages, ...template });
		expect([status, clientError(said).code]).toEqual([400, "engine_field_not_allowed"]);
	});

	test("a key that may send them has them sent", async () => {
		for (const [path, body] of [
			["/v1/chat/completions", { model, messages, max_tokens: 2, ...template }],
			["/tokenize", { model, messages, ...inKwargs }],
		] as const) {
			const { status } = await send(path, body, "key-trusted");
			expect([path, status]).toEqual([path, 200]);
		}
	});

	test("a key that an administrator makes may where that says so, and is shown with it", async () => {
		const make = async (body: Json) => {
			const { status, text: said } = await send("/admin/keys", body, "key-of-the-admin");
			expect(status).toBe(201);
			return JSON.parse(said) as { secret: string; key: Json };
		};
		const [made, plain] = [await make({ name: "made", engine_fields: true }), await make({ name: "other" })];
		expect([made.key["engine_fields"], "engine_fields" in plain.key]).toEqual([true, false]);
		const body = { model, messages, max_tokens: 2, ...template };
		expect((await send("/v1/chat/completions", body, made.secret)).status).toBe(200);
		expect((await send("/v1/chat/completions", body, plain.secret)).status).toBe(400);
	});

	test("nobody is refused what leads to no server of the user's own", async () => {
		const { status } = await send("/v1/chat/completions", { model: "dummy", messages, ...template });
		expect(status).toBe(200);
	});

	test("switches of the model's own template are anyone's", async () => {
		const body = { model, messages, max_tokens: 2, chat_template_kwargs: { enable_thinking: false } };
		expect((await send("/v1/chat/completions", body)).status).toBe(200);
	});
});
