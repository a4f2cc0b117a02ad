/** Agents that the router does not let in: who is told, and what is shown of them. */
import { afterEach, describe, expect, test } from "bun:test";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hashKey } from "../src/accounts/auth/keys.ts";
import { AgentAccess, shutOutAgents } from "../src/server/agents/agent-access.ts";
import { RefusedAgents } from "../src/server/agents/refused-agents.ts";
import type { RouterSnapshot } from "../src/server/snapshot.ts";
import type { StoredAgent } from "../src/store/store.ts";
import { cli, directory } from "./kit/cli.ts";
import { type FakeAgent, startFakeAgent } from "./kit/fake-agent.ts";
import { fleetRig } from "./kit/fleet.ts";
import { configOf } from "./kit/pipeline.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

/** A log that keeps its warnings. */
function warnings() {
	const said: [fields: unknown, text: string][] = [];
	const warn = (fields: unknown, text: string) => void said.push([fields, text]);
	return { said, log: { logger: { warn } } as unknown as ConstructorParameters<typeof RefusedAgents>[1] };
}

describe("an agent's token", () => {
	/** What the log hears of an agent with this secret, and what it is answered, at a router with these tokens. */
	function asked(secret: string | undefined, tokens: string[], revoked: string[] = []) {
		const hashes = (of: string[]) => of.map((each) => ({ hash: hashKey(each), createdAt: 0 }));
		const store = { agentTokens: () => hashes(tokens), revokedAgentTokens: () => revoked.map(hashKey) };
		const snapshot = { auth: { isKeyless: false }, config: configOf() } as unknown as RouterSnapshot;
		const told: string[] = [];
		const administrators = { find: () => undefined };
		const access = new AgentAccess({}, store, { snapshot }, administrators, (_, peer, why) =>
			told.push(`${peer} ${why}`),
		);
		const request = new Request("http://router/register", {
			headers: secret === undefined ? {} : { authorization: `Bearer ${secret}` },
		});
		let message = "";
		try {
			access.admitAgent(request, "10.0.0.7");
		} catch (error) {
			({ message } = error as Error);
		}
		// Who looks at the agents may be a person: the log hears nothing of that.
		expect(() => access.admitReader(request, null)).toThrow(message);
		return [told, message];
	}

	test.each([
		["is missing where the router has none", undefined, [], [], "none known", /^This router has no agent token/],
		["means nothing where the router has none", "a", [], [], "none known", /^This router has no agent token/],
		["is missing", undefined, ["a"], [], "no token", /^No agent token/],
		["is not known", "b", ["a"], ["c"], "unknown", /^This agent token is not known here/],
		["was taken back", "b", ["a"], ["b"], "revoked", /^This agent token was taken back/],
		["was taken back, the last one", "b", [], ["b"], "revoked", /^This agent token was taken back/],
	] as const)("%s: that is told, and said", (_, secret, tokens, revoked, why, said) => {
		const [told, message] = asked(secret, [...tokens], [...revoked]);
		expect(told).toEqual([`10.0.0.7 ${why}`]);
		expect(message).toMatch(said);
	});
});

describe("the log", () => {
	test("names an agent and the reason once, and again after ten minutes", () => {
		const { said, log } = warnings();
		let now = 0;
		const refused = new RefusedAgents(new Map(), log, () => now);
		const turn = () => {
			refused.refused("cpu-b", "10.0.0.2", "no token");
			refused.refused("cpu-b", "10.0.0.2", "revoked");
			refused.refused(undefined, "10.0.0.3", "unknown");
		};
		for (const time of [0, 5_000, 599_999]) {
			now = time;
			turn();
		}
		expect(said.map(([fields, text]) => [fields, text.split(". ")[0]])).toEqual([
			[{ agent: "cpu-b", address: "10.0.0.2" }, "The agent cpu-b was refused: it has no token"],
			[{ agent: "cpu-b", address: "10.0.0.2" }, "The agent cpu-b was refused: its token was taken back"],
			[{ address: "10.0.0.3" }, "An agent was refused: its token is not known"],
		]);
		now = 600_000;
		turn();
		turn();
		expect(said).toHaveLength(6);
	});

	test("is not filled by who sends many names", () => {
		const { said, log } = warnings();
		const refused = new RefusedAgents(new Map(), log, () => 0);
		for (let at = 0; at < 10_000; at++) refused.refused(`agent-${at}`, "10.0.0.2", "unknown");
		expect(said).toHaveLength(100);
	});
});

