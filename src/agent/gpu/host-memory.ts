/** The arithmetic of a host's own memory, which models on the CPU share: what each needs, and whether it fits. Pure; bytes. */

import type { ModelSpec } from "../models/model-spec.ts";
import type { Problem } from "../problem.ts";
import { flagsOf } from "../vllm/vllm-args.ts";
import {
	type Allocation,
	contextInCache,
	FEWER_REPLICAS,
	GIB,
	gib,
	HOST,
	type HostMemory,
	type PlacementRequest,
	type PlacementResult,
	SAFETY_FACTOR,
} from "./memory.ts";

/** Weights in memory, with what loading and computing with them takes besides. */
const WEIGHT_FACTOR = 1.1;
/** Python, torch, the tokenizer and the activations of one step. */
const RUNTIME_BYTES = 2 * GIB;
/** KV cache: what a model gets at least, and what is tried first where nothing says how much. vLLM counts it in whole GiB. */
const MIN_CACHE_BYTES = GIB;
const DEFAULT_CACHE_BYTES = 4 * GIB;
/** Left free of the host where a model takes what is left. */
const RESERVE_BYTES = GIB;

/** Whether a replica runs on the CPU whose memory is known; else `host` is absent from its request. */
type HostRequest = PlacementRequest & { readonly host: HostMemory };

/** What a replica needs of the host's memory. */
interface HostNeed {
	/** Without its KV cache; undefined where its size is not known. */
	readonly base: number | undefined;
	/** The KV cache it must have, and the one it would take. */
	readonly cache: { readonly min: number; readonly max: number };
	/** `16.3 GiB (weights 13.0 × 1.1 + 2)` */
	readonly text: string;
}

/** Why `gpu_memory` can't be a KV cache on the CPU, and what to write instead; undefined where it can. */
export function cacheSizeProblem({ gpu_memory: cache, memory }: ModelSpec): Problem | undefined {
	if (cache === undefined) return undefined;
	const whole = Math.floor(cache / GIB);
	if (cache !== whole * GIB) {
		const sizes = whole === 0 ? "1GiB" : `${whole}GiB or ${whole + 1}GiB`;
		return { reason: "is the KV cache on the CPU, which vLLM takes in whole GiB", fix: `write ${sizes}` };
	}
	if (memory === undefined || cache < memory) return undefined;
	return {
		reason: "is the KV cache on the CPU, and a part of `memory`, which leaves nothing for the weights",
		fix: "lower it, or raise `memory`",
	};
}

/** Why `memory` is too little on the CPU whatever the weights are, and what to write instead; undefined where it may do. */
export function limitProblem(spec: ModelSpec): Problem | undefined {
	const { memory } = spec;
	const cache = cacheNeed({ spec, replica: 0 }).min;
	const least = RUNTIME_BYTES + cache;
	if (memory === undefined || memory >= least) return undefined;
	const need = `its weights × ${WEIGHT_FACTOR} and ${gib(least)} GiB (${RUNTIME_BYTES / GIB}, KV cache ${gib(cache)})`;
	return {
		reason: `is ${gib(memory)} GiB, and a model on the CPU needs ${need}`,
		fix: `raise it to ${Math.ceil(least / GIB)}GiB and what its weights take`,
	};
}

/**
 * Whether the host's memory takes one more replica, and the KV cache that leaves it. `allocated` is what all others hold; those that
 * still load use less of it than that. With a limit (`memory`) it is the limit that is taken.
 */
