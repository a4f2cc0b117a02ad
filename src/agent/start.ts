/** The agent role: for now a relay to a vLLM that already runs. */

import type { Loaded } from "../config/load.ts";
import { startRole } from "../http/role.ts";
import { versioned } from "../providers/registry.ts";
import { TABLE } from "../providers/table.ts";
import type { Running } from "../running.ts";
import { agentCatalog } from "./catalog.ts";

/** Starts the agent. Throws StartError as the router does. */
export async function startAgent(loaded: Loaded, env: Readonly<Record<string, string | undefined>>): Promise<Running> {
	const { config } = loaded;
	const { host, port, vllm_url, vllm_api_key } = config.agent;
	const token = env["ROUTER_AGENT_TOKEN"];
	return startRole({
		role: "agent",
		loaded,
		env,
		host,
		port,
		keys: token ? [{ name: "router", key: token, models: ["*"] }] : [],
		keyHint: "set ROUTER_AGENT_TOKEN",
		upstreams: [
			{
				name: "vllm",
				type: "vllm",
				row: { ...TABLE.vllm, baseUrlVariable: "VLLM_BASE_URL" },
				baseUrl: versioned(vllm_url, TABLE.vllm, "VLLM_BASE_URL"),
				apiKey: vllm_api_key,
				variable: "VLLM_API_KEY",
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
		lines: [`vLLM     ${vllm_url} (VLLM_BASE_URL)`],
	});
}
