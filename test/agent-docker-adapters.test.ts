/** LoRA adapters of an agent's model, through a router and on a real Docker Engine: models of their own that are served by their base. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { ModelView, ReplicaView } from "../src/agent/models/model-view.ts";
import { type AgentHost, becomes, keyOf, modelOf, order, startAgentHost } from "./kit/agent-host.ts";
import { clientError } from "./kit/contract.ts";
import { eventData } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { post } from "./kit/rig.ts";
import type { RunningRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const CHAT = "/v1/chat/completions";
const messages = [{ role: "user", content: "hi" }];
const ADMIN = "the-key-of-the-administrator";
const ALL = "the-key-of-whoever-may-call-all";
const SQL = "the-key-of-whoever-may-call-sql";

needing("docker").describe("an on-demand model with two adapters, under --standalone", () => {
	let host: AgentHost;
	let both: RunningRouter;
	let router: string;
	let agent: RunningRouter;
	beforeAll(async () => {
		host = await startAgentHost({ sim: { SIM_ANSWER_TOKENS: "8" } });
		const data = join(host.engine.directory, "agent-data");
		const adapters = join(host.engine.directory, "adapters");
		for (const name of ["sql", "chat", "late"]) mkdirSync(join(adapters, name), { recursive: true });
		both = await host.agent({
			args: ["--standalone"],
			env: { AGENT_PORT: "0", DATA_DIR: data, VLLM_ALLOW_RUNTIME_LORA_UPDATING: "1" },
			config: {
				admin: { keys: [{ name: "admin", key: ADMIN }] },
				keys: [
					{ name: "all", key: ALL, models: ["*"] },
					{ name: "sql", key: SQL, models: ["local/sql"] },
				],
				prices: { "local/sql": { input: 1000, output: 1000 } },
				limits: { models: { "local/team/chat": { rpm: 1 } } },
			},
			models: [
				{
					model: "Qwen/Qwen3-0.6B",
					name: "broken",
					gpus: 0,
					load: "on-demand",
					args: ["--lora-modules", "gone=/adapters/gone"],
				},
				{
					model: "Qwen/Qwen3-0.6B",
					name: "base",
					gpus: 0,
					load: "on-demand",
					mounts: [`${adapters}:/adapters`],
					env: ["VLLM_ALLOW_RUNTIME_LORA_UPDATING"],
					args: ["--lora-modules", "sql=/adapters/sql", '{"name": "team/chat", "path": "/adapters/chat"}'],
				},
			],
		});
		router = /router \S+ listening on (\S+)/.exec(both.output())?.[1] ?? "";
		agent = { ...both, url: /agent \S+ listening on (\S+)/.exec(both.output())?.[1] ?? "" };
		await until(async () => (await listed()).has("local/sql"), "the adapters in the list");
	}, 60_000);
	afterAll(async () => {
		await both?.stop();
		await host?.stop();
	}, 60_000);

	const as = (key: string) => ({ authorization: `Bearer ${key}` });
	const call = (model: string, { key = ALL, ...more }: { key?: string; [field: string]: unknown } = {}) =>
		post(router + CHAT, { model, messages, ...more }, as(key));
	/** The router's list: parents by name. */
	async function listed(at = router, path = "/v1/models"): Promise<Map<string, string | undefined>> {
		const answer = (await (await fetch(at + path, { headers: as(ALL) })).json()) as {
			data: { id: string; parent?: string }[];
		};
		return new Map(answer.data.map(({ id, parent }) => [id, parent]));
	}

	test("they are listed with their parent before anything is loaded", async () => {
		await becomes(agent, "base", "stopped");
		const models = await listed();
		expect([...models].filter(([id]) => id.startsWith("local/"))).toEqual([
			["local/broken", undefined],
			["local/base", undefined],
			["local/gone", "local/broken"],
			["local/sql", "local/base"],
			["local/team/chat", "local/base"],
		]);
		expect([...(await listed(agent.url))]).toEqual([
			["broken", undefined],
			["base", undefined],
			["gone", "broken"],
			["sql", "base"],
			["team/chat", "base"],
			["dummy", undefined],
		]);
		const one = await fetch(`${router}/v1/models/local/sql`, { headers: as(ALL) });
		expect(await one.json()).toMatchObject({ id: "local/sql", parent: "local/base" });
		expect(await host.containers(true)).toEqual([]);
	});

	test("a call by an adapter's plain name loads its model, counts as that one's, and is answered by the adapter", async () => {
		const answer = await call("sql", { stream: true });
		expect([answer.status, eventData(answer.text).at(-1)]).toEqual([200, "[DONE]"]);
		const [id] = await host.containers();
		const [{ Args }] = JSON.parse(await host.engine.docker("inspect", id!));
		expect(Args).toContain("--enable-lora");
		expect(await modelOf(agent, "base")).toMatchObject({ state: "ready", adapters: ["sql", "team/chat"] });
		const says = async (model: string) => JSON.parse((await call(model)).text);
		const [base, sql] = [await says("local/base"), await says("local/sql")];
		expect([base.model, sql.model]).toEqual(["base", "sql"]);
		expect(sql.choices[0].message.content).not.toBe(base.choices[0].message.content);
		// One container for all of it.
		expect(await both.metric("router_agent_loads_total")).toBe(1);
		expect(await host.containers(true)).toHaveLength(1);
	}, 60_000);

	test("a key, a price and a limit by an adapter's name hold for it alone", async () => {
		const refused = await call("local/base", { key: SQL });
		expect([refused.status, clientError(refused.text).code]).toEqual([403, "model_not_allowed"]);
		const allowed = await call("local/sql", { key: SQL });
		expect(allowed.status).toBe(200);
		const { usage } = JSON.parse(allowed.text);
		expect(usage.cost).toBeCloseTo((usage.prompt_tokens + usage.completion_tokens) / 1000, 9);
		expect(JSON.parse((await call("local/base")).text).usage.cost).toBe(0);
		expect((await call("team/chat")).status).toBe(200);
		expect((await call("team/chat")).status).toBe(429);
		expect((await call("local/base")).status).toBe(200);
	});

	test("the agent shows an adapter with its model's state, and refuses to load what is no model", async () => {
		const view: ModelView = await modelOf(agent, "sql");
		expect(view).toMatchObject({ name: "sql", parent: "base", state: "ready", load: "on-demand" });
		expect(await (await fetch(`${agent.url}/models/sql/logs`)).text()).toContain("Loaded new LoRA adapter: name 'sql'");
		for (const what of ["load", "unload"] as const) {
			const answer = await order(agent, "sql", what);
			expect([answer.status, await answer.text()]).toEqual([
				400,
				expect.stringContaining('\\"sql\\" is an adapter of \\"base\\"'),
			]);
		}
		const described = await order(agent, "team/chat", "load", { model: "Qwen/Qwen3-0.6B" });
		expect(described.status).toBe(400);
	});

	test("the router shows them at its agent", async () => {
		const answer = await fetch(`${router}/agents`, { headers: as(ADMIN) });
		const [{ models }] = ((await answer.json()) as { data: { models: object[] }[] }).data as [{ models: object[] }];
		expect(models).toMatchObject([
			{ name: "broken", state: "stopped" },
			{ name: "base", state: "ready" },
			{ name: "gone", state: "stopped", parent: "broken" },
			{ name: "sql", state: "ready", parent: "base" },
			{ name: "team/chat", state: "ready", parent: "base" },
		]);
	});

	test("one that is loaded while its model runs is served, until it is unloaded", async () => {
		const { replicas } = await modelOf(agent, "base");
		const key = await keyOf(host, replicas[0]!.container!);
		const tell = (path: string, body: object) =>
			post(`http://127.0.0.1:${replicas[0]!.port}/v1/${path}`, { ...body }, as(key));
		const late = { lora_name: "late", lora_path: "/adapters/late" };
		expect((await tell("load_lora_adapter", late)).status).toBe(200);
		await until(async () => (await listed()).has("local/late"), "the adapter in the list");
		expect((await listed()).get("local/late")).toBe("local/base");
		const answer = await call("late");
		expect([answer.status, JSON.parse(answer.text).model]).toEqual([200, "late"]);
		expect((await tell("unload_lora_adapter", { lora_name: "late" })).status).toBe(200);
		await until(async () => !(await listed()).has("local/late"), "its end in the list");
		expect((await call("late")).status).not.toBe(200);
	}, 60_000);

	test("a call for an adapter whose model does not start says why", async () => {
		const answer = await call("local/gone");
		expect(answer.status).toBe(503);
		expect(answer.text).toContain("the adapter gone can't be loaded: No adapter found for /adapters/gone");
		expect(answer.text).toContain("--lora-modules");
	}, 60_000);

	test("an unloaded model's adapters are still there, and the next call for one loads it again", async () => {
		expect((await order(agent, "base", "unload")).status).toBe(202);
		await becomes(agent, "base", "stopped");
		expect((await listed()).get("local/sql")).toBe("local/base");
		expect((await call("local/sql")).status).toBe(200);
		await becomes(agent, "base", "ready");
	}, 60_000);
});

