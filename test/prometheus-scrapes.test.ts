/** A real Prometheus over a real router and agent, with calls that fail in many ways: what its rules and the dashboard's queries make of that. */
import { expect } from "bun:test";
import { cli, directory } from "./kit/cli.ts";
import { DONE, finishEvent, textEvent, usageEvent } from "./kit/events.ts";
import { needing } from "./kit/needing.ts";
import { nvidiaSmi } from "./kit/nvidia-smi.ts";
import { type Prometheus, startPrometheus } from "./kit/prometheus.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const { test, beforeAll, afterAll } = needing("prometheus");

const TOKEN = "the-shared-agent-token";
const [RICH, POOR] = ["key-of-the-test-rich", "key-of-the-test-poor"];
/** The goal of the first token is 5 s. */
const LATE_MS = 5_500;

const RETIRING = {
	...{ id: "gpt-4o", object: "model", created: 1, owned_by: "system" },
	shutdown_date: new Date(Date.now() + 10 * 86_400_000).toISOString().slice(0, 10),
};
const TOOLS = [{ type: "function", function: { name: "look", parameters: { type: "object" } } }];
/** The same call of a tool with the same result, round after round: two messages each. */
const ROUNDS = [1, 2, 3, 4].flatMap((round) => [
	{
		role: "assistant",
		tool_calls: [{ id: `call-${round}`, type: "function", function: { name: "look", arguments: '{"path":"/a"}' } }],
	},
	{ role: "tool", tool_call_id: `call-${round}`, content: "nothing there" },
]);

/** An engine, and a vendor in one; `late` takes its time for the first token, `bad` always fails. */
const upstream = Bun.serve({
	port: 0,
	hostname: "127.0.0.1",
	idleTimeout: 30,
	async fetch(request) {
		const { pathname } = new URL(request.url);
		// It is a proxy, too: of a vendor elsewhere, which takes a model away in ten days.
		if (request.headers.get("host") === "openai.example") return Response.json({ object: "list", data: [RETIRING] });
		if (pathname === "/v1/models") return Response.json({ object: "list", data: [{ id: "qwen", object: "model" }] });
		if (pathname === "/v1/traces" || pathname === "/v1/metrics") return new Response("no", { status: 400 });
		if (request.method === "GET") return new Response("");
		const { model, stream } = (await request.json()) as { model: string; stream?: boolean };
		if (model === "bad") return Response.json({ error: { message: "it broke" } }, { status: 500 });
		if (model === "late") await Bun.sleep(LATE_MS);
		const events = [textEvent("Hello"), finishEvent(), usageEvent(), DONE].join("");
		if (stream) return new Response(events, { headers: { "content-type": "text/event-stream" } });
		const choice = { index: 0, message: { role: "assistant", content: "Hello" }, finish_reason: "stop" };
		const usage = { prompt_tokens: 5, completion_tokens: 5, total_tokens: 10 };
		return Response.json({ id: "x", object: "chat.completion", created: 1, model, choices: [choice], usage });
	},
});

let router: RunningRouter;
let serving: RunningRouter;
let broken: RunningRouter;
let prometheus: Prometheus;
const smi = nvidiaSmi("1x24GB");

async function call(
	model: string,
	{ key = RICH, stream = false, session = "", history = [] as object[] } = {},
): Promise<number> {
	const answer = await fetch(`${router.url}/v1/chat/completions`, {
		method: "POST",
		headers: {
			"content-type": "application/json",
			authorization: `Bearer ${key}`,
			...(session && { "x-session-id": session }),
		},
		body: JSON.stringify({
			model,
			stream,
			messages: [{ role: "user", content: "hi" }, ...history],
			tools: history.length > 0 ? TOOLS : undefined,
		}),
	});
	await answer.text();
	return answer.status;
}

/** Calls of each kind, until it is told to stop. */
function traffic(): { stop(): Promise<void> } {
	let isOver = false;
	const again = async (pause: number, one: () => Promise<unknown>) => {
		while (!isOver) {
			await one().catch(() => undefined);
			await Bun.sleep(pause);
		}
	};
	const running = [
		again(200, () => call("vendor/good", { stream: true })),
		again(200, () => call("vendor/good", { key: POOR })),
		again(200, () => call("vendor/bad")),
		again(200, () => call("local/qwen")),
		again(200, () => call("vendor/good", { session: "one" })),
		again(200, async () => {
			for (const rounds of [1, 2, 3, 4]) await call("vendor/good", { history: ROUNDS.slice(0, 2 * rounds) });
		}),
		...["compared", "copied-in-vain"].map((model) => again(200, () => call(model))),
		...[1, 2].map(() => again(0, () => call("vendor/late", { stream: true }))),
	];
	return {
		async stop() {
			isOver = true;
			await Promise.all(running);
		},
	};
}

