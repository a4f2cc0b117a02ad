/** How much memory a model needs, from its files: those in the local cache, else those Hugging Face lists. Never guessed. */
import { directoryProblem } from "./model-directory.ts";
import { cachedFiles, type ModelFiles } from "./model-files.ts";

/** What is known of a model before it is loaded. Bytes. */
export interface ModelSize {
	/** Of all weight files that vLLM loads. */
	readonly weights: number;
	/** Of those not yet in the local cache. */
	readonly download: number;
	/** Absent where config.json lacks it. */
	readonly kv?: KvCache;
	/** The longest context the model itself takes, in tokens. */
	readonly maxContext?: number;
}

/** The KV cache of one sequence. GPUs share its heads; each holds at least one. Bytes at 16 bits a value. */
export interface KvCache {
	readonly heads: number;
	/** One token of one head, over the layers with full attention. */
	readonly headBytes: number;
	/** One head, over the layers with sliding-window attention. */
	readonly windowBytes: number;
}

/** What is known of a model. One of the three at least. */
export interface ModelInfo {
	readonly size?: ModelSize;
	/** Why the size is not known. */
	readonly unknown?: string;
	/** Why it can't be downloaded, for a person. */
	readonly refused?: { readonly reason: string; readonly fix: string };
}

/** Where a model's files are looked for. */
export interface ModelSource {
	/** HF_HOME on this host. */
	readonly cacheDir: string;
	/** Origin of the Hub, without a slash at its end: `https://huggingface.co`. */
	readonly endpoint: string;
	/** HF_TOKEN. */
	readonly token?: string;
	/** The container engine mounts this host's files: a directory that is not here is nowhere. */
	readonly isEngineHere?: boolean;
	/** `--revision`; `main` without it. */
	readonly revision?: string;
	/** GETs a small text. Rejects when nothing answers; must not outlive a deadline of its own. */
	readonly get: (url: string, headers: Record<string, string>) => Promise<{ status: number; body: string }>;
}

/** Looks a model up, in the cache first. `model` must have passed `specProblem`. Never rejects. */
export async function modelInfo(model: string, source: ModelSource): Promise<ModelInfo> {
	const refused = model.startsWith("/") && source.isEngineHere ? await directoryProblem(model) : undefined;
	if (refused) return { refused };
	const cached = await cachedFiles(model, source.cacheDir, source.revision);
	const local = cached && sizeOf(cached, model);
	if (local && (local.download === 0 || model.startsWith("/"))) return { size: local };
	if (model.startsWith("/")) return { unknown: `${model} holds no weights that vLLM loads` };
	const found = await fromHub(model, source);
	return found.unknown && local ? { size: local } : found;
}

async function fromHub(model: string, { endpoint, token, revision = "main", get }: ModelSource): Promise<ModelInfo> {
	const [repository] = model.split(":") as [string];
	const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};
	const at = encodeURIComponent(revision);
	try {
		const listed = await get(`${endpoint}/api/models/${repository}/revision/${at}?blobs=true`, headers);
		if (/invalid credentials/i.test(listed.body.slice(0, 500)) && listed.status === 401) {
			return {
				refused: {
					reason: "Hugging Face does not know HF_TOKEN",
					fix: `make a new one at ${endpoint}/settings/tokens`,
				},
			};
		}
		if (listed.status === 401 || listed.status === 403 || listed.status === 404) {
			return {
				refused: {
					reason: `Hugging Face knows no ${repository}${revision === "main" ? "" : ` at ${revision}`}, or shows it to its owner alone`,
					fix: token
						? "check the spelling of `model`, and that HF_TOKEN may read it"
						: "check the spelling of `model`; for a private one set HF_TOKEN",
				},
			};
		}
		if (listed.status !== 200) return { unknown: `${endpoint} answered ${listed.status}` };
		const { siblings, gated } = JSON.parse(listed.body) as Listing;
		const files = Object.fromEntries((siblings ?? []).map(({ rfilename, size }) => [rfilename, size ?? Number.NaN]));
		const config = await get(`${endpoint}/${repository}/resolve/${at}/config.json`, headers);
		const size = sizeOf(
			{ files, present: {}, ...(config.status === 200 && { config: JSON.parse(config.body) }) },
			model,
		);
		const known: ModelInfo = size
			? { size }
			: { unknown: `${endpoint} lists no weights that vLLM loads, or not their sizes` };
		const isGated = gated && (config.status === 401 || config.status === 403);
		return isGated ? { ...known, refused: gatedRefusal(repository, endpoint, token) } : known;
	} catch (error) {
		// A SyntaxError: a proxy's page in place of JSON.
		const fault = error instanceof SyntaxError ? "answered something else than JSON" : "is out of reach";
		return { unknown: `${endpoint} ${fault}` };
	}
}

