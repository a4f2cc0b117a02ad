/** `router models suggest`: well-known models that fit this host. Asks `nvidia-smi`, and no router. */
import { type Gpu, readGpus } from "../agent/gpu/gpu.ts";
import { GIB } from "../agent/gpu/memory.ts";
import { suggestions } from "../agent/models/suggestions.ts";
import type { Environment } from "../config/interpolate.ts";
import { table } from "./table.ts";

/** How long `nvidia-smi` may take, ms: a driver that has to be loaded first takes seconds. */
const TIMEOUT_MS = 10_000;

/** The text to print, and a note where `nvidia-smi` is there and fails: the host's GPUs are then not seen. */
export async function suggest(env: Environment): Promise<{ readonly text: string; readonly note?: string }> {
	const { gpus, problem } = await readGpus(env, TIMEOUT_MS);
	return { text: suggestText(gpus), ...(problem !== undefined && { note: `No GPU was found: ${problem}.` }) };
}

/** A table, and how to start with the first of it. */
export function suggestText(gpus: readonly Gpu[]): string {
	const found = suggestions(gpus);
	const host =
		gpus.length === 0
			? "no GPU: small models on the CPU"
			: `${gpus.length} × ${gpus[0]!.name}, ${Math.round(gpus[0]!.memory_total / GIB)} GiB`;
	const head = ["MODEL", "WEIGHTS", "GPUS", "CONTEXT", "GOOD FOR"];
	const rows = found.map(({ model, gigabytes, gpus: span, context, gated, strengths }) => [
		model,
		`${gigabytes} GB`,
		span === 0 ? "CPU" : String(span),
		String(context),
		gated ? `${strengths}; gated: needs HF_TOKEN` : strengths,
	]);
	const [first] = found;
	const start = first
		? `Start one: router --agent --model ${first.model}${first.gpus > 1 ? ` --gpus ${first.gpus}` : ""}`
		: "No model of this list fits; any other can be tried with `router --agent --model ORGANISATION/NAME`.";
	return `This host: ${host}\n\n${found.length > 0 ? `${table([head, ...rows])}\n` : ""}${start}\n`;
}
