/**
 * Rolling changes on a real Docker Engine, behind a router and under load: a new image, arguments, an order of the API, too little memory for both,
 * a restart of the agent in the midst. Every call is whole, byte for byte, whatever the canary is like.
 */
import { expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ModelView } from "../src/agent/models/model-view.ts";
import { callOf, outcomeOf } from "./bench/chaos-calls.ts";
import { type AgentHost, type AgentOptions, modelOf, startAgentHost } from "./kit/agent-host.ts";
import type { Json } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { random } from "./kit/random.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const { afterAll, afterEach, beforeAll, beforeEach, describe, test } = needing("docker");

const CLIENTS = 8;
const NAME = "m";
const GOOD = "vllm-sim:good";
const ARGS = ["--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--reasoning-parser", "qwen3"];
const SIM = { SIM_SPEED: "1", SIM_PACK: "8", SIM_DEVICE: "any" };
/** Images that must not be promoted. */
const BAD = {
	"its engine dies of every third call": ["vllm-sim:dying", { SIM_CRASH_AFTER_REQUESTS: "3", SIM_CRASH: "exit" }],
	"it is ten times as slow": ["vllm-sim:slow", { SIM_SPEED: "0.1" }],
	"it never starts": ["vllm-sim:failing", { SIM_FAIL: "unsupported" }],
} as const;

