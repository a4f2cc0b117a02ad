/** A key that may use some models only does not get out of them, nor hear of the others. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { clientError } from "./kit/contract.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { pipeline } from "./kit/pipeline.ts";

const upstream = startFaultUpstream();
beforeEach(() => upstream.run(answers("200 OK", '{"choices":[]}')));
afterAll(() => upstream.stop());

const router = pipeline({
	config: {
		keys: [
			{ name: "team", key: "team-key-1", models: ["openrouter/qwen/*", "venice-*"] },
			{ name: "boss", key: "boss-key-1" },
		],
		providers: {
			openrouter: { base_url: upstream.origin, api_key: "k" },
			venice: { base_url: upstream.origin, api_key: "k" },
		},
		models: [{ name: "secret-project", targets: ["openrouter/x/y"] }],
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
	["venice-uncensored", "fallbacks", ["other"]],
])("to %s it may not send %s; a key for every model may", async (model, field, value) => {
	const before = upstream.received.length;
	const refused = await send("team-key-1", { model, [field]: value });
	expect(refused.status).toBe(403);
	expect(clientError(await refused.text())).toMatchObject({ code: "model_not_allowed", param: field });
	expect(upstream.received.length).toBe(before);
	expect((await send("boss-key-1", { model, [field]: value })).status).toBe(200);
});

test("a wrong name is not answered with the names of models it may not use", async () => {
	const told = async (key: string) => (await send(key, { model: "secret-projet" })).text();
	expect(await told("boss-key-1")).toContain("secret-project");
	expect(await told("team-key-1")).not.toContain("secret-project");
});
