/** GPUs by UUID, and MIG devices: which a replica gets, and what its container is told. */
import { describe, expect, test } from "bun:test";
import { placeReplica } from "../src/agent/gpu/allocations.ts";
import type { Gpu } from "../src/agent/gpu/gpu.ts";
import { containerSpec, specHash } from "../src/agent/models/container-spec.ts";
import type { ModelSpec, SpecSettings } from "../src/agent/models/model-spec.ts";
import { specProblem } from "../src/agent/models/spec-problem.ts";

const GIB = 1024 ** 3;
const UUIDS = ["GPU-5d5ba0d6-1111", "GPU-6e6cb1e7-2222", "GPU-7f7dc2f8-3333"];
const MIGS = ["MIG-6f1c0f7a-2b1d-5c3e-9f8a-000000000001", "MIG-6f1c0f7a-2b1d-5c3e-9f8a-000000000002"];
const gpus = UUIDS.map(
	(uuid, index): Gpu => ({
		index,
		uuid,
		name: "NVIDIA A100",
		bus_id: "",
		memory_total: 40 * GIB,
		memory_used: 0,
		utilization: 0,
		temperature: 0,
		power: 0,
		driver: "580.65",
	}),
);
const SETTINGS: SpecSettings = {
	agent: "a",
	command: "docker",
	accelerator: "nvidia",
	cacheDir: "/hf",
	env: [],
	shutdownTimeoutS: 30,
	sleep: false,
};
const spec = (more: Partial<ModelSpec>): ModelSpec => ({ name: "m", model: "a/b", gpu_memory: 8 * GIB, ...more });
const place = (more: Partial<ModelSpec>, replica = 0) => placeReplica({ spec: spec(more), replica }, gpus, []);
const argsOf = (more: Partial<ModelSpec>, replica = 0, command: SpecSettings["command"] = "docker") => {
	const result = place(more, replica);
	if (!("placement" in result)) throw new Error(result.message);
	return containerSpec(spec(more), { ...result.placement, port: 1 }, { ...SETTINGS, command }).args;
};

describe("a model may not have", () => {
	test.each([
		[{ devices: [UUIDS[0]!, UUIDS[0]!] }, /twice/],
		[{ devices: [UUIDS[0]!, MIGS[0]!] }, /one kind of them/],
		[{ devices: [0, MIGS[0]!] }, /one kind of them/],
		[{ devices: MIGS, gpus: 2 }, /leave out `gpus`/],
		[{ devices: MIGS, args: ["-tp", "2"] }, /leave out `gpus`/],
		[{ devices: MIGS, gpus: 0 }, /on the CPU/],
		[{ devices: MIGS, replicas: 3 }, /2 MIG devices for 3 replicas/],
	] as [Partial<ModelSpec>, RegExp][])("%p", (more, reason) => {
		expect(specProblem(spec(more), "config")).toMatch(reason);
	});

	test("a GPU that is not there, which is said by its UUID", () => {
		const result = place({ devices: ["GPU-gone-4444"] });
		expect("message" in result && result.message).toContain("asks for GPU GPU-gone-4444");
	});
});

describe("a GPU that is named by its UUID", () => {
	test("is the one that has it, whatever its number", () => {
		expect(place({ devices: [UUIDS[2]!] })).toMatchObject({ placement: { devices: [2], bytes: 8 * GIB } });
		expect(argsOf({ devices: [UUIDS[1]!] })).toContain('"device=1"');
		expect(place({ devices: [UUIDS[1]!, 2], gpus: 2 })).toMatchObject({ placement: { devices: [1, 2] } });
	});

	test("may be one of several, of which a replica gets its share", () => {
		expect(specProblem(spec({ devices: UUIDS.slice(0, 2), replicas: 2 }), "config")).toBeUndefined();
		expect(place({ devices: UUIDS.slice(0, 2), replicas: 2 })).toMatchObject({ placement: { bytes: 8 * GIB } });
	});
});

describe("a MIG device", () => {
	test("is one replica's alone, and nothing is counted of it", () => {
		for (const replica of [0, 1]) {
			const { placement } = place({ devices: MIGS, replicas: 2 }, replica) as { placement: object };
			expect(placement).toEqual({ replica, devices: [], mig: MIGS[replica]!, bytes: 0 });
			const args = argsOf({ devices: MIGS, replicas: 2 }, replica);
			expect(args[args.indexOf("--gpus") + 1]).toBe(`"device=${MIGS[replica]}"`);
			expect(args.join(" ")).not.toMatch(/--tensor-parallel-size|--gpu-memory-utilization/);
		}
	});

	test("is asked of podman as CDI names it", () => {
		expect(argsOf({ devices: MIGS }, 0, "podman")).toContain(`--device=nvidia.com/gpu=${MIGS[0]}`);
	});

	test("is a part of the hash: another one is another container", () => {
		expect(specHash(spec({ devices: [MIGS[0]!] }), SETTINGS)).not.toBe(
			specHash(spec({ devices: [MIGS[1]!] }), SETTINGS),
		);
	});
});