needing("docker").describe("a model of two replicas", () => {
	test("serves an adapter by both, and one that was loaded into one of them only by none", async () => {
		const host = await startAgentHost({ sim: { SIM_ANSWER_TOKENS: "40", SIM_SPEED: "1" } });
		const data = join(host.engine.directory, "agent-data");
		const both = await host.agent({
			args: ["--standalone"],
			env: { AGENT_PORT: "0", DATA_DIR: data, VLLM_ALLOW_RUNTIME_LORA_UPDATING: "1" },
			models: [
				{
					model: "Qwen/Qwen3-0.6B",
					name: "base",
					gpus: 0,
					replicas: 2,
					env: ["VLLM_ALLOW_RUNTIME_LORA_UPDATING"],
					args: ["--lora-modules", "sql=org/sql"],
				},
			],
		});
		try {
			const router = /router \S+ listening on (\S+)/.exec(both.output())?.[1] ?? "";
			const replicas = async () => (await modelOf(both, "base")).replicas;
			await until(async () => (await replicas()).every(({ state }) => state === "ready"), "two replicas");
			const calls = Array.from({ length: 8 }, (_, at) =>
				post(router + CHAT, { model: "sql", messages: [{ role: "user", content: `call ${at}` }] }),
			);
			await until(async () => (await replicas()).every(({ running }) => running > 0), "calls in both");
			expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(8).fill(200));
			const load = async ({ container, port }: ReplicaView, name: string) => {
				const body = { lora_name: name, lora_path: "org/late" };
				const headers = { authorization: `Bearer ${await keyOf(host, container!)}` };
				expect((await post(`http://127.0.0.1:${port}/v1/load_lora_adapter`, body, headers)).status).toBe(200);
			};
			const [first, second] = await replicas();
			await load(first!, "one");
			await load(first!, "two");
			await load(second!, "two");
			await until(async () => (await modelOf(both, "base")).adapters?.includes("two") ?? false, "the adapter of both");
			expect((await modelOf(both, "base")).adapters).toEqual(["sql", "two"]);
		} finally {
			await both.stop();
			await host.stop();
		}
	}, 60_000);
});
