/** Routers that lead to each other: a call ends soon, with a clear answer, instead of going round until sockets run out. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import { clientError } from "./kit/contract.ts";
import { INSTANCE, pipeline } from "./kit/pipeline.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { type FakeVllm, startVllm } from "./kit/vllm.ts";

const call = { model: "dummy", messages: [{ role: "user", content: "hi" }] };

/** A loopback port that was free a moment ago. */
function freePort(): number {
	const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
	const { port } = server;
	server.stop(true);
	return port;
}

describe("two routers that are each other's upstream", () => {
	let one: RunningRouter;
	let two: RunningRouter;
	let vllm: FakeVllm;
	beforeAll(async () => {
		vllm = startVllm(["qwen"]);
		const port = freePort();
		two = await startRouter({
			env: { LLMD_BASE_URL: `http://127.0.0.1:${port}`, LOCAL_AGENT_URL: vllm.origin },
		});
		one = await startRouter({
			env: { PORT: String(port), OPENAI_BASE_URL: two.url, OPENAI_API_KEY: "sk-x", LOCAL_AGENT_URL: vllm.origin },
			// openai/x goes to the other as x; there it is an alias that comes back as openai/x.
			config: { models: [{ name: "round", targets: ["openai/llm-d/round"] }] },
		});
	});
	afterAll(async () => {
		await Promise.all([one.stop(), two.stop()]);
		await vllm.stop();
	});

	test.each([false, true])("end a call that comes back, with 508 (streamed: %p)", async (stream) => {
		const answer = await post(`${one.url}/v1/chat/completions`, { ...call, model: "round", stream });
		expect(answer.status).toBe(508);
		expect(clientError(answer.text).message).toContain("come back to the router");
		await Promise.all([one.idle(), two.idle()]);
		expect(await one.metric("router_attempts_total")).toBeLessThanOrEqual(4);
	});

	test("serve a call that goes through both and on", async () => {
		const answer = await post(`${one.url}/v1/chat/completions`, { ...call, model: "openai/local/qwen" });
		expect([answer.status, JSON.parse(answer.text).model]).toEqual([200, "qwen"]);
	});
});

test("a router whose upstream is its own address does not start, and says which setting is wrong", async () => {
	const port = freePort();
	const outcome = await startRouter({
		env: { PORT: String(port), ANTHROPIC_BASE_URL: `http://localhost:${port}` },
	}).then(
		async (router) => {
			await router.stop();
			return "it started";
		},
		(error: Error) => error.message,
	);
	expect(outcome).toMatch(/ended with 1 .*ANTHROPIC_BASE_URL/s);
});

describe("the hop header", () => {
	const seen = async (hops: string) => (await pipeline().send(call, { headers: { "x-router-hops": hops } })).status;

	test("of this very process is a loop, wherever it stands in the list", async () => {
		expect([await seen(INSTANCE), await seen(`a,${INSTANCE},b`), await seen(`a, ${INSTANCE}`)]).toEqual([
			508, 508, 508,
		]);
	});

	test("of others is none, until there are too many", async () => {
		expect(await seen("")).toBe(200);
		expect(await seen("a,b,c,d,e,f,g")).toBe(200);
		expect(await seen("a,b,c,d,e,f,g,h")).toBe(508);
		expect(await seen(",".repeat(5000))).toBe(508);
	});

	test("grows at every router, and vendors at their own address get none", async () => {
		const vllm = startVllm(["m"]);
		try {
			const router = pipeline({ config: { providers: { box: { type: "vllm", base_url: vllm.origin } } } });
			await router.send({ ...call, model: "box/m" }, { headers: { "x-router-hops": "before" } });
			expect(vllm.received[0]?.headers.get("x-router-hops")).toBe(`before,${INSTANCE}`);
			const target = pipeline({ env: { OPENAI_API_KEY: "sk-x" } }).snapshot.catalog.resolve("gpt-5").targets[0]!;
			const parsed = parseRequest("chat", JSON.stringify({ ...call, model: "gpt-5" }));
			const asked = target.provider.encode(
				{
					...parsed,
					id: "req_1",
					operation: "chat",
					headers: new Headers({ "x-router-hops": "before" }),
					hops: `before,${INSTANCE}`,
					client: new AbortController(),
					startedAt: 0,
				},
				target,
			);
			expect(Object.keys(asked.headers)).not.toContain("x-router-hops");
		} finally {
			await vllm.stop();
		}
	});
});
