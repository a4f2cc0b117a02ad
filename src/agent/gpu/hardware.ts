/**
 * What the models run on. Decided once and stored: it is part of every container's hash, so a driver that does not answer for a
 * moment must not replace all containers.
 */
import type { AgentFile } from "../models/agent-file.ts";
import type { AgentSettings } from "../models/agent-settings.ts";
import type { Accelerator } from "../models/model-spec.ts";
import type { Problem } from "../problem.ts";
import type { GpuWatch } from "./gpu-watch.ts";

/** What the models run on. */
export interface DetectedHardware {
	readonly accelerator: Accelerator;
	/** Of NVIDIA. */
	readonly driver?: string;
}

/** Decides once the first reading of the GPUs is there. */
export class Hardware {
	#known: DetectedHardware | undefined;

	constructor(
		private readonly settings: Pick<AgentSettings, "accelerator">,
		private readonly gpus: GpuWatch,
		private readonly file: AgentFile,
	) {}

	/** Undefined until `nvidia-smi` has answered for the first time, and while it fails. */
	get known(): DetectedHardware | undefined {
		this.#known ??= this.#decide();
		return this.#known;
	}

	/** Why it is not known. */
	get problem(): Problem | undefined {
		const { problem } = this.gpus.reading;
		if (this.known || !this.gpus.hasRead || !problem) return undefined;
		return {
			reason: `what the models run on is not known: ${problem}`,
			fix: "make `nvidia-smi` work (a reboot after a driver update often does), or set `agent.accelerator`",
		};
	}

	#decide(): DetectedHardware | undefined {
		const { accelerator } = this.settings;
		if (!this.gpus.hasRead) return undefined;
		const [gpu] = this.gpus.reading.gpus;
		if (accelerator === "cpu" || accelerator === "rocm") return { accelerator };
		if (gpu) {
			this.file.update({ accelerator: "nvidia", driver: gpu.driver });
			return { accelerator: "nvidia", driver: gpu.driver };
		}
		const { accelerator: before, driver } = this.file.content;
		if (before === "nvidia" && !this.gpus.hasNoGpus) return { accelerator: "nvidia", ...(driver && { driver }) };
		if (accelerator === "nvidia") return { accelerator };
		return this.gpus.hasNoGpus ? { accelerator: "cpu" } : undefined;
	}
}