beforeAll(async () => {
	router = await startRouter({
		env: {
			ROUTER_AGENT_TOKEN: TOKEN,
			// Nobody is there.
			REDIS_URL: "redis://127.0.0.1:1/0",
			OTEL_EXPORTER_OTLP_ENDPOINT: upstream.url.origin,
			OTEL_BSP_SCHEDULE_DELAY: "20",
			HTTP_PROXY: upstream.url.origin,
		},
		config: {
			// Its rules are for one thread or several.
			server: { workers: 2 },
			keys: [
				{ name: "rich", key: RICH, session_usd: 0.00001 },
				{ name: "poor", key: POOR, budget: { usd: 0.00001, per: "day" } },
			],
			providers: {
				vendor: { type: "openai-compatible", base_url: `${upstream.url.origin}/v1` },
				openai: { base_url: "http://openai.example/v1", api_key: "key-of-openai" },
			},
			models: [
				{ name: "old", targets: ["openai/gpt-4o"] },
				{ name: "compared", targets: ["vendor/good"], shadow: { to: "vendor/twin", share: "100%" } },
				{ name: "copied-in-vain", targets: ["vendor/good"], shadow: { to: "vendor/bad", share: "100%" } },
			],
			prices: { "vendor/*": { input: 1, output: 1 } },
			cache: { enabled: false },
		},
	});
	smi.set(0, { temperature: 95 });
	const agentOn = (flags: string[], env: Record<string, string>) =>
		startRouter({
			args: ["--agent", "--router", router.url, ...flags],
			env: {
				...{ ROUTER_AGENT_TOKEN: TOKEN, AGENT_PORT: "0", PATH: `${smi.bin}:${process.env["PATH"]}` },
				...env,
			},
		});
	serving = await agentOn([], { ROUTER_AGENT_NAME: "gpu-1", VLLM_BASE_URL: upstream.url.origin });
	// It has a model of its own and no Docker, and the router can't call it.
	broken = await agentOn(["--model", "Qwen/Qwen3-0.6B", "--name", "small", "--advertise", "http://127.0.0.1:1"], {
		ROUTER_AGENT_NAME: "gpu-2",
		DOCKER_HOST: "tcp://127.0.0.1:1",
		ROUTER_TUNNEL: "never",
	});
	using home = directory();
	const { stdout: rules } = await cli(["init", "--prometheus-rules"], { cwd: home.path });
	const host = ({ url }: RunningRouter) => new URL(url).host;
	prometheus = await startPrometheus({ router: [host(router)], "router-agents": [host(serving), host(broken)] }, rules);
}, 60_000);
afterAll(async () => {
	await prometheus?.stop();
	await Promise.all([serving?.stop(), broken?.stop()]);
	await router?.stop();
	smi[Symbol.dispose]();
	await upstream.stop(true);
});

/** What the faults of this run must set off; the others are judged by promtool alone. */
const SET_OFF = [
	"AgentDockerDown",
	"AgentGpuHot",
	"RouterAgentGone",
	"RouterAgentRunsAway",
	"RouterBreakerOpen",
	"RouterBudgetSpent",
	"RouterErrors",
	"RouterFirstTokenLate",
	"RouterModelRetires",
	"RouterRedisAway",
	"RouterSessionBudgetSpent",
	"RouterShadowFails",
	"RouterSpansDropped",
];

test("every recording rule has a number, and the alerts of what went wrong are there, no other of the router's", async () => {
	const calls = traffic();
	try {
		await until(async () => (await call("local/qwen")) === 200, "the agent's model");
		const recorded = (await prometheus.rules()).filter(({ type }) => type === "recording");
		expect(recorded.length).toBeGreaterThan(8);
		const isMade = async ({ name }: { name: string }) =>
			(await prometheus.query(name)).some(({ labels, value }) => labels["job"] === "router" && Number.isFinite(value));
		for (const rule of recorded) await until(() => isMade(rule), rule.name);
		const active = async () => {
			const alerts = (await prometheus.rules()).filter(({ state }) => state === "pending" || state === "firing");
			return alerts.map(({ name }) => name);
		};
		const missing = async () => {
			const now = await active();
			return SET_OFF.filter((alert) => !now.includes(alert));
		};
		await until(async () => (await missing()).length === 0, "every alert").catch(async (error) => {
			throw new Error(`${error.message}; missing ${await missing()}, active ${await active()}`);
		});
		const known = [...SET_OFF, "RouterFirstTokenOftenLate", "AgentModelFailed"];
		expect((await active()).filter((alert) => !known.includes(alert))).toEqual([]);
		const rules = await prometheus.rules();
		expect(rules.filter(({ health }) => health !== "ok").map(({ name, lastError }) => [name, lastError])).toEqual([]);
	} finally {
		await calls.stop();
	}
}, 120_000);

interface Dashboard {
	readonly panels: readonly { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[];
	readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
}

test("every panel of the dashboard has numbers, and every variable a value", async () => {
	using home = directory();
	const { stdout } = await cli(["init", "--grafana"], { cwd: home.path });
	const { panels, templating } = JSON.parse(stdout) as Dashboard;
	// As Grafana fills them in.
	const chosen: Record<string, string> = { __rate_interval: "15s" };
	const filled = (expr: string) => expr.replace(/\$(\w+)/g, (_, name: string) => chosen[name]!);
	for (const { name, definition } of templating.list) {
		const [, selector, label] = /^label_values\((.+), (\w+)\)$/.exec(definition ?? "") ?? [];
		if (!selector || !label) continue;
		const values = (await prometheus.query(filled(selector))).map(({ labels }) => labels[label]!);
		expect([name, values.length > 0]).toEqual([name, true]);
		chosen[name] = [...new Set(values)].join("|");
	}
	expect(chosen).toMatchObject({ job: "router", agent_job: "router-agents" });
	const calls = traffic();
	try {
		const exprs = panels.flatMap(({ title, targets = [] }) =>
			targets.map(({ expr }) => [title, filled(expr)] as const),
		);
		expect(exprs.length).toBeGreaterThan(20);
		for (const [title, expr] of exprs) {
			await until(
				async () => (await prometheus.query(expr)).some(({ value }) => Number.isFinite(value)),
				`a number of "${title}" (${expr})`,
			);
		}
	} finally {
		await calls.stop();
	}
}, 120_000);