describe("a model that serves", () => {
	let host: AgentHost;
	let router: RunningRouter;
	let agent: RunningRouter;
	let options: AgentOptions;
	let load: Load;
	/** When the last roll of the agents before was. */
	let before: string | undefined;

	beforeAll(async () => {
		host = await startAgentHost({ sim: SIM });
		for (const [image, switches] of [[GOOD, {}] as const, ...Object.values(BAD)]) {
			await host.engine.importSim(image, { ...SIM, ...switches });
		}
	}, 90_000);
	afterAll(() => host?.stop(), 60_000);
	beforeEach(async () => {
		router = await startRouter({
			config: { cache: { enabled: false }, models: [{ name: "chaos", targets: [`local/${NAME}`] }] },
		});
	});
	afterEach(async () => {
		load?.end();
		await agent?.stop();
		await router?.stop();
		const left = await host.containers(true);
		if (left.length > 0) await host.engine.docker("rm", "--force", ...left);
	}, 60_000);

	const model = (over: Json = {}): Json => ({
		model: "Qwen/Qwen3-0.6B",
		name: NAME,
		gpus: 0,
		args: ARGS,
		canary: "50%",
		...over,
	});

	async function start(over: Json = {}, settings: Json = {}): Promise<void> {
		options = {
			models: [model(over)],
			agent: { router: router.url, roll: { watch: "2s", limit: "60s" }, ...settings },
		};
		agent = await host.agent(options);
		await until(async () => (await modelOf(agent, NAME)).state === "ready");
		await until(async () => (await post(`${router.url}/v1/chat/completions`, CALL)).status === 200);
		before = (await view()).roll?.at;
		load = new Load(router.url);
	}

	/** Writes other models into the agent's configuration while it runs. */
	function reconfigure(over: Json): void {
		const { models: _, agent: settings } = options;
		const config = { agent: { image: "vllm-sim:test", name: "test", models: [model(over)], ...settings } };
		writeFileSync(join(agent.directory, "router.yaml"), JSON.stringify(config));
	}

	async function view(): Promise<ModelView> {
		return modelOf(agent, NAME);
	}

	/** Waits until the roll has ended so. */
	async function ends(state: "promoted" | "taken back"): Promise<NonNullable<ModelView["roll"]>> {
		let seen: ModelView | undefined;
		const isOver = async () => {
			seen = await view();
			return seen.roll?.state === state && seen.roll.at !== before;
		};
		try {
			await until(isOver);
		} catch {
			// A minute in all.
			await until(isOver).catch(() => {
				throw new Error(`it never was ${state}: ${JSON.stringify(seen)}\n${agent.output()}`);
			});
		}
		return seen!.roll!;
	}

	/** Images of the containers that are there, once those that leave have gone. */
	async function settled(count: number): Promise<string[]> {
		let images: string[] = [];
		await until(async () => {
			const ids = await host.containers(true);
			if (ids.length !== count) return false;
			images = (await host.engine.docker("inspect", "--format", "{{.Config.Image}}", ...ids)).trim().split("\n");
			return true;
		}, `${count} containers`);
		return images;
	}

	test.each(Object.entries(BAD).map(([how, [image]]) => [how, image] as const))(
		"takes another image back where %s, within a minute, and loses no call",
		async (_, image) => {
			await start();
			const [container] = await host.containers();
			reconfigure({ image });
			const { reason } = await ends("taken back");
			expect(reason).not.toBe("");
			expect(await settled(1)).toEqual(["vllm-sim:test"]);
			expect(await host.containers()).toEqual([container!]);
			expect(await load.stop()).toEqual([]);
			expect(load.calls).toBeGreaterThan(0);
			expect((await view()).state).toBe("ready");
		},
		120_000,
	);

	test("is replaced by another image once its canary was good, and loses no call", async () => {
		await start({ replicas: 2 });
		reconfigure({ replicas: 2, image: GOOD });
		await ends("promoted");
		expect(await settled(2)).toEqual([GOOD, GOOD]);
		expect(await load.stop()).toEqual([]);
		expect(await agent.metric("router_agent_rolls_total", { model: NAME, result: "promoted" })).toBe(1);
	}, 120_000);

	test("is replaced by other arguments after a restart of the agent, which goes on with what it had begun", async () => {
		await start();
		const changed = { args: [...ARGS, "--max-num-seqs", "64"] };
		reconfigure(changed);
		await until(async () => (await view()).roll?.state === "canary");
		const during = await host.containers();
		expect(await load.stop()).toEqual([]);
		await agent.stop();
		options = { ...options, models: [model(changed)] };
		agent = await host.agent(options);
		const replicas = async () => (await view()).replicas.filter(({ state }) => state === "ready").length;
		await until(async () => (await view()).roll?.state === "canary" && (await replicas()) === 2);
		expect((await host.containers()).sort()).toEqual(during.sort());
		load = new Load(router.url);
		await ends("promoted");
		expect(await settled(1)).toEqual(["vllm-sim:test"]);
		const [id] = await host.containers();
		expect(await host.engine.docker("inspect", "--format", "{{.Args}}", id!)).toContain("--max-num-seqs 64");
		expect(await load.stop()).toEqual([]);
	}, 120_000);

	test("is replaced one replica at a time where the memory is too small for one more", async () => {
		const free = Number(/MemAvailable:\s+(\d+)/.exec(await Bun.file("/proc/meminfo").text())?.[1]) * 1024;
		const memory = `${Math.floor((free * 0.38) / 2 ** 20)}MiB`;
		await start({ replicas: 2, memory, canary: "0%" });
		let fewest = Number.POSITIVE_INFINITY;
		let most = 0;
		reconfigure({ replicas: 2, memory, canary: "0%", image: GOOD });
		await until(async () => {
			const { replicas, roll } = await view();
			fewest = Math.min(fewest, replicas.filter(({ state }) => state === "ready").length);
			most = Math.max(most, (await host.containers()).length);
			return roll?.state === "promoted" && roll.at !== before;
		});
		expect(await settled(2)).toEqual([GOOD, GOOD]);
		expect([fewest, most]).toEqual([1, 2]);
		expect(await load.stop()).toEqual([]);
	}, 120_000);

	test("is rolled by an order, with an image that stays after a restart; a wrong order says what is wrong", async () => {
		await start();
		const roll = (body: Json) =>
			fetch(`${agent.url}/models/${NAME}/roll`, {
				method: "POST",
				headers: { "content-type": "application/json" },
				body: JSON.stringify(body),
			});
		const wrong = await roll({ canary: "a tenth" });
		expect([wrong.status, await wrong.text()]).toEqual([400, expect.stringContaining("canary")]);
		expect((await fetch(`${agent.url}/models/other/roll`, { method: "POST" })).status).toBe(404);
		expect((await roll({ image: GOOD, canary: "0%" })).status).toBe(202);
		await ends("promoted");
		const [image] = await settled(1);
		expect(image).toBe(GOOD);
		expect(await load.stop()).toEqual([]);
		const made = await host.containers();
		await agent.stop();
		agent = await host.agent(options);
		await until(async () => (await view()).state === "ready");
		expect([await settled(1), await host.containers()]).toEqual([[GOOD], made]);
	}, 120_000);
});

const CALL = { model: "chaos", messages: [{ role: "user", content: "hi" }], max_tokens: 2 };

/** Calls of several clients, one after the other each, until it is stopped. */
class Load {
	readonly wrong: string[] = [];
	calls = 0;
	#isOver = false;
	readonly #clients: Promise<void>[];

	constructor(private readonly router: string) {
		const draw = random(1);
		this.#clients = Array.from({ length: CLIENTS }, async () => {
			while (!this.#isOver) {
				const each = callOf(this.calls++, draw);
				const { status, text } = await post(this.router + each.path, { ...each.body }).catch((thrown: Error) => ({
					status: 0,
					text: thrown.message,
				}));
				const [outcome, what] = outcomeOf(each, status, text);
				if (outcome !== "ok") this.wrong.push(`${each.kind}: ${outcome}: ${what}`);
			}
		});
	}

	/** No further calls. */
	end(): void {
		this.#isOver = true;
	}

	/** What was not whole. */
	async stop(): Promise<string[]> {
		this.end();
		await Promise.all(this.#clients);
		return this.wrong;
	}
}