interface Listing {
	readonly siblings?: readonly { readonly rfilename: string; readonly size?: number }[];
	readonly gated?: false | "auto" | "manual";
}

function gatedRefusal(model: string, endpoint: string, token: string | undefined) {
	const accept = `accept its licence at ${endpoint}/${model}`;
	return token
		? { reason: `${model} is gated, and HF_TOKEN's account has no access`, fix: `${accept} with that account` }
		: {
				reason: `${model} is gated, and there is no HF_TOKEN`,
				fix: `${accept}, then set HF_TOKEN to a token of that account`,
			};
}

/** Undefined where no weights are listed, or not with their sizes. */
export function sizeOf({ files, present, config, indexed }: ModelFiles, model: string): ModelSize | undefined {
	const names = weightFiles(Object.keys(files), model.split(":")[1]);
	const listed = names.reduce((sum, name) => sum + files[name]!, 0);
	// An index without its files: an interrupted download.
	const weights = Math.max(listed, indexed ?? 0);
	if (!(weights > 0)) return undefined;
	const here = names.reduce((sum, name) => sum + (present[name] ?? 0), 0);
	const kv = kvCache(config);
	const maxContext = textConfig(config)["max_position_embeddings"];
	return {
		weights,
		// The index counts tensors, the files a header besides: 0.1 % is no missing file.
		download: here >= weights * 0.99 ? 0 : weights - here,
		...(kv && { kv }),
		...(typeof maxContext === "number" && { maxContext }),
	};
}

/** The files vLLM loads: safetensors, else PyTorch's; of a GGUF repository those of one quantisation. Folders are other formats. */
function weightFiles(names: readonly string[], quantisation: string | undefined): string[] {
	const top = names.filter((name) => !name.includes("/"));
	if (quantisation !== undefined) {
		const wanted = quantisation.toLowerCase();
		return names.filter((name) => name.endsWith(".gguf") && name.toLowerCase().includes(wanted));
	}
	const safetensors = top.filter((name) => name.endsWith(".safetensors"));
	// Mistral's repositories hold everything twice.
	const split = safetensors.filter((name) => !name.startsWith("consolidated"));
	if (safetensors.length > 0) return split.length > 0 ? split : safetensors;
	return top.filter((name) => /^pytorch_model.*\.bin$/.test(name));
}

type Json = Record<string, unknown>;

/** What describes the language model: of a multimodal one a part of its config.json. */
function textConfig(config: Json | undefined): Json {
	const part = config?.["text_config"] ?? config?.["llm_config"];
	return { ...config, ...(typeof part === "object" && part !== null ? (part as Json) : {}) };
}

function kvCache(config: Json | undefined): KvCache | undefined {
	const text = textConfig(config);
	const number = (name: string) => (typeof text[name] === "number" ? (text[name] as number) : undefined);
	const layers = number("num_hidden_layers");
	const attention = number("num_attention_heads");
	if (!layers || !attention) return undefined;
	const kinds = Array.isArray(text["layer_types"]) ? (text["layer_types"] as unknown[]) : undefined;
	const sliding = kinds?.filter((kind) => kind === "sliding_attention").length ?? 0;
	// Linear attention has a state of fixed size, which is negligible.
	const full = kinds?.filter((kind) => kind === "full_attention").length ?? layers;
	// Multi-head latent attention stores one compressed vector, which every GPU needs whole.
	const latent = number("kv_lora_rank");
	const heads = latent ? 1 : (number("num_key_value_heads") ?? attention);
	const dimension = number("head_dim") ?? (number("hidden_size") ?? 0) / attention;
	const headBytes = latent ? (latent + (number("qk_rope_head_dim") ?? 0)) * 2 : dimension * 2 * 2;
	if (!(headBytes > 0)) return undefined;
	return { heads, headBytes: headBytes * full, windowBytes: headBytes * sliding * (number("sliding_window") ?? 0) };
}
