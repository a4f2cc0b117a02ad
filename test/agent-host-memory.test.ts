/** Models on the CPU share the host's memory: what each needs, what it is limited to, and what is said where it does not fit. */
import { describe, expect, test } from "bun:test";
import { allocationsFromLabels, allocationsOf, misfitOf, placeReplica } from "../src/agent/gpu/allocations.ts";
import { capacityOf, type MemorySnapshot, placeNow, type ReplicaMemory } from "../src/agent/gpu/capacity.ts";
import { parseGpus } from "../src/agent/gpu/gpu.ts";
import { containerMemory, readHostMemory } from "../src/agent/gpu/host-reading.ts";
import { type Allocation, GIB, HOST, type HostMemory } from "../src/agent/gpu/memory.ts";
import { ModelInfoCache } from "../src/agent/gpu/model-infos.ts";
import type { ModelSize } from "../src/agent/gpu/model-size.ts";
import { Placer } from "../src/agent/gpu/placer.ts";
import { containerSpec, specHash } from "../src/agent/models/container-spec.ts";
import type { InventoryItem } from "../src/agent/models/inventory.ts";
import { ModelRegistry } from "../src/agent/models/model-registry.ts";
import type { ModelSpec, Placement, SpecSettings } from "../src/agent/models/model-spec.ts";
import { specProblem } from "../src/agent/models/spec-problem.ts";

/** Qwen3-4B: 36 layers, 8 heads of 128: 144 KiB a token, 5.6 GiB a whole context. */
const FOUR: ModelSize = {
	weights: 7.5 * GIB,
	download: 0,
	kv: { heads: 8, headBytes: 128 * 2 * 2 * 36, windowBytes: 0 },
	maxContext: 40_960,
};
const host = (total: number, available = total): HostMemory => ({ total: total * GIB, available: available * GIB });
const spec = (more: Partial<ModelSpec> = {}): ModelSpec => ({ name: "chat", model: "Qwen/Qwen3-4B", gpus: 0, ...more });
const holding = (model: string, gib: number): Allocation => ({ model, replica: 0, gpu: HOST, bytes: gib * GIB });
const SETTINGS: SpecSettings = {
	agent: "a",
	command: "docker",
	accelerator: "cpu",
	cacheDir: "/c",
	env: [],
	shutdownTimeoutS: 1,
	sleep: false,
};
function result(more: Partial<ModelSpec>, memory: HostMemory, held: Allocation[] = [], size: ModelSize | null = FOUR) {
	return placeReplica({ spec: spec(more), replica: 0, host: memory, ...(size && { size }) }, [], held);
}
function placed(...args: Parameters<typeof result>): Placement {
	const found = result(...args);
	if ("placement" in found) return found.placement;
	throw new Error(found.message);
}
function refused(...args: Parameters<typeof result>) {
	const found = result(...args);
	if ("message" in found) return found;
	throw new Error(`it was placed: ${JSON.stringify(found.placement)}`);
}

