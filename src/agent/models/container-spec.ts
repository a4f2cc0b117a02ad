/** The container of a replica: the arguments of `docker run`, its labels, and the hash by which a running one is recognised. */
import { mkdir } from "node:fs/promises";
import { basename } from "node:path";
import type { Environment } from "../../config/interpolate.ts";
import type { ContainerOwner } from "../docker/container-owner.ts";
import { type EngineHost, engineHost } from "../docker/engine-host.ts";
import type { Hardware } from "../gpu/hardware.ts";
import type { Problem } from "../problem.ts";
import { KV_EVENT_ARGS, KV_EVENT_LABEL, kvEventMountArg, publishesKvEvents } from "../vllm/kv-event-args.ts";
import { canSleep, stopGraceS, vllmArgs } from "../vllm/vllm-args.ts";
import { acceleratorOf, containerImage, hashedImage } from "../vllm/vllm-image.ts";
import type { AgentSettings } from "./agent-settings.ts";
import { containerKey, KEY_LABEL, newKeyWord } from "./container-key.ts";
import type { Generations } from "./generations.ts";
import type { ModelRegistry, RegisteredModel } from "./model-registry.ts";
import type { ModelSpec, Placement, SpecSettings } from "./model-spec.ts";
import { mountArgs, mountedFilesProblem } from "./mounts.ts";
import { modelOfKey } from "./replica-state.ts";
import type { Generation } from "./roll.ts";

/** One container. */
export interface ContainerSpec {
	/** Of the container: `router-<model>-<hash>`. */
	readonly name: string;
	readonly labels: Readonly<Record<string, string>>;
	/** All arguments after `docker run --detach`. */
	readonly args: readonly string[];
	/** Of the model's spec and the settings, not of the placement nor of any secret's value: the same after a restart of the agent. */
	readonly hash: string;
}

/**
 * Identifies what a container was made from: equal after a restart of the agent, different as soon as a setting would
 * make another container. Covers neither `load`, `ttl` and `replicas`, nor where it was placed, nor any variable's value, nor which version of vLLM is
 * pinned: a model that runs is not restarted for that.
 */
export function specHash(spec: ModelSpec, settings: SpecSettings): string {
	const { name, model, gpus, devices, gpu_memory, memory, args = [], mounts = [] } = spec;
	const { agent, command, accelerator, cacheDir, shutdownTimeoutS, sleep, namedNetwork } = settings;
	const made = [
		name,
		model,
		gpus,
		devices,
		gpu_memory,
		args,
		hashedImage(spec, settings),
		variables(spec, settings),
		// Only where there are any: containers of a version that knew of none keep their hash.
		...(mounts.length > 0 ? [mounts] : []),
		...(memory === undefined ? [] : [{ memory }]),
		...(namedNetwork === undefined ? [] : [{ network: namedNetwork }]),
	];
	const where = [agent, command, accelerator, cacheDir, shutdownTimeoutS, sleep];
	return new Bun.CryptoHasher("sha256")
		.update(JSON.stringify([made, where]))
		.digest("hex")
		.slice(0, 32);
}

/** What a container has on this host. */
export interface ContainerPlace {
	/** Of vLLM's HTTP: free on loopback. */
	readonly port: number;
	/** The directory of the sockets of its KV events, absolute, where it is to publish them. */
	readonly kvEvents?: string | undefined;
}

/**
 * The container for one replica. `spec` must have passed `specProblem`. Whether it publishes KV events is no part of its hash: one that runs
 * without goes on.
 * @param made the hash and image of its generation, where those of this moment are others
 */
