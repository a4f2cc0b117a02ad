/** All causes that vLLM's log or its exit code name, each with what it means and what to do. Pure. */
import type { Problem } from "../problem.ts";
import { type Cause, type Circumstances, inGib, SMALLER_ON_HOST } from "./cause.ts";
import { HOST_CAUSES } from "./host-causes.ts";
import { MODEL_CAUSES } from "./model-causes.ts";

/** The first that matches is the reason. */
export const CAUSES: readonly Cause[] = [...HOST_CAUSES, ...MODEL_CAUSES];

const GIB = 1024 ** 3;

/** What the exit code tells, of the container or of one of vLLM's processes in the log; undefined where that is no signal. */
export function exitCause(
	lines: readonly string[],
	{ exitCode, oomKilled, memoryLimit }: Circumstances,
): Problem | undefined {
	if (oomKilled && memoryLimit !== undefined) {
		return {
			reason: `the kernel killed vLLM: it needed more than the ${inGib(memoryLimit / GIB)} that its container may use (\`memory\`)`,
			fix: `raise the model's \`memory\`; or ${SMALLER_ON_HOST}`,
		};
	}
	if (oomKilled) {
		return {
			reason: "the kernel killed vLLM: the host's memory (not the GPU's) ran out while the model was loaded",
			fix: "free memory on the host, load fewer models at once, or add swap",
		};
	}
	const code = exitCode !== undefined && exitCode > 128 ? exitCode - 128 : processSignal(lines);
	return code === undefined ? undefined : BY_SIGNAL[code];
}

/** `Failed core proc(s): {'EngineCore_DP0': -9}`, `Worker proc VllmWorker-0 died unexpectedly (exit code: -9)` → 9. */
function processSignal(lines: readonly string[]): number | undefined {
	for (const line of lines) {
		const [, core, worker] =
			/Failed (?:core|frontend) proc\(s\): \{[^}]*?: -(\d+)|died unexpectedly \(exit code: -(\d+)\)/.exec(line) ?? [];
		const code = Number(core ?? worker ?? Number.NaN);
		if (code in BY_SIGNAL) return code;
	}
	return undefined;
}

/** By the number of the signal that ended the process. */
const BY_SIGNAL: Record<number, Problem> = {
	4: {
		reason: "the processor lacks instructions that vLLM's image was built for (illegal instruction)",
		fix: "vLLM on the CPU needs AVX2, better AVX-512 (`lscpu`): name an image that is built for this processor by `image`",
	},
	6: {
		reason: "vLLM gave up (abort) and logged no reason",
		fix: "see its log: GET /models/{name}/logs",
	},
	7: {
		reason: "vLLM ended by a bus error: mostly the host's shared memory (/dev/shm) is full",
		fix: "`df -h /dev/shm` shows it; `sudo mount -o remount,size=50% /dev/shm` makes it larger",
	},
	9: {
		reason: "vLLM was killed (SIGKILL) and logged no reason",
		fix: "see `dmesg` for the kernel's out-of-memory killer",
	},
	11: {
		reason: "vLLM crashed (segmentation fault)",
		fix: "it is started again; if it comes again, take another image, and see vLLM's issues",
	},
};
