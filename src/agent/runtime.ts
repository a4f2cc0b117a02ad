/** The agent's parts, put together. Nothing runs before `begin`. */
import { type AgentCredential, hashKey } from "../accounts/auth/keys.ts";
import { agentTokens } from "../config/agent-tokens.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Config } from "../config/schema.ts";
import type { Transport } from "../providers/provider.ts";
import { proxyFromEnvironment } from "../proxy/net/environment-proxy.ts";
import { readText } from "../proxy/net/read-body.ts";
import { httpTransport, readCa } from "../proxy/net/transport.ts";
import type { Log } from "../telemetry/log.ts";
import { agentApi } from "./agent-api.ts";
import type { ContainerModels } from "./agent-catalog.ts";
import { agentMetrics } from "./agent-metrics.ts";
import { modelProviders } from "./agent-providers.ts";
import { createDocker } from "./docker/docker.ts";
import { GpuWatch } from "./gpu/gpu-watch.ts";
import { ModelInfoCache } from "./gpu/model-infos.ts";
import { agentFile, agentInstance } from "./models/agent-file.ts";
import { agentSettings } from "./models/agent-settings.ts";
import { ModelController } from "./models/controller.ts";
import { ModelRegistry } from "./models/model-registry.ts";
import { gpuReport, ModelViews } from "./models/model-view.ts";
import { Traffic } from "./models/traffic.ts";
import { type RouterLink, startLink } from "./router-link/router-link.ts";
import { ExternalVllm } from "./vllm/external-vllm.ts";

/** Deadlines of the Docker CLI, ms. */
const DOCKER_TIMEOUT_MS = 20_000;
const PULL_SILENCE_MS = 300_000;
/** Of a question to Hugging Face, ms. */
const HUB_TIMEOUT_MS = 10_000;
const MAX_HUB_ANSWER = 16 * 1024 * 1024;

/** The agent, ready to begin. */
export interface Runtime {
	readonly own: ContainerModels;
	/** Its own API. @param authorize throws for who may not use it */
	routes(authorize: (request: Request) => void): ReturnType<typeof agentApi>;
	/** Its own metrics, in the Prometheus text format. */
	metricsText(): Promise<string>;
	/** Begins, once the port is the agent's; returns how to end. */
	begin(site: AgentSite): () => Promise<void>;
	/** What the router shows since the last registration. */
	readonly credential: AgentCredential;
}

/** Where the agent has come up. */
export interface AgentSite {
	/** The port it got. */
	readonly port: number;
	/** Runs once the process is told to stop, while calls are still taken. */
	readonly onDrain: (hook: () => unknown) => void;
}

