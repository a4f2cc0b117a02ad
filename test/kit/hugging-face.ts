/** A stand-in for the Hugging Face Hub, for `HF_ENDPOINT`: sizes, licences and configurations, no weights. */
import type { Json } from "./exchange.ts";

/** A repository of weights. */
export interface HubModel {
	readonly id: string;
	/** Of every `.safetensors` file. */
	readonly shards: readonly number[];
	/** By type, as the Hub counts them: `{ BF16: 8190735360 }`. */
	readonly parameters: Readonly<Record<string, number>>;
	/** `manual` and `auto` need a token that was let in. */
	readonly gated?: false | "auto" | "manual";
	/** Its `config.json`. */
	readonly config: Json;
}

/** Repositories as the Hub describes them. */
export const HUB_MODELS = {
	"Qwen/Qwen3-0.6B": model("Qwen/Qwen3-0.6B", [1_503_300_328], 751_632_384, [28, 16, 8, 1024, 40_960], "Qwen3"),
	"Qwen/Qwen3-8B": model(
		"Qwen/Qwen3-8B",
		[3_996_250_744, 3_993_160_032, 3_959_604_768, 3_187_841_392, 1_244_659_840],
		8_190_735_360,
		[36, 32, 8, 4096, 40_960],
		"Qwen3",
	),
	"Qwen/Qwen3-32B": model(
		"Qwen/Qwen3-32B",
		Array.from({ length: 17 }, (_, at) => (at < 16 ? 3_963_750_880 : 2_104_549_152)),
		32_762_123_264,
		[64, 64, 8, 5120, 40_960],
		"Qwen3",
	),
	"meta-llama/Llama-3.1-8B-Instruct": {
		...model(
			"meta-llama/Llama-3.1-8B-Instruct",
			[4_976_698_672, 4_999_802_720, 4_915_916_176, 1_168_138_808],
			8_030_261_248,
			[32, 32, 8, 4096, 131_072],
			"Llama",
		),
		gated: "manual",
	},
} as const satisfies Record<string, HubModel>;

function model(
	id: string,
	shards: readonly number[],
	parameters: number,
	[layers, heads, kvHeads, hidden, length]: readonly [number, number, number, number, number],
	family: string,
): HubModel {
	const config: Json = {
		architectures: [`${family}ForCausalLM`],
		head_dim: 128,
		hidden_size: hidden,
		max_position_embeddings: length,
		model_type: family.toLowerCase(),
		num_attention_heads: heads,
		num_hidden_layers: layers,
		num_key_value_heads: kvHeads,
		torch_dtype: "bfloat16",
		vocab_size: family === "Llama" ? 128_256 : 151_936,
	};
	return { id, shards, parameters: { BF16: parameters }, config };
}

/** The stand-in. */
export interface Hub {
	/** For `HF_ENDPOINT`. */
	readonly origin: string;
	/** `GET /api/models/Qwen/Qwen3-8B?blobs=true`, as they came. */
	readonly received: readonly string[];
	/** Every answer from now on: this status, or none at all; `undefined` ends that. */
	fail(how: number | "hang" | undefined): void;
	stop(): Promise<void>;
	[Symbol.asyncDispose](): Promise<void>;
}

/** Starts one. `tokens` may read gated repositories; any other token is known to nobody. */
export function startHub(
	models: readonly HubModel[] = Object.values(HUB_MODELS),
	tokens: readonly string[] = ["hf_allowed"],
): Hub {
	const received: string[] = [];
	let failing: number | "hang" | undefined;
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		async fetch(request) {
			const url = new URL(request.url);
			received.push(`${request.method} ${url.pathname}${url.search}`);
			if (failing === "hang") await new Promise<never>(() => {});
			if (failing) return refuse(failing as number, "", "Internal Error - We're working hard to fix this");
			const token = /^Bearer (.+)$/.exec(request.headers.get("authorization") ?? "")?.[1];
			if (token && !tokens.includes(token)) return refuse(401, "", "Invalid credentials in Authorization header");
			const route =
				/^\/api\/models\/([^/]+\/[^/]+?)(?:\/(?:revision|tree)\/[^/]+)?$/.exec(url.pathname) ??
				/^\/([^/]+\/[^/]+)\/(?:resolve|raw)\/[^/]+\/(.+)$/.exec(url.pathname);
			const found = models.find(({ id }) => id === decodeURIComponent(route?.[1] ?? ""));
			// The Hub doesn't say whether a repository exists to those who may not see it.
			if (!found) return refuse(token ? 404 : 401, "RepoNotFound", "Repository not found");
			const api = url.pathname.startsWith("/api/");
			if (api && url.pathname.includes("/tree/")) return Response.json(files(found).map(treeEntry));
			if (api) return Response.json(describe(found, url.searchParams.has("blobs")));
			if (found.gated && !token) {
				return refuse(
					401,
					"GatedRepo",
					`Access to model ${found.id} is restricted. You must have access to it and be authenticated to access it. Please log in.`,
				);
			}
			const text = content(found, route![2]!);
			if (text === undefined) return refuse(404, "EntryNotFound", "Entry not found");
			return new Response(text, { headers: { "content-type": "text/plain; charset=utf-8", "x-repo-commit": SHA } });
		},
	});
	const stop = () => server.stop(true);
	return {
		origin: `http://127.0.0.1:${server.port}`,
		received,
		fail: (how) => {
			failing = how;
		},
		stop,
		[Symbol.asyncDispose]: stop,
	};
}

