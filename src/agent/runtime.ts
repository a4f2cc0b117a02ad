/** The agent's parts, put together. Nothing runs before `begin`. */
import { agentTokens } from "../config/agent-tokens.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Config } from "../config/schema.ts";
import type { Transport } from "../providers/provider.ts";
import { proxyFromEnvironment } from "../proxy/net/environment-proxy.ts";
import { readText } from "../proxy/net/read-body.ts";
import { httpTransport, readCa } from "../proxy/net/transport.ts";
import type { RoleExtension, RoleSite, RoleTools } from "../server/role-plan.ts";
import type { Log } from "../telemetry/log.ts";
import { agentApi } from "./agent-api.ts";
import type { OwnModels } from "./agent-catalog.ts";
import { agentMetrics } from "./agent-metrics.ts";
import { modelProviders } from "./agent-providers.ts";
import { createDocker } from "./docker/docker.ts";
import { GpuWatch } from "./gpu/gpu-watch.ts";
import { ModelInfos } from "./gpu/model-infos.ts";
import { agentFile } from "./models/agent-file.ts";
import { agentSettings } from "./models/agent-settings.ts";
import { ModelController } from "./models/controller.ts";
import { ModelRegistry } from "./models/model-registry.ts";
import { gpuReport, Views } from "./models/model-view.ts";
import { Traffic } from "./models/traffic.ts";
import { agentInstance } from "./router-link/instance.ts";
import { type Link, startLink } from "./router-link/router-link.ts";
import { Joined } from "./vllm/external-vllm.ts";

/** Deadlines of the Docker CLI, ms. */
const DOCKER_MS = 20_000;
const PULL_SILENCE_MS = 300_000;
/** Of a question to Hugging Face, ms. */
const HUB_MS = 10_000;
const MOST_HUB = 16 * 1024 * 1024;

/** The agent, ready to begin. */
export interface Runtime {
	readonly own: OwnModels;
	/** Its routes and metrics. */
	extension(tools: RoleTools): RoleExtension;
	/** Begins, once the port is the agent's; returns how to end. */
	begin(site: RoleSite): () => Promise<void>;
	/** The secret that the router shows since the last registration. */
	routerSecret(): string | undefined;
}

/** Throws StartError for a model of the configuration that can't be run. Writes nothing yet. */
export function createRuntime(config: Config, env: Environment): Runtime {
	const { agent, data_dir } = config;
	const file = agentFile(data_dir);
	const book = new ModelRegistry(agent.models, file);
	const vllmKey =
		file.content.vllm_key ?? Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString("base64url");
	const settings = agentSettings(config, env, vllmKey);
	const ca = readCa(config.ca_file);
	const http = httpTransport({ ca });
	const outside = httpTransport({ ca, proxyFor: proxyFromEnvironment(env) });
	const docker = createDocker({
		command: settings.command,
		env,
		deadlineMs: DOCKER_MS,
		pullSilenceMs: PULL_SILENCE_MS,
	});
	const metrics = agentMetrics();
	const gpus = new GpuWatch(env);
	let log: Log["logger"] | undefined;
	let link: Link | undefined;
	let secret: string | undefined;
	const traffic: Traffic = new Traffic(
		{ size: agent.queue.size, running: agent.queue.running, waitMs: agent.queue.wait },
		(model) => progress(model),
		() => host.look(),
	);
	const infos = new ModelInfos(
		{
			cacheDir: settings.cacheDir,
			endpoint: settings.hubEndpoint,
			...(settings.hubToken !== undefined && { token: settings.hubToken }),
			get: (url, headers) => get(outside, url, headers),
		},
		() => host.look(),
	);
	const host: ModelController = new ModelController({
		book,
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
		log: () => log!,
		onChange: () => link?.changed(),
	});
	const views = new Views(book, host, traffic);
	const progress = (model: string) => views.progress(model) ?? host.whole(model).state;
	const providerOf = modelProviders({ book, traffic, http, key: vllmKey, config, progress });
	const joined = agent.vllm_url && agent.router ? new Joined(config, http, () => link?.changed()) : undefined;
	metrics.watch({
		book,
		host,
		traffic,
		gpus,
		vllms: () =>
			host.inventory.items.flatMap(({ model, replica, origin, health }) =>
				origin && health === "up" ? [{ model, replica: String(replica), vllm: host.vllm(origin) }] : [],
			),
	});

	const isCallable = (name: string) => {
		const entry = book.get(name);
		if (!entry) return false;
		if (/ready|sleeping|starting|pulling/.test(host.whole(name).state)) return true;
		return entry.order !== "unload" && (entry.load !== "manual" || entry.order === "load");
	};

	return {
		own: {
			names: () => book.all().flatMap(({ spec: { name } }) => (isCallable(name) ? [name] : [])),
			find: (name) => {
				const provider = providerOf(name);
				return provider && { provider, replicas: book.get(name)?.spec.replicas ?? 1 };
			},
			any: () => {
				const callable = book.all().flatMap(({ spec: { name } }) => (isCallable(name) ? [name] : []));
				return callable.find((name) => host.whole(name).state === "ready") ?? callable[0];
			},
		},
		extension: ({ log: roleLog, gate, refuse }) => ({
			routes: agentApi({
				book,
				host,
				views,
				docker,
				gpus,
				admit(request) {
					const refusal = gate.isOpen ? refuse(request) : undefined;
					if (refusal) throw refusal;
					gate.admit(request.headers);
				},
				warn: (sentence) => roleLog.logger.warn(sentence),
			}),
			metrics: () => metrics.text(),
		}),
		begin({ port, log: roleLog, onDrain }) {
			log = roleLog.logger;
			const problems = [file.content.vllm_key ? undefined : file.change({ vllm_key: vllmKey })];
			const { id: instance, problem } = agentInstance(data_dir);
			for (const sentence of [...problems, problem]) if (sentence) log.warn(sentence);
			host.start();
			onDrain(() => host.yield());
			void gpus.first.then((reading) => {
				if (reading.problem && !host.hardware.problem) roleLog.logger.info(`No GPU is used: ${reading.problem}.`);
			});
			joined?.start();
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
						models: [...views.reports(), ...(joined?.reports() ?? [])],
						gpus: gpus.reading.gpus.map(gpuReport),
					}),
					onSecret: (given) => {
						secret = given;
					},
					log: roleLog,
				});
				onDrain(() => link?.stop());
			}
			return async () => {
				await link?.stop();
				joined?.end();
				host.end();
				if (agent.stop_containers) await host.stopContainers();
			};
		},
		routerSecret: () => secret,
	};
}

async function get(transport: Transport, url: string, headers: Record<string, string>) {
	const answer = await transport.send({ url, headers }, AbortSignal.timeout(HUB_MS));
	return { status: answer.status, body: await readText(answer, MOST_HUB) };
}
