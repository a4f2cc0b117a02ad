/** `router --agent`: a relay to the vLLM of its host, alone, behind a router, and in one process with it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { clientError } from "./kit/contract.ts";
import { eventData } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { post } from "./kit/rig.ts";
import { type RouterOptions, type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";
import { type FakeVllm, startVllm } from "./kit/vllm.ts";

const CHAT = "/v1/chat/completions";
const messages = [{ role: "user", content: "hi" }];
const TOKEN = "the-token-of-the-agent";
const VLLM_KEY = "the-key-of-vllm";

let vllm: FakeVllm;
beforeAll(() => {
	vllm = startVllm(["Qwen/Qwen3-8B", "second"], VLLM_KEY);
});
afterAll(() => vllm.stop());

const agentOf = (options: RouterOptions = {}) =>
	startRouter({
		args: ["--agent"],
		...options,
		env: { VLLM_BASE_URL: vllm.origin, VLLM_API_KEY: VLLM_KEY, ...options.env },
	});
const get = (router: RunningRouter, path: string, headers: Record<string, string> = {}) =>
	fetch(router.url + path, { headers });
/** Waits until the agent's list of models holds what its vLLM serves: it asks in the background. */
async function listed(router: RunningRouter, model: string, headers: Record<string, string> = {}): Promise<void> {
	const text = async () => (await get(router, "/v1/models", headers)).text();
	await until(async () => (await text()).includes(`"${model}"`), `${model} in the list`);
}

describe("an agent", () => {
	let agent: RunningRouter;
	beforeAll(async () => {
		agent = await agentOf();
		await listed(agent, "second");
	});
	afterAll(() => agent.stop());

	test("answers 404 in clear words for a model that its vLLM does not serve", async () => {
		const answer = await post(agent.url + CHAT, { model: "nothing", messages });
		expect(answer.status).toBe(404);
		expect(clientError(answer.text)).toMatchObject({ code: "model_not_found", param: "model" });
	});

	test.each([
		["Qwen/Qwen3-8B", "Qwen/Qwen3-8B"],
		["local/Qwen/Qwen3-8B", "Qwen/Qwen3-8B"],
		["vllm/second", "second"],
		["local", "Qwen/Qwen3-8B"],
		["local-anything", "Qwen/Qwen3-8B"],
	])("relays %s as %s", async (model, upstream) => {
		const answer = await post(agent.url + CHAT, { model, messages });
		expect([answer.status, JSON.parse(answer.text).choices[0].message.content]).toEqual([200, "Hi there"]);
		const sent = vllm.received.at(-1)!;
		expect([sent.path, JSON.parse(sent.body).model]).toEqual([CHAT, upstream]);
	});

	test("shows its vLLM the vLLM's own key, never the client's", async () => {
		await post(agent.url + CHAT, { model: "second", messages }, { authorization: "Bearer of-the-client" });
		expect(vllm.received.at(-1)?.headers.get("authorization")).toBe(`Bearer ${VLLM_KEY}`);
	});

	test("relays a stream to its end", async () => {
		const answer = await post(agent.url + CHAT, { model: "second", messages, stream: true });
		expect(eventData(answer.text).at(-1)).toBe("[DONE]");
		expect(answer.text).toContain('"content":"Hi "');
	});

	test("lists what its vLLM serves, in the vLLM's own words", async () => {
		const { data } = (await (await get(agent, "/v1/models")).json()) as { data: { id: string }[] };
		expect(data.map(({ id }) => id).sort()).toEqual(["Qwen/Qwen3-8B", "dummy", "second"]);
	});

	test("answers dummy itself", async () => {
		const before = vllm.received.length;
		expect((await post(agent.url + CHAT, { model: "dummy", messages })).status).toBe(200);
		expect(vllm.received.length).toBe(before);
	});

	test.each(["/health", "/health/live", "/health/ready", "/metrics", "/swagger", "/swagger/json"])(
		"has %s",
		async (path) => expect((await get(agent, path)).status).toBe(200),
	);

	test("writes its own log and says where it listens and what it relays to", () => {
		expect(agent.output()).toMatch(/agent \S+ listening on/);
		expect(agent.output()).toContain(vllm.origin);
		expect(agent.output()).toContain("logs/agent.log");
		expect(agent.output()).not.toContain(VLLM_KEY);
	});
});

