/** The running agent: the loop over its containers, and its link to the router. */

import { agentTokens } from "../config/agent-tokens.ts";
import { type AgentRegistrar, MAX_MODELS, type ModelReport } from "../protocol/agent.ts";
import type { Transport } from "../providers/provider.ts";
import { readText } from "../proxy/net/read-body.ts";
import type { AgentParts } from "./agent-parts.ts";
import { engineHost } from "./docker/engine-host.ts";
import { containerMemory, readHostMemory } from "./gpu/host-reading.ts";
import { ModelInfoCache } from "./gpu/model-infos.ts";
import { Placer } from "./gpu/placer.ts";
import { ModelController } from "./models/controller.ts";
import { gpuReport } from "./models/model-view.ts";
import { RunningEffects } from "./models/running-effects.ts";
import { StatusPublisher } from "./models/status-publisher.ts";
import { inProcessClient } from "./router-link/link-client.ts";
import { startLink } from "./router-link/router-link.ts";
import { TunnelClient } from "./router-link/tunnel-client.ts";
import type { AgentAddress } from "./router-link/tunnel-pipe.ts";
import { ExternalVllm } from "./vllm/external-vllm.ts";

/** Of a request to Hugging Face, ms. */
const HUB_TIMEOUT_MS = 10_000;
const MAX_HUB_ANSWER = 16 * 1024 * 1024;

/** Where the agent has come up. */
export interface AgentSite {
	/** `http://127.0.0.1:5000` */
	readonly url: string;
	/** The port it got. */
	readonly port: number;
	/** A Unix socket where it listens, too. */
	readonly socket?: string | undefined;
	/** Runs once the process is told to stop, while calls are still taken. */
	readonly onDrain: (hook: () => unknown) => void;
}

/** What runs from then on. */
export interface AgentRun {
	/** Registers with the router of this process, unless the configuration names the router to join. */
	join(router: { readonly url: string; readonly registrar: AgentRegistrar }): void;
	end(): Promise<void>;
}

/** Begins, once the port is the agent's. Never throws. */
export function runAgent(parts: AgentParts, site: AgentSite): AgentRun {
	const { config, file, vllmKey, log, gpus, hardware, engine } = parts;
	const { agent } = config;
	const keyProblem = file.content.vllm_key ? undefined : file.update({ vllm_key: vllmKey });
	const { id: instance, problem } = parts.instance();
	for (const sentence of [keyProblem, problem]) if (sentence) log.logger.warn(sentence);
	const controller = createController(parts);
	controller.start();
	site.onDrain(() => engine.releaseLock());
	void gpus.first.then((reading) => {
		if (reading.problem && !hardware.problem) log.logger.info(`No GPU is used: ${reading.problem}.`);
	});
	let link: ReturnType<typeof linkTo> | undefined;
	if (agent.router !== undefined) link = linkTo(agent.router, parts, site, instance);
	site.onDrain(() => link?.stop());
	return {
		join(router) {
			link ??= linkTo(router.url, parts, site, instance, router.registrar);
		},
		async end() {
			await link?.stop();
			link?.endTunnel();
			controller.end();
			if (agent.stop_containers) await controller.stopContainers();
		},
	};
}

function createController(parts: AgentParts): ModelController {
	const { config, settings, outside, registry, gpus, specs, docker, engine, inventory, records, tick, log } = parts;
	const { ends, kvSockets } = parts;
	const { agent } = config;
	const source = {
		cacheDir: settings.cacheDir,
		endpoint: settings.hubEndpoint,
		isEngineHere: engineHost(settings.command, settings.variables).isHere,
		...(settings.hubToken !== undefined && { token: settings.hubToken }),
		get: (url: string, headers: Record<string, string>) => get(outside, url, headers),
	};
	const host = {
		read: () => (source.isEngineHere ? readHostMemory() : undefined),
		useOf: (container: string) => containerMemory(container),
	};
	const placer = new Placer(
		registry,
		gpus,
		new ModelInfoCache(source, tick),
		settings.cacheDir,
		specs,
		undefined,
		host,
		(entry) => parts.generations.replicas(entry).map(({ replica }) => replica),
	);
	const tools = {
		docker,
		env: settings.variables,
		specs,
		kvSockets,
		placer,
		inventory,
		records,
		engine,
		ends,
		warmUps: parts.warmUps,
	};
	return new ModelController({
		...parts,
		placer,
		effects: new RunningEffects(tools, log, tick),
		publisher: new StatusPublisher(parts),
		limits: {
			silenceMs: agent.start.silence,
			startMs: agent.start.limit,
			drainMs: config.server.shutdown_timeout,
		},
		switchAfterMs: agent.queue.switch_after,
		// As long as a call may take: none is cut.
		rollDrainMs: config.timeouts.total,
		events: parts.metrics.events,
	});
}

/** @param registrar of the router, where that is in this process */
function linkTo(
	router: string,
	parts: AgentParts,
	{ url, port, socket }: AgentSite,
	instance: string,
	registrar?: AgentRegistrar,
) {
	const { config, env, settings, http, outside, views, gpus, prefixes, changes, credential, goals, log } = parts;
	const { vllm_url, tunnel: mode } = config.agent;
	const advertise = config.agent.advertise ?? (registrar && url);
	const external = vllm_url ? new ExternalVllm(config, http, changes) : undefined;
	external?.start();
	const token = agentTokens(env)[0];
	const process = crypto.randomUUID();
	const client =
		mode !== "never" && !registrar
			? new TunnelClient({
					...parts,
					router,
					token,
					name: settings.agent,
					instance,
					process,
					site: socket === undefined ? siteOf(url) : { unix: socket },
					transport: outside,
				})
			: undefined;
	const link = startLink({
		router,
		token,
		name: settings.agent,
		instance,
		process,
		...(advertise !== undefined && { advertise }),
		port,
		transport: outside,
		tunnel: client && { mode: mode === "always" ? "always" : "auto", client },
		client: registrar && inProcessClient(registrar),
		report: () => ({
			models: joined(views.reports(), external?.reports() ?? []),
			gpus: gpus.reading.gpus.map(gpuReport),
		}),
		prefixes,
		changes,
		onSecret: (secret) => credential.set(secret),
		onGoals: (wanted) => goals.take(wanted),
		log,
	});
	return {
		async stop() {
			client?.drain();
			await link.stop();
			external?.end();
		},
		/** Once calls are over. */
		endTunnel: () => client?.stop(),
	};
}

/** Where this machine reaches the agent that listens there. */
function siteOf(url: string): AgentAddress {
	const { hostname, port } = new URL(url);
	const host = hostname.replace(/^\[|\]$/g, "");
	return { hostname: host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host, port: Number(port) };
}

/** A report of both, as many as a router takes; of two with one name the agent's own, as calls are answered. */
function joined(own: readonly ModelReport[], others: readonly ModelReport[]): ModelReport[] {
	const names = new Set(own.map(({ name }) => name));
	return [...own, ...others.filter(({ name }) => !names.has(name))].slice(0, MAX_MODELS);
}

async function get(transport: Transport, url: string, headers: Record<string, string>) {
	const answer = await transport.send({ url, headers }, AbortSignal.timeout(HUB_TIMEOUT_MS));
	return { status: answer.status, body: await readText(answer, MAX_HUB_ANSWER) };
}