export function placeOnHost(request: HostRequest, allocated: readonly Allocation[]): PlacementResult {
	const { spec, replica, host } = request;
	// A host of which only a start shows that it has no GPU.
	const problem = cacheSizeProblem(spec);
	if (problem !== undefined) {
		return { message: `the \`gpu_memory\` of ${spec.name} ${problem.reason}`, fix: problem.fix, candidates: [] };
	}
	const limit = request.size ? undefined : limitProblem(spec);
	if (limit !== undefined) {
		return { message: `the \`memory\` of ${spec.name} ${limit.reason}`, fix: limit.fix, candidates: [] };
	}
	const { base, cache, text } = hostNeed(request);
	const others = allocated.filter(
		(each) => each.gpu === HOST && !(each.model === spec.name && each.replica === replica),
	);
	const held = others.reduce((sum, { bytes }) => sum + bytes, 0);
	const used = host.total - host.available;
	const free = Math.max(0, host.total - Math.max(held, used));
	const { memory } = spec;
	const needed = (base ?? 0) + cache.min;
	if (memory !== undefined && base !== undefined && memory < needed) {
		return {
			message: `${spec.name} may use ${gib(memory)} GiB of the host's memory (\`memory\`), and needs ${text}`,
			fix: `raise its \`memory\` to ${Math.ceil(needed / GIB)}GiB, or take a smaller or quantised model`,
			candidates: [],
		};
	}
	const taken = memory ?? shareOf(spec, host) ?? (base === undefined ? 0 : needed);
	if (taken > free) {
		const users = others.map(({ model, bytes }) => `${model} holds ${gib(bytes)}`);
		if (used - held >= GIB / 10) users.push(`other processes hold ${gib(used - held)}`);
		const wants = wantText(request, text);
		const isPossible = taken <= host.total;
		const hasSibling = others.some(({ model }) => model === spec.name);
		return {
			message: `${spec.name} ${wants} of the host's memory; it has ${gib(free)} GiB free of ${gib(host.total)}${users.length > 0 ? `: ${users.join(", ")}` : ""}`,
			fix: isPossible ? fixBesideOthers(spec, hasSibling) : fixOfTooLarge(request, { base, cache }),
			...(isPossible && { short: taken - free }),
			candidates: isPossible ? [[HOST]] : [],
		};
	}
	return { placement: hostPlacement(request, { base, cache, free }) };
}

/** Where it would fit on the host alone. */
function fixBesideOthers({ memory }: ModelSpec, hasSibling: boolean): string {
	const less =
		memory === undefined
			? "give it a smaller KV cache (`gpu_memory` of a model on the CPU)"
			: "lower its limit (`memory`)";
	return `${hasSibling ? FEWER_REPLICAS : ""}unload what is not needed, stop other processes, or ${less}`;
}

/** Where the host has less than that in all. What was written too large is lowered where the model itself would fit. */
function fixOfTooLarge({ spec, host }: HostRequest, { base = 0, cache }: Pick<HostNeed, "base" | "cache">): string {
	const largest = Math.floor(host.total / GIB);
	if (spec.memory !== undefined && base + cache.min <= largest * GIB)
		return `lower its \`memory\` to ${largest}GiB or less, or take a host with more memory`;
	const forCache = Math.floor((host.total - base) / ranksOf(spec) / GIB);
	if (spec.memory === undefined && spec.gpu_memory !== undefined && forCache >= 1)
		return `lower its \`gpu_memory\`, the KV cache of a model on the CPU, to ${forCache}GiB or less, or take a host with more memory`;
	return "take a smaller or quantised model, or a host with more memory";
}

function hostPlacement(
	request: HostRequest,
	{ base, cache, free }: Pick<HostNeed, "base" | "cache"> & { readonly free: number },
) {
	const { spec, replica } = request;
	const { memory } = spec;
	// Its size is not known: the cache must not be what fills the memory.
	const left = base === undefined ? (memory ?? free) / 4 : (memory ?? free - RESERVE_BYTES) - base;
	const ranks = ranksOf(spec);
	const kvCache = Math.max(cache.min, Math.min(cache.max, Math.floor(left / ranks / GIB) * ranks * GIB));
	const bytes = memory ?? shareOf(spec, request.host) ?? (base === undefined ? 0 : base + kvCache);
	const maxModelLen = base === undefined ? undefined : contextInCache(request, ranks, kvCache / ranks);
	return {
		replica,
		devices: [],
		bytes,
		// A size among its own arguments or variables counts.
		...(!isCacheGiven(spec) && { kvCache: kvCache / ranks }),
		...(maxModelLen !== undefined && { maxModelLen }),
	};
}

