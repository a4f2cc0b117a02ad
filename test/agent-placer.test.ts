/** Places beside what runs, as the GPUs' readings and the list of containers come, which is not at the same time. */
import { expect, test } from "bun:test";
import { type GpuReading, parseGpus } from "../src/agent/gpu/gpu.ts";
import { GIB } from "../src/agent/gpu/memory.ts";
import { ModelInfoCache } from "../src/agent/gpu/model-infos.ts";
import { Placer } from "../src/agent/gpu/placer.ts";
import type { InventoryItem } from "../src/agent/models/inventory.ts";
import { ModelRegistry } from "../src/agent/models/model-registry.ts";

const reading = (usedMib: number): GpuReading => ({
	gpus: parseGpus(`0, NVIDIA L4, GPU-0, 00:01, 24576, ${usedMib}, 0, 30, 50, 580.1`),
});
const item = (model: string, isAsleep = false): InventoryItem => ({
	id: `id-${model}`,
	key: `${model}#0`,
	model,
	replica: 0,
	hash: "h",
	state: "running",
	image: "image",
	health: isAsleep ? "asleep" : "up",
	exitCode: 0,
	oomKilled: false,
	ran: { from: 0, to: 0 },
	startedAt: 0,
	progressAt: 0,
	memory: { model, replica: 0, allocations: [{ model, replica: 0, gpu: 0, bytes: 20 * GIB }], isAsleep },
});

test.each([
	["that ended", []],
	["that fell asleep", [item("a", true)]],
])("memory of a container %s is no stranger's, whenever the reading was asked for", async (_, left) => {
	const names = ["a", "b"].map((name) => ({ model: "x/y", name, gpu_memory: 20 * GIB, load: "on-demand" as const }));
	const registry = new ModelRegistry(names, { content: {}, update: () => undefined });
	const heard = Promise.withResolvers<void>();
	const get = async () => ({ status: 404, body: "" });
	const infos = new ModelInfoCache(
		{ cacheDir: "/nowhere", endpoint: "http://hub", get },
		{ notify: () => heard.resolve() },
	);
	const b = registry.get("b")!;
	infos.get(b.spec, true);
	await heard.promise;

	let now = 100_000;
	let asked = 0;
	const gpus = { reading: reading(20 * 1024), requestedAt: now, readSoon: () => void asked++ };
	const placer = new Placer(
		registry,
		gpus,
		infos,
		"/nowhere",
		{ canSleep: () => true, runsOnCpu: () => false },
		() => now,
	);
	placer.snapshot([item("a")]);
	// Asked for while it held its memory, and here after the list without it.
	now += 500;
	gpus.reading = reading(20 * 1024);
	gpus.requestedAt = now - 100;
	const world = placer.snapshot(left);
	expect(placer.capacity(world).fits("b", new Set(), new Set(["a"]))).toBe(true);
	expect(asked).toBe(1);

	// A stranger came, in a reading that is late enough.
	now += 2000;
	gpus.reading = reading(10 * 1024);
	gpus.requestedAt = now;
	expect(placer.capacity(placer.snapshot(left)).fits("b", new Set(), new Set(["a"]))).toBe(false);
	expect(asked).toBe(1);
});
