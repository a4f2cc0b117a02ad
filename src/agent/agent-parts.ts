/** The agent's parts, each made from those before it. Nothing runs before `runAgent`, and nothing is added to a part later. */
import { type AgentCredential, hashKey } from "../accounts/auth/keys.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Config } from "../config/schema.ts";
import type { Transport } from "../providers/provider.ts";
import { type ProxyChoice, proxyFromEnvironment } from "../proxy/net/environment-proxy.ts";
import { httpTransport, readCa } from "../proxy/net/transport.ts";
import type { Log } from "../telemetry/log.ts";
import { type AgentMetrics, agentMetrics } from "./agent-metrics.ts";
import { ContainerModels } from "./container-models.ts";
import { AgentPresence } from "./docker/agent-presence.ts";
import { ContainerEnds } from "./docker/container-ends.ts";
import { ContainerOwner } from "./docker/container-owner.ts";
import { type Docker, DockerCli } from "./docker/docker.ts";
import { engineHost } from "./docker/engine-host.ts";
import { EngineLock } from "./docker/engine-lock.ts";
import { EngineWatch } from "./docker/engine-watch.ts";
import { gpuReader } from "./gpu/amd.ts";
import { GpuWatch } from "./gpu/gpu-watch.ts";
import { Hardware } from "./gpu/hardware.ts";
import { AdapterList } from "./models/adapter-list.ts";
import { type AgentFile, agentFile, agentInstance, type Instance } from "./models/agent-file.ts";
import { type AgentSettings, agentSettings } from "./models/agent-settings.ts";
import { ContainerSpecs } from "./models/container-spec.ts";
import { EffectRecords } from "./models/effects.ts";
import { Generations } from "./models/generations.ts";
import { gpusOfContainer, Inventory } from "./models/inventory.ts";
import { ModelRegistry } from "./models/model-registry.ts";
import { ModelStatuses } from "./models/model-status.ts";
import type { PromptWatch } from "./models/model-transport.ts";
import { ModelViews } from "./models/model-view.ts";
import { PlacementOffers } from "./models/placement-offers.ts";
import { PrefixReports } from "./models/prefix-reports.ts";
import { RouterGoals } from "./models/router-goals.ts";
import { RouterShareMeter } from "./models/router-share-meter.ts";
import { type QueueLimits, Traffic } from "./models/traffic.ts";
import { type WarmUpOptions, WarmUps } from "./models/warm-ups.ts";
import { Notify } from "./notify.ts";
import { OPEN_KV_SOCKETS } from "./vllm/kv-event-args.ts";
import { KvSockets } from "./vllm/kv-sockets.ts";

/** Deadlines of the Docker CLI, ms. */
const DEADLINES = { deadlineMs: 20_000, pullSilenceMs: 300_000 };

/** State of the host, of the engine and of calls, and what reads it. The loop (`runAgent`) is made from these. */
export interface AgentParts {
	readonly config: Config;
	readonly env: Environment;
	readonly log: Pick<Log, "logger">;
	readonly file: AgentFile;
	readonly settings: AgentSettings;
	/** Makes it where there is none, so it is asked for once the port is the agent's. Each time the same, also where it can't be stored. */
	readonly instance: () => Instance;
	/** The agent's own key, of which those of its containers' vLLMs are made. */
	readonly vllmKey: string;
	/** How the router is reached besides: PEM of further authorities, and which proxy there is. */
	readonly ca: string | undefined;
	readonly proxyFor: ProxyChoice;
	/** To containers of this host, and to all else: the router, Hugging Face. */
	readonly http: Transport;
	readonly outside: Transport;
	readonly docker: Docker;
	readonly registry: ModelRegistry;
	/** Brings the loop's next tick forward. */
	readonly tick: Notify;
	/** Notified when the report to the router has changed. */
	readonly changes: Notify;
	readonly statuses: ModelStatuses;
	readonly traffic: Traffic;
	readonly gpus: GpuWatch;
	readonly hardware: Hardware;
	readonly generations: Generations;
	/** What the router wants of on-demand models, and what is offered to them here. */
	readonly goals: RouterGoals;
	readonly offers: PlacementOffers;
	readonly specs: ContainerSpecs;
	readonly engine: EngineWatch;
	/** How containers end. */
	readonly ends: ContainerEnds;
	readonly inventory: Inventory;
	/** What is in the prefix caches of its engines. */
	readonly prefixes: PrefixReports;
	/** What its new replicas compute ahead. */
	readonly warmUps: WarmUps;
	/** Where these have them from. */
	readonly kvSockets: KvSockets;
	readonly adapters: AdapterList;
	readonly records: EffectRecords;
	readonly views: ModelViews;
	readonly models: ContainerModels;
	readonly metrics: AgentMetrics;
	/** What the router shows since the last registration. */
	readonly credential: RouterCredential;
}

/** @param inventory is asked later: it is made of what counts calls */
function shareMeter(gpus: GpuWatch, inventory: () => Inventory): RouterShareMeter {
	return new RouterShareMeter({
		gpusOf: (container) => gpusOfContainer(inventory().items, container),
		wattsOf: (gpu) => gpus.reading.gpus.find(({ index }) => index === gpu)?.power ?? 0,
	});
}

