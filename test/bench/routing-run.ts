/** One run of the routing benchmark: four simulated replicas, one router or several over Redis, one load, one way to choose. */
import { startRedis } from "../kit/redis.ts";
import { type RunningRouter, startRouter } from "../kit/router.ts";
import { until } from "../kit/until.ts";
import { type Sim, startSim } from "../kit/vllm-sim-process.ts";
import type { Chat, Message, Workload } from "./routing-workloads.ts";

export const REPLICAS = 4;
/** Tokens of KV cache a replica: 10 prompts of the shared ones fit, not all 24. */
const KV_TOKENS = 28_000;
const ANSWER_TOKENS = 32;

/** Names the replica of a call; undefined leaves the choice to the router. */
export type Picker = (inFlight: readonly number[]) => number | undefined;

/** A way to choose. */
export interface Policy {
	readonly name: string;
	/** A picker of its own for each run. */
	picker(): Picker;
	/** Routers, to which calls are sent in turn. One where it is absent; several share a Redis. */
	readonly routers?: number;
	/** Worker threads of each router; 1 where it is absent. */
	readonly workers?: number;
}

const least = (inFlight: readonly number[]): number => {
	const fewest = Math.min(...inFlight);
	const idle = inFlight.flatMap((count, at) => (count === fewest ? [at] : []));
	return idle[Math.floor(Math.random() * idle.length)]!;
};

/** What the router is compared with, and the router. */
export const POLICIES: readonly Policy[] = [
	{ name: "random", picker: () => () => Math.floor(Math.random() * REPLICAS) },
	{
		name: "round robin",
		picker() {
			let next = 0;
			return () => next++ % REPLICAS;
		},
	},
	{ name: "least load", picker: () => least },
	{ name: "ours", picker: () => () => undefined },
	{ name: "ours, three routers over Redis", picker: () => () => undefined, routers: 3 },
	{ name: "ours, three of two workers each", picker: () => () => undefined, routers: 3, workers: 2 },
];

/** What a run gave. */
export interface Outcome {
	/** Times to the first token, ms. */
	readonly times: readonly number[];
	/** Prompt tokens that the replicas had in their caches, of all. */
	readonly hitRate: number;
	/** Calls that gave no whole answer. */
	readonly failed: number;
}

/** Runs a load through fresh replicas and a fresh router. Rejects when one of them can't be started. */
export async function run(
	{ chats }: Workload,
	policy: Policy,
	speed: number,
	source: "source" | "binary",
): Promise<Outcome> {
	const sims = await Promise.all(
		Array.from({ length: REPLICAS }, () =>
			startSim({
				args: ["--served-model-name", "m", "--max-model-len", "16384"],
				env: { SIM_SPEED: String(speed), SIM_KV_TOKENS: String(KV_TOKENS), SIM_ANSWER_TOKENS: String(ANSWER_TOKENS) },
			}),
		),
	);
	let fleet: Fleet | undefined;
	try {
		fleet = await startFleet(policy, sims, source);
		const urls = fleet.routers.map(({ url }) => url);
		const load = new Load(urls, policy.picker());
		await Promise.all(chats.map((chat) => load.play(chat, speed)));
		const [hits, queries] = await Promise.all(
			["vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"].map(async (name) => {
				const counts = await Promise.all(sims.map((sim) => sim.metric(name)));
				return counts.reduce((sum, count) => sum + count, 0);
			}),
		);
		return { times: load.times, hitRate: hits! / queries!, failed: load.failed };
	} finally {
		await Promise.all([fleet?.stop(), ...sims.map((sim) => sim.stop())]);
	}
}

interface Fleet {
	readonly routers: readonly RunningRouter[];
	stop(): Promise<void>;
}

/** A policy's routers in front of the replicas, over a Redis of their own where they are several. */
async function startFleet(
	{ routers: count = 1, workers = 1 }: Policy,
	sims: readonly Sim[],
	source: "source" | "binary",
): Promise<Fleet> {
	const redis = count > 1 ? await startRedis() : undefined;
	const env = { LOG_LEVEL: "error", ...(redis && { REDIS_URL: redis.url }) };
	const options = { source, config: { ...configFor(sims), server: { workers } }, env };
	const routers = await Promise.all(Array.from({ length: count }, () => startRouter(options)));
	const stop = async () => void (await Promise.all([redis?.stop(), ...routers.map((router) => router.stop())]));
	if (redis) {
		const isUp = async (router: RunningRouter) => (await router.metric("router_redis_up")) === 1;
		await until(async () => (await Promise.all(routers.map(isUp))).every(Boolean), "Redis");
	}
	return { routers, stop };
}

function configFor(sims: readonly Sim[]) {
	return {
		providers: Object.fromEntries(sims.map((sim, at) => [`sim${at}`, { type: "vllm", base_url: `${sim.origin}/v1` }])),
		models: [{ name: "ours", targets: sims.map((_, at) => `sim${at}/m`) }],
	};
}

/** The clients of one run. Simulated time passes `speed` times as fast. */
class Load {
	readonly times: number[] = [];
	failed = 0;
	readonly #inFlight = new Array<number>(REPLICAS).fill(0);
	#calls = 0;

	constructor(
		private readonly urls: readonly string[],
		private readonly pick: Picker,
	) {}

	/** One client, from its coming to its last answer. */
	async play({ at, system, turns, thinkMs }: Chat, speed: number): Promise<void> {
		await Bun.sleep(at / speed);
		const messages: Message[] = system === undefined ? [] : [{ role: "system", content: system }];
		for (const content of turns) {
			messages.push({ role: "user", content });
			const answer = await this.#ask(messages, speed);
			messages.push({ role: "assistant", content: answer });
			if (thinkMs > 0) await Bun.sleep(thinkMs / speed);
		}
	}

	async #ask(messages: readonly Message[], speed: number): Promise<string> {
		const replica = this.pick(this.#inFlight);
		if (replica !== undefined) this.#inFlight[replica]!++;
		try {
			const model = replica === undefined ? "ours" : `sim${replica}/m`;
			return await this.#stream(JSON.stringify({ model, messages, stream: true }), speed);
		} finally {
			if (replica !== undefined) this.#inFlight[replica]!--;
		}
	}

	async #stream(body: string, speed: number): Promise<string> {
		const startedAt = performance.now();
		const url = this.urls[this.#calls++ % this.urls.length]!;
		const answer = await fetch(`${url}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json" },
			body,
		});
		const decoder = new TextDecoder();
		let text = "";
		let firstAt: number | undefined;
		for await (const bytes of answer.body ?? []) {
			text += decoder.decode(bytes, { stream: true });
			if (firstAt === undefined && text.includes("data: {")) firstAt = performance.now();
		}
		if (!answer.ok || !text.endsWith("data: [DONE]\n\n") || firstAt === undefined) {
			this.failed++;
			return "";
		}
		this.times.push((firstAt - startedAt) * speed);
		return [...text.matchAll(/"content":"((?:[^"\\]|\\.)*)"/g)].map(([, piece]) => JSON.parse(`"${piece}"`)).join("");
	}
}
