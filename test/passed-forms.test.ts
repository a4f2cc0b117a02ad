/** Forms on their way: to every kind of upstream, through two routers, and where an upstream breaks off. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI, { toFile } from "openai";
import { serveApi } from "./kit/api-server.ts";
import { clientError } from "./kit/contract.ts";
import { startPassingUpstream } from "./kit/passing-upstream.ts";
import { pipeline } from "./kit/pipeline.ts";

const upstream = startPassingUpstream();
/** Ends each connection as soon as something comes. */
const broken = Bun.listen({
	hostname: "127.0.0.1",
	port: 0,
	socket: { data: (socket) => void socket.terminate() },
});
const near = pipeline({
	config: {
		providers: {
			openai: { base_url: upstream.origin, api_key: "k" },
			xai: { base_url: upstream.origin, api_key: "k" },
			"llm-d": { base_url: upstream.origin },
			engine: { type: "vllm", base_url: upstream.origin },
			box: { type: "openai-compatible", base_url: upstream.origin },
			broken: { type: "vllm", base_url: `http://127.0.0.1:${broken.port}` },
		},
		models: [{ name: "ears", targets: ["broken/a"], fallback: ["engine/whisper"] }],
	},
});
const nearServer = serveApi(near);
const far = pipeline({ config: { providers: { next: { type: "openai-compatible", base_url: nearServer.url } } } });
Object.assign(far.context, { instance: "far" });
const farServer = serveApi(far);
afterAll(async () => {
	await Promise.all([nearServer.stop(), farServer.stop(), upstream.stop()]);
	broken.stop(true);
});

const sound = Buffer.from(Array.from({ length: 3_000_000 }, (_, at) => (at * 31) % 253));
const clientAt = (url: string) => new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
/** What the upstream got. */
async function form() {
	const [got] = upstream.received;
	const type = got!.headers.get("content-type")!;
	return new Response(new Uint8Array(got!.body), { headers: { "content-type": type } }).formData();
}
function recording(model: string, bytes: Buffer, isModelFirst: boolean): FormData {
	const made = new FormData();
	if (isModelFirst) made.append("model", model);
	made.append("file", new File([new Uint8Array(bytes)], "a.wav"));
	if (!isModelFirst) made.append("model", model);
	return made;
}
const post = (body: FormData) => fetch(`${nearServer.url}/v1/audio/transcriptions`, { method: "POST", body });

describe.each(["openai", "xai", "llm-d", "engine", "box"])("at %s", (provider) => {
	const client = clientAt(nearServer.url);

	test("a recording arrives whole", async () => {
		upstream.answer(() => Response.json({ text: "Hello" }));
		const file = await toFile(sound, "a.wav");
		expect((await client.audio.transcriptions.create({ file, model: `${provider}/whisper` })).text).toBe("Hello");
		const got = await form();
		expect(got.get("model")).toBe("whisper");
		expect(Buffer.from(await (got.get("file") as unknown as File).arrayBuffer()).equals(sound)).toBe(true);
	});

	test("a picture is edited", async () => {
		upstream.answer(() => Response.json({ created: 1, data: [{ b64_json: "AAAA" }] }));
		const image = await toFile(sound, "a.png", { type: "image/png" });
		const edited = await client.images.edit({ image, prompt: "x", model: `${provider}/painter` });
		expect(edited.data).toEqual([{ b64_json: "AAAA" }]);
		expect((await form()).get("model")).toBe("painter");
	});

	test("text is spoken", async () => {
		upstream.answer(() => new Response(new Uint8Array(sound), { headers: { "content-type": "audio/wav" } }));
		const spoken = await client.audio.speech.create({ model: `${provider}/voice`, voice: "a", input: "Hello" });
		expect(Buffer.from(await spoken.arrayBuffer()).equals(sound)).toBe(true);
	});
});

test("a model behind a long recording is read where nothing but the data directory can be written", async () => {
	const data = mkdtempSync(join(tmpdir(), "passed-forms-"));
	const server = serveApi(
		pipeline({ config: { data_dir: data, providers: { engine: { type: "vllm", base_url: upstream.origin } } } }),
	);
	const before = process.env["TMPDIR"];
	process.env["TMPDIR"] = join(data, "absent");
	try {
		upstream.answer(() => Response.json({ text: "Hello" }));
		const body = recording("engine/whisper", sound, false);
		const response = await fetch(`${server.url}/v1/audio/transcriptions`, { method: "POST", body });
		expect([response.status, await response.json()]).toEqual([200, { text: "Hello" }]);
		expect((await form()).get("model")).toBe("whisper");
	} finally {
		if (before === undefined) delete process.env["TMPDIR"];
		else process.env["TMPDIR"] = before;
		await server.stop();
		rmSync(data, { recursive: true, force: true });
	}
});

test("a form goes through two routers as through one", async () => {
	upstream.answer(() => Response.json({ text: "Hello" }));
	const file = await toFile(sound, "a.wav");
	const client = clientAt(farServer.url);
	expect((await client.audio.transcriptions.create({ file, model: "next/engine/whisper" })).text).toBe("Hello");
	const got = await form();
	expect(got.get("model")).toBe("whisper");
	expect(Buffer.from(await (got.get("file") as unknown as File).arrayBuffer()).equals(sound)).toBe(true);
});

test.each([
	["short", sound.subarray(0, 100_000), true],
	["long, with its model behind it,", sound, false],
])("a %s recording goes to the next upstream where one breaks off", async (_, bytes, isModelFirst) => {
	upstream.answer(() => Response.json({ text: "Hello" }));
	expect(await (await post(recording("ears", bytes, isModelFirst))).json()).toEqual({ text: "Hello" });
	expect((await form()).get("model")).toBe("whisper");
});

test("what was sent in part, and is not held, is sent to no other", async () => {
	upstream.answer(() => Response.json({ text: "Hello" }));
	const before = near.settled.length;
	const failed = await post(recording("broken/a", sound, true));
	expect(failed.status).toBe(502);
	clientError(await failed.text());
	const [call] = (await near.settledCalls(before + 1)).slice(before);
	expect(call).toMatchObject({ operation: "transcriptions", status: 502 });
	expect(upstream.received).toEqual([]);
});
