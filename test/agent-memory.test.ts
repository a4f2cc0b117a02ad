/** The memory ledger: where models fit, what they may take, and what is said where they don't. */
import { describe, expect, test } from "bun:test";
import {
	allocationsFromLabels,
	allocationsOf,
	misfitOf,
	placeReplica,
	SLEEPING_BYTES,
} from "../src/agent/gpu/allocations.ts";
import type { Gpu } from "../src/agent/gpu/gpu.ts";
import { type Allocation, CUDA_BYTES, contextLength, GIB } from "../src/agent/gpu/memory.ts";
import type { ModelSize } from "../src/agent/gpu/model-size.ts";
import { containerSpec } from "../src/agent/models/container-spec.ts";
import type { ModelSpec, Placement } from "../src/agent/models/model-spec.ts";
import { suggestions } from "../src/agent/models/suggestions.ts";
import { suggestText } from "../src/cli/suggest.ts";
import { random } from "./kit/random.ts";

const gpu = (index: number, total = 24, used = 0): Gpu => ({
	index,
	name: "NVIDIA GeForce RTX 4090",
	uuid: `GPU-${index}`,
	bus_id: "",
	memory_total: total * GIB,
	memory_used: used * GIB,
	utilization: 0,
	temperature: 0,
	power: 0,
	driver: "580.65",
});
const gpus = (count: number, total = 24) => Array.from({ length: count }, (_, index) => gpu(index, total));
/** Qwen3-8B: 36 layers, 8 heads of 128: 144 KiB a token. */
const EIGHT: ModelSize = {
	weights: 15.3 * GIB,
	download: 0,
	kv: { heads: 8, headBytes: 128 * 2 * 2 * 36, windowBytes: 0 },
	maxContext: 40_960,
};
const spec = (more: Partial<ModelSpec> = {}): ModelSpec => ({ name: "chat", model: "Qwen/Qwen3-8B", ...more });
const want = (more: Partial<ModelSpec> = {}, size?: ModelSize, replica = 0) => ({
	spec: spec(more),
	replica,
	...(size && { size }),
});
const holding = (model: string, index: number, gib: number): Allocation => ({
	model,
	replica: 0,
	gpu: index,
	bytes: gib * GIB,
});

function placed(...args: Parameters<typeof placeReplica>): Placement {
	const result = placeReplica(...args);
	if ("placement" in result) return result.placement;
	throw new Error(result.message);
}
function refused(...args: Parameters<typeof placeReplica>) {
	const result = placeReplica(...args);
	if ("message" in result) return result;
	throw new Error(`it was placed: ${JSON.stringify(result.placement)}`);
}

describe("a model of known size", () => {
	test("takes nine tenths of an empty GPU, and as much context as that leaves", () => {
		const placement = placed(want({}, EIGHT), gpus(1), []);
		expect(placement).toMatchObject({ replica: 0, devices: [0], bytes: 0.9 * 24 * GIB + CUDA_BYTES, share: 0.9 });
		// (22.1 − 15.3 × 1.05 − 1.5) × 0.9 GiB at 144 KiB a token, in whole 256s.
		expect(placement.maxModelLen).toBe(Math.floor(((22.1 - 15.3 * 1.05 - 1.5) * 0.9 * GIB) / (144 * 1024) / 256) * 256);
	});

	test("takes what is left beside another, where that is enough", () => {
		const { bytes, share } = placed(want({}, { weights: 5 * GIB, download: 0 }), gpus(1), [holding("other", 0, 12)]);
		expect(bytes).toBe(12 * GIB);
		expect(share).toBe(Math.floor((11.5 / 24) * 10_000) / 10_000);
	});

	test("goes to the emptiest GPU", () => {
		expect(placed(want({}, EIGHT), gpus(3), [holding("a", 0, 3), holding("b", 2, 2)]).devices).toEqual([1]);
	});

	test("is refused with arithmetic that can be followed", () => {
		const size = { weights: 13 * GIB, download: 0 };
		const refusal = refused(want({}, size), [gpu(0)], [holding("chat-7b", 0, 12.8)]);
		expect(refusal.message).toBe(
			"chat needs 17.6 GiB (weights 13.0 × 1.2 + 2); GPU 0 has 11.2 GiB free of 24.0: chat-7b holds 12.8",
		);
		expect(refusal.candidates).toEqual([[0]]);
		expect(refusal.fix).toContain("unload");
		expect(refusal.short! / GIB).toBeCloseTo(6.4, 6);
	});

	test("over two GPUs needs half of its weights on each", () => {
		const size = { weights: 40 * GIB, download: 0 };
		expect(refused(want({ gpus: 1 }, size), gpus(2), []).message).toContain(
			"chat needs 50.0 GiB (weights 40.0 × 1.2 + 2)",
		);
		expect(refused(want({ gpus: 2 }, size), gpus(2), []).message).toContain(
			"chat needs 26.0 GiB on each of 2 GPUs (weights 40.0 / 2 × 1.2 + 2)",
		);
		expect(placed(want({ gpus: 4 }, size), gpus(4), []).devices).toEqual([0, 1, 2, 3]);
	});
});

