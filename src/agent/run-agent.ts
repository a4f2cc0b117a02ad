/** The running agent: the loop over its containers, and its link to the router. */

import { agentTokens } from "../config/agent-tokens.ts";
import type { Transport } from "../providers/provider.ts";
import { readText } from "../proxy/net/read-body.ts";
import type { AgentParts } from "./agent-parts.ts";
import { ModelInfoCache } from "./gpu/model-infos.ts";
import { Placer } from "./gpu/placer.ts";
import { agentInstance } from "./models/agent-file.ts";
import { ModelController } from "./models/controller.ts";
import { gpuReport } from "./models/model-view.ts";
import { RunningEffects } from "./models/running-effects.ts";
import { StatusPublisher } from "./models/status-publisher.ts";
import { startLink } from "./router-link/router-link.ts";
import { ExternalVllm } from "./vllm/external-vllm.ts";

/** Of a request to Hugging Face, ms. */
const HUB_TIMEOUT_MS = 10_000;
const MAX_HUB_ANSWER = 16 * 1024 * 1024;

/** Where the agent has come up. */
export interface AgentSite {
	/** The port it got. */
	readonly port: number;
	/** Runs once the process is told to stop, while calls are still taken. */
	readonly onDrain: (hook: () => unknown) => void;
}

/** Begins, once the port is the agent's; returns how to end. Never throws. */
export function runAgent(parts: AgentParts, site: AgentSite): () => Promise<void> {
	const { config, file, vllmKey, log, gpus, hardware, engine, http, changes } = parts;
	const { agent, data_dir } = config;
	const keyProblem = file.content.vllm_key ? undefined : file.update({ vllm_key: vllmKey });
	const { id: instance, problem } = agentInstance(data_dir);
	for (const sentence of [keyProblem, problem]) if (sentence) log.logger.warn(sentence);
	const controller = createController(parts);
	controller.start();
	site.onDrain(() => engine.releaseLock());
	void gpus.first.then((reading) => {
		if (reading.problem && !hardware.problem) log.logger.info(`No GPU is used: ${reading.problem}.`);
	});
	const external = agent.vllm_url && agent.router ? new ExternalVllm(config, http, changes) : undefined;
	external?.start();
	const link = agent.router === undefined ? undefined : linkTo(agent.router, parts, site.port, instance, external);
	site.onDrain(() => link?.stop());
	return async () => {
		await link?.stop();
		external?.end();
		controller.end();
		if (agent.stop_containers) await controller.stopContainers();
	};
}

function createController(parts: AgentParts): ModelController {
	const { config, settings, outside, registry, gpus, specs, docker, inventory, records, tick, log } = parts;
	const { agent } = config;
	const source = {
		cacheDir: settings.cacheDir,
		endpoint: settings.hubEndpoint,
		...(settings.hubToken !== undefined && { token: settings.hubToken }),
		get: (url: string, headers: Record<string, string>) => get(outside, url, headers),
	};
	const placer = new Placer(registry, gpus, new ModelInfoCache(source, tick), settings.cacheDir, specs);
	const tools = { docker, env: settings.variables, specs, placer, inventory, records };
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
		events: parts.metrics.events,
	});
}

function linkTo(
	router: string,
	{ config, env, settings, outside, views, gpus, changes, credential, log }: AgentParts,
	port: number,
	instance: string,
	external: ExternalVllm | undefined,
) {
	const { advertise } = config.agent;
	return startLink({
		router,
		token: agentTokens(env)[0],
		name: settings.agent,
		instance,
		...(advertise !== undefined && { advertise }),
		port,
		transport: outside,
		report: () => ({
			models: [...views.reports(), ...(external?.reports() ?? [])],
			gpus: gpus.reading.gpus.map(gpuReport),
		}),
		changes,
		onSecret: (secret) => credential.set(secret),
		log,
	});
}

async function get(transport: Transport, url: string, headers: Record<string, string>) {
	const answer = await transport.send({ url, headers }, AbortSignal.timeout(HUB_TIMEOUT_MS));
	return { status: answer.status, body: await readText(answer, MAX_HUB_ANSWER) };
}
