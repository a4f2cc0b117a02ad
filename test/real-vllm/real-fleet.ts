/** A router, an agent, and replicas of a tiny model in containers with vLLM itself, on the CPU. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Explanation } from "../../src/routing/explain.ts";
import { keyOf, modelOf } from "../kit/agent-host.ts";
import { type DockerEngine, startDockerEngine } from "../kit/docker.ts";
import type { Json } from "../kit/exchange.ts";
import { type RunningRouter, startRouter } from "../kit/router.ts";
import { importRealVllm, REAL_IMAGE, REAL_VLLM, realMounts, run } from "./engine-image.ts";

const NAME = "real";
const REPLICAS = 2;
/** Tokens a block: vLLM takes multiples of 32 on the CPU. */
export const BLOCK = 32;
/** Of a whole cache: some three of the prompts that it is given. */
const BLOCKS = 160;
const ARGS = [
	...["--load-format", "dummy", "--enforce-eager", "--max-model-len", "4096", "--enable-prompt-tokens-details"],
	...["--block-size", String(BLOCK), "--num-gpu-blocks-override", String(BLOCKS)],
];
/** How long a start may take, ms. */
const START_MS = 15 * 60_000;

/** A replica's container. */
export interface RealContainer {
	readonly id: string;
	/** Of its HTTP, on loopback. */
	readonly port: number;
	/** With the sockets of its events. */
	readonly sockets: string;
	readonly key: string;
}

/** All of it. */
export class RealFleet {
	#agent: RunningRouter | undefined;

	private constructor(
		private readonly directory: string,
		private readonly engine: DockerEngine,
		private readonly router: RunningRouter,
		private readonly mounts: readonly string[],
	) {}

	/** Starts it; resolves when all replicas are ready. @param corpus files of which the tokenizer is made */
	static async start(corpus: readonly string[]): Promise<RealFleet> {
		const directory = mkdtempSync(join(tmpdir(), "real-vllm-"));
		await run(REAL_VLLM.python, join(import.meta.dir, "model.py"), join(directory, "model"), ...corpus);
		const engine = await startDockerEngine();
		await importRealVllm(engine);
		const router = await startRouter({ config: { models: [{ name: "m", targets: [`local/${NAME}`] }] } });
		const fleet = new RealFleet(directory, engine, router, await realMounts());
		try {
			await fleet.startAgent();
			return fleet;
		} catch (error) {
			await fleet.stop();
			throw error;
		}
	}

	get agent(): RunningRouter {
		return this.#agent!;
	}

	/** Starts the agent, on what the one before it left; resolves when all replicas are ready. */
	async startAgent(): Promise<void> {
		const model = { model: join(this.directory, "model"), name: NAME, gpus: 0, gpu_memory: "1GiB", replicas: REPLICAS };
		this.#agent = await startRouter({
			args: ["--agent"],
			env: {
				...this.engine.env,
				DATA_DIR: join(this.directory, "data"),
				HF_HOME: join(this.directory, "hf"),
				HF_ENDPOINT: "http://127.0.0.1:1",
				// The order that empties a cache is there for developers alone.
				VLLM_SERVER_DEV_MODE: "1",
			},
			config: {
				agent: {
					...{ name: "cpu", router: this.router.url, image: REAL_IMAGE },
					models: [{ ...model, args: ARGS, mounts: this.mounts, env: ["VLLM_SERVER_DEV_MODE"] }],
				},
			},
		});
		await this.ready();
	}

	/** Resolves when all replicas are. */
	ready(): Promise<void> {
		return eventually("replicas that are ready", START_MS, async () => {
			const { replicas } = await modelOf(this.agent, NAME);
			return replicas.length === REPLICAS && replicas.every(({ state }) => state === "ready");
		});
	}

	/** Ends the agent, at once; its containers serve on. */
	async stopAgent(): Promise<void> {
		await this.#agent?.stop();
	}

	async container(replica: number): Promise<RealContainer> {
		const { container: id, port } = (await modelOf(this.agent, NAME)).replicas[replica]!;
		const label = '{{index .Config.Labels "router.kv-events"}}';
		const name = (await this.engine.docker("inspect", "--format", label, id!)).trim();
		const key = await keyOf({ engine: this.engine }, id!);
		return { id: id!, port: port!, sockets: join(this.directory, "data/kv", name), key };
	}

	/** Ends a replica's container, as `docker kill` does. */
	async kill({ id }: RealContainer): Promise<void> {
		await this.engine.docker("kill", id);
	}

	/** Characters of a prompt that the router takes for computed at each replica. */
	async explained(messages: readonly Json[]): Promise<number[]> {
		const answer = await post(`${this.router.url}/v1/route`, { model: "m", messages });
		const { candidates, call } = (await answer.json()) as Explanation;
		const known: number[] = [];
		for (const { id, inputs } of candidates)
			known[Number(id.split("#")[1])] = call.characters - inputs.uncached_characters!;
		return known;
	}

	/** Makes a call of one token, past the router, so that it knows of that by events alone. @returns tokens of the prompt, and those that were cached */
	call(replica: number, messages: readonly Json[]): Promise<{ tokens: number; cached: number }> {
		const headers = { "x-router-replica": String(replica) };
		return usageOf(post(`${this.agent.url}/v1/chat/completions`, { model: NAME, messages, max_tokens: 1 }, headers));
	}

	/** Makes it past the agent, too. */
	callEngine({ port, key }: RealContainer, messages: readonly Json[]): Promise<{ tokens: number; cached: number }> {
		const headers = { authorization: `Bearer ${key}` };
		const body = { model: NAME, messages, max_tokens: 1 };
		return usageOf(post(`http://127.0.0.1:${port}/v1/chat/completions`, body, headers));
	}

	/** Empties an engine's prefix cache. */
	async clear({ port }: RealContainer): Promise<void> {
		await post(`http://127.0.0.1:${port}/reset_prefix_cache`, {});
	}

	async stop(): Promise<void> {
		await this.stopAgent();
		await this.router.stop();
		await this.engine.stop();
		rmSync(this.directory, { recursive: true, force: true });
	}
}

async function post(url: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
	const answer = await fetch(url, {
		method: "POST",
		headers: { "content-type": "application/json", ...headers },
		body: JSON.stringify(body),
	});
	if (!answer.ok) throw new Error(`${url} is ${answer.status}: ${await answer.text()}`);
	return answer;
}

async function usageOf(answer: Promise<Response>): Promise<{ tokens: number; cached: number }> {
	const { usage } = (await (await answer).json()) as {
		usage: { prompt_tokens: number; prompt_tokens_details?: { cached_tokens?: number } };
	};
	return { tokens: usage.prompt_tokens, cached: usage.prompt_tokens_details?.cached_tokens ?? 0 };
}

/** Looks again and again, for so long at most; then it rejects. */
export async function eventually(what: string, mostMs: number, holds: () => Promise<boolean>): Promise<void> {
	const endsAt = performance.now() + mostMs;
	while (!(await holds())) {
		if (performance.now() > endsAt) throw new Error(`no ${what} within ${mostMs / 1000} s`);
		await Bun.sleep(200);
	}
}
