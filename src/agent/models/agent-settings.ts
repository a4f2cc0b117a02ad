/** The settings of all containers, from the configuration. */
import { homedir, hostname } from "node:os";
import { join, resolve } from "node:path";
import type { Environment } from "../../config/interpolate.ts";
import type { Config } from "../../config/schema.ts";
import { engineCommand, engineOf, isRootsEngine } from "../docker/engine-host.ts";
import { privateNetwork } from "../docker/private-network.ts";
import type { Accelerator, SpecSettings } from "./model-spec.ts";

/** Seconds that vLLM may finish running calls after SIGTERM. */
const SHUTDOWN_S = 30;
const HUB = "https://huggingface.co";

/** What every container of this agent is made from, but for what runs on. */
export interface AgentSettings extends Omit<SpecSettings, "accelerator" | "driver"> {
	readonly accelerator: "auto" | Accelerator;
	/** Values of the containers' variables. */
	readonly variables: Environment;
	/** The agent's own key, of which those of its containers are made. */
	readonly vllmKey: string;
	/** Absolute: what the sockets of its engines' KV events are in. */
	readonly kvDirectory: string;
	readonly hubEndpoint: string;
	readonly hubToken?: string | undefined;
}

/** The agent's name: as it is set, else the host's, without what no name may hold. */
export function agentName({ agent }: Pick<Config, "agent">): string {
	return (
		agent.name ??
		(hostname()
			.replace(/[^A-Za-z0-9._-]/g, "-")
			.replace(/^[^A-Za-z0-9]+/, "")
			.slice(0, 64) ||
			"agent")
	);
}

/** @param vllmKey the agent's own key */
export function agentSettings(config: Config, env: Environment, vllmKey: string): AgentSettings {
	const { docker, accelerator, image, registry, network, cache_dir, hf_token, hf_endpoint, sleep } = config.agent;
	const agent = agentName(config);
	const command = engineCommand(docker, env);
	const own = privateNetwork(agent, { engine: engineOf(command, env), isRoot: isRootsEngine(command, env) });
	const used = network ?? own;
	const hubEndpoint = hf_endpoint.replace(/\/+$/, "");
	const variables: Record<string, string> = {
		VLLM_API_KEY: vllmKey,
		...(hf_token !== undefined && { HF_TOKEN: hf_token }),
		...(hubEndpoint !== HUB && { HF_ENDPOINT: hubEndpoint }),
	};
	return {
		agent,
		command,
		accelerator,
		...(image !== undefined && { image }),
		...(registry !== undefined && { registry }),
		...(used !== undefined && { network: used }),
		...(network !== undefined && { namedNetwork: network }),
		cacheDir: cache_dir ?? join(cacheHome(config, env), "huggingface"),
		env: Object.keys(variables),
		shutdownTimeoutS: SHUTDOWN_S,
		sleep,
		kvEvents: config.agent.kv_events,
		variables: { ...env, ...variables },
		vllmKey,
		kvDirectory: resolve(config.data_dir, "kv"),
		hubEndpoint,
		hubToken: hf_token,
	};
}

/** Hugging Face's default directory; for a service without a home the data directory. */
function cacheHome({ data_dir }: Config, env: Environment): string {
	const base = env["XDG_CACHE_HOME"] ?? (env["HOME"] ? join(env["HOME"], ".cache") : undefined);
	if (base) return base;
	return env["STATE_DIRECTORY"] ? data_dir : join(homedir(), ".cache");
}
