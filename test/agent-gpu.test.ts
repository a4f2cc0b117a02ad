/** The GPUs of a host, read by a stand-in of nvidia-smi, and from lines as drivers print them. */
import { describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseGpuProcesses, parseGpus, readGpuProcesses, readGpus } from "../src/agent/gpu/gpu.ts";
import { nvidiaSmi } from "./kit/nvidia-smi.ts";

const MIB = 1024 ** 2;
const envOf = (bin: string) => ({ PATH: `${bin}:${process.env["PATH"]}` });

describe("nvidia-smi", () => {
	test("tells of every GPU and of who holds its memory", async () => {
		using smi = nvidiaSmi("8x80GB");
		smi.set(2, { memoryUsed: 40_000, utilization: 97, temperature: 71, power: 640.5 });
		smi.processes([{ pid: 4711, name: "/usr/bin/python3", memory: 39_000, gpu: 2 }]);
		const { gpus, problem } = await readGpus(envOf(smi.bin), 20_000);
		expect(problem).toBeUndefined();
		expect(gpus.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
		expect(gpus[2]).toEqual({
			index: 2,
			name: "NVIDIA H100 80GB HBM3",
			uuid: smi.uuids[2]!,
			bus_id: "00000000:21:00.0",
			memory_total: 81_559 * MIB,
			memory_used: 40_000 * MIB,
			utilization: 0.97,
			temperature: 71,
			power: 640.5,
			driver: "570.133.20",
			power_limit: 700,
		});
		expect(await readGpuProcesses(envOf(smi.bin), 20_000)).toEqual([
			{ pid: 4711, name: "/usr/bin/python3", memory: 39_000 * MIB, uuid: smi.uuids[2]! },
		]);
	});

	test("with a broken driver means no GPUs, and says why; a mended one is seen", async () => {
		using smi = nvidiaSmi("1x24GB");
		smi.fail(true);
		const broken = await readGpus(envOf(smi.bin), 20_000);
		expect(broken.gpus).toEqual([]);
		expect(broken.problem).toStartWith("nvidia-smi failed: NVIDIA-SMI has failed because it couldn't communicate");
		expect(await readGpuProcesses(envOf(smi.bin), 20_000)).toEqual([]);
		smi.fail(false);
		expect((await readGpus(envOf(smi.bin), 20_000)).gpus).toHaveLength(1);
	});

	test("that is missing means no GPUs", async () => {
		expect(await readGpus({ PATH: "/nowhere" }, 20_000)).toEqual({
			gpus: [],
			problem: "there is no nvidia-smi on the PATH",
		});
		expect(await readGpuProcesses({ PATH: "/nowhere" }, 20_000)).toEqual([]);
	});

	test("that hangs, as with a lost GPU, is ended", async () => {
		const bin = mkdtempSync(join(tmpdir(), "router-smi-hang-"));
		writeFileSync(join(bin, "nvidia-smi"), "#!/bin/sh\nexec sleep 600\n");
		chmodSync(join(bin, "nvidia-smi"), 0o755);
		expect((await readGpus(envOf(bin), 100)).problem).toContain("did not end within 0.1 s");
		rmSync(bin, { recursive: true });
	});
});

test("what a driver does not tell reads 0, and lines of another shape are left out", () => {
	const csv = [
		"1, NVIDIA A100, GPU-b, 00000000:02:00.0, 40960, 0, [N/A], 30, [Not Supported], 535.104",
		"0, NVIDIA T1000, GPU-a, 00000000:01:00.0, 4096, 10, 0, 41, [N/A], 535.104",
		"No devices were found",
		"",
	].join("\n");
	const gpus = parseGpus(csv);
	expect(gpus.map(({ index, power, utilization }) => [index, power, utilization])).toEqual([
		[0, 0, 0],
		[1, 0, 0],
	]);
	expect(parseGpuProcesses("4711, python3, [N/A], GPU-a\nNo running processes found\n")).toEqual([
		{ pid: 4711, name: "python3", memory: 0, uuid: "GPU-a" },
	]);
});