describe("a model on the CPU is refused", () => {
	test("with arithmetic that can be followed, where the memory is not there", () => {
		const refusal = refused({}, host(24, 6));
		expect(refusal.message).toBe(
			"chat needs 11.3 GiB (weights 7.5 × 1.1 + 2, KV cache 1.0) of the host's memory; it has 6.0 GiB free of 24.0: other processes hold 18.0",
		);
		expect(refusal.fix).toContain("unload");
	});

	test("with those that hold the memory", () => {
		expect(refused({}, host(24), [holding("other", 14)]).message).toEndWith(
			"it has 10.0 GiB free of 24.0: other holds 14.0",
		);
	});

	test("for good where the whole host is too small", () => {
		const refusal = refused({}, host(8));
		expect(refusal.candidates).toEqual([]);
		expect(refusal.fix).toContain("smaller or quantised");
		const found = misfitOf(
			{ spec: spec(), replica: 0, host: host(24, 2) },
			{ size: FOUR },
			{ gpus: [], cacheDir: "/c" },
		);
		expect(found).toBeUndefined();
		expect(
			misfitOf({ spec: spec(), replica: 0, host: host(8, 2) }, { size: FOUR }, { gpus: [], cacheDir: "/c" })?.reason,
		).toContain("it has 8.0 GiB free of 8.0");
	});

	test("where its limit is less than it needs", () => {
		const refusal = refused({ memory: 8 * GIB }, host(64));
		expect(refusal.message).toBe(
			"chat may use 8.0 GiB of the host's memory (`memory`), and needs 11.3 GiB (weights 7.5 × 1.1 + 2, KV cache 1.0)",
		);
		expect(refusal.fix).toContain("raise its `memory` to 12GiB");
	});

	test("where its limit is more than there is", () => {
		expect(refused({ memory: 16 * GIB }, host(24), [holding("other", 10)]).message).toStartWith(
			"chat may use 16.0 GiB (`memory`) of the host's memory; it has 14.0 GiB free of 24.0",
		);
	});

	test("where the KV cache that it asks for is no whole number of GiB, or all of its memory", () => {
		expect(refused({ gpu_memory: 1.5 * GIB }, host(64))).toEqual({
			message: "the `gpu_memory` of chat is the KV cache on the CPU, which vLLM takes in whole GiB",
			fix: "write 1GiB or 2GiB",
			candidates: [],
		});
		const { message, fix } = refused({ gpu_memory: 9 * GIB, memory: 8 * GIB }, host(64), [], null);
		expect(message).toContain("leaves nothing for the weights");
		expect(fix).toBe("lower it, or raise `memory`");
	});

	test("where the KV cache that it asks for does not fit", () => {
		expect(refused({ gpu_memory: 16 * GIB }, host(24)).message).toContain("KV cache 16.0");
		expect(refused({ args: ["--kv-cache-memory-bytes", "16G"] }, host(24)).message).toContain("KV cache 16.0");
	});
});

describe("a model on the CPU takes", () => {
	test("a KV cache of one whole context where that fits", () => {
		// 40,960 tokens of 144 KiB and a tenth of safety: 6.25 GiB, in whole GiB.
		expect(placed({}, host(64))).toEqual({
			replica: 0,
			devices: [],
			bytes: (7.5 * 1.1 + 2 + 7) * GIB,
			kvCache: 7 * GIB,
		});
	});

	test("a smaller one where that is what is left, and a context that fits into it", () => {
		const { kvCache, maxModelLen, bytes } = placed({}, host(24, 14.5));
		expect(kvCache).toBe(3 * GIB);
		expect(bytes).toBe((7.5 * 1.1 + 2 + 3) * GIB);
		expect(maxModelLen).toBe(Math.floor((3 * 0.9 * GIB) / (144 * 1024) / 256) * 256);
	});

	test("four GiB where its context needs less", () => {
		expect(placed({ args: ["--max-model-len", "4096"] }, host(64)).kvCache).toBe(4 * GIB);
	});

	test("all of its limit, with the KV cache that the limit leaves", () => {
		expect(placed({ memory: 14 * GIB }, host(64))).toMatchObject({ bytes: 14 * GIB, kvCache: 3 * GIB });
	});

	test("what its own arguments say, and then the agent says nothing", () => {
		for (const more of [
			{ args: ["--kv-cache-memory-bytes", "4G"] },
			{ args: ["--gpu-memory-utilization", "0.5"] },
			{ env: ["VLLM_CPU_KVCACHE_SPACE"] },
		]) {
			expect(placed(more, host(64))).not.toHaveProperty("kvCache");
		}
		expect(placed({ args: ["--kv-cache-memory-bytes", "4G"] }, host(64)).bytes).toBe((7.5 * 1.1 + 2 + 4) * GIB);
	});

	test("the share of the host that its arguments give", () => {
		const half = { args: ["--gpu-memory-utilization", "0.5"] };
		expect(placed(half, host(64)).bytes).toBe(32 * GIB);
		expect(refused(half, host(64), [holding("other", 40)]).message).toStartWith(
			"chat takes 32.0 GiB (`--gpu-memory-utilization`) of the host's memory; it has 24.0 GiB free",
		);
	});

	test("a KV cache for each of its processes", () => {
		const { kvCache, bytes } = placed({ args: ["-tp", "2"] }, host(64));
		expect(kvCache).toBe(4 * GIB);
		expect(bytes).toBe((7.5 * 1.1 + 2 + 8) * GIB);
	});

	test("nothing that is counted where its size is not known, and a KV cache that does not fill the host", () => {
		expect(placed({}, host(64), [], null)).toEqual({ replica: 0, devices: [], bytes: 0, kvCache: 4 * GIB });
		expect(placed({}, host(8, 5), [], null).kvCache).toBe(GIB);
		expect(placed({ memory: 8 * GIB }, host(64), [], null)).toMatchObject({ bytes: 8 * GIB, kvCache: 2 * GIB });
	});

	test("what a container's labels say, after a restart of the agent", () => {
		const placement = placed({}, host(64));
		const { labels, args } = containerSpec(spec(), { ...placement, port: 1 }, SETTINGS);
		expect(allocationsFromLabels(labels)).toEqual(
			allocationsOf("chat", { ...placement, bytes: Math.floor(placement.bytes) }),
		);
		expect(allocationsOf("chat", placement)[0]?.gpu).toBe(HOST);
		expect(args).toContain("--env=VLLM_CPU_KVCACHE_SPACE=7");
	});
});