function wantText({ spec, host }: HostRequest, text: string): string {
	if (spec.memory !== undefined) return `may use ${gib(spec.memory)} GiB (\`memory\`)`;
	const share = shareOf(spec, host);
	return share === undefined ? `needs ${text}` : `takes ${gib(share)} GiB (\`--gpu-memory-utilization\`)`;
}

/** What vLLM takes of the host where its arguments give a share of it; undefined where they give none. */
function shareOf({ args = [] }: ModelSpec, { total }: HostMemory): number | undefined {
	const share = Number(flagsOf(args).get("--gpu-memory-utilization") || Number.NaN);
	return share > 0 && share <= 1 ? share * total : undefined;
}

function hostNeed({ spec, size }: PlacementRequest): HostNeed {
	const cache = cacheNeed({ spec, replica: 0, ...(size && { size }) });
	if (!size) return { base: undefined, cache, text: "" };
	const base = size.weights * WEIGHT_FACTOR + RUNTIME_BYTES;
	const text = `${gib(base + cache.min)} GiB (weights ${gib(size.weights)} × ${WEIGHT_FACTOR} + ${RUNTIME_BYTES / GIB}, KV cache ${gib(cache.min)})`;
	return { base, cache, text };
}

/** Of all its ranks: each has a cache of its own. */
function cacheNeed({ spec, size }: PlacementRequest): HostNeed["cache"] {
	const flags = flagsOf(spec.args ?? []);
	const ranks = ranksOf(spec);
	const written = bytesIn(flags.get("--kv-cache-memory-bytes") ?? flags.get("--kv-cache-memory") ?? "");
	const whole = spec.gpu_memory === undefined ? undefined : Math.max(1, Math.floor(spec.gpu_memory / GIB)) * GIB;
	const given = written ?? whole;
	if (given !== undefined) return { min: given * ranks, max: given * ranks };
	const length = bytesIn(flags.get("--max-model-len") ?? "") ?? size?.maxContext ?? 0;
	const { heads = 0, headBytes = 0, windowBytes = 0 } = size?.kv ?? {};
	const context = Math.ceil(heads / ranks) * (headBytes * length + windowBytes);
	const wanted = Math.ceil(Math.max(DEFAULT_CACHE_BYTES, context / SAFETY_FACTOR) / GIB) * GIB;
	return { min: MIN_CACHE_BYTES * ranks, max: wanted * ranks };
}

function isCacheGiven({ args = [], env = [] }: ModelSpec): boolean {
	const flags = flagsOf(args);
	const names = ["--kv-cache-memory-bytes", "--kv-cache-memory", "--gpu-memory-utilization"];
	return names.some((name) => flags.has(name)) || env.includes("VLLM_CPU_KVCACHE_SPACE");
}

/** Processes that share the model, each with its own KV cache. */
function ranksOf({ args = [] }: ModelSpec): number {
	const flags = flagsOf(args);
	const size = (name: string) => Math.max(1, Number(flags.get(name)) || 1);
	return size("--tensor-parallel-size") * size("--pipeline-parallel-size");
}

/** `4G`, `32k`, `1073741824` as vLLM reads them: small letters are decimal, capitals binary. */
function bytesIn(text: string): number | undefined {
	const [, amount, unit = ""] = /^([\d.]+)([kmgtKMGT]?)i?B?$/.exec(text) ?? [];
	if (!(Number(amount) > 0)) return undefined;
	const power = "kmgt".indexOf(unit.toLowerCase()) + 1;
	return Number(amount) * (unit === unit.toUpperCase() ? 1024 : 1000) ** (unit === "" ? 0 : power);
}