/** Throws StartError for a model of the configuration that can't be run. Writes and logs nothing, runs nothing. */
export function createAgentParts(config: Config, env: Environment, log: Pick<Log, "logger">): AgentParts {
	const { agent, data_dir } = config;
	const [file, stallMs] = [agentFile(data_dir), agent.stall];
	const registry = new ModelRegistry(agent.models, file, agent.accelerator);
	const vllmKey = file.content.vllm_key ?? newKey();
	const settings = agentSettings(config, env, vllmKey);
	const [ca, proxyFor] = [readCa(config.ca_file), proxyFromEnvironment(env)];
	const [http, outside] = [httpTransport({ ca }), httpTransport({ ca, proxyFor })];
	const docker = dockerOf(settings, env);
	const [tick, changes] = [new Notify(), new Notify()];
	const statuses = new ModelStatuses();
	const gpus = new GpuWatch(env, gpuReader(agent.accelerator));
	const [shares, hardware] = [shareMeter(gpus, () => inventory), new Hardware(settings, gpus, file)];
	const traffic = new Traffic(queueLimits(agent), statuses, tick, shares);
	const [ends, lock] = [new ContainerEnds(), new EngineLock(settings.agent, settings.command, env)];
	const instance = instanceOf(data_dir);
	const owner = ownerOf(settings, () => instance().id);
	const [generations, offers] = [new Generations(file, agent.roll), new PlacementOffers()];
	const specs = new ContainerSpecs(registry, settings, hardware, owner, generations);
	const engine = new EngineWatch(docker, settings.agent, lock, owner, tick, ends);
	const inventory = new Inventory({ registry, specs, settings, docker, engine, traffic, http, stallMs, tick });
	const adapters = new AdapterList({ registry, inventory, log });
	const prefixes = prefixReports(log, changes, docker, config.agent.warm_up > 0);
	const metrics = agentMetrics({ registry, statuses, traffic, gpus, engine, inventory });
	const warmUps = createWarmUps({ config, prefixes, traffic, statuses, generations, metrics, log, tick });
	const prompts = promptWatch(warmUps, prefixes);
	return {
		config,
		env,
		log,
		file,
		settings,
		instance,
		vllmKey,
		ca,
		proxyFor,
		http,
		outside,
		docker,
		registry,
		tick,
		changes,
		statuses,
		traffic,
		gpus,
		hardware,
		generations,
		goals: new RouterGoals(tick),
		offers,
		specs,
		engine,
		ends,
		...{ inventory, prefixes, warmUps, adapters, metrics },
		kvSockets: new KvSockets(settings.kvDirectory, engineHost(settings.command, settings.variables).isHere),
		records: new EffectRecords(),
		views: new ModelViews(registry, statuses, inventory, traffic, adapters, gpus, generations, offers, shares),
		models: new ContainerModels({ registry, adapters, statuses, traffic, http, ends, prefixes: prompts, config }),
		credential: new RouterCredential(),
	};
}

/** Gives the instance of a data directory, read or made by the first call. */
function instanceOf(dataDir: string): () => Instance {
	let known: Instance | undefined;
	return () => {
		known ??= agentInstance(dataDir);
		return known;
	};
}

function queueLimits({ queue: { size, running, wait: waitMs } }: Config["agent"]): QueueLimits {
	return { size, running, waitMs };
}

function dockerOf({ command, network, namedNetwork }: AgentSettings, env: Environment): Docker {
	return new DockerCli({ command, env, network: namedNetwork === undefined ? network : undefined, ...DEADLINES });
}

function ownerOf({ agent, command }: AgentSettings, instance: () => string): ContainerOwner {
	return new ContainerOwner(agent, command, new AgentPresence(agent, instance), instance);
}

function prefixReports(log: Pick<Log, "logger">, changes: Notify, docker: Docker, keepsTokens: boolean): PrefixReports {
	// Where that fails the sockets stay closed, which the reports tell.
	const openSockets = (id: string) => void docker.exec(id, OPEN_KV_SOCKETS).catch(() => undefined);
	return new PrefixReports(log, () => changes.notify(), openSockets, keepsTokens);
}

function createWarmUps({
	config,
	statuses,
	generations,
	metrics,
	...options
}: Pick<WarmUpOptions, "prefixes" | "traffic" | "log" | "tick"> &
	Pick<AgentParts, "config" | "statuses" | "generations" | "metrics">): WarmUps {
	return new WarmUps({
		...options,
		mostMs: config.agent.warm_up,
		ended: metrics.events.warmed,
		isServing: (key) => statuses.replica(key)?.state === "ready",
		weightsOf: (key) => generations.at(key)?.spec.model,
	});
}

/** Hears of each call that a container is given. */
function promptWatch(warmUps: WarmUps, prefixes: PrefixReports): PromptWatch {
	return {
		given(id, request) {
			warmUps.given(id);
			return prefixes.given(id, request);
		},
	};
}

function newKey(): string {
	return Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString("base64url");
}

/**
 * What the router shows when it calls this agent: the secret of the last registration, and the one before that. Of several routers some call with
 * that until all have heard of the other.
 */
export class RouterCredential {
	#secret: string | undefined;
	#hashes: readonly Buffer[] = [];

	/** What the router authenticates with; undefined until the agent is registered. */
	readonly current: AgentCredential = () =>
		this.#hashes.length === 0 ? undefined : { name: "router", hashes: this.#hashes };

	set(secret: string): void {
		if (this.#secret === secret) return;
		this.#secret = secret;
		this.#hashes = [hashKey(secret), ...this.#hashes.slice(0, 1)];
	}
}