/** Throws StartError for a model of the configuration that can't be run. Writes and logs nothing yet. */
export function createRuntime(config: Config, env: Environment, log: Pick<Log, "logger">): Runtime {
	const { agent, data_dir } = config;
	const file = agentFile(data_dir);
	const registry = new ModelRegistry(agent.models, file);
	const vllmKey =
		file.content.vllm_key ?? Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString("base64url");
	const settings = agentSettings(config, env, vllmKey);
	const ca = readCa(config.ca_file);
	const http = httpTransport({ ca });
	const outside = httpTransport({ ca, proxyFor: proxyFromEnvironment(env) });
	const docker = createDocker({
		command: settings.command,
		env,
		deadlineMs: DOCKER_TIMEOUT_MS,
		pullSilenceMs: PULL_SILENCE_MS,
	});
	const metrics = agentMetrics();
	const gpus = new GpuWatch(env);
	let link: RouterLink | undefined;
	let secret: string | undefined;
	const traffic: Traffic = new Traffic(
		{ size: agent.queue.size, running: agent.queue.running, waitMs: agent.queue.wait },
		(model) => progress(model),
		() => controller.requestTick(),
	);
	const infos = new ModelInfoCache(
		{
			cacheDir: settings.cacheDir,
			endpoint: settings.hubEndpoint,
			...(settings.hubToken !== undefined && { token: settings.hubToken }),
			get: (url, headers) => get(outside, url, headers),
		},
		() => controller.requestTick(),
	);
	const controller: ModelController = new ModelController({
		registry,
		settings,
		docker,
		env,
		http,
		gpus,
		infos,
		file,
		traffic,
		limits: {
			silenceMs: agent.start.silence,
			startMs: agent.start.limit,
			drainMs: config.server.shutdown_timeout,
		},
		switchAfterMs: agent.queue.switch_after,
		stallMs: agent.stall,
		events: metrics.events,
		log: () => log.logger,
		onChange: () => link?.changed(),
	});
	const views = new ModelViews(registry, controller, traffic);
	const progress = (model: string) => views.progress(model) ?? controller.statusOf(model).state;
	const providerOf = modelProviders({ registry, traffic, http, key: vllmKey, config, progress });
	const external = agent.vllm_url && agent.router ? new ExternalVllm(config, http, () => link?.changed()) : undefined;
	metrics.watch({
		registry,
		controller,
		traffic,
		gpus,
		vllms: () =>
			controller.inventory.items.flatMap(({ model, replica, origin, health }) =>
				origin && health === "up" ? [{ model, replica: String(replica), vllm: controller.vllm(origin) }] : [],
			),
	});

	const isCallable = (name: string) => {
		const entry = registry.get(name);
		if (!entry) return false;
		if (/ready|sleeping|starting|pulling/.test(controller.statusOf(name).state)) return true;
		return entry.order !== "unload" && (entry.load !== "manual" || entry.order === "load");
	};

	return {
		own: {
			names: () => registry.all().flatMap(({ spec: { name } }) => (isCallable(name) ? [name] : [])),
			find: (name) => {
				const provider = providerOf(name);
				return provider && { provider, replicas: registry.get(name)?.spec.replicas ?? 1 };
			},
			defaultModel: () => {
				const callable = registry.all().flatMap(({ spec: { name } }) => (isCallable(name) ? [name] : []));
				return callable.find((name) => controller.statusOf(name).state === "ready") ?? callable[0];
			},
		},
		routes: (authorize) => {
			const warn = (sentence: string) => log.logger.warn(sentence);
			return agentApi({ registry, controller, views, docker, gpus, authorize, warn });
		},
		metricsText: () => metrics.text(),
		begin({ port, onDrain }) {
			const problems = [file.content.vllm_key ? undefined : file.update({ vllm_key: vllmKey })];
			const { id: instance, problem } = agentInstance(data_dir);
			for (const sentence of [...problems, problem]) if (sentence) log.logger.warn(sentence);
			controller.start();
			onDrain(() => controller.releaseEngine());
			void gpus.first.then((reading) => {
				if (reading.problem && !controller.hardware.problem) log.logger.info(`No GPU is used: ${reading.problem}.`);
			});
			external?.start();
			if (agent.router !== undefined) {
				link = startLink({
					router: agent.router,
					token: agentTokens(env)[0],
					name: settings.agent,
					instance,
					...(agent.advertise !== undefined && { advertise: agent.advertise }),
					port,
					transport: outside,
					report: () => ({
						models: [...views.reports(), ...(external?.reports() ?? [])],
						gpus: gpus.reading.gpus.map(gpuReport),
					}),
					onSecret: (given) => {
						secret = given;
					},
					log,
				});
				onDrain(() => link?.stop());
			}
			return async () => {
				await link?.stop();
				external?.end();
				controller.end();
				if (agent.stop_containers) await controller.stopContainers();
			};
		},
		credential: () => (secret === undefined ? undefined : { name: "router", hash: hashKey(secret) }),
	};
}

async function get(transport: Transport, url: string, headers: Record<string, string>) {
	const answer = await transport.send({ url, headers }, AbortSignal.timeout(HUB_TIMEOUT_MS));
	return { status: answer.status, body: await readText(answer, MAX_HUB_ANSWER) };
}