const SHA = "b968826d9c46dd6066d109eabc6255188de91218";

function refuse(status: number, code: string, message: string): Response {
	const headers = { "x-error-message": message, ...(code && { "x-error-code": code }) };
	return Response.json({ error: message }, { status, headers });
}

interface File {
	readonly path: string;
	readonly size: number;
	readonly lfs: boolean;
}

function files(found: HubModel): File[] {
	const count = found.shards.length;
	const number = (at: number) => String(at).padStart(5, "0");
	const texts = ["README.md", "config.json", "generation_config.json", "tokenizer_config.json"];
	return [
		{ path: ".gitattributes", size: 1570, lfs: false },
		...texts.map((path) => ({ path, size: content(found, path)!.length, lfs: false })),
		...found.shards.map((size, at) => ({
			path: count === 1 ? "model.safetensors" : `model-${number(at + 1)}-of-${number(count)}.safetensors`,
			size,
			lfs: true,
		})),
		...(count > 1
			? [
					{
						path: "model.safetensors.index.json",
						size: content(found, "model.safetensors.index.json")!.length,
						lfs: false,
					},
				]
			: []),
		{ path: "tokenizer.json", size: 11_422_654, lfs: true },
	];
}

function content(found: HubModel, path: string): string | undefined {
	const total = found.shards.reduce((sum, size) => sum + size, 0);
	return {
		"README.md": `# ${found.id}\n`,
		"config.json": JSON.stringify(found.config, null, 2),
		"generation_config.json": "{}",
		"tokenizer_config.json": "{}",
		...(found.shards.length > 1 && {
			"model.safetensors.index.json": JSON.stringify({ metadata: { total_size: total }, weight_map: {} }),
		}),
	}[path];
}

const lfs = ({ size }: File) => ({ sha256: "0".repeat(64), size, pointerSize: 135 });

/** `/api/models/{id}`. Sizes are there only for those who ask for blobs. */
function describe(found: HubModel, blobs: boolean): Json {
	const sizes = (file: File) => ({ blobId: "0".repeat(40), size: file.size, ...(file.lfs && { lfs: lfs(file) }) });
	return {
		_id: "680da718b7cfdb6dd4a1f7ae",
		id: found.id,
		private: false,
		pipeline_tag: "text-generation",
		library_name: "transformers",
		tags: ["transformers", "safetensors", "text-generation"],
		downloads: 1_000_000,
		likes: 500,
		modelId: found.id,
		author: found.id.split("/")[0],
		sha: SHA,
		lastModified: "2026-07-26T03:49:13.000Z",
		gated: found.gated ?? false,
		disabled: false,
		config: { architectures: found.config["architectures"], model_type: found.config["model_type"] },
		siblings: files(found).map((file) => ({ rfilename: file.path, ...(blobs && sizes(file)) })),
		safetensors: {
			parameters: found.parameters,
			total: Object.values(found.parameters).reduce((sum, count) => sum + count, 0),
		},
		usedStorage: found.shards.reduce((sum, size) => sum + size, 0),
	};
}

/** `/api/models/{id}/tree/main`. */
const treeEntry = (file: File): Json => ({
	type: "file",
	oid: "0".repeat(40),
	size: file.size,
	path: file.path,
	...(file.lfs && { lfs: { oid: "0".repeat(64), size: file.size, pointerSize: 135 } }),
});
