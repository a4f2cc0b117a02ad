/** A model's size, from a cache on disk and from a stand-in of the Hub: known, or said to be unknown. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ModelSource, modelInfo, sizeOf } from "../src/agent/gpu/model-size.ts";
import { HUB_MODELS, type Hub, startHub } from "./kit/hugging-face.ts";

const root = mkdtempSync(join(tmpdir(), "router-hf-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let cacheDir = "";
beforeEach(() => {
	cacheDir = mkdtempSync(join(root, "cache-"));
});

const get: ModelSource["get"] = async (url, headers) => {
	const answer = await fetch(url, { headers, signal: AbortSignal.timeout(20_000) });
	return { status: answer.status, body: await answer.text() };
};
/** For what must be answered without the Hub. */
const offline: ModelSource["get"] = async () => {
	throw new Error("no network");
};
const source = (more: Partial<ModelSource> = {}): ModelSource => ({
	cacheDir,
	endpoint: "http://127.0.0.1:9",
	get: offline,
	...more,
});
const from = (hub: Hub, more: Partial<ModelSource> = {}) => source({ endpoint: hub.origin, get, ...more });

const QWEN = "Qwen/Qwen3-8B";
const WEIGHTS = HUB_MODELS[QWEN].shards.reduce((sum, size) => sum + size, 0);
const CONFIG = HUB_MODELS[QWEN].config as Record<string, unknown>;
/** 36 layers, 8 heads of 128, two vectors of 16 bits. */
const KV = { heads: 8, headBytes: 36 * 128 * 2 * 2, windowBytes: 0 };

/** Puts files into the cache as Hugging Face lays them out: links to blobs. `undefined`: the blob is not there yet. */
function cache(model: string, files: Record<string, number | object | undefined>, commit = "abc123"): void {
	const repository = join(cacheDir, "hub", `models--${model.replace("/", "--")}`);
	for (const folder of ["refs", "blobs", `snapshots/${commit}`])
		mkdirSync(join(repository, folder), { recursive: true });
	writeFileSync(join(repository, "refs/main"), commit);
	for (const [name, content] of Object.entries(files)) {
		const blob = join(repository, "blobs", `${commit}-${name}`);
		if (content !== undefined)
			writeFileSync(blob, typeof content === "number" ? new Uint8Array(content) : JSON.stringify(content));
		symlinkSync(blob, join(repository, "snapshots", commit, name));
	}
}

describe("in the cache", () => {
	test("a whole model is known without the Hub", async () => {
		cache(QWEN, {
			"config.json": CONFIG,
			"model-1.safetensors": 3000,
			"model-2.safetensors": 2000,
			"tokenizer.json": 900,
		});
		expect(await modelInfo(QWEN, source())).toEqual({
			size: { weights: 5000, download: 0, kv: KV, maxContext: 40_960 },
		});
	});

	test("a download that was interrupted knows from its index how much is missing", async () => {
		cache(QWEN, {
			"config.json": CONFIG,
			"model.safetensors.index.json": { metadata: { total_size: 5000 }, weight_map: {} },
			"model-1.safetensors": 3000,
			"model-2.safetensors": undefined,
		});
		expect((await modelInfo(QWEN, source())).size).toMatchObject({ weights: 5000, download: 2000 });
	});

	test("an index that counts a little more than the files is no missing file", async () => {
		cache(QWEN, { "model.safetensors.index.json": { metadata: { total_size: 5010 } }, "model-1.safetensors": 5000 });
		expect((await modelInfo(QWEN, source())).size).toEqual({ weights: 5010, download: 0 });
	});

	test("another revision is another snapshot", async () => {
		cache(QWEN, { "model.safetensors": 3000 });
		cache(QWEN, { "model.safetensors": 1000 }, "def456");
		expect((await modelInfo(QWEN, source({ revision: "abc123" }))).size?.weights).toBe(3000);
		expect((await modelInfo(QWEN, source())).size?.weights).toBe(1000);
	});

	test("a model that Mistral stores twice counts once, and other formats not at all", async () => {
		cache(QWEN, {
			"consolidated.safetensors": 5000,
			"model-1.safetensors": 5000,
			"pytorch_model.bin": 9000,
			"model.gguf": 700,
		});
		expect((await modelInfo(QWEN, source())).size?.weights).toBe(5000);
	});
});

test("a directory of weights is looked at as it is", async () => {
	const model = join(cacheDir, "my-chat");
	mkdirSync(model);
	writeFileSync(join(model, "config.json"), JSON.stringify(CONFIG));
	expect(await modelInfo(model, source())).toEqual({ unknown: `${model} holds no weights that vLLM loads` });
	writeFileSync(join(model, "pytorch_model.bin"), new Uint8Array(4000));
	expect((await modelInfo(model, source())).size).toMatchObject({ weights: 4000, download: 0, kv: KV });
	expect((await modelInfo("/nowhere", source())).unknown).toContain("/nowhere");
});

