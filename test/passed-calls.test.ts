/** Pictures, sound, moderations and the like are passed on as they are: asked for by the official `openai` client, and by plain requests. */
import { afterAll, expect, test } from "bun:test";
import OpenAI, { toFile } from "openai";
import { ROUTES } from "../src/api/routes.ts";
import { serveApi } from "./kit/api-server.ts";
import { clientError } from "./kit/contract.ts";
import { startPassingUpstream } from "./kit/passing-upstream.ts";
import { pipeline } from "./kit/pipeline.ts";

const upstream = startPassingUpstream();
const second = startPassingUpstream();
const router = pipeline({
	config: {
		keys: [
			{ name: "all", key: "all-key-1" },
			{ name: "sound", key: "sound-key-1", models: ["whisper-1", "engine/*"] },
		],
		providers: {
			openai: { base_url: upstream.origin, api_key: "k" },
			anthropic: { base_url: upstream.origin, api_key: "k" },
			engine: { type: "vllm", base_url: upstream.origin },
			other: { type: "vllm", base_url: second.origin },
			box: { type: "openai-compatible", base_url: upstream.origin },
		},
		models: [
			{ name: "ears", targets: ["engine/whisper-large"], fallback: ["other/whisper-small"] },
			{ name: "painter", targets: ["openai/gpt-image-1"] },
		],
	},
});
const server = serveApi(router);
afterAll(() => Promise.all([server.stop(), upstream.stop(), second.stop()]));

const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "all-key-1", maxRetries: 0 });
const post = (path: string, body: string | FormData, headers: Record<string, string> = {}) =>
	fetch(server.url + path, { method: "POST", body, headers: { authorization: "Bearer all-key-1", ...headers } });
const postJson = (path: string, body: object, headers: Record<string, string> = {}) =>
	post(path, JSON.stringify(body), { "content-type": "application/json", ...headers });
/** A form, read as upstreams read it. */
const formOf = ({ body, headers }: { body: Buffer; headers: Headers }) =>
	new Response(new Uint8Array(body), { headers: { "content-type": headers.get("content-type")! } }).formData();
const sound = Buffer.from(Array.from({ length: 3_000_000 }, (_, at) => (at * 7919) % 251));

test("a picture is made, and the alias's name is put into its upstream's", async () => {
	upstream.answer(() =>
		Response.json({ created: 1, data: [{ b64_json: "AAAA" }], usage: { input_tokens: 5, output_tokens: 100 } }),
	);
	const made = await client.images.generate({ model: "painter", prompt: "A paper boat" });
	expect(made.data).toEqual([{ b64_json: "AAAA" }]);
	const [got] = upstream.received;
	expect(got!.path).toBe("/v1/images/generations");
	expect(JSON.parse(got!.body.toString())).toEqual({ model: "gpt-image-1", prompt: "A paper boat" });
	expect(got!.headers.get("authorization")).toBe("Bearer k");
	const settled = router.settled.at(-1)!;
	expect(settled).toMatchObject({ operation: "image_generations", status: 200, tokens: { input: 5, output: 100 } });
});

test("speech comes back as the bytes that the upstream sent", async () => {
	upstream.answer(() => new Response(new Uint8Array(sound), { headers: { "content-type": "audio/mpeg" } }));
	const spoken = await client.audio.speech.create({ model: "tts-1", voice: "alloy", input: "Hello" });
	expect(spoken.headers.get("content-type")).toBe("audio/mpeg");
	expect(Buffer.from(await spoken.arrayBuffer()).equals(sound)).toBe(true);
});

test("speech that is streamed as events comes as they were sent", async () => {
	const events =
		'data: {"type":"speech.audio.delta","audio":"AAAA"}\n\ndata: {"type":"speech.audio.done","usage":{"input_tokens":3,"output_tokens":9,"total_tokens":12}}\n\n';
	upstream.answer(() => new Response(events, { headers: { "content-type": "text/event-stream" } }));
	const spoken = await postJson("/v1/audio/speech", { model: "gpt-4o-mini-tts", input: "Hello", stream_format: "sse" });
	expect(spoken.headers.get("content-type")).toBe("text/event-stream");
	expect(await spoken.text()).toBe(events);
	expect(router.settled.at(-1)).toMatchObject({ tokens: { input: 3, output: 9 } });
});

test.each(["before", "behind"])("a recording is transcribed whose model stands %s the file", async (where) => {
	upstream.answer(() => Response.json({ text: "Hello", usage: { type: "duration", seconds: 90 } }));
	const form = new FormData();
	if (where === "before") form.append("model", "ears");
	form.append("file", new File([sound], "a.wav", { type: "audio/wav" }));
	if (where === "behind") form.append("model", "ears");
	form.append("language", "en");
	const heard = await post("/v1/audio/transcriptions", form);
	expect(await heard.json()).toEqual({ text: "Hello", usage: { type: "duration", seconds: 90 } });
	const got = await formOf(upstream.received[0]!);
	expect(got.get("model")).toBe("whisper-large");
	expect(got.get("language")).toBe("en");
	expect(Buffer.from(await (got.get("file") as unknown as File).arrayBuffer()).equals(sound)).toBe(true);
});

