/**
 * AMD's GPUs of this host, read from `amd-smi`, in the formats of public recordings and fixtures (ROCm 6 and 7): a list, or since 6.4 an object
 * with `gpu_data`; numbers as `{ value, unit }` or bare, `"N/A"` where there is none. Untested on hardware.
 */
import type { Environment } from "../../config/interpolate.ts";
import { shortText } from "../../short-text.ts";
import { CommandFailure, runCommand } from "../docker/command.ts";
import type { Gpu, GpuReading } from "./gpu.ts";

/** What does not change while the host runs: asked once, since each question starts a Python. */
const STATIC = ["amd-smi", "static", "--asic", "--driver", "--json"] as const;
/** Which number HIP has for each: `HIP_VISIBLE_DEVICES` takes that, and it may differ from amd-smi's own. */
const NUMBERS = ["amd-smi", "list", "-e", "--json"] as const;
const METRICS = ["amd-smi", "metric", "--mem-usage", "--usage", "--power", "--temperature", "--json"] as const;

type Json = Record<string, unknown>;

/** Reads them again and again. */
export class AmdGpus {
	#fixed: Promise<{ readonly asics: string; readonly numbers: string }> | undefined;

	/** Runs `amd-smi` on `env`'s PATH. Never rejects: a host without it, or with a broken driver, has no GPUs that are known. */
	async read(env: Environment, deadlineMs: number): Promise<GpuReading> {
		const run = (command: readonly string[]) => runCommand([...command], { env, deadlineMs });
		try {
			this.#fixed ??= Promise.all([run(STATIC), run(NUMBERS)]).then(([asics, numbers]) => ({
				asics: asics.stdout,
				// Older ones know no `-e`.
				numbers: numbers.code === 0 ? numbers.stdout : "",
			}));
			const [{ asics, numbers }, metrics] = await Promise.all([this.#fixed, run(METRICS)]);
			const gpus = metrics.code === 0 ? parseAmdGpus(metrics.stdout, asics, numbers) : [];
			if (gpus.length > 0) return { gpus };
			this.#fixed = undefined;
			const [said = ""] = `${metrics.stderr}\n${metrics.stdout}`.trim().split("\n");
			const problem = metrics.code === 0 ? "amd-smi lists no GPU" : `amd-smi failed: ${shortText(said.trim(), 200)}`;
			return { gpus, problem };
		} catch (error) {
			this.#fixed = undefined;
			if (!(error instanceof CommandFailure)) throw error;
			return { gpus: [], problem: error.kind === "missing" ? "there is no amd-smi on the PATH" : error.message };
		}
	}
}

/** What reads the GPUs of an accelerator that the configuration names; undefined: NVIDIA's. */
export function gpuReader(
	accelerator: string,
): ((env: Environment, deadlineMs: number) => Promise<GpuReading>) | undefined {
	if (accelerator !== "rocm") return undefined;
	const amd = new AmdGpus();
	return (env, deadlineMs) => amd.read(env, deadlineMs);
}

/** What `amd-smi` printed → GPUs by HIP's number. What is none of its JSON counts as nothing. */
export function parseAmdGpus(metrics: string, asics: string, numbers: string): Gpu[] {
	const fixed = new Map(rowsIn(asics).map((row) => [row["gpu"], row]));
	const listed = new Map(rowsIn(numbers).map((row) => [row["gpu"], row]));
	const gpus = rowsIn(metrics).flatMap((row): Gpu[] => {
		const { gpu } = row;
		if (!Number.isInteger(gpu)) return [];
		const { hip_id, bdf, uuid } = listed.get(gpu) ?? {};
		const asic = fixed.get(gpu) ?? {};
		const [memory, usage, power, temperature] = ["mem_usage", "usage", "power", "temperature"].map((name) =>
			objectIn(row[name]),
		) as [Json, Json, Json, Json];
		return [
			{
				index: Number.isInteger(hip_id) ? (hip_id as number) : (gpu as number),
				name: textIn(objectIn(asic["asic"])["market_name"]) || "AMD GPU",
				uuid: textIn(uuid),
				bus_id: textIn(bdf),
				memory_total: bytesIn(memory["total_vram"]),
				memory_used: bytesIn(memory["used_vram"]),
				utilization: numberIn(usage["gfx_activity"]) / 100,
				temperature: numberIn(temperature["hotspot"]) || numberIn(temperature["edge"]),
				power: numberIn(power["socket_power"]),
				driver: textIn(objectIn(asic["driver"])["version"]),
			},
		];
	});
	return gpus.sort((a, b) => a.index - b.index);
}

function rowsIn(text: string): Json[] {
	try {
		const value: unknown = JSON.parse(text);
		const rows = Array.isArray(value) ? value : objectIn(value)["gpu_data"];
		return Array.isArray(rows) ? rows.map(objectIn) : [];
	} catch {
		return [];
	}
}

/** Units of memory, as amd-smi writes them: its megabytes are mebibytes. */
const UNITS: Readonly<Record<string, number>> = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };

function bytesIn(value: unknown): number {
	const { unit } = objectIn(value);
	return numberIn(value) * (UNITS[textIn(unit) || "MB"] ?? UNITS["MB"]!);
}

/** Of `{ value, unit }`, or bare; 0 for `N/A`. */
function numberIn(value: unknown): number {
	const bare = typeof value === "object" && value !== null ? (value as Json)["value"] : value;
	const number = typeof bare === "string" ? Number.parseFloat(bare) : bare;
	return typeof number === "number" && Number.isFinite(number) ? number : 0;
}

const textIn = (value: unknown): string => (typeof value === "string" && value !== "N/A" ? value : "");
const objectIn = (value: unknown): Json =>
	typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
