/** Who may ask an agent for what: its token, its router's secret, and nobody else. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createKeyAuth, hashKey } from "../src/accounts/auth/keys.ts";
import { cli, directory } from "./kit/cli.ts";
import { clientError } from "./kit/contract.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";
import { type FakeVllm, startVllm } from "./kit/vllm.ts";

const TOKEN = "the-token-of-the-agents";
const CHAT = "/v1/chat/completions";
const messages = [{ role: "user", content: "hi" }];
const ADAPTERS = ["--lora-modules", "sql=/adapters/sql", "team/chat=/adapters/chat"];
/** Docker is nowhere to be found: what is asked here needs none. */
const NO_DOCKER = { PATH: "/nowhere" };

describe("an agent with a token", () => {
	let agent: RunningRouter;
	beforeAll(async () => {
		agent = await startRouter({
			args: ["--agent"],
			env: { ...NO_DOCKER, ROUTER_AGENT_TOKEN: TOKEN },
			config: { agent: { models: [{ model: "a/b", name: "m", load: "manual", args: ADAPTERS }] } },
		});
	});
	afterAll(() => agent.stop());

	test.each([
		["GET", "/models"],
		["GET", "/models/m"],
		["GET", "/models/m/logs"],
		["GET", "/models/m/logs?follow=1"],
		["GET", "/models/none"],
		["POST", "/models/m/load"],
		["POST", "/models/m/unload"],
		["POST", "/models/a/b/load"],
		["POST", "/models/a/b/nothing"],
		["GET", "/gpus"],
	])("refuses %s %s without it, and with a wrong one, and says nothing else", async (method, path) => {
		for (const authorization of [undefined, "Bearer wrong", `Bearer ${TOKEN}x`, "Basic x"]) {
			const headers: Record<string, string> = authorization ? { authorization } : {};
			const answer = await fetch(agent.url + path, { method, headers });
			const text = await answer.text();
			expect([answer.status, clientError(text).code]).toEqual([401, "invalid_api_key"]);
			expect(text).not.toContain(TOKEN);
		}
	});

	test("answers those who have it", async () => {
		const headers = { authorization: `Bearer ${TOKEN}` };
		const get = async (path: string) => (await fetch(agent.url + path, { headers })).json() as Promise<object>;
		expect(await get("/models")).toMatchObject({ data: [{ name: "m", model: "a/b", load: "manual" }] });
		expect(await get("/models/m")).toMatchObject({ name: "m" });
		expect(await get("/gpus")).toMatchObject({ accelerator: "cpu", data: [] });
		const wrong = await fetch(`${agent.url}/models/a/b/nothing`, { method: "POST", headers });
		expect(wrong.status).toBe(404);
		const logs = await fetch(`${agent.url}/models/m/logs?tail=x`, { headers });
		expect([logs.status, clientError(await logs.text()).param]).toEqual([400, "tail"]);
	});

	test.each(["sql", "team/chat"])("shows the log of an adapter's model: %s", async (name) => {
		const headers = { authorization: `Bearer ${TOKEN}` };
		expect((await fetch(`${agent.url}/models/${name}`, { headers })).status).toBe(200);
		const logs = await fetch(`${agent.url}/models/${name}/logs?tail=x`, { headers });
		expect([logs.status, clientError(await logs.text()).param]).toEqual([400, "tail"]);
	});

	test("documents all of it", async () => {
		const spec = (await (await fetch(`${agent.url}/swagger/json`)).json()) as { paths: Record<string, object> };
		const paths = [
			"/models",
			"/models/{name}",
			"/models/{name}/load",
			"/models/{name}/unload",
			"/models/{name}/logs",
			"/gpus",
		];
		expect(Object.keys(spec.paths)).toEqual(expect.arrayContaining(paths));
	});
});

test("a web page can't use an agent without a token by stealth", async () => {
	const agent = await startRouter({ args: ["--agent"], env: NO_DOCKER });
	try {
		for (const headers of [{ origin: "https://evil.example" }, { host: "evil.example" }]) {
			const answer = await fetch(`${agent.url}/models`, { headers });
			expect(answer.status).toBe(403);
		}
		expect((await fetch(`${agent.url}/models`)).status).toBe(200);
	} finally {
		await agent.stop();
	}
});

describe("an agent and its router", () => {
	let vllm: FakeVllm;
	beforeAll(() => {
		vllm = startVllm(["served"]);
	});
	afterAll(() => vllm.stop());

	test("the router's calls carry a secret of this agent's own, which the agent takes; a vLLM that ran already serves", async () => {
		const router = await startRouter({ env: { ROUTER_AGENT_TOKEN: TOKEN } });
		const agent = await startRouter({
			args: ["--agent", "--router", router.url, "--vllm-url", vllm.origin],
			env: { ...NO_DOCKER, ROUTER_AGENT_TOKEN: TOKEN },
		});
		try {
			const chat = () => post(router.url + CHAT, { model: "local/served", messages });
			await until(async () => (await chat()).status === 200, "an answer through the router");
			const answer = await chat();
			expect([answer.status, answer.headers.get("x-router-provider")]).toEqual([200, "local"]);
			const agents = (await (
				await fetch(`${router.url}/agents`, { headers: { authorization: `Bearer ${TOKEN}` } })
			).json()) as {
				data: { models: object[] }[];
			};
			expect(agents.data[0]?.models).toMatchObject([{ name: "served", state: "ready" }]);
		} finally {
			await Promise.all([agent.stop(), router.stop()]);
		}
	}, 30_000);

	test("a router on another machine makes the agent listen for it, which wants a token", async () => {
		using home = directory();
		const args = ["check", "--agent", "--router", "http://10.0.0.1:8000"];
		const refused = await cli(args, { cwd: home.path });
		expect([refused.code, refused.stderr]).toEqual([1, expect.stringMatching(/0\.0\.0\.0.*ROUTER_AGENT_TOKEN/)]);
		expect((await cli(args, { cwd: home.path, env: { ROUTER_AGENT_TOKEN: TOKEN } })).code).toBe(0);
		expect((await cli([...args, "--host", "127.0.0.1"], { cwd: home.path })).code).toBe(0);
		expect((await cli(["check", "--agent", "--router", "http://localhost:8000"], { cwd: home.path })).code).toBe(0);
	});
});

describe("keys beside the credential of an agent", () => {
	const bearer = (secret: string) => new Headers({ authorization: `Bearer ${secret}` });
	let secret: string | string[] | undefined;
	const auth = createKeyAuth([{ name: "router", key: TOKEN, models: ["*"] }], undefined, () =>
		secret === undefined ? undefined : { name: "guest", hashes: [secret].flat().map(hashKey) },
	);

	test("lets in whoever has the key or the secret of the moment", () => {
		expect(() => auth.authenticate(bearer("first"))).toThrow();
		secret = "first";
		expect(auth.authenticate(bearer("first"))?.name).toBe("guest");
		expect(auth.authenticate(bearer(TOKEN))?.name).toBe("router");
		secret = ["second", "third"];
		for (const each of secret) expect(auth.authenticate(bearer(each))?.name).toBe("guest");
		secret = "second";
		expect(() => auth.authenticate(bearer("first"))).toThrow();
		expect(auth.authenticate(bearer("second"))?.name).toBe("guest");
	});
});
