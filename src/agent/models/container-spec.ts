/** A model that the configuration names → the container that serves it. Pure. */
import { acceleratorOf, canSleep, stopGraceS, vllmArgs } from "../vllm/vllm-args.ts";

/** A model as the configuration, the flags or an API call name it. Keys are those of the file. */
export interface ModelSpec {
	/** What callers call it. `specProblem` says what a name may be. */
	readonly name: string;
	/** Hugging Face id (`Qwen/Qwen3-8B`), or an absolute path of a directory with the weights. */
	readonly model: string;
	/** How many GPUs each replica spans (tensor parallel); 1 when absent and `devices` is absent too. 0: on the CPU. */
	readonly gpus?: number;
	/** Indexes of the GPUs it may use; every replica gets `gpus` of them, or an even share. */
	readonly devices?: readonly number[];
	/** How many containers serve it; 1 when absent. */
	readonly replicas?: number;
	/** All that it may take on each of its GPUs, in bytes. Absent: what is left there, up to 90 %. */
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
	/** Bytes promised on each of `devices`, CUDA's own included; 0 on the CPU and where the GPUs' memory is not known. */
	readonly bytes: number;
	/** What vLLM may take of that as a share of the GPU, for `--gpu-memory-utilization`. */
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
	/** Version of the NVIDIA driver, where it is known: it decides between two builds of the pinned image. */
	readonly driver?: string;
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

/** Tested together with the arguments and log lines that this agent knows. */
const PINNED_VERSION = "v0.30.0";
/** That version is built for CUDA 13, which needs this driver; older ones run the build for CUDA 12.9. */
const CUDA_13_DRIVER = 580;

/** The pinned image; `driver` is the NVIDIA driver's version where it is known. */
export function pinnedImage(accelerator: Accelerator, driver?: string): string {
	if (accelerator === "cpu") return `vllm/vllm-openai-cpu:${PINNED_VERSION}`;
	if (accelerator === "rocm") return `vllm/vllm-openai-rocm:${PINNED_VERSION}`;
	const isOld = Number.parseInt(driver ?? "", 10) < CUDA_13_DRIVER;
	return `vllm/vllm-openai:${PINNED_VERSION}${isOld ? "-cu129" : ""}`;
}

/** The image of a model's container, with the mirror before it where its name has no registry of its own. */
export function containerImage(spec: ModelSpec, settings: SpecSettings): string {
	const named = spec.image ?? settings.image;
	const plain = (named ?? pinnedImage(acceleratorOf(spec, settings), settings.driver)).replace(/^docker\.io\//, "");
	const [first = ""] = plain.split("/");
	const hasRegistry = plain.includes("/") && (/[.:]/.test(first) || first === "localhost");
	if (hasRegistry) return plain;
	if (settings.registry) return `${settings.registry.replace(/\/+$/, "")}/${plain}`;
	// podman asks, or refuses, where a name could mean several registries.
	return named === undefined && settings.command === "podman" ? `docker.io/${plain}` : plain;
}

/**
 * Identifies what a container was made from: equal after a restart of the agent, different as soon as a setting would
 * make another container. Covers neither `load`, `ttl` and `replicas`, nor where it was placed, nor any variable's value.
 */
export function specHash(spec: ModelSpec, settings: SpecSettings): string {
	const { name, model, gpus, devices, gpu_memory, args = [] } = spec;
	const { agent, command, accelerator, cacheDir, shutdownTimeoutS, sleep } = settings;
	const made = [
		name,
		model,
		gpus,
		devices,
		gpu_memory,
		args,
		containerImage(spec, settings),
		variables(spec, settings),
	];
	const where = [agent, command, accelerator, cacheDir, shutdownTimeoutS, sleep];
	return new Bun.CryptoHasher("sha256")
		.update(JSON.stringify([made, where]))
		.digest("hex")
		.slice(0, 32);
}

/** The container for one replica. `spec` must have passed `specProblem`; `port` is free on loopback. */
export function containerSpec(
	spec: ModelSpec,
	placed: Placement & { port: number },
	settings: SpecSettings,
): ContainerSpec {
	const { replica, port } = placed;
	const isOnCpu = acceleratorOf(spec, settings) === "cpu";
	const placement: Placement = isOnCpu ? { replica, devices: [], bytes: 0 } : placed;
	const { devices, bytes } = placement;
	const hash = specHash(spec, settings);
	const suffix = replica > 0 ? `-${replica}` : "";
	const name = `router-${spec.name.replace(/[^A-Za-z0-9_.-]/g, "-").slice(0, 60)}-${hash.slice(0, 8)}${suffix}`;
	const labels = {
		"router.agent": settings.agent,
		"router.model": spec.name,
		"router.spec": hash,
		"router.port": String(port),
		"router.replica": String(replica),
		// For the ledger of an agent that finds the container running.
		"router.devices": devices.join(","),
		"router.memory": String(Math.floor(bytes)),
	};
	const isLocal = spec.model.startsWith("/");
	const args = [
		`--name=${name}`,
		...Object.entries(labels).map(([key, value]) => `--label=${key}=${value}`),
		// The agent pulls, with progress; and it restarts, with backoff.
		"--pull=never",
		"--restart=no",
		`--stop-timeout=${stopGraceS(spec, settings)}`,
		...loggingArgs(settings.command),
		...acceleratorArgs(spec, placement, settings),
		"--ipc=host",
		// All of vLLM's HTTP but `/v1` is open to whoever reaches the port.
		`--publish=127.0.0.1:${port}:8000`,
		`--volume=${settings.cacheDir}:/root/.cache/huggingface`,
		// Compiled kernels: 79 → 48 s to start.
		"--volume=vllm-cache:/root/.cache/vllm",
		...(isLocal ? [`--volume=${spec.model}:${spec.model}:ro`] : []),
		...(canSleep(spec, settings) ? ["--env=VLLM_SERVER_DEV_MODE=1"] : []),
		// Names alone: their values stay out of the command line.
		...variables(spec, settings).map((variable) => `--env=${variable}`),
		containerImage(spec, settings),
		...vllmArgs(spec, placement, settings),
	];
	return { name, labels, args, hash };
}

function variables({ env = [] }: ModelSpec, settings: SpecSettings): string[] {
	return [...new Set([...settings.env, ...env])].sort();
}

/** vLLM logs every few seconds for months: three files of 20 MB are kept. */
function loggingArgs(command: SpecSettings["command"]): string[] {
	const driver = command === "docker" ? "json-file" : "k8s-file";
	return [
		`--log-driver=${driver}`,
		"--log-opt=max-size=20m",
		...(command === "docker" ? ["--log-opt=max-file=3"] : []),
	];
}

function acceleratorArgs(spec: ModelSpec, { devices }: Placement, settings: SpecSettings): string[] {
	const accelerator = acceleratorOf(spec, settings);
	if (accelerator === "rocm") {
		return [
			"--device=/dev/kfd",
			"--device=/dev/dri",
			"--group-add=video",
			"--cap-add=SYS_PTRACE",
			"--security-opt=seccomp=unconfined",
			...(devices.length > 0 ? [`--env=HIP_VISIBLE_DEVICES=${devices.join(",")}`] : []),
		];
	}
	if (accelerator === "cpu") {
		// NUMA binding needs both (vLLM's page on CPUs); `gpu_memory` is its KV cache here, in whole GiB.
		const cache = spec.gpu_memory
			? [`--env=VLLM_CPU_KVCACHE_SPACE=${Math.max(1, Math.floor(spec.gpu_memory / 1024 ** 3))}`]
			: [];
		return ["--cap-add=SYS_NICE", "--security-opt=seccomp=unconfined", ...cache];
	}
	if (settings.command === "podman") {
		return (devices.length > 0 ? devices : ["all"]).map((device) => `--device=nvidia.com/gpu=${device}`);
	}
	if (devices.length === 0) return ["--gpus", "all"];
	// The inner quotes are part of the value: Docker reads it as CSV, where a comma would end `device=`.
	return ["--gpus", `"device=${devices.join(",")}"`];
}
