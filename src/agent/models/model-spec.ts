/** A model as the configuration names it, where its replicas go, and what all containers of an agent share. */

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*(?:[/:][A-Za-z0-9][A-Za-z0-9._-]*)*$/;
/** The model that every router and agent has: a model by its name would not be reached. */
export const BUILT_IN = "dummy";

/** Longest name of a model, characters. */
export const MAX_MODEL_NAME = 128;

/** Whether a model, or an adapter of one, may have this name: nothing that a flag or a path could be made from. */
export function isModelName(text: string): boolean {
	return text.length <= MAX_MODEL_NAME && NAME.test(text) && !text.includes("..");
}

/** A model as the configuration, the flags or an API call name it. Keys are those of the file. */
export interface ModelSpec {
	/** The name in calls. `specProblem` checks it. */
	readonly name: string;
	/** Hugging Face id (`Qwen/Qwen3-8B`), or an absolute path of a directory with the weights. */
	readonly model: string;
	/** How many GPUs each replica spans (tensor parallel); 1 when absent and `devices` is absent too. 0: on the CPU. */
	readonly gpus?: number;
	/**
	 * The GPUs it may use, by index or UUID (`GPU-…`); every replica gets `gpus` of them, or an even share. Or MIG devices (`MIG-…`), of which every replica
	 * gets one.
	 */
	readonly devices?: readonly (number | string)[];
	/** How many containers serve it; 1 when absent. */
	readonly replicas?: number;
	/** All that it may take on each of its GPUs, in bytes. Absent: what is left there, up to 90 %. On the CPU: its KV cache. */
	readonly gpu_memory?: number;
	/** All that its containers may use of the host's memory, each, in bytes. Absent: no limit. */
	readonly memory?: number;
	/** vLLM's own arguments. They win over what the agent would add. */
	readonly args?: readonly string[];
	readonly load?: "always" | "on-demand" | "manual";
	/** Idle ms after which an on-demand model is unloaded. */
	readonly ttl?: number;
	/** Instead of the settings' image. */
	readonly image?: string;
	/** Share of calls that the canary of a rolling change gets, 0 to 1. */
	readonly canary?: number;
	/** Names of variables of the agent's environment that the container gets too. */
	readonly env?: readonly string[];
	/** `/on/the/host:/in/the/container`: what its containers may read besides, of the configuration alone. */
	readonly mounts?: readonly string[];
}

/** Which accelerator the containers use. */
export type Accelerator = "nvidia" | "rocm" | "cpu";

/** Where one replica goes. */
export interface Placement {
	/** 0 … replicas − 1. */
	readonly replica: number;
	/** GPU indexes; empty on the CPU, and on a MIG device. */
	readonly devices: readonly number[];
	/** The MIG device that it has alone: its memory is nobody else's, and vLLM takes of it what it finds. */
	readonly mig?: string;
	/** Bytes allocated on each of `devices`, CUDA's own included; without devices of the host's memory. 0 where nothing is known. */
	readonly bytes: number;
	/** On the CPU: bytes of its KV cache, where the model does not say. */
	readonly kvCache?: number;
	/** What vLLM may take of that as a share of the GPU, for `--gpu-memory-utilization`. */
	readonly share?: number;
	/** For `--max-model-len`; absent: vLLM takes the model's own. */
	readonly maxModelLen?: number;
}

/** Settings of all containers of an agent. */
export interface SpecSettings {
	/** Name of the agent. */
	readonly agent: string;
	readonly command: "docker" | "podman";
	readonly accelerator: Accelerator;
	/** Version of the NVIDIA driver, where it is known: it decides between two builds of the pinned image. */
	readonly driver?: string;
	/** Instead of the pinned image of the accelerator. */
	readonly image?: string;
	/** Registry mirror, put before the image's name: `mirror.internal:5000`. */
	readonly registry?: string;
	/** The engine's network that containers are in; absent: its default one. */
	readonly network?: string;
	/** The same as the configuration names it: whoever names another one wants another container. */
	readonly namedNetwork?: string;
	/** Hugging Face cache on the host (HF_HOME); mounted. */
	readonly cacheDir: string;
	/** Names, of the agent's own variables, that every container gets: HF_TOKEN, VLLM_API_KEY, HF_ENDPOINT where they are set. */
	readonly env: readonly string[];
	/** Seconds vLLM may finish running requests after SIGTERM. */
	readonly shutdownTimeoutS: number;
	/** Whether models may sleep (`--enable-sleep-mode`). */
	readonly sleep: boolean;
	/** Whether vLLM publishes its KV events; `auto`: where its image is known to be of 0.28 or later; absent: never. */
	readonly kvEvents?: "auto" | "always" | "never";
	/** By which an agent knows that a container is its own. */
	readonly ownerLabels?: Readonly<Record<string, string>>;
}