describe("a limit", () => {
	test("is Docker's, without swap beyond it, on GPUs too", () => {
		for (const accelerator of ["cpu", "nvidia"] as const) {
			const { args } = containerSpec(
				spec({ memory: 12 * GIB, ...(accelerator === "nvidia" && { gpus: 1 }) }),
				{ replica: 0, devices: [], bytes: 0, port: 1 },
				{ ...SETTINGS, accelerator },
			);
			expect(args).toContain(`--memory=${12 * GIB}`);
			expect(args).toContain(`--memory-swap=${12 * GIB}`);
		}
	});

	test("makes another container; none makes that of a version which knew of none", () => {
		expect(specHash(spec({ memory: 12 * GIB }), SETTINGS)).not.toBe(specHash(spec(), SETTINGS));
		expect(containerSpec(spec(), { replica: 0, devices: [], bytes: 0, port: 1 }, SETTINGS).args.join()).not.toContain(
			"--memory",
		);
	});

	test("of what vLLM itself needs on GPUs, or less, is refused", () => {
		const problems = [GIB / 4, GIB].map((memory) => specProblem(spec({ memory, gpus: 1 }), "config"));
		expect(new Set(problems)).toEqual(new Set(["memory: vLLM alone needs more than 1GiB"]));
		expect(specProblem(spec({ memory: GIB + 1, gpus: 1 }), "config")).toBeUndefined();
	});

	test.each<[Partial<ModelSpec>, string]>([
		[{ memory: GIB / 2 }, "is 0.5 GiB, and a model on the CPU needs its weights × 1.1 and 3.0 GiB (2, KV cache 1.0)"],
		[{ memory: GIB }, "needs its weights × 1.1 and 3.0 GiB (2, KV cache 1.0)"],
		[{ memory: 2 * GIB, gpu_memory: GIB }, "and 3.0 GiB (2, KV cache 1.0)"],
		[{ memory: 5 * GIB, gpu_memory: 4 * GIB }, "and 6.0 GiB (2, KV cache 4.0)"],
		[{ memory: 3 * GIB, args: ["-tp", "2"] }, "and 4.0 GiB (2, KV cache 2.0)"],
	])("that is too small on the CPU whatever the weights are is refused with the arithmetic: %j", (more, why) => {
		const problem = specProblem(spec(more), "config");
		expect(problem).toContain(`${why}: raise it to `);
		// Where only a start shows that it runs on the CPU.
		expect(refused(more, host(64), [], null).message).toContain(why);
	});

	test("of 2 GiB and the KV cache may do, since nobody knows the weights", () => {
		const given = [{ memory: 3 * GIB }, { memory: 6 * GIB, gpu_memory: 4 * GIB }];
		expect(given.map((more) => specProblem(spec(more), "config"))).toEqual([undefined, undefined]);
		expect(given.map((more) => placed(more, host(64), [], null).bytes)).toEqual([3 * GIB, 6 * GIB]);
	});
});

