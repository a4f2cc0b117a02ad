/** One agent of `make chaos`, and what befalls it: a real process, its model's containers, the way between it and the router. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { modelOf } from "../kit/agent-host.ts";
import type { DockerEngine } from "../kit/docker.ts";
import { type RunningRouter, startRouter } from "../kit/router.ts";
import { until } from "../kit/until.ts";
import type { SimOrder } from "../kit/vllm-sim-process.ts";
import { ChaosRelay } from "./chaos-relay.ts";
import { MODEL, SIM_ARGS } from "./chaos-replicas.ts";

/** Of the model. */
export const NAME = "m";
/** Of each agent's model. */
export const REPLICAS = 2;
/** What its model is started from. */
export const IMAGE = "vllm-sim:good";

/** Longer than any call takes, ms. */
const SETTLED_MS = 10_000;

/** What may befall replicas, agents and ways. Most lasts a while. */
export const OF_REPLICAS = ["kill", "terminate", "engine dies", "hang", "freeze", "slow", "abort"] as const;
export const OF_AGENTS = ["agent killed", "agent stopped", "agent frozen"] as const;
export const OF_WAYS = ["cut", "no way"] as const;

/** A replica that takes calls. */
export interface ReadyReplica {
	readonly replica: number;
	readonly container: string;
	/** Of its engine, on loopback. */
	readonly port: number;
}

/** How one is started. */
export interface ChaosAgentOptions {
	readonly name: string;
	/** The router calls it through a connection that it opens; else by its address. */
	readonly isTunnelled: boolean;
	/** That its containers are in. */
	readonly engine: DockerEngine;
	/** The address of its routers. */
	readonly router: string;
	/** What it runs from. */
	readonly source: "source" | "binary";
}

/** One, started again and again on the same data directory. */
export class ChaosAgent {
	/** Since when nothing is being done to it, or to its way; undefined: something is. */
	#wellSince: number | undefined = Number.NEGATIVE_INFINITY;
	/** Containers to which something is being done. */
	readonly #suffering = new Set<string>();
	readonly #data = mkdtempSync(join(tmpdir(), "chaos-agent-"));
	#running: RunningRouter | undefined;

	private constructor(
		private readonly options: ChaosAgentOptions,
		/** Of its tunnel to the router, or of the router's calls to it. */
		private readonly way: ChaosRelay,
	) {}

	static async start(options: ChaosAgentOptions): Promise<ChaosAgent> {
		const agent = new ChaosAgent(options, await ChaosRelay.start(Number(new URL(options.router).port)));
		await agent.#start();
		return agent;
	}

	/** Nothing is being done to it, or to its way. */
	get isWell(): boolean {
		return this.#wellSince !== undefined;
	}

	/** And calls that began without it are over: a call asks the agents that were there when it began. */
	get isSettled(): boolean {
		return this.#wellSince !== undefined && performance.now() - this.#wellSince > SETTLED_MS;
	}

	get name(): string {
		return this.options.name;
	}

	/** Its replicas that take calls, and to which nothing is done; none where something is done to itself. */
	async ready(): Promise<ReadyReplica[]> {
		if (!this.isWell || !this.#running) return [];
		const view = await modelOf(this.#running, NAME).catch(() => undefined);
		return (view?.replicas ?? []).flatMap(({ replica, container, port, state }) =>
			state === "ready" && container !== undefined && port !== undefined && !this.#suffering.has(container)
				? [{ replica, container, port }]
				: [],
		);
	}

	/** Does something to one of its replicas. False where that is gone. */
	async harm(
		{ container, port }: ReadyReplica,
		mishap: (typeof OF_REPLICAS)[number],
		lastsMs: number,
	): Promise<boolean> {
		const { engine } = this.options;
		this.#suffering.add(container);
		try {
			if (mishap === "abort") return await tell(port, { abort: true });
			if (mishap === "engine dies") return await tell(port, { crash: "engine" });
			if (mishap === "kill" || mishap === "terminate") {
				await engine.docker("kill", "--signal", mishap === "kill" ? "KILL" : "TERM", container);
				return true;
			}
			// The agent may have replaced it before it is over.
			if (mishap === "freeze") {
				const pid = Number(await engine.docker("inspect", "--format", "{{.State.Pid}}", container));
				if (pid === 0) return false;
				process.kill(pid, "SIGSTOP");
				await Bun.sleep(lastsMs);
				if (isAlive(pid)) process.kill(pid, "SIGCONT");
				return true;
			}
			const [begin, end] = mishap === "hang" ? [{ hang: true }, { hang: false }] : [{ speed: 0.05 }, { speed: 1 }];
			if (!(await tell(port, begin))) return false;
			await Bun.sleep(lastsMs);
			await tell(port, end);
			return true;
		} catch {
			return false;
		} finally {
			this.#suffering.delete(container);
		}
	}

	/** Does something to the agent itself. */
	async suffer(mishap: (typeof OF_AGENTS)[number], lastsMs: number): Promise<boolean> {
		this.#wellSince = undefined;
		const running = this.#running!;
		try {
			if (mishap === "agent frozen") {
				process.kill(running.pid, "SIGSTOP");
				await Bun.sleep(lastsMs);
				process.kill(running.pid, "SIGCONT");
				return true;
			}
			this.#running = undefined;
			if (mishap === "agent stopped") {
				process.kill(running.pid, "SIGTERM");
				await until(() => !isAlive(running.pid), "the end of the agent");
			}
			await running.stop();
			await Bun.sleep(lastsMs);
			await this.#start();
			return true;
		} finally {
			this.#wellSince = performance.now();
		}
	}

	/** Breaks the way between it and the router, for once or for a while. */
	async loseWay(mishap: (typeof OF_WAYS)[number], lastsMs: number): Promise<boolean> {
		this.way.cut();
		if (mishap === "cut") return true;
		this.#wellSince = undefined;
		this.way.isDown = true;
		await Bun.sleep(lastsMs);
		this.way.isDown = false;
		this.#wellSince = performance.now();
		return true;
	}

	async stop(): Promise<void> {
		await this.#running?.stop();
		this.way.stop();
		rmSync(this.#data, { recursive: true, force: true });
	}

	async #start(): Promise<void> {
		const { name, isTunnelled, engine, router, source } = this.options;
		const reached = isTunnelled
			? { router: this.way.origin, tunnel: "always" }
			: { router, tunnel: "never", advertise: this.way.origin };
		const model = {
			model: MODEL,
			name: NAME,
			gpus: 0,
			gpu_memory: "1GiB",
			replicas: REPLICAS,
			args: SIM_ARGS.slice(2),
		};
		// A tenth of the defaults or less, as are the times for which replicas hang.
		const times = { stall: "3s", roll: { watch: "2s", limit: "20s" } };
		this.#running = await startRouter({
			source,
			args: ["--agent"],
			env: {
				...engine.env,
				DATA_DIR: join(this.#data, "data"),
				HF_HOME: join(this.#data, "hf"),
				HF_ENDPOINT: "http://127.0.0.1:1",
				LOG_LEVEL: "error",
			},
			config: { agent: { name, image: IMAGE, models: [model], ...reached, ...times } },
		});
		if (!isTunnelled) this.way.port = Number(new URL(this.#running.url).port);
	}
}

/** Whether the engine of this port could be told. */
async function tell(port: number, order: SimOrder): Promise<boolean> {
	try {
		return (await fetch(`http://127.0.0.1:${port}/sim`, { method: "POST", body: JSON.stringify(order) })).ok;
	} catch {
		return false;
	}
}

function isAlive(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch {
		return false;
	}
}
