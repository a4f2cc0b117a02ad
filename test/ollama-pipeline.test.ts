/** What the router does for a chat call it does for one of Ollama's API: keys, limits, models, cost, failover and resume, agents. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Json, Loose } from "./kit/exchange.ts";
import { startFakeAgent } from "./kit/fake-agent.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, streams } from "./kit/faults.ts";
import { HELLO, HELLO_USAGE, helloChunk } from "./kit/hello-answer.ts";
import { ollamaClient } from "./kit/ollama-client.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const one = startFaultUpstream();
const two = startFaultUpstream();
let router: RunningRouter;
beforeAll(async () => {
	router = await startRouter({
		config: {
			providers: { one: { type: "vllm", base_url: one.origin }, two: { type: "vllm", base_url: two.origin } },
			models: [{ name: "fast", policy: "order", targets: ["one/a", "two/b"] }],
			prices: { "one/a": { input: 1, output: 2 }, "two/b": { input: 1, output: 2 } },
			keys: [
				{ name: "all", key: "rk-of-all-models-1234" },
				{ name: "few", key: "rk-of-few-models-1234", models: ["dummy"], rpm: 2 },
			],
		},
	});
});
afterAll(async () => {
	await router.stop();
	one.stop();
	two.stop();
});

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const ALL = bearer("rk-of-all-models-1234");
const FEW = bearer("rk-of-few-models-1234");
const asking = (more: Json = {}) => ({
	model: "fast",
	messages: [{ role: "user", content: "hi" }],
	stream: false,
	...more,
});
const send = (body: Json, headers: Record<string, string> = ALL, path = "/api/chat") =>
	post(router.url + path, body, headers);
const linesOf = (text: string): Loose[] =>
	text
		.split("\n")
		.slice(0, -1)
		.map((line) => JSON.parse(line) as Loose);

describe("is refused in Ollama's form", () => {
	test("calls beyond the key's limit, with how long to wait", async () => {
		const body = asking({ model: "dummy" });
		let last = await send(body, FEW);
		for (let call = 0; call < 3 && last.status === 200; call++) last = await send(body, FEW);
		expect([last.status, Object.keys(JSON.parse(last.text) as Loose)]).toEqual([429, ["error"]]);
		expect(Number(last.headers.get("retry-after"))).toBeGreaterThan(0);
		expect(last.headers.get("x-ratelimit-remaining-requests")).toBe("0");
	});

	test("a web page of another origin, whatever type its body has, where there are no keys", async () => {
		const open = await startRouter();
		try {
			for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/json"]) {
				const headers = { origin: "https://elsewhere.example", "content-type": type, authorization: "" };
				const { status, text } = await post(`${open.url}/api/chat`, asking({ model: "dummy" }), headers);
				expect([status, Object.keys(JSON.parse(text) as Loose)]).toEqual([403, ["error"]]);
			}
		} finally {
			await open.stop();
		}
	});
});

test("a call costs what it costs, and says so in its header and at its stream's end", async () => {
	one.run(answers("200 OK", HELLO));
	const whole = await send(asking());
	expect(whole.headers.get("x-router-cost-usd")).toBe("0.002");
	one.run(streams([helloChunk({ content: "Hello" }), helloChunk({}, "stop"), HELLO_USAGE, "data: [DONE]\n\n"]));
	const streamed = await send(asking({ stream: true, options: { temperature: 1 } }));
	expect(linesOf(streamed.text).at(-1)!["router"]).toMatchObject({ provider: "one", attempts: 1, cost_usd: 0.002 });
});

test("a call that one target refuses for the time being goes to the next", async () => {
	one.run(answers("503 Service Unavailable", "{}"));
	two.run(answers("200 OK", HELLO));
	const { status, headers } = await send(asking({ messages: [{ role: "user", content: "failover" }] }));
	expect([status, headers.get("x-router-provider")]).toEqual([200, "two"]);
});

test("a stream that breaks off goes on at the next target, and its client sees one answer", async () => {
	one.run(async (connection) => {
		await begins([
			helloChunk({ role: "assistant", content: "" }),
			helloChunk({ content: "Hello " }),
			helloChunk({ content: "wor" }),
		])(connection);
		await Bun.sleep(50);
		connection.destroy();
	});
	two.run(streams([helloChunk({ content: "ld." }), helloChunk({}, "stop"), HELLO_USAGE, "data: [DONE]\n\n"]));
	const { text } = await send(asking({ stream: true, messages: [{ role: "user", content: "resume" }] }));
	const lines = linesOf(text);
	expect(lines.map(({ message }) => message?.content ?? "").join("")).toBe("Hello world.");
	expect(lines.filter(({ done }) => done).length).toBe(1);
	expect(lines.at(-1)).toMatchObject({ done: true, done_reason: "stop" });
});

test("a model of an agent is listed, runs, is shown and answers, with a tag and without one", async () => {
	const local = await startRouter({ env: { ROUTER_AGENT_TOKEN: "token-of-the-agents-12345" } });
	const agent = startFakeAgent({ router: local.url, token: "token-of-the-agents-12345", models: ["qwen3-8b"] });
	try {
		const client = ollamaClient(local.url, "none");
		let running = await client.ps();
		for (let wait = 0; wait < 200 && running.models.length === 0; wait++) {
			await Bun.sleep(25);
			running = await client.ps();
		}
		expect(running.models.map(({ name }) => name)).toContain("local/qwen3-8b");
		expect((await client.list()).models.map(({ name }) => name)).toContain("local/qwen3-8b");
		expect((await client.show({ model: "qwen3-8b:latest" })).details.parameter_size).toBe("8B");
		for (const model of ["qwen3-8b", "qwen3-8b:latest", "local/qwen3-8b:latest"]) {
			const { message, model: named } = await client.chat({ model, messages: [{ role: "user", content: "hi" }] });
			expect([message.content === "", named]).toEqual([false, model]);
		}
	} finally {
		await agent.leave();
		await local.stop();
	}
});