describe("several models", () => {
	const specs = ["a", "b", "c"].map((name) => spec({ name, memory: 10 * GIB }));
	const running = (name: string): ReplicaMemory => ({
		model: name,
		replica: 0,
		allocations: [holding(name, 10)],
		isAsleep: false,
	});
	const world = (replicas: ReplicaMemory[], other = 0): MemorySnapshot => ({
		gpus: [],
		otherUse: new Map([[HOST, other * GIB]]),
		replicas,
		specs: new Map(specs.map((each) => [each.name, each])),
		sizeOf: () => undefined,
		canSleep: () => false,
		hostFreeBytes: 0,
		hostOf: () => host(24),
	});

	test("share the host's memory: the third waits until one of two is gone", () => {
		const { fits, whyMisfit } = capacityOf(world([running("a"), running("b")]));
		expect([fits("c", new Set(["a", "b"]), new Set()), fits("c", new Set(["a"]), new Set())]).toEqual([false, true]);
		expect(whyMisfit("c", new Set(["a", "b"])).reason).toContain("a holds 10.0, b holds 10.0");
		expect(placeNow(world([running("a"), running("b")]), "c", 0)).toHaveProperty("reason");
		expect(placeNow(world([running("a")], 6), "c", 0)).toHaveProperty("reason");
		expect(placeNow(world([running("a")], 3), "c", 0)).not.toHaveProperty("reason");
	});

	test.each<[Partial<ModelSpec>, ModelSize | undefined, string]>([
		[{ gpu_memory: 1.5 * GIB }, undefined, "write 1GiB or 2GiB"],
		[{ gpu_memory: 8 * GIB, memory: 8 * GIB }, undefined, "lower it, or raise `memory`"],
		[{ memory: 8 * GIB }, FOUR, "raise its `memory` to 12GiB, or take a smaller or quantised model"],
		[{ memory: 900 * GIB }, FOUR, "lower its `memory` to 24GiB or less, or take a host with more memory"],
		[{ memory: 900 * GIB }, undefined, "lower its `memory` to 24GiB or less, or take a host with more memory"],
		[
			{ memory: 900 * GIB },
			{ ...FOUR, weights: 70 * GIB },
			"take a smaller or quantised model, or a host with more memory",
		],
		[
			{ gpu_memory: 900 * GIB },
			FOUR,
			"lower its `gpu_memory`, the KV cache of a model on the CPU, to 13GiB or less, or take a host with more memory",
		],
		[{ memory: 20 * GIB }, undefined, "unload what is not needed, stop other processes, or lower its limit (`memory`)"],
	])("that do not fit are told what to do about it, as one alone is: %j", (more, size, fix) => {
		const one = { ...world([running("a")]), specs: new Map([["m", spec({ name: "m", ...more })]]), sizeOf: () => size };
		expect(capacityOf(one).whyMisfit("m", new Set(["a"])).fix).toBe(fix);
		expect(placeNow(one, "m", 0)).toMatchObject({ fix });
	});

	test("on GPUs take nothing of it, nor those on the CPU of a GPU", () => {
		const gpus = parseGpus("0, NVIDIA L4, GPU-0, 00:01, 24576, 0, 0, 30, 50, 580.1");
		const mixed: MemorySnapshot = {
			...world([running("a")]),
			gpus,
			specs: new Map([
				["a", spec({ name: "a", memory: 10 * GIB })],
				["g", { name: "g", model: "x/y", gpu_memory: 20 * GIB }],
			]),
			hostOf: (model) => (model === "a" ? host(24) : undefined),
		};
		expect(placeNow(mixed, "g", 0)).toMatchObject({ placement: { devices: [0] } });
	});

	/** Two models of 10 GiB on a host of 24, of which the first runs. */
	const placerOf = (available: () => number, useOf: () => number | undefined) => {
		const names = ["a", "b"].map((name) => ({
			model: "x/y",
			name,
			gpus: 0,
			memory: 10 * GIB,
			load: "always" as const,
		}));
		const registry = new ModelRegistry(names, { content: {}, update: () => undefined });
		const gpus = { reading: { gpus: [] }, requestedAt: 0, readSoon: () => {} };
		const get = async () => ({ status: 404, body: "" });
		const infos = new ModelInfoCache({ cacheDir: "/nowhere", endpoint: "http://hub", get }, { notify: () => {} });
		const specs = { canSleep: () => false, runsOnCpu: () => true };
		const memory = { read: () => host(24, available()), useOf };
		return new Placer(registry, gpus, infos, "/nowhere", specs, () => 0, memory);
	};
	const item: InventoryItem = {
		id: "id-a",
		key: "a#0",
		model: "a",
		replica: 0,
		hash: "h",
		state: "running",
		image: "image",
		health: "unknown",
		exitCode: 0,
		oomKilled: false,
		ran: { from: 0, to: 0 },
		startedAt: 0,
		progressAt: 0,
		memory: running("a"),
	};

	test("are not squeezed beside what others use while they still load", () => {
		let available = 14;
		const placer = placerOf(
			() => available,
			() => undefined,
		);
		expect(placer.snapshot([]).otherUse.get(HOST)).toBe(10 * GIB);
		// The first uses 2 GiB so far; what its cgroup says is not known.
		available = 12;
		const memory = placer.snapshot([item]);
		expect(memory.otherUse.get(HOST)).toBe(10 * GIB);
		expect(placeNow(memory, "b", 0)).toHaveProperty("reason");
	});

	test("get what another process gives back, though one of them runs", () => {
		let available = 12;
		const placer = placerOf(
			() => available,
			() => 2 * GIB,
		);
		expect(placer.snapshot([item]).otherUse.get(HOST)).toBe(10 * GIB);
		available = 20;
		const memory = placer.snapshot([item]);
		expect(memory.otherUse.get(HOST)).toBe(2 * GIB);
		expect(placeNow(memory, "b", 0)).not.toHaveProperty("reason");
	});

	test("that use more than they were given leave the others less", () => {
		const placer = placerOf(
			() => 8,
			() => 14 * GIB,
		);
		// 2 GiB are others', and 4 more than its 10 the first one's.
		expect(placer.snapshot([item]).otherUse.get(HOST)).toBe(6 * GIB);
	});
});

