/** AMD's GPUs, as `amd-smi` prints them in public fixtures, and as others have recorded it on an MI300X. */
import { afterEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AmdGpus, parseAmdGpus } from "../src/agent/gpu/amd.ts";

const MIB = 1024 ** 2;

const metric = (gpu: number, used: unknown, total: unknown) => ({
	gpu,
	usage: { gfx_activity: { value: 94, unit: "%" }, umc_activity: { value: 61, unit: "%" }, mm_activity: "N/A" },
	power: { socket_power: { value: 612, unit: "W" }, gfx_voltage: "N/A" },
	temperature: { edge: "N/A", hotspot: { value: 71, unit: "C" }, mem: { value: 50, unit: "C" } },
	mem_usage: { total_vram: total, used_vram: used },
});
const mb = (value: unknown) => ({ value, unit: "MB" });
const METRICS = { gpu_data: [metric(0, mb(17_153), mb(196_592)), metric(1, mb(284), mb(196_592))] };
const STATIC = {
	gpu_data: [0, 1].map((gpu) => ({
		gpu,
		asic: { market_name: "AMD Instinct MI300X" },
		driver: { name: "amdgpu", version: "6.12.12" },
	})),
};
const LIST = [
	{ gpu: 0, bdf: "0000:83:00.0", uuid: "deff740f-0000-1000-8082-87300da37c72", hip_id: 1 },
	{ gpu: 1, bdf: "0000:03:00.0", uuid: "11ff740f-0000-1000-8082-87300da37c72", hip_id: 0 },
];
const parse = (metrics: unknown, asics: unknown = STATIC, numbers: unknown = LIST) =>
	parseAmdGpus(...([metrics, asics, numbers].map((each) => JSON.stringify(each)) as [string, string, string]));

describe("what amd-smi prints", () => {
	test.each([
		["nothing", ""],
		["an error", "ERROR: amdgpu driver not initialized"],
		["half of it", JSON.stringify(METRICS).slice(0, 60)],
		["another object", '{"gpus": []}'],
		["rows that are none", '[1, null, "x", {"gpu": "0"}]'],
	])("is no GPU where it is %s", (_, text) => expect(parseAmdGpus(text, "", "")).toEqual([]));

	test("gives each the number that HIP has for it", () => {
		expect(parse(METRICS)[1]).toEqual({
			index: 1,
			name: "AMD Instinct MI300X",
			uuid: "deff740f-0000-1000-8082-87300da37c72",
			bus_id: "0000:83:00.0",
			memory_total: 196_592 * MIB,
			memory_used: 17_153 * MIB,
			utilization: 0.94,
			temperature: 71,
			power: 612,
			driver: "6.12.12",
		});
		expect(parse(METRICS).map(({ index, memory_used }) => [index, memory_used / MIB])).toEqual([
			[0, 284],
			[1, 17_153],
		]);
	});

	test("is read as older versions write it: a bare list, bare numbers, no number of HIP's", () => {
		const old = [metric(0, 1024, 16_384), { ...metric(1, "2048", { value: "16384" }), usage: { gfx_activity: 5 } }];
		const gpus = parse(old, [], [{ gpu: 0, bdf: "0000:83:00.0", uuid: "a" }]);
		expect(gpus.map(({ index, memory_used, memory_total }) => [index, memory_used / MIB, memory_total / MIB])).toEqual([
			[0, 1024, 16_384],
			[1, 2048, 16_384],
		]);
		expect(gpus.map(({ utilization, name }) => [utilization, name])).toEqual([
			[0.94, "AMD GPU"],
			[0.05, "AMD GPU"],
		]);
	});

	test("has 0 for what is not available, as in a virtual machine", () => {
		const none = { gpu: 0, usage: "N/A", power: { socket_power: "N/A" }, temperature: "N/A", mem_usage: "N/A" };
		const [gpu] = parse([none]);
		expect(gpu).toMatchObject({ memory_total: 0, memory_used: 0, utilization: 0, temperature: 0, power: 0 });
	});
});

describe("amd-smi", () => {
	const directories: string[] = [];
	afterEach(() => {
		for (const directory of directories.splice(0)) rmSync(directory, { recursive: true });
	});
	/** A stand-in that prints these by its first word, and notes each call. */
	function fakeAmdSmi(says: Record<string, unknown>) {
		const bin = mkdtempSync(join(tmpdir(), "router-amd-smi-"));
		directories.push(bin);
		for (const [word, said] of Object.entries(says))
			writeFileSync(join(bin, word), typeof said === "string" ? said : JSON.stringify(said));
		const script = `#!/bin/sh\necho "$@" >> ${bin}/calls\n[ -e "${bin}/$1" ] || { echo "AMD SMI: no driver" >&2; exit 1; }\nexec cat "${bin}/$1"\n`;
		writeFileSync(join(bin, "amd-smi"), script);
		chmodSync(join(bin, "amd-smi"), 0o755);
		return { env: { PATH: `${bin}:${process.env["PATH"]}` }, calls: () => Bun.file(join(bin, "calls")).text(), bin };
	}

	test("that is missing means no GPUs that are known", async () => {
		const reading = await new AmdGpus().read({ PATH: "/nowhere" }, 20_000);
		expect(reading).toEqual({ gpus: [], problem: "there is no amd-smi on the PATH" });
	});

	test("with a broken driver means none, and says why; a mended one is seen", async () => {
		const { env, bin } = fakeAmdSmi({ static: STATIC, list: LIST });
		const amd = new AmdGpus();
		expect(await amd.read(env, 20_000)).toEqual({ gpus: [], problem: "amd-smi failed: AMD SMI: no driver" });
		writeFileSync(join(bin, "metric"), JSON.stringify(METRICS));
		expect((await amd.read(env, 20_000)).gpus).toHaveLength(2);
	});

	test("is asked once for what does not change", async () => {
		const { env, calls } = fakeAmdSmi({ static: STATIC, list: LIST, metric: METRICS });
		const amd = new AmdGpus();
		for (let reading = 0; reading < 3; reading++) expect((await amd.read(env, 20_000)).gpus).toHaveLength(2);
		const words = (await calls())
			.trim()
			.split("\n")
			.map((line) => line.split(" ")[0]);
		expect(words.sort()).toEqual(["list", "metric", "metric", "metric", "static"]);
	});
});
