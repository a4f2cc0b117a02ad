/** What the agent role will be: for now a relay to a vLLM that already runs. */
import type { Environment } from "../config/interpolate.ts";
import type { Config } from "../config/schema.ts";
import type { RolePlan } from "../http/role-plan.ts";
import { versioned, withoutSecrets } from "../providers/registry.ts";
import { TABLE } from "../providers/table.ts";
import { agentCatalog } from "./catalog.ts";

/** The plan. Opens nothing. Throws StartError where `agent.vllm_url` is no usable address. */
export function agentPlan(config: Config, env: Environment): RolePlan {
	const { host, port, vllm_url = "http://localhost:8001", vllm_api_key } = config.agent;
	const token = env["ROUTER_AGENT_TOKEN"];
	return {
		role: "agent",
		config,
		env,
		host,
		port,
		// No TLS: in one process the router would not trust its own certificate.
		keys: token ? [{ name: "router", key: token, models: ["*"] }] : [],
		// The agent's token is known to two: one that it made itself would shut its own router out.
		generatesKey: false,
		keyHint: "set ROUTER_AGENT_TOKEN",
		upstreams: [
			{
				name: "vllm",
				type: "vllm",
				row: { ...TABLE.vllm, baseUrlVariable: "VLLM_BASE_URL" },
				baseUrl: versioned(vllm_url, TABLE.vllm, "VLLM_BASE_URL"),
				apiKey: vllm_api_key,
				variable: "VLLM_API_KEY",
				keySetting: "VLLM_API_KEY",
				addressPath: "agent.vllm_url",
				state: "ready",
				headers: {},
				keepsSystemPrompt: false,
				timeouts: config.timeouts,
			},
		],
		catalogOf: agentCatalog,
		title: "router agent",
		description: "The models of this GPU host, as an OpenAI API.",
		lines: [`vLLM     ${withoutSecrets(vllm_url)} (VLLM_BASE_URL)`],
	};
}