describe("the host's memory is read", () => {
	const MEMINFO = "MemTotal:       25165824 kB\nMemFree:         1 kB\nMemAvailable:   20971520 kB\n";
	const reading = (files: Record<string, string>) => readHostMemory((path) => files[path]);

	test("from the kernel", () => {
		expect(reading({ "/proc/meminfo": MEMINFO })).toEqual(host(24, 20));
		expect(reading({ "/proc/meminfo": MEMINFO, "/sys/fs/cgroup/memory.max": "max\n" })).toEqual(host(24, 20));
	});

	test("within the limit of a container that the host itself is, dropped caches left out", () => {
		const v2 = {
			"/proc/meminfo": MEMINFO,
			"/sys/fs/cgroup/memory.max": `${8 * GIB}\n`,
			"/sys/fs/cgroup/memory.current": `${5 * GIB}\n`,
			"/sys/fs/cgroup/memory.stat": `anon 1\ninactive_file ${2 * GIB}\n`,
		};
		expect(reading(v2)).toEqual(host(8, 5));
		const v1 = {
			"/proc/meminfo": MEMINFO,
			"/sys/fs/cgroup/memory/memory.limit_in_bytes": String(8 * GIB),
			"/sys/fs/cgroup/memory/memory.usage_in_bytes": String(5 * GIB),
			"/sys/fs/cgroup/memory/memory.stat": `cache 1\ntotal_inactive_file ${2 * GIB}\n`,
		};
		expect(reading(v1)).toEqual(host(8, 5));
		expect(reading({ ...v1, "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712" })).toEqual(
			host(24, 20),
		);
	});

	test("of a container from its cgroup, wherever that is", () => {
		const of = (files: Record<string, string>) => containerMemory("f00", (path) => files[path]);
		expect(of({ "/sys/fs/cgroup/system.slice/docker-f00.scope/memory.stat": "anon 5\nfile 9\nshmem 2\n" })).toBe(7);
		expect(of({ "/sys/fs/cgroup/memory/docker/f00/memory.stat": "rss 1\ntotal_rss 5\ntotal_shmem 1\n" })).toBe(6);
		expect(of({ "/sys/fs/cgroup/machine.slice/libpod-f00.scope/memory.stat": "anon 3\n" })).toBe(3);
		expect(of({ "/sys/fs/cgroup/memory/libpod_parent/libpod-f00/memory.stat": "rss 1\ntotal_rss 4\n" })).toBe(4);
		expect(of({})).toBeUndefined();
	});

	test("not at all where there is no such file", () => expect(reading({})).toBeUndefined());
});