describe("gpu_memory", () => {
	test("is all that a model takes, so that three of 8 GiB share a GPU of 24", () => {
		const ledger: Allocation[] = [];
		for (const name of ["a", "b", "c"]) {
			const placement = placed(want({ name, gpu_memory: 8 * GIB }), gpus(1), ledger);
			expect(placement).toMatchObject({ devices: [0], bytes: 8 * GIB, share: 0.3125 });
			ledger.push(...allocationsOf(name, placement));
		}
		expect(refused(want({ name: "d", gpu_memory: 8 * GIB }), gpus(1), ledger).message).toBe(
			"d needs 8.0 GiB (`gpu_memory`); GPU 0 has 0.0 GiB free of 24.0: a holds 8.0, b holds 8.0, c holds 8.0",
		);
	});

	test("goes where it fits tightest, so that a whole GPU stays for others", () => {
		const ledger = [holding("a", 1, 14), holding("b", 2, 4)];
		expect(placed(want({ gpu_memory: 6 * GIB }), gpus(3), ledger).devices).toEqual([1]);
	});

	test("that not even the weights fit is no place, and evicting helps nothing", () => {
		const refusal = refused(want({ gpu_memory: 6 * GIB }, EIGHT), gpus(1), [holding("a", 0, 20)]);
		expect(refusal.message).toContain("chat needs 15.8 GiB for its weights, more than its `gpu_memory` of 6.0");
		expect(refusal.candidates).toEqual([]);
		expect(refusal).not.toHaveProperty("short");
	});

	test("is believed where it is less than the estimate", () => {
		expect(placed(want({ gpu_memory: 17 * GIB }, EIGHT), gpus(1), []).bytes).toBe(17 * GIB);
	});

	test("fits three times where the driver keeps a little of the GPU, and a desktop some more", () => {
		const host = [{ ...gpu(0), memory_total: 24_564 * 1024 ** 2, memory_used: 300 * 1024 ** 2 }];
		const { bytes, share } = placed(want({ gpu_memory: 8 * GIB }), host, [holding("a", 0, 8), holding("b", 0, 8)]);
		expect(bytes).toBe(24_564 * 1024 ** 2 - 16 * GIB);
		expect(share).toBeLessThan(0.3125);
	});

	test("larger than the GPU is no place", () => {
		const refusal = refused(want({ gpu_memory: 30 * GIB }), gpus(1), []);
		expect(refusal).toMatchObject({
			message: "chat needs 30.0 GiB (`gpu_memory`); GPU 0 has 24.0 GiB free of 24.0",
			candidates: [],
		});
	});
});

test("a share among a model's own arguments is what it takes", () => {
	const placement = placed(want({ args: ["--gpu-memory-utilization", "0.4"] }), gpus(1), [holding("a", 0, 12)]);
	expect(placement.bytes).toBe(0.4 * 24 * GIB + CUDA_BYTES);
	expect(placement.share).toBe(0.4);
});

describe("a model of unknown size", () => {
	test("takes nearly all of a GPU, and no context is guessed", () => {
		const placement = placed(want(), gpus(1), []);
		expect(placement).toEqual({ replica: 0, devices: [0], bytes: 0.9 * 24 * GIB + CUDA_BYTES, share: 0.9 });
	});

	test("is not squeezed in beside another, and the message says what to do", () => {
		const refusal = refused(want(), gpus(1), [holding("a", 0, 6)]);
		expect(refusal.message).toContain("as its size is not known; `gpu_memory` says less");
		expect(refusal.candidates).toEqual([[0]]);
	});
});

describe("what others hold", () => {
	test("counts when it is more than what is promised, and is named", () => {
		const refusal = refused(want({ gpu_memory: 12 * GIB }), [gpu(0, 24, 16)], [holding("a", 0, 10)]);
		expect(refusal.message).toBe(
			"chat needs 12.0 GiB (`gpu_memory`); GPU 0 has 8.0 GiB free of 24.0: a holds 10.0, other processes hold 6.0",
		);
		expect(refusal.candidates).toEqual([[0]]);
	});

	test("can't be evicted", () => {
		expect(refused(want({ gpu_memory: 12 * GIB }), [gpu(0, 24, 16)], []).candidates).toEqual([]);
	});

	test("is not counted twice while a model still loads", () => {
		expect(placed(want({ gpu_memory: 12 * GIB }), [gpu(0, 24, 3)], [holding("a", 0, 12)]).devices).toEqual([0]);
	});

	test("of the replica itself, from before, does not stand in its own way", () => {
		expect(placed(want({ gpu_memory: 20 * GIB }), gpus(1), [holding("chat", 0, 20)]).bytes).toBe(20 * GIB);
	});

	test("asleep is next to nothing", () => {
		const ledger: Allocation[] = [{ model: "a", replica: 0, gpu: 0, bytes: SLEEPING_BYTES }];
		expect(placed(want({ gpu_memory: 22 * GIB }), gpus(1), ledger).devices).toEqual([0]);
	});
});

