/** vLLM's log → what went wrong, and how far a start is. Pure. */
import type { Problem } from "../problem.ts";
import { CAUSES, type Circumstances } from "./vllm-causes.ts";

/** How far a start is. */
export interface LoadProgress {
	readonly phase: "downloading" | "loading" | "compiling" | "profiling" | "capturing" | "ready";
	/** 0 … 100 within the phase, where the log has it. */
	readonly percent?: number;
}

/**
 * What went wrong, by the log's lines (oldest first; the last 500 are enough). Undefined for
 * a log that names no error: a container that was stopped, or that still runs.
 */
export function diagnose(lines: readonly string[], known: Circumstances = {}): Problem | undefined {
	// Information and warnings are no reason, such as a retry or a feature that the GPU lacks.
	const plain = lines.filter((line) => !isInformational(line)).map(plainLine);
	for (const { pattern, explain } of CAUSES) {
		// The newest line: an earlier error may be one that the same container recovered from.
		for (let at = plain.length - 1; at >= 0; at--) {
			const found = pattern.exec(plain[at]!);
			if (found) return explain(found, { lines: plain, ...known });
		}
	}
	if (known.oomKilled) {
		return {
			reason: "the kernel killed vLLM: the host's memory (not the GPU's) ran out while the model was loaded",
			fix: "free memory on the host, load fewer models at once, or add swap",
		};
	}
	const error = lastError(plain);
	if (error)
		return { reason: error, fix: "the model's log has the lines around it; look the message up in vLLM's issues" };
	if (known.exitCode === 137) {
		return {
			reason: "vLLM was killed (SIGKILL) and logged no reason",
			fix: "see `dmesg` for the kernel's out-of-memory killer",
		};
	}
	return undefined;
}

const MAX_MESSAGE = 300;
/** The prefix that names the process of vLLM. */
const PROCESS = /^(?:\([^()]*pid=\d+[^()]*\) *)+/;

/** `(EngineCore_DP0 pid=96) ERROR 09-01 12:00:00 [core.py:708] ValueError: …`, coloured or not → `ValueError: …`. */
export function plainLine(line: string): string {
	return Bun.stripANSI(line)
		.replace(PROCESS, "")
		.replace(/^[A-Z]+ [\d-]+ [\d:.]+ \[[^\]]+\] ?/, "");
}

function isInformational(line: string): boolean {
	return /^(?:INFO|WARNING|DEBUG)\b/.test(Bun.stripANSI(line).replace(PROCESS, ""));
}

/** `RuntimeError: Engine core initialization failed.` only points at the error before it. */
const POINTER =
	/Engine core initialization failed|See root cause above|^SystemExit|^KeyboardInterrupt|^asyncio\.exceptions/;
/** The last line of a Python traceback. */
const EXCEPTION = /^(?:[A-Za-z_][\w]*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b:? ?.*$/;

/** The root cause: the last exception that is no mere pointer to another. */
function lastError(lines: readonly string[]): string | undefined {
	const found = lines.map((line) => line.trim()).findLast((line) => EXCEPTION.test(line) && !POINTER.test(line));
	return found && found.length > MAX_MESSAGE ? `${found.slice(0, MAX_MESSAGE)}…` : found;
}

const PHASES: readonly (readonly [pattern: RegExp, phase: LoadProgress["phase"]])[] = [
	[/Application startup complete|Uvicorn running on/, "ready"],
	[/init engine \(profile|Graph capturing finished|Capturing CUDA graphs?/i, "capturing"],
	[/GPU KV cache size|Available KV cache memory|Memory profiling takes|Maximum concurrency for/i, "profiling"],
	[
		/torch\.compile (?:takes|took)|Dynamo bytecode transform|Compiling a graph|Using cache directory: .*torch_compile/i,
		"compiling",
	],
	[
		/Loading (?:safetensors|pt) checkpoint shards|Starting to load model|Loading weights took|Model loading took/i,
		"loading",
	],
	[/Time spent downloading weights|Downloading|Fetching \d+ files|\.safetensors: +\d+%/i, "downloading"],
];

/** The progress that a line of a starting vLLM reports; undefined for all other lines. */
export function progressOf(line: string): LoadProgress | undefined {
	const plain = plainLine(line);
	const phase = PHASES.find(([pattern]) => pattern.test(plain))?.[1];
	if (!phase) return undefined;
	const percent = Number(/(?:shards|graphs[^:]*|files|safetensors): +(\d+)%/i.exec(plain)?.[1] ?? Number.NaN);
	return { phase, ...(percent >= 0 && percent <= 100 && { percent }) };
}
