/** A GPU host of the tests' own: a Docker Engine with the sim's image, `nvidia-smi`, and agents on it that share a data directory. */
import { afterAll, afterEach, beforeAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { ModelView } from "../../src/agent/models/model-view.ts";
import { type DockerEngine, type EngineOptions, startDockerEngine } from "./docker.ts";
import type { Json } from "./exchange.ts";
import { type NvidiaSmi, nvidiaSmi } from "./nvidia-smi.ts";
import { type RouterOptions, type RunningRouter, startRouter } from "./router.ts";
import { until } from "./until.ts";

/** Nothing answers there: sizes of models are not known, at once. */
const NO_HUB = "http://127.0.0.1:1";
const IMAGE = "vllm-sim:test";

/** How to start one. */
export interface HostOptions extends EngineOptions {
	/** GPUs; without any it serves on its CPU. */
	readonly gpus?: "1x24GB" | "8x80GB";
	/** SIM_… switches baked into the image. */
	readonly sim?: Readonly<Record<string, string>>;
}

/** How to start an agent on it. */
export interface AgentOptions extends Omit<RouterOptions, "config"> {
	/** Entries of `agent.models`. */
	readonly models?: readonly Json[];
	/** Further settings of `agent:`. */
	readonly agent?: Json;
	readonly config?: Json;
}

/** The host. */
export interface AgentHost {
	readonly engine: DockerEngine;
	readonly smi: NvidiaSmi | undefined;
	/** An agent; several, one after the other, know what those before knew. */
	agent(options?: AgentOptions): Promise<RunningRouter>;
	/** Ids of the agent's containers, running or not. */
	containers(all?: boolean): Promise<string[]>;
	stop(): Promise<void>;
}

export async function startAgentHost({ gpus, sim = {}, ...options }: HostOptions = {}): Promise<AgentHost> {
	const directory = mkdtempSync(join(tmpdir(), "router-agent-"));
	const engine = await startDockerEngine(options);
	const smi = gpus && nvidiaSmi(gpus);
	await engine.importSim(IMAGE, { ...(gpus ? {} : { SIM_DEVICE: "any" }), ...sim });
	return {
		engine,
		smi,
		agent: ({ models, agent, config, args = ["--agent"], env, ...more } = {}) =>
			startRouter({
				...more,
				args,
				env: {
					...engine.env,
					PATH: [...(smi ? [smi.bin] : []), process.env["PATH"]].join(delimiter),
					DATA_DIR: join(directory, "data"),
					HF_HOME: join(directory, "hf"),
					HF_ENDPOINT: NO_HUB,
					...env,
				},
				config: { ...config, agent: { image: IMAGE, name: "test", ...(models && { models }), ...agent } },
			}),
		async containers(all = false) {
			const flags = ["ps", "--quiet", "--no-trunc", ...(all ? ["--all"] : [])];
			return (await engine.docker(...flags)).split("\n").filter((id) => id !== "");
		},
		async stop() {
			await engine.stop();
			smi?.[Symbol.dispose]();
			rmSync(directory, { recursive: true, force: true });
		},
	};
}

/**
 * A host for the tests of one `describe`: `ready` gets it before the first. After each test the agents of the list that is returned are stopped, and
 * what containers they left are removed; after the last the host goes.
 */
export function agentHostOf(options: HostOptions, ready: (host: AgentHost) => unknown): RunningRouter[] {
	let host: AgentHost;
	const agents: RunningRouter[] = [];
	beforeAll(async () => {
		host = await startAgentHost(options);
		await ready(host);
	}, 60_000);
	afterEach(async () => {
		await Promise.all(agents.splice(0).map((agent) => agent.stop()));
		const left = await host.containers(true);
		if (left.length > 0) await host.engine.docker("rm", "--force", ...left);
	}, 60_000);
	afterAll(() => host?.stop(), 60_000);
	return agents;
}

/** What an agent says of a model. */
export async function modelOf(agent: Pick<RunningRouter, "url">, name: string): Promise<ModelView> {
	const answer = await fetch(`${agent.url}/models/${name}`);
	if (!answer.ok) throw new Error(`GET /models/${name} is ${answer.status}: ${await answer.text()}`);
	return (await answer.json()) as ModelView;
}

/** The key of a container's vLLM, as the engine shows it to who may use it. */
export async function keyOf({ engine }: Pick<AgentHost, "engine">, container: string): Promise<string> {
	const variables: string[] = JSON.parse(await engine.docker("inspect", "--format", "{{json .Config.Env}}", container));
	return variables.find((each) => each.startsWith("VLLM_API_KEY="))!.slice("VLLM_API_KEY=".length);
}

/** Waits until a model is in a state, 30 s at most; what is said of it then. */
export async function becomes(agent: RunningRouter, name: string, state: ModelView["state"]): Promise<ModelView> {
	let seen: ModelView | undefined;
	try {
		await until(async () => {
			seen = await modelOf(agent, name);
			return seen.state === state;
		});
	} catch {
		throw new Error(`${name} never became ${state}: ${JSON.stringify(seen)}\n${agent.output()}`);
	}
	return seen!;
}

/** POSTs to an agent's own API. */
export function order(agent: RunningRouter, name: string, what: "load" | "unload", body?: Json): Promise<Response> {
	return fetch(`${agent.url}/models/${name}/${what}`, {
		method: "POST",
		...(body && { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
	});
}
