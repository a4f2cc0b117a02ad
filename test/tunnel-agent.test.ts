/** A real agent behind NAT: the router can't call its address, and what an address does its tunnel does. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { certificate } from "./kit/certificate.ts";
import { directory } from "./kit/cli.ts";
import { startConnectProxy } from "./kit/connect-proxy.ts";
import { DONE, finishEvent, textEvent, usageEvent } from "./kit/events.ts";
import type { Loose } from "./kit/exchange.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";
import { startHere, twoWorkers } from "./kit/worker-router.ts";

const TOKEN = "the-shared-agent-token";
const KEY = "the-key-of-a-client";
const ADMIN = "the-key-of-an-administrator";
/** What the agent serves: a vLLM that already runs. */
let engine: Bun.Server<undefined>;
beforeAll(() => {
	engine = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		async fetch(request) {
			const { pathname } = new URL(request.url);
			if (pathname === "/v1/models") return Response.json({ object: "list", data: [{ id: "qwen", object: "model" }] });
			if (request.method === "GET") return new Response("");
			const { stream } = (await request.json()) as { stream?: boolean };
			if (stream) {
				const events = [textEvent("Hello"), finishEvent(), usageEvent(), DONE].join("");
				return new Response(events, { headers: { "content-type": "text/event-stream" } });
			}
			const choice = { index: 0, message: { role: "assistant", content: "Hello" }, finish_reason: "stop" };
			return Response.json({ id: "x", object: "chat.completion", created: 1, model: "qwen", choices: [choice] });
		},
	});
});
afterAll(() => engine.stop(true));

const agentsOf = async (router: RunningRouter) => {
	const answer = await fetch(`${router.url}/agents`, { headers: { authorization: `Bearer ${TOKEN}` } });
	return ((await answer.json()) as { data: Loose[] }).data;
};
const startWith = (env: Record<string, string> = {}) =>
	startRouter({ env: { ROUTER_AGENT_TOKEN: TOKEN, ROUTER_API_KEYS: KEY, ROUTER_ADMIN_KEYS: ADMIN, ...env } });
const startAgent = (router: RunningRouter, args: string[], env: Record<string, string> = {}) =>
	startRouter({
		args: ["--agent", "--router", router.url, ...args],
		env: {
			ROUTER_AGENT_TOKEN: TOKEN,
			ROUTER_AGENT_NAME: "gpu-1",
			AGENT_PORT: "0",
			VLLM_BASE_URL: engine.url.origin,
			...env,
		},
	});
const call = (router: RunningRouter, stream = false) =>
	fetch(`${router.url}/v1/chat/completions`, {
		method: "POST",
		headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
		body: JSON.stringify({ model: "local/qwen", stream, messages: [{ role: "user", content: "hi" }] }),
	});

test("an agent that advertises an address which the router can't call gets a tunnel, unless it is to have none", async () => {
	const router = await startWith();
	// Nothing listens on that port: it is privileged.
	const advertise = ["--advertise", "http://127.0.0.1:9"];
	const without = await startAgent(router, advertise, { ROUTER_TUNNEL: "never" });
	await without.printed(/can't call this agent back: .* with --tunnel/);
	await without.stop();
	const agent = await startAgent(router, advertise);
	await until(async () => (await agentsOf(router))[0]?.["endpoint"] === "tunnel://gpu-1", "the tunnel");
	await until(async () => (await call(router)).status === 200, "a call");
	await agent.stop();
	await router.stop();
});

test("an agent with --tunnel is called through it, and not at all with another token", async () => {
	const router = await startWith();
	const refused = await startAgent(router, ["--tunnel"], { ROUTER_AGENT_TOKEN: "a-wrong-agent-token" });
	await refused.printed(/The tunnel can't be opened: This agent token is not known here/);
	await refused.stop();
	const agent = await startAgent(router, ["--tunnel"]);
	await until(async () => (await agentsOf(router))[0]?.["reachable"] === true, "the agent");
	expect((await agentsOf(router))[0]).toMatchObject({ endpoint: "tunnel://gpu-1", state: "fresh" });
	await until(async () => (await call(router)).status === 200, "a call");
	expect(await (await call(router, true)).text()).toContain("data: [DONE]");
	const own = async (path: string, key: string) => {
		const answer = await fetch(`${router.url}/agents/${path}`, { headers: { authorization: `Bearer ${key}` } });
		const { error, data } = (await answer.json()) as Loose;
		return [answer.status, error?.code ?? data];
	};
	expect(await own("gpu-1/models", ADMIN)).toEqual([200, []]);
	expect(await own("gpu-1/models/none", ADMIN)).toEqual([404, "model_not_found"]);
	expect(await own("gpu-1/models", KEY)).toEqual([401, "invalid_admin_key"]);
	expect(await own("gpu-2/models", ADMIN)).toEqual([404, "agent_not_found"]);
	expect(await own("gpu-1/v1/models", ADMIN)).toEqual([404, "unknown_path"]);
	process.kill(agent.pid, "SIGTERM");
	await agent.printed(/Stopped\./);
	await until(async () => (await call(router)).status === 503, "the agent's farewell");
	await agent.stop();
	await router.stop();
}, 60_000);

test("over TLS and an HTTP proxy, with an authority of its own", async () => {
	using files = directory({});
	const pair = certificate("router", ["router.test"]);
	const at = (name: string, text: string) => {
		writeFileSync(join(files.path, name), text);
		return join(files.path, name);
	};
	const tls = { cert: at("cert.pem", pair.cert), key: at("key.pem", pair.key) };
	const settings = twoWorkers({ keys: [{ name: "client", key: KEY }] }, { tls, host: "127.0.0.1" });
	const router = await startHere(settings, 0, undefined, { ROUTER_AGENT_TOKEN: TOKEN });
	const { port } = new URL(router.url);
	const proxy = startConnectProxy({ names: { [`router.test:${port}`]: `127.0.0.1:${port}` } });
	const agent = await startRouter({
		args: ["--agent", "--tunnel", "--router", `https://router.test:${port}`],
		env: {
			AGENT_PORT: "0",
			VLLM_BASE_URL: engine.url.origin,
			HTTPS_PROXY: proxy.origin,
			ROUTER_CA_FILE: tls.cert,
			ROUTER_AGENT_TOKEN: TOKEN,
			ROUTER_AGENT_NAME: "gpu-1",
		},
	});
	const call = () =>
		fetch(`${router.url}/v1/chat/completions`, {
			method: "POST",
			headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
			body: JSON.stringify({ model: "local/qwen", messages: [{ role: "user", content: "hi" }] }),
			tls: { rejectUnauthorized: false },
		});
	await until(async () => (await call()).status === 200, "a call");
	expect(new Set(proxy.asked)).toEqual(new Set([`CONNECT router.test:${port}`]));
	await agent.stop();
	await router.stop();
	proxy.stop();
}, 60_000);
