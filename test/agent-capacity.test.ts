/** The scheduler's questions about memory. */
import { describe, expect, test } from "bun:test";
import {
	capacityOf,
	currentAllocations,
	type MemorySnapshot,
	otherUseOf,
	placeNow,
	type ReplicaMemory,
} from "../src/agent/gpu/capacity.ts";
import { parseGpus } from "../src/agent/gpu/gpu.ts";
import { GIB, HOST } from "../src/agent/gpu/memory.ts";
import type { ModelSpec } from "../src/agent/models/model-spec.ts";

const gpus = parseGpus(
	[0, 1].map((index) => `${index}, NVIDIA L40S, GPU-${index}, 00:0${index}, 40960, 0, 0, 30, 50, 570.1`).join("\n"),
);
const model = (name: string, gib: number, more: Partial<ModelSpec> = {}): ModelSpec => ({
	name,
	model: "a/b",
	gpu_memory: gib * GIB,
	...more,
});
const held = (name: string, gpu: number, gib: number, isAsleep = false): ReplicaMemory => ({
	model: name,
	replica: 0,
	allocations: [{ model: name, replica: 0, gpu, bytes: gib * GIB }],
	isAsleep,
});
const world = (specs: ModelSpec[], more: Partial<MemorySnapshot> = {}): MemorySnapshot => ({
	gpus,
	otherUse: new Map(),
	replicas: [],
	specs: new Map(specs.map((spec) => [spec.name, spec])),
	sizeOf: () => undefined,
	canSleep: () => true,
	hostFreeBytes: 100 * GIB,
	...more,
});
const set = (...names: string[]) => new Set(names);

describe("whether a model fits", () => {
	const specs = [model("a", 30), model("b", 30), model("c", 30)];

	test("beside those that hold their memory, and those that are about to", () => {
		const { fits } = capacityOf(world(specs, { replicas: [held("a", 0, 30)] }));
		expect([fits("c", set("a"), set()), fits("c", set("a", "b"), set()), fits("c", set("b"), set())]).toEqual([
			true,
			false,
			true,
		]);
	});

	test("beside a sleeping one, of which little stays", () => {
		const there = { replicas: [held("a", 0, 30), held("b", 1, 30)] };
		expect(capacityOf(world(specs, there)).fits("c", set("a"), set("b"))).toBe(true);
		const large = [model("a", 30), model("b", 30), model("c", 40)];
		expect(capacityOf(world(large, there)).fits("c", set("a"), set("b"))).toBe(false);
		expect(capacityOf(world(large, there)).fits("c", set("a"), set())).toBe(true);
	});

	test("on its own GPU alone, once it has one: it sleeps there", () => {
		const { fits } = capacityOf(world(specs, { replicas: [held("a", 0, 30, true), held("b", 0, 30)] }));
		expect([fits("a", set("b"), set()), fits("a", set(), set())]).toEqual([false, true]);
	});

	test("beside other processes", () => {
		const { fits, whyMisfit } = capacityOf(
			world(specs, {
				otherUse: new Map([
					[0, 20 * GIB],
					[1, 20 * GIB],
				]),
			}),
		);
		expect(fits("a", set(), set())).toBe(false);
		expect(whyMisfit("a", set()).reason).toMatch(/30\.0 GiB.*20\.0 GiB free of 40\.0/);
	});

	test("with all of its replicas", () => {
		const twice = [model("a", 30, { replicas: 2 }), model("b", 30)];
		const { fits } = capacityOf(world(twice));
		expect([fits("a", set(), set()), fits("a", set("b"), set())]).toEqual([true, false]);
	});
});

describe("where not all replicas fit", () => {
	const onHost = (sizeGib: number): MemorySnapshot => ({
		...world([{ name: "m", model: "a/b", gpus: 0, memory: 13 * GIB, replicas: 2 }, model("b", 20)]),
		gpus: [],
		hostOf: () => ({ total: sizeGib * GIB, available: sizeGib * GIB }),
	});
	const onGpus = world([model("m", 30, { replicas: 3 }), model("b", 20)]);

	test("it is said how many do", () => {
		expect(capacityOf(onHost(23.5)).replicasThatFit("m", set(), set())).toBe(1);
		expect(capacityOf(onHost(12)).replicasThatFit("m", set(), set())).toBe(0);
		expect(capacityOf(onGpus).replicasThatFit("m", set(), set())).toBe(2);
		expect(capacityOf(onGpus).replicasThatFit("m", set("b"), set())).toBe(1);
	});

	test("the one that does not is told that fewer replicas are a remedy", () => {
		for (const [snapshot, gpu, gib] of [
			[onHost(23.5), HOST, 13],
			[onGpus, 0, 30],
		] as const) {
			const replicas = [held("m", gpu, gib)];
			if (gpu === 0) replicas.push({ ...held("m", 1, gib), replica: 1 });
			const told = placeNow({ ...snapshot, replicas }, "m", replicas.length);
			expect(told).toMatchObject({ fix: expect.stringMatching(/^lower the model's `replicas`, unload/) });
		}
	});

	test("the others of a model that fits with none of its own are not", () => {
		expect(capacityOf(onHost(12)).whyMisfit("m", set()).fix).toBe(
			"lower its `memory` to 12GiB or less, or take a host with more memory",
		);
	});
});

describe("whether it may sleep", () => {
	const specs = [model("a", 30), model("b", 30)];
	const there = { replicas: [held("a", 0, 30), held("b", 1, 30)] };

	test("is whether the host's memory takes its weights, at most what it holds", () => {
		expect(capacityOf(world(specs, there)).canSleep("a", set())).toBe(true);
		expect(capacityOf(world(specs, { ...there, hostFreeBytes: 33 * GIB })).canSleep("a", set())).toBe(false);
		const size = { weights: 10 * GIB, download: 0 };
		expect(
			capacityOf(world(specs, { ...there, hostFreeBytes: 33 * GIB, sizeOf: () => size })).canSleep("a", set()),
		).toBe(true);
	});

	test("counts those that are on their way to sleep", () => {
		expect(capacityOf(world(specs, { ...there, hostFreeBytes: 60 * GIB })).canSleep("a", set("b"))).toBe(false);
		const asleep = { replicas: [held("a", 0, 30), held("b", 1, 30, true)], hostFreeBytes: 60 * GIB };
		expect(capacityOf(world(specs, asleep)).canSleep("a", set("b"))).toBe(true);
	});

	test("is no where it has no container, or one that can't", () => {
		expect(capacityOf(world(specs)).canSleep("a", set())).toBe(false);
		expect(capacityOf(world(specs, { ...there, canSleep: () => false })).canSleep("a", set())).toBe(false);
	});
});

test("what strangers hold is what is used beyond what is ours", () => {
	const used = gpus.map((gpu) => ({ ...gpu, memory_used: 25 * GIB }));
	const ours = currentAllocations([held("a", 0, 30), held("b", 1, 30, true)]);
	expect([...otherUseOf(used, ours)]).toEqual([
		[0, 0],
		[1, 24 * GIB],
	]);
});

test("a place is found beside what is held now; a message is what there is else", () => {
	const specs = [model("a", 30), model("b", 30)];
	expect(placeNow(world(specs, { replicas: [held("a", 0, 30)] }), "b", 0)).toMatchObject({
		placement: { replica: 0, devices: [1], bytes: 30 * GIB },
	});
	const full = world(specs, { replicas: [held("x", 0, 30), held("y", 1, 30)] });
	expect(placeNow(full, "a", 0)).toMatchObject({ reason: expect.stringContaining("x holds 30.0") });
});
