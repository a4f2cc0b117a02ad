/** Models and fleet in a real browser: what agents report, why a model is not ready, and what is asked of its agent. */
import { expect } from "bun:test";
import { type OpenConsole, openConsole, VIEWS } from "./kit/console-page.ts";
import type { Loose } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const { afterAll, beforeAll, describe, test } = needing("chromium");
const ADMIN = "admin-key-of-the-test";
const VIEWER = "viewer-key-of-the-test";
const TOKEN = "token-of-the-agents";
const GIB = 1024 ** 3;

const REPORT = {
	models: [
		{
			name: "qwen3-8b",
			model: "Qwen/Qwen3-8B",
			state: "ready",
			load: "always",
			running: 3,
			waiting: 1,
			kv_cache: 0.42,
			power: 180,
			replicas: [
				{ replica: 0, state: "ready", running: 2, waiting: 0, kv_cache: 0.4 },
				{ replica: 1, state: "starting", canary: 0.1 },
			],
		},
		{ name: "qwen3-8b-sql", parent: "qwen3-8b", state: "ready" },
		{ name: "of-another", state: "ready" },
		{
			name: "llama/70b",
			model: "meta-llama/Llama-3.3-70B-Instruct",
			state: "failed",
			load: "on-demand",
			reason: "It needs 141 GiB and the host has 48: set `gpus: 4`, or take a smaller model.",
		},
	],
	gpus: [
		{
			index: 0,
			name: "NVIDIA L40S",
			memory_total: 48 * GIB,
			memory_used: 47 * GIB,
			utilization: 0.83,
			temperature: 71,
			power: 301,
		},
		{ index: 1, name: "NVIDIA L40S", memory_total: 48 * GIB, memory_used: 2 * GIB },
	],
};

/** An agent that reports this, and says what it is asked. */
function startAgent(router: RunningRouter) {
	const orders: string[] = [];
	const log = Promise.withResolvers<(line: string) => void>();
	const server = Bun.serve({
		hostname: "127.0.0.1",
		port: 0,
		idleTimeout: 0,
		async fetch(request) {
			const { pathname, search } = new URL(request.url);
			if (pathname === "/health") return Response.json({ status: "ok" });
			orders.push(`${request.method} ${decodeURIComponent(pathname)}${search} ${await request.text()}`.trim());
			if (pathname.endsWith("/roll")) {
				const error = { message: "It is being rolled already.", type: "invalid_request_error", code: "invalid_value" };
				return Response.json({ error }, { status: 400 });
			}
			if (!pathname.endsWith("/logs")) return Response.json({}, { status: 202 });
			const lines = new ReadableStream<string>({
				start: (controller) => log.resolve((line) => controller.enqueue(`data: ${line}\n\n`)),
			});
			return new Response(lines.pipeThrough(new TextEncoderStream()), {
				headers: { "content-type": "text/event-stream" },
			});
		},
	});
	const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" };
	const body = JSON.stringify({
		name: "gpu-1",
		endpoint: `http://127.0.0.1:${server.port}`,
		instance: "a".repeat(32),
		...REPORT,
	});
	const register = () => fetch(`${router.url}/register`, { method: "POST", headers, body });
	const beating = setInterval(() => void register(), 3_000);
	return {
		orders,
		log: log.promise,
		registered: register(),
		async stop() {
			clearInterval(beating);
			await server.stop(true);
		},
	};
}

const day = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);
const SOON = day(12);
/** A vendor that gives two models up. Its address is in this network: its list is read because a client asks for it. */
const vendor = Bun.serve({
	hostname: "127.0.0.1",
	port: 0,
	fetch: () =>
		Response.json({
			object: "list",
			data: [
				{ id: "gpt-old", object: "model", created: 1, owned_by: "system", shutdown_date: SOON },
				{ id: "gpt-older", object: "model", created: 1, owned_by: "system", shutdown_date: "2020-01-14" },
				{ id: "gpt-late", object: "model", created: 1, owned_by: "system", shutdown_date: "2127-01-14" },
			],
		}),
});

let router: RunningRouter;
let agent: ReturnType<typeof startAgent>;
beforeAll(async () => {
	router = await startRouter({
		config: {
			providers: { openai: { base_url: `http://127.0.0.1:${vendor.port}/v1`, api_key: "key-of-the-vendor" } },
			models: [
				{ name: "copied", targets: ["dummy"], shadow: { to: "dummy", share: "100%" } },
				{ name: "fast", targets: ["openai/gpt-late", "openai/gpt-old"] },
				{ name: "deep", targets: ["openai/gpt-older"] },
			],
			admin: {
				keys: [
					{ name: "ops", key: ADMIN },
					{ name: "wall", key: VIEWER, role: "viewer" },
				],
			},
		},
		env: { ROUTER_AGENT_TOKEN: TOKEN },
	});
}, 60_000);
afterAll(async () => {
	await agent?.stop();
	await router.stop();
	await vendor.stop(true);
});

test("without agents it says how to get one, and then shows it by itself", async () => {
	const shown = await openConsole(router.url, VIEWER);
	try {
		await shown.show("models", "Models and fleet");
		await shown.page.waitForSelector("text=No agent has registered yet");
		// Nobody has asked the vendor yet.
		expect(await shown.page.locator("#retiring").count()).toBe(0);
		await fetch(`${router.url}/v1/models`);
		await shown.check("models-empty");
		agent = startAgent(router);
		expect((await agent.registered).status).toBe(200);
		await shown.page.waitForSelector("h2:text('gpu-1')");
	} finally {
		await shown.close();
	}
}, 60_000);