test("the official client's form arrives whole", async () => {
	upstream.answer(() => Response.json({ text: "Hello" }));
	const file = await toFile(sound, "a.wav");
	expect((await client.audio.transcriptions.create({ file, model: "whisper-1" })).text).toBe("Hello");
	const got = await formOf(upstream.received[0]!);
	expect(got.get("model")).toBe("whisper-1");
	expect((got.get("file") as unknown as File).size).toBe(sound.length);
});

test("a moderation needs no model", async () => {
	upstream.answer(() => Response.json({ id: "m", model: "omni-moderation-latest", results: [] }));
	expect((await client.moderations.create({ input: "x" })).id).toBe("m");
	expect(upstream.received[0]!.body.toString()).toBe('{"input":"x"}');
});

test("a model that is null is none", async () => {
	upstream.answer(() => Response.json({ data: [], results: [] }));
	for (const path of ["/v1/images/generations", "/v1/moderations"]) {
		expect((await postJson(path, { model: null, input: "x" })).status).toBe(200);
		// OpenAI takes it for none, too.
		expect(JSON.parse(upstream.received.at(-1)!.body.toString())).toEqual({ model: null, input: "x" });
	}
	expect((await postJson("/v1/audio/speech", { model: null, input: "x" })).status).toBe(400);
});

test.each([
	["/rerank", "/v1/rerank"],
	["/v1/rerank", "/v1/rerank"],
	["/v2/rerank", "/v1/rerank"],
	["/score", "/v1/score"],
	["/v1/score", "/v1/score"],
	["/tokenize", "/tokenize"],
	["/detokenize", "/detokenize"],
])("%s leads to %s of an inference server", async (path, upstreamPath) => {
	upstream.answer(() => Response.json({ usage: { prompt_tokens: 7, total_tokens: 7 }, results: [] }));
	const answer = await postJson(path, { model: "engine/m", query: "a", documents: ["b"] });
	expect(answer.status).toBe(200);
	expect(upstream.received[0]!.path).toBe(upstreamPath);
	expect(JSON.parse(upstream.received[0]!.body.toString())).toEqual({ model: "m", query: "a", documents: ["b"] });
});

test.each([
	["/v1/images/generations", "claude-sonnet-4-5"],
	["/v1/audio/speech", "dummy"],
	["/rerank", "gpt-4o"],
])("%s of %s is nobody's: 404 says so", async (path, model) => {
	const refused = await postJson(path, { model, prompt: "x", input: "x" });
	expect(refused.status).toBe(404);
	expect(clientError(await refused.text())).toMatchObject({ code: "operation_not_served", param: "model" });
});

test("a key may only use its models, whatever the operation", async () => {
	const headers = { authorization: "Bearer sound-key-1" };
	const refused = await postJson("/v1/images/generations", { model: "gpt-image-1", prompt: "x" }, headers);
	expect(refused.status).toBe(403);
	upstream.answer(() => Response.json({ text: "Hello" }));
	const form = new FormData();
	form.append("model", "whisper-1");
	form.append("file", new File([sound], "a.wav"));
	expect((await post("/v1/audio/transcriptions", form, headers)).status).toBe(200);
});

test.each(["all-key-1", "sound-key-1"])("a form that names two models is refused (%s)", async (key) => {
	upstream.answer(() => Response.json({ text: "Hello" }));
	const form = new FormData();
	form.append("model", "whisper-1");
	form.append("file", new File([sound], "a.wav"));
	form.append("model", "gpt-4o-transcribe");
	const refused = await post("/v1/audio/transcriptions", form, { authorization: `Bearer ${key}` });
	expect(refused.status).toBe(400);
	expect(clientError(await refused.text())).toMatchObject({ code: "duplicate_key", param: "model" });
});

test("what an upstream refuses before its first byte goes to the next", async () => {
	upstream.answer(() => Response.json({ error: { message: "busy" } }, { status: 503 }));
	second.answer(() => Response.json({ text: "from the second" }));
	const form = new FormData();
	form.append("file", new File([sound], "a.wav"));
	form.append("model", "ears");
	const heard = await post("/v1/audio/transcriptions", form);
	expect(await heard.json()).toEqual({ text: "from the second" });
	const got = await formOf(second.received[0]!);
	expect(got.get("model")).toBe("whisper-small");
	expect((got.get("file") as unknown as File).size).toBe(sound.length);
});

test.each([
	["text/plain", "x", 415],
	["multipart/form-data; boundary=b", "no form", 400],
	["multipart/form-data; boundary=b", '--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nwhisper-1', 400],
	["application/json", "{", 400],
	["application/json", '{"file":"x"}', 400],
])("a transcription of %s %j is refused with %d", async (type, body, status) => {
	const refused = await post("/v1/audio/transcriptions", body, { "content-type": type });
	expect(refused.status).toBe(status);
	clientError(await refused.text());
});

