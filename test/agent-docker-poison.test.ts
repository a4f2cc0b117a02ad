/** An engine in a container that dies of one call among twenty, on one agent and on two: what test/poisonous-calls.test.ts does to bare vLLM servers. */
import { expect } from "bun:test";
import { join } from "node:path";
import { type AgentHost, startAgentHost } from "./kit/agent-host.ts";
import { ANSWER_TOKENS, deathsOf, killUnderTwenty, POISON, poisonOf, startCall } from "./kit/killed-engines.ts";
import { needing } from "./kit/needing.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const { afterAll, beforeAll, describe, test } = needing("docker");

const SIM = { SIM_POISON: POISON, SIM_ANSWER_TOKENS: String(ANSWER_TOKENS), SIM_SPEED: "1" };

describe.each([
	["one agent with 2 replicas", [2], {}],
	// No word of its engine: connections are reset, and only Docker knows why.
	["one agent with 2 replicas, whose server ends with its engine", [2], { SIM_CRASH: "exit" }],
	["one agent with 3 replicas", [3], {}],
	["two agents with 1 replica each", [1, 1], {}],
	["two agents with 2 replicas and 1", [2, 1], {}],
] as const)("on %s", (_, replicas, sim) => {
	const count = replicas.reduce((sum: number, each) => sum + each, 0);
	let host: AgentHost;
	let router: RunningRouter;
	const agents: RunningRouter[] = [];
	beforeAll(async () => {
		host = await startAgentHost({ sim: { ...SIM, ...sim } });
		router = await startRouter({ config: { cache: { enabled: false } } });
		for (const [at, each] of replicas.entries()) {
			const models = [{ model: "Qwen/Qwen3-0.6B", name: "m", gpus: 0, replicas: each, args: ["--max-num-seqs", "3"] }];
			const agent = { router: router.url, name: `agent-${at}` };
			const env = { DATA_DIR: join(host.engine.directory, `data-of-${at}`) };
			agents.push(await host.agent({ models, agent, env }));
		}
		await allReady();
	}, 90_000);
	afterAll(async () => {
		await router?.stop();
		for (const agent of agents) await agent.stop();
		await host?.stop();
	}, 60_000);

	/** Until the router knows every replica as ready. */
	async function allReady(): Promise<void> {
		await until(async () => {
			const { data } = (await (await fetch(`${router.url}/agents`)).json()) as {
				data: { models: { state: string; replicas?: { state: string }[] }[] }[];
			};
			const states = data.flatMap(({ models }) =>
				models.flatMap(({ state, replicas: of = [{ state }] }) => of.map((each) => each.state)),
			);
			return states.length === count && states.every((state) => state === "ready");
		}, "all replicas to be ready");
	}

	test("a container that is killed in its place costs no call", async () => {
		const kill = async () => await host.engine.docker("kill", (await host.containers())[0]!);
		const deaths = await killUnderTwenty({ router, model: "m", isStream: true, withTokens: 3, kill });
		expect(deaths).toEqual([]);
		await allReady();
	}, 60_000);

	test.each([true, false])(
		"one call kills one at most before it is refused (streamed: %p)",
		async (isStream) => {
			// Another test's call is another one.
			const before = await deathsOf(router);
			const deaths = await killUnderTwenty({ router, model: "m", isStream, withTokens: 3 * count });
			const lost = deaths.filter((each, at) => each > (before[at] ?? 0));
			expect(lost.length).toBeLessThanOrEqual(count - 1);
			const again = startCall(router.url, "m", poisonOf(isStream), !isStream);
			expect(await again.ended).toMatchObject({ status: 422, code: "poisonous_request" });
			expect(await deathsOf(router)).toEqual(deaths);
			expect(router.output()).not.toContain(POISON);
			await allReady();
		},
		90_000,
	);
});

describe.each(["exit", "engine"])(
	"one replica under --standalone whose every start dies of its first call (SIM_CRASH=%s)",
	(crash) => {
		let host: AgentHost;
		let both: RunningRouter;
		beforeAll(async () => {
			host = await startAgentHost({ sim: { SIM_CRASH_AFTER_REQUESTS: "1", SIM_CRASH: crash } });
			const models = [{ model: "Qwen/Qwen3-0.6B", name: "m", gpus: 0 }];
			const config = { poisonous_requests: "0s", cache: { enabled: false } };
			both = await host.agent({ args: ["--standalone"], env: { AGENT_PORT: "0" }, models, config });
		}, 60_000);
		afterAll(async () => {
			await both?.stop();
			await host?.stop();
		}, 60_000);

		const listening = (role: string) =>
			new RegExp(`${role} \\S+ listening on (http://[\\w.:]+)`).exec(both.output())![1]!;
		const call = (url: string, content: string, stream: boolean) =>
			post(`${url}/v1/chat/completions`, { model: "m", messages: [{ role: "user", content }], stream });

		test("a call that waits for its restart and meets its death is tried alone, and told in own words, never by vLLM's pointer", async () => {
			const url = listening("router");
			await until(async () => {
				const answer = await fetch(`${url}/agents`);
				return (await answer.text()).includes('"state":"ready"');
			}, "the model to be ready");
			for (const [content, stream] of [
				["a", false],
				["b", true],
				["c", false],
				["d", true],
			] as const) {
				const { status, text, headers } = await call(url, content, stream);
				expect(text).not.toMatch(/stack ?trace|EngineCore|EngineDead/i);
				if (status !== 200) expect([content, status, headers.get("x-router-attempts")]).toEqual([content, 422, "2"]);
				expect(text).toContain("poisonous_request");
			}
		}, 60_000);

		test("a call of the agent's own is told what its log says that it died of", async () => {
			const { status, text, headers } = await call(listening("agent"), "e", false);
			expect([status, headers.get("retry-after")]).toEqual([503, "30"]);
			expect(text).toMatch(/lost its engine while this call ran \(.*CUDA error.*\), and it has to be started again/);
			expect(text).not.toMatch(/stack ?trace|EngineCore|EngineDead/i);
		}, 60_000);
	},
);