describe.each(VIEWS)("$theme, $width wide", (view) => {
	let shown: OpenConsole;
	beforeAll(async () => {
		const messages = [{ role: "user", content: `looked at in ${view.theme}, ${view.width} wide` }];
		const call = JSON.stringify({ model: "copied", messages });
		const headers = { "content-type": "application/json" };
		expect((await fetch(`${router.url}/v1/chat/completions`, { method: "POST", headers, body: call })).status).toBe(
			200,
		);
		const compared = () => router.metric("router_shadow_calls_total", { outcome: "compared" });
		const before = VIEWS.indexOf(view);
		await until(async () => (await compared()) === before + 1, "a copy");
		shown = await openConsole(router.url, VIEWER, view);
		await shown.show("models", "Models and fleet");
		await shown.page.waitForSelector("h2:text('gpu-1')");
	}, 60_000);
	afterAll(() => shown.close());

	test("it shows which targets of its names their vendors give up, and when, the first one first", async () => {
		const rows = shown.page.locator("section:has(#retiring) tbody tr");
		expect(await rows.allTextContents()).toEqual([
			"deepopenai/gpt-older2020-01-14: over",
			expect.stringMatching(new RegExp(`^fastopenai/gpt-old${SOON}, in 1[12] days$`)),
			"fastopenai/gpt-late2127-01-14",
		]);
	}, 60_000);

	test("it shows hosts, GPUs, models, replicas, why one failed and what to do; to a viewer without a button that changes anything", async () => {
		const text = (await shown.page.textContent("main"))!;
		for (const part of [
			"47 GiB of 48 GiB",
			"83 %",
			"71",
			"301",
			"141 GiB",
			"set `gpus: 4`",
			"adapter of qwen3-8b",
			"copied → dummy",
			`100\u00a0%\u00a0of\u00a0${VIEWS.indexOf(view) + 1}`,
			"canary, 10 %",
			"started by somebody else",
		]) {
			expect(text).toContain(part);
		}
		const buttons = await shown.page.locator("main button").allTextContents();
		expect(new Set(buttons)).toEqual(new Set(["Log"]));
		await shown.check("models");
		shown.askedNobodyElse();
	}, 60_000);
});

test("hosts stand by their names, whichever has registered anew", async () => {
	const shown = await openConsole(router.url, VIEWER);
	try {
		const answer = (await (
			await fetch(`${router.url}/agents`, { headers: { authorization: `Bearer ${VIEWER}` } })
		).json()) as Loose;
		const named = (name: string) => ({ ...answer["data"][0], name });
		const data = ["gpu-10", "gpu-2", "a"].map(named);
		await shown.page.route("**/agents", (route) => route.fulfill({ json: { object: "list", data } }));
		await shown.show("models", "Models and fleet");
		await shown.page.waitForSelector("h2:text('gpu-10')");
		const heads = await shown.page.locator("section[aria-labelledby^=agent-] h2").allTextContents();
		expect(heads).toEqual(["a", "gpu-2", "gpu-10"]);
	} finally {
		await shown.close();
	}
}, 60_000);

describe("an administrator", () => {
	let shown: OpenConsole;
	beforeAll(async () => {
		shown = await openConsole(router.url, ADMIN);
		await shown.show("models", "Models and fleet");
		await shown.page.waitForSelector("h2:text('gpu-1')");
	}, 60_000);
	afterAll(() => shown.close());
	const button = (name: string) => shown.page.getByRole("button", { name, exact: true });
	const asked = (order: string) => until(() => agent.orders.includes(order), order);

	test("is offered nothing to do with an engine that the agent has not started", async () => {
		expect(await shown.page.getByRole("button", { name: /of-another/ }).count()).toBe(0);
		expect(await button("Log of qwen3-8b").count()).toBe(1);
	}, 60_000);

	test("loads a model", async () => {
		await button("Load llama/70b").click();
		await asked("POST /models/llama/70b/load");
	}, 60_000);

	test("is asked before a model is unloaded, and Escape leaves it as it is", async () => {
		await button("Unload qwen3-8b").click();
		await shown.page.waitForSelector("dialog[open]");
		await shown.check("models-unload");
		await shown.page.keyboard.press("Escape");
		await until(async () => (await shown.page.locator("dialog").count()) === 0, "the dialog's end");
		expect(agent.orders.filter((order) => order.includes("unload"))).toEqual([]);
		await button("Unload qwen3-8b").click();
		await button("Unload").click();
		await asked("POST /models/qwen3-8b/unload");
	}, 60_000);

	test("rolls a model by what was typed, and reads the agent's own words where it refuses", async () => {
		await button("Roll qwen3-8b").click();
		await shown.page.fill("#roll-image", "vllm/vllm-openai:v0.33.0");
		await shown.page.fill("#roll-canary", "10%");
		await button("Roll").click();
		await asked('POST /models/qwen3-8b/roll {"image":"vllm/vllm-openai:v0.33.0","canary":"10%"}');
		await shown.page.waitForSelector("text=It is being rolled already.");
		// The browser itself writes down that an answer was a 400.
		shown.said.length = 0;
	}, 60_000);

	test("follows a replica's log as it is written", async () => {
		await button("Log of qwen3-8b #1").click();
		const write = await agent.log;
		expect(agent.orders.at(-1)).toBe("GET /models/qwen3-8b/logs?follow=1&tail=200&replica=1");
		write("INFO the first line");
		await shown.page.waitForSelector("pre.log:has-text('the first line')");
		write("ERROR <b>the second</b>");
		await shown.page.waitForSelector("pre.log:has-text('<b>the second</b>')");
		await shown.check("models-log");
		await button("Close").click();
		await until(async () => (await shown.page.locator("dialog").count()) === 0, "the dialog's end");
	}, 60_000);
});