export function containerSpec(
	spec: ModelSpec,
	placed: Placement & ContainerPlace & { readonly keyWord?: string },
	settings: SpecSettings,
	made?: Pick<Generation, "hash" | "image">,
): ContainerSpec {
	const { replica, port, keyWord } = placed;
	const kvEvents = publishesKvEvents(spec, settings) ? placed.kvEvents : undefined;
	const isOnCpu = acceleratorOf(spec, settings) === "cpu";
	const isOnHost = placed.devices.length === 0;
	// Without a reading of its GPUs a host has devices placed that it lacks.
	const placement: Placement = isOnCpu && !isOnHost ? { replica, devices: [], bytes: 0 } : placed;
	const { devices, bytes } = placement;
	const hash = made?.hash ?? specHash(spec, settings);
	const suffix = replica > 0 ? `-${replica}` : "";
	const name = `router-${spec.name.replace(/[^A-Za-z0-9_.-]/g, "-").slice(0, 60)}-${hash.slice(0, 8)}${suffix}`;
	const labels = {
		"router.agent": settings.agent,
		...settings.ownerLabels,
		"router.model": spec.name,
		"router.spec": hash,
		"router.port": String(port),
		"router.replica": String(replica),
		// For an agent that finds the container running: what it holds.
		"router.devices": devices.join(","),
		"router.memory": String(Math.floor(bytes)),
		...(keyWord !== undefined && { [KEY_LABEL]: keyWord }),
		...(kvEvents !== undefined && { [KV_EVENT_LABEL]: basename(kvEvents) }),
	};
	const image = made?.image ?? containerImage(spec, settings);
	const args = [
		`--name=${name}`,
		...Object.entries(labels).map(([key, value]) => `--label=${key}=${value}`),
		// The agent pulls, with progress; and it restarts, with backoff.
		"--pull=never",
		"--restart=no",
		`--stop-timeout=${stopGraceS(spec, settings)}`,
		...loggingArgs(settings.command),
		...acceleratorArgs(spec, placement, settings),
		...memoryArgs(spec),
		"--ipc=host",
		// Only `/v1` of vLLM's HTTP asks for the key: other containers don't see it, and it is published on loopback alone.
		...(settings.network === undefined ? [] : [`--network=${settings.network}`]),
		`--publish=127.0.0.1:${port}:8000`,
		...(kvEvents !== undefined ? [kvEventMountArg(kvEvents)] : []),
		`--volume=${settings.cacheDir}:/root/.cache/huggingface`,
		// Compiled kernels: a later start is much shorter.
		"--volume=vllm-cache:/root/.cache/vllm",
		...weightsArgs(spec),
		...mountArgs(spec),
		...(canSleep(spec, settings) ? ["--env=VLLM_SERVER_DEV_MODE=1"] : []),
		// Names alone: their values stay out of the command line.
		...variables(spec, settings).map((variable) => `--env=${variable}`),
		image,
		...vllmArgs(spec, placement, settings, image),
		...(kvEvents !== undefined ? KV_EVENT_ARGS : []),
	];
	return { name, labels, args, hash };
}

/** Weights in a directory of the host: where there is none `--volume` would make an empty one. */
function weightsArgs({ model }: ModelSpec): string[] {
	return model.startsWith("/") ? [`--mount=type=bind,source=${model},target=${model},readonly`] : [];
}

function variables({ env = [] }: ModelSpec, settings: SpecSettings): string[] {
	return [...new Set([...settings.env, ...env])].sort();
}

/** vLLM logs every few seconds for months: the log is rotated. */
function loggingArgs(command: SpecSettings["command"]): string[] {
	const driver = command === "docker" ? "json-file" : "k8s-file";
	return [
		`--log-driver=${driver}`,
		"--log-opt=max-size=20m",
		...(command === "docker" ? ["--log-opt=max-file=3"] : []),
	];
}

/** Equal values: no swap beyond it, where a model would crawl instead of failing. */
function memoryArgs({ memory }: ModelSpec): string[] {
	return memory === undefined ? [] : [`--memory=${memory}`, `--memory-swap=${memory}`];
}

function acceleratorArgs(spec: ModelSpec, { devices, mig, kvCache }: Placement, settings: SpecSettings): string[] {
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
		// Without a size vLLM takes half of the host's memory, or nearly all of it, depending on its version.
		const bytes = spec.gpu_memory ?? kvCache;
		const cache = bytes ? [`--env=VLLM_CPU_KVCACHE_SPACE=${Math.max(1, Math.floor(bytes / 1024 ** 3))}`] : [];
		return ["--cap-add=SYS_NICE", "--security-opt=seccomp=unconfined", ...cache];
	}
	if (mig !== undefined) {
		return settings.command === "podman" ? [`--device=nvidia.com/gpu=${mig}`] : ["--gpus", `"device=${mig}"`];
	}
	if (settings.command === "podman") {
		return (devices.length > 0 ? devices : ["all"]).map((device) => `--device=nvidia.com/gpu=${device}`);
	}
	if (devices.length === 0) return ["--gpus", "all"];
	// The inner quotes are part of the value: Docker reads it as CSV, where a comma would end `device=`.
	return ["--gpus", `"device=${devices.join(",")}"`];
}

