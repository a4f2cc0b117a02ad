/** A key that may use some models only does not get out of them, nor hear of the others. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { callHandler } from "../src/api/handler.ts";
import { openAiChat } from "../src/dialects/openai-chat.ts";
import { openAiResponses } from "../src/dialects/openai-responses/index.ts";
import { clientError } from "./kit/contract.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { configOf, entriesOf, pipeline } from "./kit/pipeline.ts";

const upstream = startFaultUpstream();
beforeEach(() =>
	upstream.run(
		answers("200 OK", '{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'),
	),
);
afterAll(() => upstream.stop());

const router = pipeline({
	config: {
		keys: [
			{
				name: "team",
				key: "team-key-1",
				models: ["openrouter/qwen/*", "venice-*", "box/*", "plain/*", "engine/*", "gpt-*", "mixed"],
			},
			{ name: "fast", key: "fast-key-1", models: ["openrouter/qwen/*:nitro"] },
			{ name: "boss", key: "boss-key-1" },
		],
		providers: {
			openrouter: { base_url: upstream.origin, api_key: "k" },
			venice: { base_url: upstream.origin, api_key: "k" },
			openai: { base_url: upstream.origin, api_key: "k" },
			box: { type: "openai-compatible", base_url: upstream.origin },
			plain: { type: "openai-compatible", base_url: upstream.origin, model_routing: false },
			engine: { type: "vllm", base_url: upstream.origin },
		},
		models: [
			{ name: "mixed", targets: ["engine/m"], fallback: ["box/m"] },
			{ name: "secret-project", targets: ["openrouter/x/y"] },
		],
	},
});
const send = (key: string, body: object) =>
	router.send(
		{ messages: [{ role: "user", content: "hi" }], ...body },
		{ headers: { authorization: `Bearer ${key}` } },
	);

test.each([
	["openrouter/qwen/qwen3-8b", "models", ["openai/gpt-5-pro"]],
	["openrouter/qwen/qwen3-8b", "provider", { order: ["x"] }],
	["openrouter/qwen/qwen3-8b", "route", "fallback"],
	["openrouter/qwen/qwen3-8b", "plugins", [{ id: "web" }]],
	["openrouter/qwen/qwen3-8b", "preset", "mine"],
	["venice-uncensored", "fallbacks", ["other"]],
	["box/m", "fallbacks", ["other"]],
	["box/m", "Fallbacks", ["other"]],
	["box/m", "models", ["other"]],
	["box/m", "api_base", "http://other.example"],
	["box/m", "user_config", { model_list: [] }],
	// Nobody knows what stands at an address that is not the vendor's own.
	["gpt-4o", "fallbacks", ["other"]],
	// The field would reach where the call may go on.
	["mixed", "provider", { order: ["x"] }],
])("to %s it may not send %s; a key for every model may", async (model, field, value) => {
	const before = upstream.received.length;
	const refused = await send("team-key-1", { model, [field]: value });
	expect(refused.status).toBe(403);
	expect(clientError(await refused.text())).toMatchObject({ code: "model_not_allowed", param: field });
	expect(upstream.received.length).toBe(before);
	expect((await send("boss-key-1", { model, [field]: value })).status).toBe(200);
});

test.each([
	["box/m", { extra_body: { fallbacks: ["other"] } }, "extra_body.fallbacks"],
	["box/m", { extra_body: { model: "other" } }, "extra_body.model"],
	["box/m", { extra_body: { a: [{ Provider: { order: ["x"] } }] } }, "extra_body.a.0.Provider"],
	["box/m", { providerOptions: { gateway: { models: ["other"] } } }, "providerOptions"],
	["openrouter/qwen/a", { tools: [{ type: "openrouter:advisor" }] }, "tools[0].type"],
	["openrouter/qwen/a", { tools: [{ type: "image", parameters: { model: "other" } }] }, "tools[0].parameters.model"],
	["venice-uncensored", { venice_parameters: { fallbacks: ["other"] } }, "venice_parameters.fallbacks"],
])("to %s it may not send %j", async (model, fields, param) => {
	const refused = await send("team-key-1", { model, ...fields });
	expect(clientError(await refused.text())).toMatchObject({ code: "model_not_allowed", param });
	expect((await send("boss-key-1", { model, ...fields })).status).toBe(200);
});

test("what is nested deeper than anyone reads is refused, too", async () => {
	const deep = (levels: number): object => (levels === 0 ? { fallbacks: ["other"] } : { a: deep(levels - 1) });
	expect((await send("team-key-1", { model: "box/m", extra_body: deep(50) })).status).toBe(403);
});

test.each([
	['{"extra_body":{"a":{"fallbacks":["other"]},"a":1}}', "extra_body.a"],
	['{"extra_body":{"a":[{"b":{"model":"other"},"\\u0062":1}]}}', "extra_body.a[0].b"],
	['{"tools":[{"type":"openrouter:advisor","type":"function","function":{"name":"f"}}]}', "tools[0].type"],
])("what a name that stands twice may hide is refused: %s", async (fields, param) => {
	const chats = callHandler({ operation: "chat", dialect: openAiChat, steps: ["auth", "relay"] }, router.context);
	const body = `{"model":"openrouter/qwen/a","messages":[{"role":"user","content":"hi"}],${fields.slice(1)}`;
	const call = (key: string) => {
		const headers = { "content-type": "application/json", authorization: `Bearer ${key}` };
		return chats(new Request("http://localhost/v1/chat/completions", { method: "POST", headers, body }), null);
	};
	const refused = await call("team-key-1");
	expect(clientError(await refused.text())).toMatchObject({ code: "model_not_allowed", param });
	expect((await call("boss-key-1")).status).toBe(200);
});

test("the refusal says which upstream it is about, and how its owner says that it has no such field", async () => {
	const { message } = clientError(await (await send("team-key-1", { model: "box/m", route: "fallback" })).text());
	expect(message).toContain('may not send "route" to "box"');
	expect(message).toContain("providers.box.model_routing: false");
});

test.each([
	["plain/m", { fallbacks: ["other"], extra_body: { models: [] } }],
	["engine/m", { provider: "x" }],
	[
		"box/m",
		{ metadata: { provider: "x" }, tools: [{ type: "function", function: { name: "f", parameters: { model: 1 } } }] },
	],
	["box/m", { chat_template_kwargs: { enable_thinking: false }, reasoning: { effort: "low" } }],
	["openrouter/qwen/qwen3-8b:free", {}],
	["openrouter/qwen/a", { tools: [{ type: "openrouter:web_search", parameters: { engine: "exa" } }] }],
])("to %s it may send %j", async (model, fields) => {
	expect((await send("team-key-1", { model, ...fields })).status).toBe(200);
});

describe("by a call of Responses, of which some servers get all that it says,", () => {
	const handle = callHandler(
		{ operation: "chat", dialect: openAiResponses, steps: ["auth", "limits", "cache", "relay"] },
		router.context,
	);
	const ask = (key: string, body: object) =>
		handle(
			new Request("http://localhost/v1/responses", {
				method: "POST",
				headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
				body: JSON.stringify({ model: "openrouter/qwen/a", input: "hi", ...body }),
			}),
			null,
		);
	const nested = (parameters: object) => [
		{ type: "namespace", name: "crm", tools: [{ type: "function", name: "f", parameters }] },
	];

	test.each([
		[{ preset: "mine" }, "preset"],
		[{ models: ["other"] }, "models"],
		[{ fallback_models: ["other"] }, "fallback_models"],
		[{ extra_body: { provider: { order: ["x"] } } }, "extra_body.provider"],
		[{ tools: [{ type: "image_generation", model: "other" }] }, "tools[0].model"],
		[
			{ tools: [{ type: "namespace", name: "n", tools: [{ type: "image_generation", model: "other" }] }] },
			"tools[0].tools[0].model",
		],
	])("it may not send %j", async (fields, param) => {
		const refused = await ask("team-key-1", fields);
		expect(clientError(await refused.text())).toMatchObject({ code: "model_not_allowed", param });
		expect((await ask("boss-key-1", fields)).status).toBe(200);
	});

	test.each([
		[{ metadata: { provider: "x" }, client_metadata: { model: "x" }, reasoning: { effort: "low" } }],
		[{ text: { format: { type: "json_schema", name: "n", schema: { properties: { model: {}, provider: {} } } } } }],
		[{ tools: nested({ properties: { model: {}, provider: {} } }) }],
		[{ input: [{ role: "user", content: [{ type: "input_text", text: "hi", model: "x" }] }] }],
	])("it may send %j", async (fields) => {
		expect((await ask("team-key-1", fields)).status).toBe(200);
	});
});

test.each([":online", ":nitro", ":floor", ":exacto", "@preset/other"])(
	"a star does not stand for %s",
	async (suffix) => {
		const model = `openrouter/qwen/qwen3-8b${suffix}`;
		const refused = await send("team-key-1", { model });
		expect(clientError(await refused.text())).toMatchObject({ code: "model_not_allowed", param: "model" });
		expect((await send("boss-key-1", { model })).status).toBe(200);
		expect((await send("fast-key-1", { model })).status).toBe(suffix === ":nitro" ? 200 : 403);
	},
);

test("a vendor at its own address heeds no such field, whatever the way it is written", () => {
	const routes = (settings: object) =>
		entriesOf(configOf({ providers: settings })).flatMap(({ upstream }) =>
			upstream.routesModels ? [upstream.name] : [],
		);
	expect(routes({ openai: { api_key: "k" } })).toEqual(["openrouter", "venice"]);
	expect(routes({ openai: { base_url: "https://api.openai.com/" } })).not.toContain("openai");
	expect(routes({ openai: { base_url: "https://api.openai.com.example/v1" } })).toContain("openai");
	expect(routes({ openai: { base_url: "https://api.openai" } })).toContain("openai");
	expect(routes({ openrouter: { model_routing: false }, xai: { model_routing: true } })).toEqual(["xai", "venice"]);
});

test("a wrong name is not answered with the names of models it may not use", async () => {
	const told = async (key: string) => (await send(key, { model: "secret-projet" })).text();
	expect(await told("boss-key-1")).toContain("secret-project");
	expect(await told("team-key-1")).not.toContain("secret-project");
});
