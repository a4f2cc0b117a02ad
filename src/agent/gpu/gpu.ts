/** The GPUs of this host and the processes on them, read from `nvidia-smi`. */
import type { Environment } from "../../config/interpolate.ts";
import { shortText } from "../../short-text.ts";
import { CommandFailure, runCommand } from "../docker/command.ts";

/** One GPU at one moment. Keys are those of the heartbeat. */
export interface Gpu {
	readonly index: number;
	readonly name: string;
	readonly uuid: string;
	/** `00000000:01:00.0` */
	readonly bus_id: string;
	/** Bytes; 0 where the driver does not report it. */
	readonly memory_total: number;
	/** Bytes, of all processes. */
	readonly memory_used: number;
	/** 0 … 1; 0 where the driver does not report it. */
	readonly utilization: number;
	/** °C; 0 where the driver does not report it. */
	readonly temperature: number;
	/** W; 0 where the driver does not report it. */
	readonly power: number;
	/** W, that it may draw at most; absent or 0 where the driver does not report it. */
	readonly power_limit?: number;
	/** Version of the driver. */
	readonly driver: string;
}

/** A process that holds GPU memory. */
export interface GpuProcess {
	readonly pid: number;
	/** Its program, as far as the driver may see it. */
	readonly name: string;
	/** Bytes; 0 where the driver does not report it. */
	readonly memory: number;
	readonly uuid: string;
}

/** An answer of `nvidia-smi`. `problem` is for a person; without GPUs the host serves on its CPU. */
export interface GpuReading {
	readonly gpus: readonly Gpu[];
	/** Why there are none; absent where there are some. */
	readonly problem?: string;
}

const GPU_FIELDS =
	"index,name,uuid,pci.bus_id,memory.total,memory.used,utilization.gpu,temperature.gpu,power.draw,driver_version,power.limit";
const PROCESS_FIELDS = "pid,process_name,used_memory,gpu_uuid";
const MIB = 1024 ** 2;

/** Runs `nvidia-smi` on `env`'s PATH. Never rejects: a host without it, or with a broken driver, has no GPUs. */
export async function readGpus(env: Environment, deadlineMs: number): Promise<GpuReading> {
	try {
		const { code, stdout, stderr } = await nvidiaSmi(`--query-gpu=${GPU_FIELDS}`, env, deadlineMs);
		if (code === 0) return gpusOr(parseGpus(stdout), "nvidia-smi lists no GPU");
		// A broken driver is reported on stdout: "NVIDIA-SMI has failed because it couldn't communicate with …".
		const [message = `exit code ${code}`] = `${stderr}\n${stdout}`.trim().split("\n");
		return gpusOr([], `nvidia-smi failed: ${shortText(message.trim(), 200)}`);
	} catch (error) {
		if (!(error instanceof CommandFailure)) throw error;
		return gpusOr([], error.kind === "missing" ? "there is no nvidia-smi on the PATH" : error.message);
	}
}

/** Processes that hold memory of a GPU. Empty where the driver does not list them (in a container without the host's processes). Never rejects. */
export async function readGpuProcesses(env: Environment, deadlineMs: number): Promise<GpuProcess[]> {
	try {
		const { code, stdout } = await nvidiaSmi(`--query-compute-apps=${PROCESS_FIELDS}`, env, deadlineMs);
		return code === 0 ? parseGpuProcesses(stdout) : [];
	} catch (error) {
		if (!(error instanceof CommandFailure)) throw error;
		return [];
	}
}

/** Lines of the query above, `csv,noheader,nounits` → GPUs by index. Lines of another shape are left out. */
export function parseGpus(csv: string): Gpu[] {
	const gpus: Gpu[] = [];
	for (const [index, name, uuid, busId, total, used, utilization, temperature, power, driver, limit] of rows(csv)) {
		if (driver === undefined || !/^\d+$/.test(index!)) continue;
		gpus.push({
			index: Number(index),
			name: name!,
			uuid: uuid!,
			bus_id: busId!,
			memory_total: number(total!) * MIB,
			memory_used: number(used!) * MIB,
			utilization: number(utilization!) / 100,
			temperature: number(temperature!),
			power: number(power!),
			driver,
			...(limit !== undefined && { power_limit: number(limit) }),
		});
	}
	return gpus.sort((a, b) => a.index - b.index);
}

/** Lines of `--query-compute-apps` → processes. */
export function parseGpuProcesses(csv: string): GpuProcess[] {
	const processes: GpuProcess[] = [];
	for (const [pid, name, memory, uuid] of rows(csv)) {
		if (uuid === undefined || !/^\d+$/.test(pid!)) continue;
		processes.push({ pid: Number(pid), name: name!, memory: number(memory!) * MIB, uuid });
	}
	return processes;
}

function nvidiaSmi(query: string, env: Environment, deadlineMs: number) {
	return runCommand(["nvidia-smi", query, "--format=csv,noheader,nounits"], { env, deadlineMs });
}

function gpusOr(gpus: readonly Gpu[], problem: string): GpuReading {
	return gpus.length > 0 ? { gpus } : { gpus, problem };
}

function rows(csv: string): string[][] {
	return csv.split("\n").map((line) => line.split(",").map((field) => field.trim()));
}

/** 0 for `[N/A]`, `[Not Supported]` and `[Unknown Error]`: laptops report no power, MIG devices no utilisation. */
function number(field: string): number {
	return Number.parseFloat(field) || 0;
}