describe("an agent with a token", () => {
	let agent: RunningRouter;
	beforeAll(async () => {
		agent = await agentOf({ env: { ROUTER_AGENT_TOKEN: TOKEN } });
	});
	afterAll(() => agent.stop());

	test.each([
		["no token", {}],
		["a wrong one", { authorization: "Bearer wrong" }],
		["the vLLM's key", { authorization: `Bearer ${VLLM_KEY}` }],
	] as [string, Record<string, string>][])("answers 401 to %s", async (_, headers) => {
		expect((await get(agent, "/v1/models", headers)).status).toBe(401);
		const answer = await fetch(agent.url + CHAT, {
			method: "POST",
			headers: { "content-type": "application/json", ...headers },
			body: JSON.stringify({ model: "second", messages }),
		});
		expect(answer.status).toBe(401);
		expect(await answer.text()).not.toContain(TOKEN);
	});

	test("answers its router", async () => {
		const headers = { authorization: `Bearer ${TOKEN}` };
		expect((await post(agent.url + CHAT, { model: "second", messages }, headers)).status).toBe(200);
	});

	test("tells its health to everyone", async () => {
		expect((await get(agent, "/health")).status).toBe(200);
	});

	test("serves a router that knows the token, and shows the one that does not what to set", async () => {
		const knowing = await startRouter({ env: { LOCAL_AGENT_URL: agent.url, ROUTER_AGENT_TOKEN: TOKEN } });
		const wrong = await startRouter({ env: { LOCAL_AGENT_URL: agent.url, ROUTER_AGENT_TOKEN: "not-the-token" } });
		try {
			expect((await post(knowing.url + CHAT, { model: "local/second", messages })).status).toBe(200);
			const refused = await post(wrong.url + CHAT, { model: "local/second", messages });
			expect([refused.status, clientError(refused.text).code]).toEqual([502, "upstream_auth"]);
			expect(refused.text).toContain("ROUTER_AGENT_TOKEN");
			expect(refused.text).not.toContain("not-the-token");
		} finally {
			await Promise.all([knowing.stop(), wrong.stop()]);
		}
	});
});

describe("an agent whose vLLM is not there", () => {
	test("is ready all the same, and says of each call what is wrong", async () => {
		const gone = startFaultUpstream();
		gone.stop();
		const agent = await agentOf({ env: { VLLM_BASE_URL: gone.origin } });
		try {
			expect((await get(agent, "/health/ready")).status).toBe(200);
			expect(await (await get(agent, "/v1/models")).json()).toMatchObject({ data: [{ id: "dummy" }] });
			const answer = await post(agent.url + CHAT, { model: "local", messages });
			expect([answer.status, clientError(answer.text).code]).toEqual([502, "upstream_unreachable"]);
		} finally {
			await agent.stop();
		}
	});
});

test.each([
	[
		"VLLM_BASE_URL leads back to it",
		(port: number) => ({ PORT: String(port), VLLM_BASE_URL: `http://localhost:${port}` }),
		/agent\.vllm_url/,
	],
	["it would listen for everyone without a token", () => ({ HOST: "0.0.0.0" }), /ROUTER_AGENT_TOKEN.*--insecure/],
	[
		"only a generated key would guard it",
		() => ({ HOST: "0.0.0.0", ROUTER_GENERATE_KEY: "true" }),
		/ROUTER_AGENT_TOKEN/,
	],
] as [string, (port: number) => Record<string, string>, RegExp][])(
	"an agent does not start where %s",
	async (_, env, words) => {
		const held = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
		const { port } = held;
		held.stop(true);
		const outcome = await agentOf({ env: env(port) }).then(
			async (agent) => {
				await agent.stop();
				return "it started";
			},
			(error: Error) => error.message,
		);
		expect(outcome).toContain("ended with 1");
		expect(outcome).toMatch(words);
	},
);

describe("router → agent → vLLM", () => {
	let agent: RunningRouter;
	let router: RunningRouter;
	beforeAll(async () => {
		agent = await agentOf();
		router = await startRouter({ env: { LOCAL_AGENT_URL: agent.url } });
		await listed(router, "local/second");
	});
	afterAll(() => Promise.all([agent.stop(), router.stop()]));

	test.each(["local", "local/second", "local-whatever"])("%s is answered, whole and streamed", async (model) => {
		const whole = await post(router.url + CHAT, { model, messages });
		expect([whole.status, JSON.parse(whole.text).choices[0].message.content]).toEqual([200, "Hi there"]);
		expect(whole.headers.get("x-router-provider")).toBe("local");
		const streamed = await post(router.url + CHAT, { model, messages, stream: true });
		expect(eventData(streamed.text).filter((data) => data === "[DONE]")).toHaveLength(1);
		expect(streamed.text.match(/^: router /gm)).toHaveLength(1);
	});

	test("a model that nobody serves is one 404, not a chain of them", async () => {
		const answer = await post(router.url + CHAT, { model: "local/nothing", messages });
		expect(answer.status).toBe(404);
		expect(clientError(answer.text).code).toBe("model_not_found");
	});

	test("the list names the agent's models as they are called here", async () => {
		const { data } = (await (await get(router, "/v1/models")).json()) as { data: { id: string }[] };
		expect(data.map(({ id }) => id)).toEqual(expect.arrayContaining(["local/Qwen/Qwen3-8B", "local/second", "dummy"]));
	});
});