/** podman makes no directory that is to be mounted; Docker makes one that belongs to root. */
async function cacheProblem(
	cacheDir: string,
	command: SpecSettings["command"],
	{ isHere }: EngineHost,
): Promise<Problem | undefined> {
	if (!isHere) return undefined;
	try {
		await mkdir(cacheDir, { recursive: true });
		return undefined;
	} catch (error) {
		// Where the agent may not make it Docker, as root, may.
		if (command === "docker") return undefined;
		const { code } = error as NodeJS.ErrnoException;
		return {
			reason: `the model cache ${cacheDir} does not exist and can't be made (${code})`,
			fix: "set `agent.cache_dir` (HF_HOME) to a directory that the agent's user may write to",
		};
	}
}

/** What `docker run` gets, and the variables that its `-e NAME` take their values from. */
export interface RunCommand {
	readonly args: readonly string[];
	readonly env: Environment;
	readonly image: string;
}

/** The containers of the registered models, on the hardware of this host. */
export class ContainerSpecs {
	constructor(
		private readonly registry: ModelRegistry,
		private readonly settings: AgentSettings,
		private readonly hardware: Hardware,
		private readonly owner: Pick<ContainerOwner, "labels">,
		private readonly generations: Pick<Generations, "at">,
	) {}

	/** The command that runs them: advice names it. */
	get command(): SpecSettings["command"] {
		return this.settings.command;
	}

	image(entry: RegisteredModel): string {
		return containerImage(entry.spec, this.#of(entry));
	}

	/** What its configuration has its containers made from now. */
	generation(entry: RegisteredModel): Generation {
		return { hash: this.hash(entry), image: this.image(entry), spec: entry.spec };
	}

	hash(entry: RegisteredModel): string {
		return specHash(entry.spec, this.#of(entry));
	}

	/** Whether a container of this replica is to publish its KV events. */
	publishesKvEvents(key: string): boolean {
		const entry = this.#entryOf(key);
		return entry !== undefined && publishesKvEvents(entry.spec, this.#of(entry));
	}

	/** Whether its containers are started so that they can sleep. */
	canSleep(entry: RegisteredModel): boolean {
		return canSleep(entry.spec, this.#of(entry));
	}

	/** Whether it runs on the CPU, and takes of the host's memory. */
	runsOnCpu(entry: RegisteredModel): boolean {
		return acceleratorOf(entry.spec, this.#of(entry)) === "cpu";
	}

	/** All that its containers may use of the host's memory, bytes; undefined without a limit. */
	memoryLimit(key: string): number | undefined {
		return this.#entryOf(key)?.spec.memory;
	}

	/** Seconds between SIGTERM and SIGKILL. */
	stopGrace(key: string): number {
		const entry = this.#entryOf(key);
		return entry ? stopGraceS(entry.spec, this.#of(entry)) : 10;
	}

	/** The arguments of `docker run`; undefined for a model that is no longer registered. */
	run(key: string, placement: Placement, place: ContainerPlace): RunCommand | undefined {
		const entry = this.#entryOf(key);
		if (!entry) return undefined;
		const made = this.generations.at(key) ?? this.generation(entry);
		const settings = { ...this.#of(entry), ownerLabels: this.owner.labels() };
		const keyWord = newKeyWord();
		const { args } = containerSpec(entry.spec, { ...placement, ...place, keyWord }, settings, made);
		const env = { ...this.settings.variables, VLLM_API_KEY: containerKey(this.settings.vllmKey, keyWord) };
		return { args, env, image: made.image };
	}

	/** Makes the model cache where there is none. Why that, or files of the host that its containers mount, can't be mounted; undefined where they can. */
	async filesProblem(key: string): Promise<Problem | undefined> {
		const entry = this.#entryOf(key);
		const { command, variables, cacheDir } = this.settings;
		const engine = engineHost(command, variables);
		return entry && ((await cacheProblem(cacheDir, command, engine)) ?? mountedFilesProblem(entry.spec, engine));
	}

	/** The model of a replica, as its generation has it; undefined for one that is no longer registered. */
	#entryOf(key: string): RegisteredModel | undefined {
		const entry = this.registry.get(modelOfKey(key));
		const spec = this.generations.at(key)?.spec;
		return entry && spec ? { ...entry, spec } : entry;
	}

	#of(entry: RegisteredModel): SpecSettings {
		const { accelerator, driver } = this.hardware.known ?? { accelerator: "cpu" as const };
		const { sleep, ...settings } = this.settings;
		// A model that is never evicted needs no sleep mode.
		return { ...settings, accelerator, ...(driver && { driver }), sleep: sleep && entry.load === "on-demand" };
	}
}