describe("devices and replicas", () => {
	test("fill an 8-GPU host: four replicas of two GPUs each", () => {
		const ledger: Allocation[] = [];
		const seen = [];
		for (let replica = 0; replica < 4; replica++) {
			const placement = placed(want({ gpus: 2, replicas: 4 }, EIGHT, replica), gpus(8, 80), ledger);
			seen.push(placement.devices);
			ledger.push(...allocationsOf("chat", placement));
		}
		expect(seen.flat().sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
		expect(refused(want({ gpus: 2 }, EIGHT, 4), gpus(8, 80), ledger).message).toContain("; and 4 more with less");
	});

	test("are kept to: no other GPU is taken", () => {
		expect(placed(want({ devices: [2] }, EIGHT), gpus(4), []).devices).toEqual([2]);
		expect(refused(want({ devices: [2] }, EIGHT), gpus(4), [holding("a", 2, 20)]).candidates).toEqual([[2]]);
	});

	test("that are not there are named beside those that are", () => {
		expect(refused(want({ devices: [5] }), gpus(2), []).message).toBe(
			"chat asks for GPU 5, and this host has GPUs 0, 1",
		);
		expect(refused(want({ devices: [5] }), gpus(2), []).fix).toContain("`devices`");
		expect(refused(want({ gpus: 4 }), gpus(1), []).message).toBe("chat spans 4 GPUs, and this host has GPU 0");
	});

	test("replicas spread before they share a GPU", () => {
		const ledger = [holding("chat", 0, 6), holding("other", 1, 10)];
		expect(placed(want({ gpu_memory: 6 * GIB, replicas: 2 }, undefined, 1), gpus(2), ledger).devices).toEqual([1]);
	});
});

test("on the CPU and on GPUs that can't be read nothing is promised", () => {
	expect(placed(want({ gpus: 0 }, EIGHT), gpus(1), [])).toEqual({ replica: 0, devices: [], bytes: 0 });
	expect(placed(want({}, EIGHT), [], [])).toEqual({ replica: 0, devices: [], bytes: 0 });
	expect(placed(want({ gpus: 2, replicas: 2 }, undefined, 1), [], []).devices).toEqual([2, 3]);
	expect(placed(want({ devices: [4, 5, 6, 7], replicas: 2 }, undefined, 1), [], []).devices).toEqual([6, 7]);
});

test("whatever is placed, in whatever order: no GPU is promised more than it has, and a refusal is never needless", () => {
	const { below } = random(7);
	for (let round = 0; round < 200; round++) {
		const host = gpus(1 + below(4));
		const ledger: Allocation[] = [];
		for (let model = 0; model < 8; model++) {
			const count = 1 + below(2);
			const bytes = (2 + below(14)) * GIB;
			const result = placeReplica(want({ name: `m${model}`, gpus: count, gpu_memory: bytes }), host, ledger);
			const free = (index: number) =>
				24 * GIB - ledger.filter((held) => held.gpu === index).reduce((sum, held) => sum + held.bytes, 0);
			const room = host.filter(({ index }) => free(index) >= bytes - 0.02 * 24 * GIB).length;
			expect("placement" in result).toBe(room >= count);
			if ("placement" in result) ledger.push(...allocationsOf(`m${model}`, result.placement));
			for (const { index } of host) expect(free(index)).toBeGreaterThanOrEqual(0);
		}
	}
});

test("a restarted agent reads from a container's labels what it holds", () => {
	const placement = placed(want({ gpus: 2 }, EIGHT), gpus(2), []);
	const { labels } = containerSpec(
		spec({ gpus: 2 }),
		{ ...placement, port: 20001 },
		{
			agent: "a",
			command: "docker",
			accelerator: "nvidia",
			cacheDir: "/c",
			env: [],
			shutdownTimeoutS: 1,
			sleep: false,
		},
	);
	const bytes = Math.floor(placement.bytes);
	expect(bytes).toBeGreaterThan(20 * GIB);
	expect(allocationsFromLabels(labels)).toEqual(allocationsOf("chat", { ...placement, bytes }));
	expect(allocationsFromLabels({ ...labels, "router.memory": "0", "router.devices": "" })).toEqual([]);
	expect(allocationsFromLabels({})).toEqual([]);
});

describe("the context", () => {
	test("is the model's own where that fits, where the model's arguments say, and where nothing is known", () => {
		expect(contextLength(want({}, EIGHT), 1, 72 * GIB)).toBeUndefined();
		expect(contextLength(want({ args: ["--max-model-len", "1000"] }, EIGHT), 1, 20 * GIB)).toBeUndefined();
		expect(contextLength(want({}, { weights: GIB, download: 0 }), 1, 20 * GIB)).toBeUndefined();
	});

	test("doubles with a cache of 8 bits, and with every GPU that shares the heads", () => {
		const long = { ...EIGHT, maxContext: 1_000_000 };
		const plain = contextLength(want({}, long), 1, 20 * GIB)!;
		const narrow = contextLength(want({ args: ["--kv-cache-dtype", "fp8"] }, long), 1, 20 * GIB)!;
		expect(Math.abs(narrow - 2 * plain)).toBeLessThanOrEqual(512);
		// Sixteen GPUs can't share eight heads further.
		const weightless = { ...long, weights: 0 };
		expect(contextLength(want({}, weightless), 16, 10 * GIB)).toBe(contextLength(want({}, weightless), 8, 10 * GIB));
	});

	test("is left to vLLM where hardly any would fit: its own message names the length", () => {
		expect(contextLength(want({}, EIGHT), 1, 17.6 * GIB)).toBeUndefined();
	});
});

describe("before anything is pulled", () => {
	const host = { gpus: gpus(1), cacheDir: "/data/huggingface" };

	test("a model that can never fit is refused, also while others hold the GPU", () => {
		const size = { weights: 60 * GIB, download: 0 };
		const found = misfitOf(want({}, size), { size }, { ...host, gpus: [gpu(0, 24, 20)] });
		expect(found?.reason).toBe("chat needs 74.0 GiB (weights 60.0 × 1.2 + 2); GPU 0 has 24.0 GiB free of 24.0");
		expect(found?.fix).toContain("`gpus`");
		expect(misfitOf(want({}, EIGHT), { size: EIGHT }, { ...host, gpus: [gpu(0, 24, 20)] })).toBeUndefined();
	});

	test("a disk that is too small for the download is named", () => {
		const size = { ...EIGHT, download: 15.3 * GIB };
		expect(misfitOf(want(), { size }, { ...host, freeDisk: 3.1 * GIB })?.reason).toBe(
			"chat downloads 15.3 GiB into /data/huggingface, and 3.1 GiB are free there",
		);
		expect(misfitOf(want(), { size }, { ...host, freeDisk: 30 * GIB })).toBeUndefined();
		expect(misfitOf(want(), { size: EIGHT }, { ...host, freeDisk: 0 })).toBeUndefined();
	});

	test("a token that is missing comes first; a size that is not known speaks against nothing", () => {
		const refusedBy = { reason: "it is gated", fix: "set HF_TOKEN" };
		expect(misfitOf(want(), { refused: refusedBy, size: EIGHT }, { ...host, freeDisk: 0 })).toEqual(refusedBy);
		expect(misfitOf(want(), { unknown: "out of reach" }, host)).toBeUndefined();
	});
});

describe("suggestions", () => {
	test("fit: each can be placed as it is suggested", () => {
		const found = suggestions(gpus(1));
		expect(found.length).toBeGreaterThan(3);
		expect(found.every(({ gpus: count }) => count === 1)).toBe(true);
		expect(found.map(({ model }) => model)).toContain("Qwen/Qwen3-8B");
		expect(found.map(({ model }) => model)).not.toContain("Qwen/Qwen3-32B");
	});

	test("span GPUs where one is too small, and no more than needed", () => {
		const found = suggestions(gpus(8, 80));
		expect(found.find(({ model }) => model === "meta-llama/Llama-3.3-70B-Instruct")).toMatchObject({
			gpus: 4,
			gated: true,
		});
		expect(found.find(({ model }) => model === "Qwen/Qwen3-8B")).toMatchObject({ gpus: 1, context: 40_960 });
	});

	test("without a GPU are small", () => {
		expect(suggestions([]).every(({ gpus: count, gigabytes }) => count === 0 && gigabytes < 5)).toBe(true);
		expect(suggestions([]).length).toBeGreaterThan(0);
	});

	test("print as a table with a command to paste", () => {
		const text = suggestText(gpus(2));
		expect(text).toStartWith("This host: 2 × NVIDIA GeForce RTX 4090, 24 GiB\n\nMODEL ");
		expect(text).toMatch(/\nStart one: router --agent --model \S+( --gpus \d)?\n$/);
		expect(text).not.toMatch(/undefined|NaN| \n/);
		expect(suggestText([gpu(0, 1)])).toContain("No model of this list fits");
	});
});