test("an answer that breaks off ends in a broken connection", async () => {
	upstream.answer(
		() =>
			new Response(
				new ReadableStream({
					async pull(controller) {
						controller.enqueue(sound.subarray(0, 1000));
						await Bun.sleep(5);
						controller.error(new Error("gone"));
					},
				}),
				{ headers: { "content-type": "audio/mpeg" } },
			),
	);
	const spoken = await postJson("/v1/audio/speech", { model: "tts-1", input: "Hello" });
	expect(spoken.status).toBe(200);
	const settled = router.settled.length;
	await expect(spoken.arrayBuffer()).rejects.toThrow();
	expect((await router.settledCalls(settled)).at(-1)).toMatchObject({
		operation: "speech",
		error: "upstream_truncated",
	});
});

test("a stream of events that breaks off ends in an error that clients read", async () => {
	const first = 'data: {"type":"image_generation.partial_image","b64_json":"AAAA"}\n\n';
	upstream.answer(
		() =>
			new Response(
				new ReadableStream({
					async pull(controller) {
						controller.enqueue(Buffer.from(first));
						await Bun.sleep(5);
						controller.error(new Error("gone"));
					},
				}),
				{ headers: { "content-type": "text/event-stream" } },
			),
	);
	const stream = await client.images.generate({ model: "gpt-image-1", prompt: "x", stream: true });
	const seen: string[] = [];
	const reading = (async () => {
		for await (const event of stream) seen.push(event.type);
	})();
	await expect(reading).rejects.toThrow("broke");
	expect(seen).toContain("image_generation.partial_image");
});

test("an answer without a body has none", async () => {
	upstream.answer(() => new Response(null, { status: 204 }));
	const answer = await postJson("/v1/moderations", { input: "x" });
	expect([answer.status, await answer.text()]).toEqual([204, ""]);
});

test("a client of Cohere's finds the text of an error where it looks for it", async () => {
	const refused = await postJson("/v2/rerank", { model: "gpt-4o", query: "a", documents: ["b"] });
	expect(refused.status).toBe(404);
	const { message, error } = (await refused.json()) as { message: string; error: { message: string; code: string } };
	expect(message).toBe(error.message);
	expect(error.code).toBe("operation_not_served");
});

test("what an upstream refuses its client is told in the upstream's words", async () => {
	const error = { message: "Invalid voice", type: "invalid_request_error", param: "voice", code: "invalid_voice" };
	upstream.answer(() => Response.json({ error }, { status: 400 }));
	const refused = await postJson("/v1/audio/speech", { model: "tts-1", input: "Hi", voice: "x" });
	expect(refused.status).toBe(400);
	expect(clientError(await refused.text())).toMatchObject({ param: "voice", code: "invalid_voice" });
});

test("a client that leaves ends its upstream's work", async () => {
	const left = Promise.withResolvers<void>();
	upstream.answer(
		() =>
			new Response(
				new ReadableStream({
					pull: async (controller) => {
						controller.enqueue(sound.subarray(0, 100_000));
						await Bun.sleep(1);
					},
					cancel: () => left.resolve(),
				}),
				{ headers: { "content-type": "audio/mpeg" } },
			),
	);
	const leaving = new AbortController();
	const before = router.settled.length;
	const spoken = await fetch(`${server.url}/v1/audio/speech`, {
		method: "POST",
		headers: { authorization: "Bearer all-key-1", "content-type": "application/json" },
		body: JSON.stringify({ model: "tts-1", input: "Hi" }),
		signal: leaving.signal,
	});
	await spoken.body!.getReader().read();
	leaving.abort();
	await left.promise;
	expect((await router.settledCalls(before + 1)).at(-1)).toMatchObject({ operation: "speech", status: 499 });
});

test.each([
	["/v1/images/generations", '{"model":"painter","prompt":"x","model":"gpt-4o"}', "duplicate_key"],
	["/v1/images/generations", "[]", "invalid_value"],
	["/v1/moderations", '{"model":5,"input":"x"}', "invalid_value"],
	["/tokenize", '{"prompt":"x"}', "invalid_value"],
	["/v1/moderations", '{"input":"x","user":{"a":1}}', undefined],
])("%s with %s is answered with %p", async (path, body, code) => {
	upstream.answer(() => Response.json({}));
	const answer = await post(path, body, { "content-type": "application/json" });
	expect(answer.status).toBe(code === undefined ? 200 : 400);
	const text = await answer.text();
	if (code !== undefined) expect(clientError(text).code).toBe(code);
});

test.each(ROUTES.flatMap((route) => ("passes" in route ? [route.path] : [])))(
	"bytes that are no UTF-8 are refused: %s",
	async (path) => {
		upstream.answer(() => Response.json({}));
		const bytes = [Buffer.from('{"model":"box/m","input":"'), Buffer.from([0xc3]), Buffer.from('"}')];
		const send = (body: Buffer) =>
			fetch(server.url + path, {
				method: "POST",
				headers: { authorization: "Bearer all-key-1", "content-type": "application/json" },
				body,
			});
		const refused = await send(Buffer.concat(bytes));
		expect(refused.status).toBe(400);
		expect(await refused.text()).toContain("UTF-8");
		expect((await send(Buffer.from('{"model":"box/m","input":"é"}'))).status).toBe(200);
	},
);
