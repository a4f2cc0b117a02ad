/** What a cause in vLLM's log is: words, and what they mean to a person. */
import type { GpuProcess } from "../gpu/gpu.ts";
import type { Problem } from "../problem.ts";

/** What is known besides the log. */
export interface Circumstances {
	/** Of the container's end. */
	readonly exitCode?: number;
	/** Whether the kernel killed it for want of memory, by the engine's record. */
	readonly oomKilled?: boolean;
	/** Bytes of the host's memory that the container may use; absent where it is not limited. */
	readonly memoryLimit?: number | undefined;
	/** Other processes that hold memory of its GPUs: named where they are the reason. */
	readonly holders?: readonly GpuProcess[];
	/** The command that runs containers: advice names it. `docker` without it. */
	readonly command?: "docker" | "podman" | undefined;
}

/** One cause. */
export interface Cause {
	/** Tried on one line, freed of vLLM's prefixes. */
	readonly pattern: RegExp;
	readonly explain: (found: RegExpExecArray, log: Circumstances & { readonly lines: readonly string[] }) => Problem;
}

/** What makes a model fit on a GPU. */
export const SMALLER =
	"lower `--max-model-len` in the model's `args`, give it more `gpu_memory`, spread it over more `gpus`, or take a smaller or quantised model";

/** What makes a model fit into the host's memory. */
export const SMALLER_ON_HOST =
	"lower its KV cache (`gpu_memory` of a model on the CPU), take a smaller or quantised model, or stop what else uses the host's memory";

/** Arguments, ready to paste into the configuration. */
export const paste = (...args: string[]): string => `args: ${JSON.stringify(args).replaceAll(",", ", ")}`;

/** `2` and `21.67` → `2.0 GiB` and `21.7 GiB`. */
export function inGib(amount: string | number | undefined): string {
	return `${Number(amount).toFixed(1)} GiB`;
}
