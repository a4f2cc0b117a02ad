/** `router models suggest`: well-known models that fit this host. Pure; the numbers are those of the models' repositories. */

import { placeReplica } from "../gpu/allocations.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { contextLength } from "../gpu/memory.ts";
import type { ModelSize } from "../gpu/model-size.ts";

interface SuggestedModel {
	readonly model: string;
	/** Of its weight files, in 10⁹ bytes, as Hugging Face shows them. */
	readonly gigabytes: number;
	/** KV heads, their dimension, and layers with full attention. */
	readonly kv: readonly [heads: number, dimension: number, layers: number];
	readonly context: number;
	/** Needs HF_TOKEN and an accepted licence. */
	readonly gated?: boolean;
	readonly strengths: string;
}

/** The most able first. */
const SUGGESTED_MODELS: readonly SuggestedModel[] = [
	{
		model: "meta-llama/Llama-3.3-70B-Instruct",
		gigabytes: 141.1,
		kv: [8, 128, 80],
		context: 131072,
		gated: true,
		strengths: "chat, tools",
	},
	{ model: "openai/gpt-oss-120b", gigabytes: 65.3, kv: [8, 64, 18], context: 131072, strengths: "reasoning, tools" },
	{ model: "Qwen/Qwen3-32B", gigabytes: 65.5, kv: [8, 128, 64], context: 40960, strengths: "reasoning, tools" },
	{
		model: "Qwen/Qwen3-Coder-30B-A3B-Instruct",
		gigabytes: 61.1,
		kv: [4, 128, 48],
		context: 262144,
		strengths: "code, tools; fast",
	},
	{
		model: "Qwen/Qwen3-30B-A3B-Instruct-2507",
		gigabytes: 61.1,
		kv: [4, 128, 48],
		context: 262144,
		strengths: "chat, tools; fast",
	},
	{
		model: "Qwen/Qwen3-30B-A3B-Instruct-2507-FP8",
		gigabytes: 31.2,
		kv: [4, 128, 48],
		context: 262144,
		strengths: "the same in half the memory",
	},
	{ model: "Qwen/Qwen3-14B", gigabytes: 29.5, kv: [8, 128, 40], context: 40960, strengths: "reasoning, tools" },
	{
		model: "Qwen/Qwen3-32B-AWQ",
		gigabytes: 19.3,
		kv: [8, 128, 64],
		context: 40960,
		strengths: "reasoning, tools; 4 bits",
	},
	{ model: "Qwen/Qwen3-8B", gigabytes: 16.4, kv: [8, 128, 36], context: 40960, strengths: "reasoning, tools" },
	{
		model: "meta-llama/Llama-3.1-8B-Instruct",
		gigabytes: 16.1,
		kv: [8, 128, 32],
		context: 131072,
		gated: true,
		strengths: "chat, tools",
	},
	{ model: "openai/gpt-oss-20b", gigabytes: 13.8, kv: [8, 64, 12], context: 131072, strengths: "reasoning, tools" },
	{
		model: "Qwen/Qwen3-14B-AWQ",
		gigabytes: 10,
		kv: [8, 128, 40],
		context: 40960,
		strengths: "reasoning, tools; 4 bits",
	},
	{ model: "Qwen/Qwen3-4B-Instruct-2507", gigabytes: 8, kv: [8, 128, 36], context: 262144, strengths: "chat, tools" },
	{
		model: "Qwen/Qwen3-8B-AWQ",
		gigabytes: 6.1,
		kv: [8, 128, 36],
		context: 40960,
		strengths: "reasoning, tools; 4 bits",
	},
	{ model: "Qwen/Qwen3-1.7B", gigabytes: 4.1, kv: [8, 128, 28], context: 40960, strengths: "short answers" },
	{ model: "Qwen/Qwen3-0.6B", gigabytes: 1.5, kv: [8, 128, 28], context: 40960, strengths: "trying things out" },
];

/** How many of the GPUs a model may span: vLLM shares its heads evenly. */
const GPU_COUNTS = [1, 2, 4, 8];

/** A model that fits here. */
export interface Suggestion {
	readonly model: string;
	readonly gigabytes: number;
	/** The fewest GPUs it fits on; 0: on the CPU. */
	readonly gpus: number;
	/** Tokens that fit there. */
	readonly context: number;
	readonly gated: boolean;
	readonly strengths: string;
}

/** The models that fit on GPUs with nothing else on them, the most able first. Without GPUs: those a CPU answers with in time. */
export function suggestions(gpus: readonly Gpu[]): Suggestion[] {
	const empty = gpus.map((gpu) => ({ ...gpu, memory_used: 0 }));
	return SUGGESTED_MODELS.flatMap((known) => {
		const { model, gigabytes, context, strengths, gated = false } = known;
		const suggestion = { model, gigabytes, context, strengths, gated };
		if (gpus.length === 0) return gigabytes < 5 ? [{ ...suggestion, gpus: 0 }] : [];
		const size = sizeOf(known);
		for (const span of GPU_COUNTS) {
			const want = { spec: { name: model, model, gpus: span }, replica: 0, size };
			const result = placeReplica(want, empty, []);
			if (!("placement" in result)) continue;
			const fits = contextLength(want, span, result.placement.bytes) ?? context;
			return [{ ...suggestion, gpus: span, context: fits }];
		}
		return [];
	});
}

function sizeOf({ gigabytes, kv: [heads, dimension, layers], context }: SuggestedModel): ModelSize {
	const kv = { heads, headBytes: dimension * 2 * 2 * layers, windowBytes: 0 };
	return { weights: gigabytes * 1e9, download: 0, kv, maxContext: context };
}
