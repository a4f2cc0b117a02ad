/** A model that the configuration names → the container that serves it. Pure. */

/** A model as the configuration, the flags or an API call name it. Keys are those of the file. */
export interface ModelSpec {
	/** What callers call it. See `specProblem` for what a name may be. */
	readonly name: string;
	/** Hugging Face id (`Qwen/Qwen3-8B`), or an absolute path of a directory with the weights. */
	readonly model: string;
	/** How many GPUs each replica spans (tensor parallel); 1 when absent and `devices` is absent too. 0: on the CPU. */
	readonly gpus?: number;
	/** Indexes of the GPUs it may use, `replicas` of them sharing; every replica gets `gpus` of these, or all. */
	readonly devices?: readonly number[];
	/** How many containers serve it; 1 when absent. */
	readonly replicas?: number;
	/** Bytes on each of its GPUs. Absent: what is left there, up to 90 %. */
	readonly gpu_memory?: number;
	/** vLLM's own arguments. They win over what the agent would add. */
	readonly args?: readonly string[];
	readonly load?: "always" | "on-demand" | "manual";
	/** Idle ms after which an on-demand model is unloaded. */
	readonly ttl?: number;
	/** Instead of the settings' image. */
	readonly image?: string;
	/** Names of variables of the agent's environment that the container gets too. */
	readonly env?: readonly string[];
}

/** Which accelerator the containers use. */
export type Accelerator = "nvidia" | "rocm" | "cpu";

/** Where one replica goes, as the ledger decided. */
export interface Placement {
	/** 0 … replicas − 1. */
	readonly replica: number;
	/** GPU indexes; empty on the CPU. */
	readonly devices: readonly number[];
	/** Bytes promised on each of `devices`; 0 on the CPU. */
	readonly bytes: number;
	/** The same as a share of the GPU, for `--gpu-memory-utilization`; absent on the CPU. */
	readonly share?: number;
	/** For `--max-model-len`; absent: vLLM takes the model's own. */
	readonly maxModelLen?: number;
}

/** What the agent's configuration says for all of its models. */
export interface SpecSettings {
	/** Name of the agent. */
	readonly agent: string;
	readonly command: "docker" | "podman";
	readonly accelerator: Accelerator;
	/** Instead of the pinned image of the accelerator. */
	readonly image?: string;
	/** Registry mirror, put before the image's name: `mirror.internal:5000`. */
	readonly registry?: string;
	/** Hugging Face cache on the host (HF_HOME); mounted. */
	readonly cacheDir: string;
	/** Names, of the agent's own variables, that every container gets: HF_TOKEN, VLLM_API_KEY, HF_ENDPOINT where they are set. */
	readonly env: readonly string[];
	/** Seconds vLLM may finish running requests after SIGTERM. */
	readonly shutdownTimeoutS: number;
	/** Whether models may sleep (`--enable-sleep-mode`). */
	readonly sleep: boolean;
}

/** What `docker run` gets. */
export interface ContainerSpec {
	/** Of the container: `router-<model>-<hash>`. */
	readonly name: string;
	readonly labels: Readonly<Record<string, string>>;
	/** All words after `docker run --detach`. */
	readonly args: readonly string[];
	/** Of the model's spec and the settings, not of the placement nor of any secret's value: the same after a restart of the agent. */
	readonly hash: string;
}