describe("an agent that is refused", () => {
	test("is shown so, and calls are told, once it is not heard of any more and until it is", async () => {
		using home = directory();
		const rig = fleetRig(home.path);
		await rig.register("gpu-1", ["qwen"]);
		const refused = new RefusedAgents(rig.registry.agents, warnings().log);
		const shown = () => rig.fleet.list().map((agent) => ("refused" in agent ? agent.refused : undefined));
		refused.refused("gpu-1", "10.0.0.1", "unknown");
		// Somebody else may have used its name.
		expect(shown()).toEqual([undefined]);
		rig.pass(31_000);
		expect(shown()).toEqual(["its token is not known"]);
		expect(rig.fleet.absence("qwen")).toBe("gpu-1: refused: its token is not known");
		await rig.heartbeat("gpu-1", ["qwen"]);
		expect(shown()).toEqual([undefined]);
		rig.pass(31_000);
		expect(rig.fleet.absence("qwen")).toBe(
			"gpu-1: not heard of any more (see whether its host is up and `router --agent` runs there)",
		);
		rig.close();
	});
});

describe("where agents have registered", () => {
	const store = (tokens: number) => ({
		agents: () => [{}, {}] as StoredAgent[],
		agentTokens: () => Array.from({ length: tokens }, () => ({ hash: hashKey("token"), createdAt: 0 })),
	});
	const router = (isKeyless: boolean, host = "127.0.0.1") => ({ auth: { isKeyless }, config: { server: { host } } });

	test.each([
		[
			"has keys and no token",
			router(false),
			{},
			0,
			/^2 agents .* refused: the router has keys, and neither ROUTER_AGENT/,
		],
		["listens beyond loopback, without a token", router(true, "0.0.0.0"), {}, 0, /listens beyond loopback/],
	] as const)("a router that %s says that it refuses them", (_, open, env, tokens, said) => {
		expect(shutOutAgents(open, env, store(tokens))).toMatch(said);
	});

	test.each([
		["has a token in its environment", router(false), { ROUTER_AGENT_TOKEN: "t" }, 0],
		["has invited one", router(false), {}, 1],
		["has no keys, on loopback", router(true), {}, 0],
	] as const)("a router that %s says nothing", (_, open, env, tokens) => {
		expect(shutOutAgents(open, env, store(tokens))).toBeUndefined();
	});
});

describe("keys that a running router is given while agents have no token", () => {
	let router: RunningRouter;
	let host: FakeAgent;
	afterEach(async () => {
		await router.stop();
		await host.stop();
	});

	test("are told of at the reload, at each agent's refusal and by `router check`", async () => {
		host = startFakeAgent({ name: "host" });
		router = await startRouter({ config: { server: { port: 0 } } });
		const post = (path: string, body: unknown, secret?: string) =>
			fetch(router.url + path, {
				method: "POST",
				headers: {
					"content-type": "application/json",
					"x-router-agent": "cpu-b",
					...(secret !== undefined && { authorization: `Bearer ${secret}` }),
				},
				body: JSON.stringify(body),
			});
		const registered = await post("/register", { name: "cpu-b", endpoint: host.origin, models: ["qwen"] });
		expect(registered.status).toBe(200);
		const file = join(router.directory, "router.yaml");
		writeFileSync(
			`${file}.new`,
			JSON.stringify({ server: { port: 0 }, keys: [{ name: "a", key: "key-of-the-team" }] }),
		);
		renameSync(`${file}.new`, file);
		process.kill(router.pid, "SIGHUP");
		await router.printed(/1 agent that has registered is refused: the router has keys, and neither ROUTER_AGENT_TOKEN/);
		expect((await post("/heartbeat", { name: "cpu-b", models: [] })).status).toBe(401);
		await router.printed(/The agent cpu-b was refused: the router knows no agent token\. Set ROUTER_AGENT_TOKEN/);
		expect((await post("/heartbeat", { name: "cpu-b", models: [] }, "secret-of-another")).status).toBe(401);
		const { stdout } = await cli(["check", "--config", file], { cwd: router.directory });
		expect(stdout).toContain("Agents\n  1 agent that has registered is refused: the router has keys");
		expect(router.output()).not.toContain("secret-of-another");
	});
});
