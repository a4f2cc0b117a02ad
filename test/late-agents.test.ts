/** A call whose agents have all failed goes on at one that came while it ran. */
import { afterEach, describe, expect, test } from "bun:test";
import { textEvent } from "./kit/events.ts";
import { type FakeAgent, type FakeAgentOptions, startFakeAgent } from "./kit/fake-agent.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const running: { stop(): Promise<void> }[] = [];
afterEach(async () => {
	for (const each of running.splice(0).reverse()) await each.stop();
});

const TOKEN = "the-agents-token-of-the-test";

type Answer = () => Response | Promise<Response>;

async function join(router: RunningRouter, options: FakeAgentOptions): Promise<FakeAgent> {
	const agent = startFakeAgent({ router: router.url, token: TOKEN, ...options });
	running.push(agent);
	await until(() => agent.link?.state.state === "joined", "its joining");
	return agent;
}

/** A router and its first agent, at whose every call another agent comes first; `fail` is what it then answers. */
async function late(fail: Answer, { models = ["qwen"], config = {} } = {}) {
	const settings = { cache: { enabled: false }, ...config };
	const router = await startRouter({ config: settings, env: { ROUTER_AGENT_TOKEN: TOKEN } });
	running.push(router);
	const calls = { first: 0, second: 0 };
	let second: Promise<FakeAgent> | undefined;
	await join(router, {
		name: "gpu-1",
		async before() {
			calls.first++;
			second ??= join(router, { name: "gpu-2", models, before: () => void calls.second++ });
			await second;
			return await fail();
		},
	});
	return { router, calls };
}

const say = ({ url }: RunningRouter, body: object = {}, headers: Record<string, string> = {}) =>
	fetch(`${url}/v1/chat/completions`, {
		method: "POST",
		headers: { "content-type": "application/json", ...headers },
		body: JSON.stringify({ model: "local/qwen", messages: [{ role: "user", content: "hi" }], ...body }),
	});

const ADMIN = "admin-key-of-the-test";
const bearer = (key: string) => ({ headers: { authorization: `Bearer ${key}` } });

const refused = (status: number, code: string) => () => Response.json({ error: { message: "no", code } }, { status });

describe("a call whose only agent fails", () => {
	test("is told so where what failed is the call's own fault: no other agent is asked", async () => {
		const { router, calls } = await late(refused(400, "invalid_request_error"));
		expect((await say(router)).status).toBe(400);
		expect(calls).toEqual({ first: 1, second: 0 });
	});

	test("fails as before where the agent that came has another model", async () => {
		const { router, calls } = await late(refused(404, "model_not_found"), { models: ["other"] });
		expect((await say(router)).status).toBe(404);
		expect(calls).toEqual({ first: 1, second: 0 });
	});

	test("fails as before where its key may not use the agent that came", async () => {
		const keys = [{ name: "one", key: "key-of-one-agent", models: ["local/gpu-1/*"] }];
		const { router, calls } = await late(refused(404, "model_not_found"), {
			config: { keys },
		});
		expect((await say(router, {}, bearer("key-of-one-agent").headers)).status).toBe(404);
		expect(calls).toEqual({ first: 1, second: 0 });
	});

	test("fails as before where the agent that came has a limit of its own, which the call was not counted by", async () => {
		const config = { limits: { models: { "local/gpu-2/*": { rpm: 100 } } } };
		const { router, calls } = await late(refused(404, "model_not_found"), { config });
		expect((await say(router)).status).toBe(404);
		expect(calls).toEqual({ first: 1, second: 0 });
	});

	test.each([
		["has unloaded the model", refused(404, "model_not_found")],
		["is overloaded", refused(503, "overloaded")],
		["has broken", refused(500, "internal")],
	])("and %s goes on at one that came since", async (_, fail) => {
		const { router, calls } = await late(fail);
		const answer = await say(router);
		expect([answer.status, answer.headers.get("x-router-agent")]).toEqual([200, "gpu-2"]);
		expect(calls.second).toBe(1);
	});

	test("goes on at one that came since as a stream, too", async () => {
		const { router } = await late(refused(500, "internal"));
		expect(await (await say(router, { stream: true })).text()).toContain("gpu-2");
	});

	test("says in its record who came, behind who was there", async () => {
		const config = { admin: { keys: [{ name: "ops", key: ADMIN }] } };
		const { router } = await late(refused(404, "model_not_found"), { config });
		const id = (await say(router)).headers.get("x-request-id");
		let candidates: { id: string; reason: string }[] = [];
		await until(async () => {
			const answer = await fetch(`${router.url}/admin/calls/${id}`, bearer(ADMIN));
			if (!answer.ok) return false;
			const shown = (await answer.json()) as { decision: { candidates: typeof candidates } };
			candidates = shown.decision.candidates;
			return true;
		}, "the call in the ledger");
		expect(candidates.map((each) => each.id)).toEqual(["local/gpu-1/qwen", "local/gpu-2/qwen"]);
		expect(candidates[1]!.reason).toContain("came while the call ran");
	});
});

test("a call that two engines have died of is not risked at an agent's that came since", async () => {
	const { router, calls } = await late(refused(503, "engine_died"));
	const answer = await say(router);
	expect(answer.status).toBe(422);
	await answer.text();
	expect(calls.second).toBe(0);
});

test("a stream whose agents all broke it goes on at one that came since", async () => {
	const router = await startRouter({ config: { cache: { enabled: false } }, env: { ROUTER_AGENT_TOKEN: TOKEN } });
	running.push(router);
	let asked = 0;
	let third: Promise<FakeAgent> | undefined;
	const fail = async () => {
		if (asked++ === 0) return broken();
		third ??= join(router, { name: "gpu-3" });
		await third;
		return refused(404, "model_not_found")();
	};
	for (const name of ["gpu-1", "gpu-2"]) await join(router, { name, before: fail });
	const text = await (await say(router, { stream: true })).text();
	expect(text).toContain('"content":"gpu-3');
	expect(text).toContain("[DONE]");
});

/** An answer that says nothing of use and breaks. */
const broken = () =>
	new Response(
		new ReadableStream({
			async start(controller) {
				controller.enqueue(Buffer.from(textEvent("gpu-3")));
				await Bun.sleep(50);
				controller.close();
			},
		}),
		{ headers: { "content-type": "text/event-stream" } },
	);