describe.each(["1", "2"])("--standalone with workers: %s", (workers) => {
	let both: RunningRouter;
	let url: string;
	beforeAll(async () => {
		both = await startRouter({
			args: ["--standalone", "--workers", workers],
			env: { VLLM_BASE_URL: vllm.origin, VLLM_API_KEY: VLLM_KEY, AGENT_PORT: "0" },
		});
		url = /router \S+ listening on (\S+)/.exec(both.output())?.[1] ?? "";
		await listed({ ...both, url }, "local/second");
	});
	afterAll(() => both.stop());

	test("is both, each on its own port, and the router's local agent is the one beside it", async () => {
		const agentUrl = /agent \S+ listening on (\S+)/.exec(both.output())?.[1] ?? "";
		expect(agentUrl).not.toBe(url);
		expect((await fetch(`${agentUrl}/health`)).status).toBe(200);
		const answer = await post(url + CHAT, { model: "local", messages });
		expect([answer.status, answer.headers.get("x-router-provider")]).toEqual([200, "local"]);
	});

	test("a model's plain name leads to the agent, as with two processes", async () => {
		await until(async () => (await post(url + CHAT, { model: "second", messages })).status === 200, "an answer");
		const answer = await post(url + CHAT, { model: "second", messages });
		expect([answer.status, answer.headers.get("x-router-provider")]).toEqual([200, "local"]);
		expect(JSON.parse(vllm.received.at(-1)!.body).model).toBe("second");
	});

	test("the router lists its agent, and what that serves", async () => {
		const answer = await fetch(`${url}/agents`);
		const { data } = (await answer.json()) as {
			data: { state: string; reachable: boolean; models: { name: string }[] }[];
		};
		expect(data).toHaveLength(1);
		expect(data[0]).toMatchObject({ state: "fresh", reachable: true });
		expect(data[0]!.models.map(({ name }) => name)).toEqual(["Qwen/Qwen3-8B", "second"]);
	});

	test("a call that passes both is no loop, though one process sees it twice", async () => {
		const streamed = await post(url + CHAT, { model: "local/second", messages, stream: true });
		expect(eventData(streamed.text).at(-1)).toBe("[DONE]");
	});

	test("one signal ends both", async () => {
		process.kill(both.pid, "SIGTERM");
		await until(() => both.output().split('"msg":"Stopped."').length === 3, "the end of both");
	});
});

test("a vLLM's adapters are models of the agent beside it, with their parent, and of its router", async () => {
	const data = [
		{ id: "base", object: "model", parent: null, max_model_len: 4096 },
		{ id: "sql", object: "model", parent: "base", max_model_len: null },
	];
	const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => Response.json({ object: "list", data }) });
	const both = await startRouter({
		args: ["--standalone"],
		env: { VLLM_BASE_URL: `http://127.0.0.1:${server.port}`, AGENT_PORT: "0", ROUTER_AGENT_NAME: "box" },
	});
	try {
		const url = /router \S+ listening on (\S+)/.exec(both.output())?.[1] ?? "";
		await listed({ ...both, url }, "local/sql");
		const answer = await fetch(`${url}/agents`);
		const [agent] = ((await answer.json()) as { data: { models: object[] }[] }).data;
		expect(agent!.models).toMatchObject([
			{ name: "base", state: "ready", max_model_len: 4096 },
			{ name: "sql", parent: "base", state: "ready", max_model_len: 4096 },
		]);
		for (const [origin, id, parent] of [
			[url, "local/sql", "local/base"],
			[both.url, "sql", "base"],
		] as const) {
			const one = await fetch(`${origin}/v1/models/${id}`);
			expect(await one.json()).toMatchObject({ id, parent });
		}
	} finally {
		await both.stop();
		await server.stop(true);
	}
});
