/** What the agent role will be: models in containers of its own, a vLLM that already runs, or both. */

import { isLoopback } from "../accounts/auth/listen-policy.ts";
import { agentTokens } from "../config/agent-tokens.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Loaded } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { type Upstream, versioned, withoutSecrets } from "../providers/registry.ts";
import { createServices } from "../server/role.ts";
import { plannedEntries, type RolePlan } from "../server/role-plan.ts";
import { VENDORS } from "../vendors.ts";
import { createAgentParts } from "./agent-parts.ts";
import { agentName } from "./models/agent-settings.ts";
import { ModelRegistry } from "./models/model-registry.ts";

/** The plan. Opens nothing. Throws StartError where `agent.vllm_url` is no usable address. */
export function agentPlan({ config, sources }: Pick<Loaded, "config" | "sources">, env: Environment): RolePlan {
	const { port, vllm_url } = config.agent;
	const isHostSet = sources.of(["agent", "host"]).from !== "default";
	return {
		role: "agent",
		workers: 1,
		config,
		env,
		host: isHostSet ? config.agent.host : hostFor(config),
		port,
		// No TLS: in one process the router would not trust its own certificate.
		keys: agentTokens(env).map((key, at) => ({ name: at === 0 ? "router" : `router-${at + 1}`, key, models: ["*"] })),
		// The router has to know the agent's token: with one that the agent generated it could not call.
		generatesKey: false,
		keyHint: "set ROUTER_AGENT_TOKEN",
		upstreams: vllm_url === undefined ? [] : [externalUpstream(vllm_url, config)],
		title: "router agent",
		description: "The models of this GPU host, as an OpenAI API.",
		lines: lines(config),
	};
}

/**
 * Decides what a start decides before it tries the port. Opens nothing.
 * @throws {StartError} all that a start would refuse, a model that can't be run for one
 */
export function checkAgent(loaded: Pick<Loaded, "config" | "sources">, env: Environment): void {
	const plan = agentPlan(loaded, env);
	const { log } = createServices(plan);
	createAgentParts(loaded.config, env, log);
	plannedEntries(plan);
}

/** @throws {FindingsError} models of the configuration that can't be run, for one who runs no agent with it */
export function checkModels({ agent }: Pick<Config, "agent">): void {
	new ModelRegistry(agent.models, { content: {}, update: () => undefined }, agent.accelerator);
}

/** A router on another machine has to reach the agent. */
function hostFor({ agent }: Config): string {
	// Through a tunnel it is reached from this machine.
	if (agent.tunnel === "always") return agent.host;
	const url = URL.parse(agent.router ?? "");
	return url && !isLoopback(url.hostname) ? "0.0.0.0" : agent.host;
}

function lines(config: Config): string[] {
	const { docker, models, router, vllm_url } = config.agent;
	const names = models.map(({ name, model, load }) => `${name ?? model} (${load})`);
	return [
		...(vllm_url ? [`vLLM     ${withoutSecrets(vllm_url)} (VLLM_BASE_URL)`] : []),
		`models   ${names.length > 0 ? names.join(", ") : "none yet"}, by ${docker}`,
		...(router ? [`joins    ${withoutSecrets(router)} as ${agentName(config)}`] : []),
	];
}

function externalUpstream(address: string, { agent, timeouts }: Config): Upstream {
	return {
		name: "vllm",
		type: "vllm",
		row: { ...VENDORS.vllm, baseUrlVariable: "VLLM_BASE_URL" },
		baseUrl: versioned(address, VENDORS.vllm, "VLLM_BASE_URL"),
		apiKey: agent.vllm_api_key,
		variable: "VLLM_API_KEY",
		keySetting: "VLLM_API_KEY",
		addressPath: "agent.vllm_url",
		state: "ready",
		headers: {},
		routesModels: false,
		keepsSystemPrompt: false,
		timeouts,
	};
}
