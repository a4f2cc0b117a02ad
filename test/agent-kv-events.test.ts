/** Which containers publish KV events, at which ports, and what of a call's prompt is joined with them. */
import { describe, expect, test } from "bun:test";
import { containerSpec, specHash } from "../src/agent/models/container-spec.ts";
import type { ModelSpec, SpecSettings } from "../src/agent/models/model-spec.ts";
import { readPrompt } from "../src/agent/vllm/read-prompt.ts";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import { needsOf } from "../src/routing/requirements.ts";

const SPEC: ModelSpec = { name: "chat", model: "Qwen/Qwen3-8B" };
const SETTINGS: SpecSettings = {
	agent: "gpu-1",
	command: "docker",
	accelerator: "nvidia",
	cacheDir: "/data/huggingface",
	env: [],
	shutdownTimeoutS: 30,
	sleep: false,
	kvEvents: "auto",
};
const PLACED = { replica: 0, devices: [0], bytes: 1, port: 20001, kvEvents: "/data/kv/0123456789ab" };
const made = (spec: Partial<ModelSpec> = {}, settings: Partial<SpecSettings> = {}) =>
	containerSpec({ ...SPEC, ...spec }, PLACED, { ...SETTINGS, ...settings });
const isTold = ({ args }: ReturnType<typeof made>) => args.includes("--kv-events-config");

describe("a container publishes none", () => {
	test.each<[string, Partial<ModelSpec>, Partial<SpecSettings>]>([
		["where that is switched off", {}, { kvEvents: "never" }],
		["of an older vLLM", { image: "vllm/vllm-openai:v0.27.1" }, {}],
		["of an image whose tag does not say which", {}, { image: "mirror.internal/vllm:latest" }],
		["where somebody else has its events", { args: ["--kv-events-config", '{"publisher":"null"}'] }, {}],
		["where one key of them is set", { args: ["--kv_events_config.topic=x"] }, { kvEvents: "always" }],
		["without a prefix cache", { args: ["--no-enable-prefix-caching"] }, { kvEvents: "always" }],
		[
			"whose file of settings may make several engines of it",
			{ args: ["--config", "/c.yaml"] },
			{ kvEvents: "always" },
		],
		["of several engines", { args: ["-dp", "2"] }, { kvEvents: "always" }],
	])("%s", (_, spec, settings) => {
		const { args, labels } = made(spec, settings);
		expect(args.filter((word) => word.startsWith("--publish"))).toEqual(["--publish=127.0.0.1:20001:8000"]);
		expect(Object.keys(labels).filter((label) => label.startsWith("router.kv"))).toEqual([]);
		expect(args.join(" ")).not.toMatch(/enable_kv_cache_events|router-kv/);
	});
});

test("the others publish at sockets in a directory that their labels name, and at no port", () => {
	const { args, labels } = made();
	expect(args.filter((word) => word.startsWith("--publish"))).toEqual(["--publish=127.0.0.1:20001:8000"]);
	expect(args).toContain("--volume=/data/kv/0123456789ab:/run/router-kv:z");
	expect(labels["router.kv-events"]).toBe("0123456789ab");
	expect(JSON.parse(args[args.indexOf("--kv-events-config") + 1]!)).toEqual({
		enable_kv_cache_events: true,
		publisher: "zmq",
		endpoint: "ipc:///run/router-kv/events",
		replay_endpoint: "ipc:///run/router-kv/replay",
	});
	expect(isTold(made({ image: "vllm/vllm-openai:v0.28.0" }))).toBe(true);
	expect(isTold(made({ image: "mirror.internal/vllm:latest" }, { kvEvents: "always" }))).toBe(true);
});

test("one that runs without is not replaced for it", () => {
	expect(specHash(SPEC, { ...SETTINGS, kvEvents: "never" })).toBe(specHash(SPEC, SETTINGS));
});

describe("a call's prompt", () => {
	const system = { role: "system", content: "You answer in one word. ".repeat(40) };
	const chat = { model: "chat", messages: [system, { role: "user", content: "Why?" }], stream: true };
	const read = (body: object | string, path = "/v1/chat/completions") =>
		readPrompt(
			{ url: `http://container${path}`, headers: {}, body: typeof body === "string" ? body : JSON.stringify(body) },
			"chat",
		);

	const picture = { role: "user", content: [{ type: "image_url", image_url: { url: "http://x/y.png" } }] };
	const several = { model: "chat", prompt: ["a".repeat(300), "b".repeat(300)] };

	test.each<[string, string, object | string]>([
		["that is no JSON", "/v1/chat/completions", "{"],
		["that is no call", "/v1/chat/completions", { model: "chat", messages: "hello" }],
		["of another path", "/v1/embeddings", chat],
		["of an adapter", "/v1/chat/completions", { ...chat, model: "sql" }],
		["with a salt", "/v1/chat/completions", { ...chat, cache_salt: "mine" }],
		["shorter than a block", "/v1/chat/completions", { ...chat, messages: [{ role: "user", content: "Why?" }] }],
		["of several at once", "/v1/completions", several],
		["with a picture", "/v1/chat/completions", { ...chat, messages: [system, picture] }],
	])("%s is left to the router's guess", (_, path, body) => {
		expect(read(body, path)).toBeUndefined();
	});

	test("is cut as its router cuts the same call, whatever it is sent as", () => {
		const tools = [{ type: "function", function: { name: "f", parameters: { type: "object" } } }];
		for (const body of [chat, { tools, ...chat, temperature: 0 }]) {
			const { facts, stream } = parseRequest("chat", JSON.stringify(body));
			const needs = needsOf({ operation: "chat", facts, stream, headers: new Headers() });
			const sent = JSON.stringify({ ...body, model: "chat", stream_options: { include_usage: true } });
			const pieces = [Buffer.from(sent.slice(0, 50)), Buffer.from(sent.slice(50))];
			const prompts = [sent, pieces].map((each) =>
				readPrompt({ url: "http://container/v1/chat/completions", headers: {}, body: each }, "chat"),
			);
			for (const each of prompts) expect(each!.prompt).toEqual(needs.prompt());
		}
	});

	test("is tokenized with the fields that decide about its tokens, and no others", () => {
		const kwargs = { chat_template_kwargs: { enable_thinking: false }, add_generation_prompt: true };
		expect(JSON.parse(read({ ...chat, ...kwargs, max_tokens: 5, user: "u" })!.tokenize)).toEqual({
			model: "chat",
			messages: chat.messages,
			...kwargs,
		});
		const text = "a".repeat(300);
		expect(JSON.parse(read({ model: "chat", prompt: text, n: 2 }, "/v1/completions")!.tokenize)).toEqual({
			model: "chat",
			prompt: text,
		});
	});
});