describe("on the Hub", () => {
	test("a model that is not here is known with all that is to be downloaded", async () => {
		await using hub = startHub();
		expect(await modelInfo(QWEN, from(hub))).toEqual({
			size: { weights: WEIGHTS, download: WEIGHTS, kv: KV, maxContext: 40_960 },
		});
		expect(hub.received[0]).toBe("GET /api/models/Qwen/Qwen3-8B/revision/main?blobs=true");
	});

	test("is not asked about a model that is here", async () => {
		await using hub = startHub();
		cache(QWEN, { "model.safetensors": 3000 });
		await modelInfo(QWEN, from(hub));
		expect(hub.received).toEqual([]);
	});

	test("a gated model is known, and refused without a token that was let in", async () => {
		await using hub = startHub();
		const llama = "meta-llama/Llama-3.1-8B-Instruct";
		const without = await modelInfo(llama, from(hub));
		expect(without.size?.weights).toBe(16_060_556_376);
		expect(without.refused).toEqual({
			reason: `${llama} is gated, and there is no HF_TOKEN`,
			fix: `accept its licence at ${hub.origin}/${llama}, then set HF_TOKEN to a token of that account`,
		});
		const allowed = await modelInfo(llama, from(hub, { token: "hf_allowed" }));
		expect(allowed).not.toHaveProperty("refused");
		expect(allowed.size?.kv).toEqual({ heads: 8, headBytes: 32 * 128 * 2 * 2, windowBytes: 0 });
		expect((await modelInfo(llama, from(hub, { token: "hf_nobody" }))).refused?.reason).toBe(
			"Hugging Face does not know HF_TOKEN",
		);
	});

	test("a gated model that this account may not read says so", async () => {
		const shut = async (url: string) =>
			url.includes("/api/")
				? {
						status: 200,
						body: JSON.stringify({ gated: "manual", siblings: [{ rfilename: "model.safetensors", size: 5 }] }),
					}
				: { status: 403, body: "{}" };
		const { refused } = await modelInfo("a/b", source({ token: "hf_x", get: shut }));
		expect(refused?.reason).toBe("a/b is gated, and HF_TOKEN's account has no access");
	});

	test("a name that is none is refused", async () => {
		await using hub = startHub();
		expect((await modelInfo("Qwen/Qwen3-8BB", from(hub))).refused?.reason).toBe(
			"Hugging Face knows no Qwen/Qwen3-8BB, or shows it to its owner alone",
		);
		expect((await modelInfo("Qwen/Qwen3-8BB", from(hub, { token: "hf_allowed" }))).refused?.fix).toContain(
			"HF_TOKEN may read it",
		);
	});

	test("out of order, out of reach or another server means unknown: never guessed, never refused", async () => {
		await using hub = startHub();
		hub.fail(500);
		expect(await modelInfo(QWEN, from(hub))).toEqual({ unknown: `${hub.origin} answered 500` });
		expect(await modelInfo(QWEN, source())).toEqual({ unknown: "http://127.0.0.1:9 is out of reach" });
		const page = async () => ({ status: 200, body: "<html>" });
		expect((await modelInfo(QWEN, source({ get: page }))).unknown).toContain("something else than JSON");
	});

	test("out of reach leaves what the cache knows", async () => {
		cache(QWEN, { "model.safetensors.index.json": { metadata: { total_size: 5000 } }, "model-1.safetensors": 3000 });
		expect((await modelInfo(QWEN, source())).size).toMatchObject({ weights: 5000, download: 2000 });
	});

	test("one quantisation of a GGUF repository counts alone", async () => {
		const siblings = [
			{ rfilename: "Qwen3-8B-Q4_K_M.gguf", size: 5000 },
			{ rfilename: "Qwen3-8B-Q8_0.gguf", size: 9000 },
		];
		const list = async () => ({ status: 200, body: JSON.stringify({ siblings }) });
		expect((await modelInfo("unsloth/Qwen3-8B-GGUF:Q4_K_M", source({ get: list }))).size?.weights).toBe(5000);
		expect((await modelInfo("unsloth/Qwen3-8B-GGUF:Q2_K", source({ get: list }))).unknown).toContain("no weights");
	});
});

describe("the KV cache, from config.json:", () => {
	const kv = (config: Record<string, unknown>) =>
		sizeOf({ files: { "model.safetensors": 1 }, present: {}, config }, "a/b")?.kv;

	test("heads and dimension that are not given follow from the others", () => {
		expect(kv({ num_hidden_layers: 12, num_attention_heads: 12, hidden_size: 768 })).toEqual({
			heads: 12,
			headBytes: 12 * 64 * 4,
			windowBytes: 0,
		});
	});

	test("layers with a window keep no more than that, linear ones next to nothing", () => {
		const config = {
			num_hidden_layers: 6,
			num_attention_heads: 8,
			num_key_value_heads: 4,
			head_dim: 256,
			sliding_window: 512,
			layer_types: [
				"sliding_attention",
				"sliding_attention",
				"linear_attention",
				"full_attention",
				"sliding_attention",
				"full_attention",
			],
		};
		expect(kv(config)).toEqual({ heads: 4, headBytes: 2 * 1024, windowBytes: 3 * 1024 * 512 });
		expect(kv({ text_config: config, vision_config: { num_hidden_layers: 27 } })).toEqual({
			heads: 4,
			headBytes: 2 * 1024,
			windowBytes: 3 * 1024 * 512,
		});
	});

	test("latent attention keeps one vector, which no GPU shares", () => {
		expect(
			kv({
				num_hidden_layers: 61,
				num_attention_heads: 128,
				kv_lora_rank: 512,
				qk_rope_head_dim: 64,
				hidden_size: 7168,
			}),
		).toEqual({
			heads: 1,
			headBytes: 61 * (512 + 64) * 2,
			windowBytes: 0,
		});
	});

	test("is not known of a config.json that does not say", () => {
		expect(kv({})).toBeUndefined();
		expect(kv({ num_hidden_layers: "36", num_attention_heads: 8 })).toBeUndefined();
	});
});
