/** What the sim believes about a model, from its name and the command line. */
import { type Adapter, readAdapters } from "./adapters.ts";
import { type Arguments, readLength, UsageError } from "./arguments.ts";
import type { Switches } from "./switches.ts";

const GIB = 2 ** 30;

/** One served model. */
export interface Model {
	/** The repository, vLLM's `root`. Answers depend on it, so that replicas agree whatever they are served as. */
	readonly root: string;
	/** Names it answers to; the first is the one in answers and metrics. */
	readonly names: readonly string[];
	/** By name; may change while it runs. */
	readonly adapters: Map<string, Adapter>;
	readonly maxLength: number;
	/** The most that the model itself allows. */
	readonly derivedLength: number;
	readonly weightsGib: number;
	/** Of KV cache, per token. */
	readonly bytesPerToken: number;
	/** What is left of the GPUs' share after weights, in GiB. */
	readonly kvGib: number;
	/** Tokens of KV cache, a multiple of the block size. */
	readonly kvTokens: number;
	readonly blockSize: number;
	readonly maxSeqs: number;
	/** Tokens that one step may compute. */
	readonly batchTokens: number;
	readonly tensorParallel: number;
	readonly dataParallel: number;
	readonly utilization: number;
	/** Of each GPU's memory, from 0 to 1: the utilisation, or what a cache of a given size comes to. */
	readonly share: number;
}

/** Parameters in billions, from a name such as `Qwen3-30B-A3B` or `llama3.2:1b`; 0.6 when it says nothing. */
const billions = (name: string) => Number(/(?:^|[^\d.])(\d+(?:\.\d+)?)b\b/i.exec(name)?.[1] ?? 0.6);

/** Throws UsageError for what vLLM refuses before it loads. */
export function readModel(args: Arguments, switches: Switches): Model {
	const { model: root, given } = args;
	const names = given.get("served-model-name") ?? [root];
	const one = (name: string) => given.get(name)?.[0];
	const number = (name: string, otherwise: number) => Number(one(name) ?? otherwise);
	const size = billions(root);
	const derivedLength = /qwen3/i.test(root) ? 40_960 : /llama-?3/i.test(root) ? 131_072 : 32_768;
	const asked = readLength(one("max-model-len") ?? String(derivedLength))!;
	if (asked > derivedLength) {
		throw new UsageError(
			`pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, User-specified max_model_len (${asked}) is greater than the derived max_model_len (max_position_embeddings=${derivedLength} or model_max_length=None in model's config.json). To allow overriding this maximum, set the env var VLLM_ALLOW_LONG_MAX_MODEL_LEN=1.`,
			1,
		);
	}
	const quantized = /awq|gptq|int4|4bit|mxfp4|nvfp4/i.test(root + (one("quantization") ?? ""));
	const bytes = quantized ? 0.55 : /fp8|int8/i.test(root + (one("quantization") ?? "")) ? 1.02 : 2.04;
	const weightsGib = (size * 1e9 * bytes) / GIB;
	// 36 layers of 8 heads of 128, twice two bytes: an 8B model's 144 KiB, smaller models in proportion.
	const bytesPerToken = Math.round(147_456 * Math.min(2, Math.max(0.2, size / 8)));
	const tensorParallel = number("tensor-parallel-size", 1);
	const utilization = number("gpu-memory-utilization", 0.9);
	const blockSize = number("block-size", 16);
	const fixed = readLength(one("kv-cache-memory-bytes") ?? "");
	const share = (switches.gpuGib ?? 0) * utilization * tensorParallel - weightsGib - 1.2;
	const roomy = (4 * (asked < 0 ? derivedLength : asked) * bytesPerToken) / GIB;
	const kvGib = fixed ? fixed / GIB : switches.gpuGib ? share : roomy;
	const possible = switches.kvTokens ?? Math.floor((kvGib * GIB) / bytesPerToken);
	const kvTokens = Math.floor(possible / blockSize) * blockSize;
	return {
		root,
		names,
		adapters: new Map(readAdapters(args, names[0]!).map((adapter) => [adapter.name, adapter])),
		maxLength: asked < 0 ? Math.min(derivedLength, Math.max(kvTokens, blockSize)) : asked,
		derivedLength,
		weightsGib,
		bytesPerToken,
		kvGib,
		kvTokens,
		blockSize,
		maxSeqs: number("max-num-seqs", 256),
		batchTokens: readLength(one("max-num-batched-tokens") ?? "2048")!,
		tensorParallel,
		dataParallel: number("data-parallel-size", 1),
		utilization,
		share: fixed ? (weightsGib + kvGib + 1.2) / tensorParallel / (switches.gpuGib ?? 80) : utilization,
	};
}
