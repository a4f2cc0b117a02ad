/** What Ollama's clients ask besides calls: models, what they can do, the version; and what the router refuses. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Json, Loose } from "./kit/exchange.ts";
import { type FaultUpstream, startFaultUpstream } from "./kit/fault-upstream.ts";
import { hello } from "./kit/messages.ts";
import { ollamaClient } from "./kit/ollama-client.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const ALL = "rk-of-all-models-1234";
const FEW = "rk-of-few-models-1234";
let box: FaultUpstream;
let router: RunningRouter;
beforeAll(async () => {
	box = startFaultUpstream();
	box.run(hello);
	router = await startRouter({
		config: {
			providers: { box: { type: "vllm", base_url: box.origin } },
			models: [
				{ name: "Qwen3-VL-8B-AWQ", targets: [{ provider: "box", model: "m", context: 32768 }] },
				{ name: "plain", targets: [{ provider: "box", model: "m", lacks: ["tools", "images"] }] },
				{ name: "nomic-embed-text", targets: ["box/e"] },
			],
			keys: [
				{ name: "all", key: ALL },
				{ name: "few", key: FEW, models: ["plain", "dummy"] },
			],
		},
	});
});
afterAll(async () => {
	await router.stop();
	box.stop();
});

async function send(method: string, path: string, body?: Json, key: string | undefined = ALL) {
	const answer = await fetch(router.url + path, {
		method,
		headers: { "content-type": "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) },
		...(body ? { body: JSON.stringify(body) } : {}),
	});
	const text = await answer.text();
	return { status: answer.status, headers: answer.headers, text };
}
const errorOf = ({ status, text }: { status: number; text: string }) => [
	status,
	Object.keys(JSON.parse(text) as Loose),
];

describe("is refused in Ollama's form", () => {
	const ASKED = [
		["POST", "/api/chat", { model: "plain", messages: [{ role: "user", content: "hi" }] }],
		["POST", "/api/chat", { model: "plain", messages: [] }],
		["POST", "/api/generate", { model: "plain", prompt: "hi" }],
		["POST", "/api/generate", { model: "plain" }],
		["POST", "/api/embed", { model: "plain", input: "hi" }],
		["POST", "/api/embeddings", { model: "plain", prompt: "hi" }],
		["GET", "/api/tags", undefined],
		["GET", "/api/ps", undefined],
		["POST", "/api/show", { model: "plain" }],
		["POST", "/api/pull", { model: "plain" }],
		["POST", "/api/create", { model: "mine", from: "plain" }],
		["POST", "/api/copy", { source: "plain", destination: "mine" }],
		["POST", "/api/push", { model: "plain" }],
		["DELETE", "/api/delete", { model: "plain" }],
	] as const;

	test.each(ASKED)("a key that is none, %s %s", async (method, path, body) => {
		expect(errorOf(await send(method, path, body, "rk-that-nobody-has-1"))).toEqual([401, ["error"]]);
		expect(errorOf(await send(method, path, body, ""))).toEqual([401, ["error"]]);
	});

	test.each(ASKED.filter(([, , body]) => body && "model" in body && body.model === "plain").slice(0, 8))(
		"a model that the key may not use, %s %s",
		async (method, path, body) => {
			const { status, text } = await send(method, path, { ...body, model: "nomic-embed-text" }, FEW);
			// Whoever asks whether there is one is not told of those that are others'.
			const isQuestion = path === "/api/show" || path === "/api/pull" || path === "/api/push";
			if (path === "/api/push") expect(status).toBe(400);
			else expect([status, Object.keys(JSON.parse(text) as Loose)]).toEqual([isQuestion ? 404 : 403, ["error"]]);
		},
	);

	test("what changes models, and says how they come", async () => {
		for (const [method, path, body] of ASKED.slice(-4)) {
			const { status, text } = await send(method, path, body);
			expect([status, (JSON.parse(text) as Loose)["error"]]).toEqual([
				400,
				expect.stringContaining("list them under agent.models"),
			]);
		}
	});

	test("paths and methods that there are not, and a model without a name", async () => {
		expect(errorOf(await send("GET", "/api/chat"))).toEqual([405, ["error"]]);
		expect(errorOf(await send("POST", "/api/blobs/sha256:00", {}))).toEqual([404, ["error"]]);
		expect((await send("POST", "/api/show", {})).text).toBe('{"error":"model is required"}');
	});

	test("a model that is not there is not pulled", async () => {
		const { status, text } = await send("POST", "/api/pull", { model: "llama3.2" });
		expect([status, (JSON.parse(text) as Loose)["error"]]).toEqual([
			404,
			expect.stringContaining("pull model manifest: file does not exist"),
		]);
	});
});

describe("without a key", () => {
	test("the server says that it runs, to GET and to HEAD", async () => {
		const { status, text, headers } = await send("GET", "/", undefined, "");
		expect([status, text]).toEqual([200, "Ollama is running"]);
		expect(headers.get("content-type")).toStartWith("text/plain");
		expect((await send("HEAD", "/", undefined, "")).status).toBe(200);
	});

	test("the version is one", async () => {
		expect(await ollamaClient(router.url, "").version()).toEqual({ version: expect.stringMatching(/^\d+\.\d+\.\d+$/) });
	});
});

test("models are listed with what their names say, those of the key alone", async () => {
	const { models } = await ollamaClient(router.url, ALL).list();
	const names = models.map(({ name }) => name);
	for (const name of ["Qwen3-VL-8B-AWQ", "plain", "nomic-embed-text", "dummy"]) expect(names).toContain(name);
	const [first] = models.filter(({ name }) => name === "Qwen3-VL-8B-AWQ");
	expect(first as unknown).toEqual({
		name: "Qwen3-VL-8B-AWQ",
		model: "Qwen3-VL-8B-AWQ",
		modified_at: "1970-01-01T00:00:00.000Z",
		size: 0,
		digest: expect.stringMatching(/^[0-9a-f]{64}$/),
		details: {
			parent_model: "",
			format: "",
			family: "qwen3",
			families: ["qwen3"],
			parameter_size: "8B",
			quantization_level: "AWQ",
		},
	});
	const few = await ollamaClient(router.url, FEW).list();
	expect(few.models.map(({ name }) => name).sort()).toEqual(["dummy", "plain"]);
});

test("a model is shown with its context and what it can do, by its name with a tag, too", async () => {
	const client = ollamaClient(router.url, ALL);
	const shown = (await client.show({ model: "Qwen3-VL-8B-AWQ:latest" })) as unknown as Loose;
	expect(shown["capabilities"]).toEqual(["completion", "tools", "vision", "thinking"]);
	expect(shown["model_info"]).toEqual({
		"general.architecture": "qwen3",
		"general.basename": "Qwen3-VL-8B-AWQ",
		"qwen3.context_length": 32768,
	});
	expect((await client.show({ model: "plain" })).capabilities).toEqual(["completion"]);
	expect((await client.show({ model: "nomic-embed-text" })).capabilities).toEqual(["embedding"]);
	const { text } = await send("POST", "/api/show", { name: "plain" });
	expect((JSON.parse(text) as Loose)["capabilities"]).toEqual(["completion"]);
});

test("models that run are those of machines of one's own", async () => {
	const { models } = await ollamaClient(router.url, ALL).ps();
	for (const model of models) {
		expect(new Date(model.expires_at).getTime()).toBeGreaterThan(Date.now());
		expect(model.size_vram).toBe(0);
	}
	expect(models.map(({ name }) => name)).not.toContain("dummy");
	expect((await ollamaClient(router.url, FEW).ps()).models.every(({ name }) => name === "plain")).toBe(true);
});

test("a model that is there is pulled at once, whole and streamed", async () => {
	const client = ollamaClient(router.url, ALL);
	expect((await client.pull({ model: "plain", stream: false })) as unknown).toEqual({ status: "success" });
	const lines = await Array.fromAsync(await client.pull({ model: "plain", stream: true }));
	expect(lines.at(-1)).toMatchObject({ status: "success" });
});
