/** `POST /register`, `POST /heartbeat`, `GET /agents`: who may, what passes, and what is answered. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { clientError } from "./kit/contract.ts";
import { type FakeAgent, startFakeAgent } from "./kit/fake-agent.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const TOKEN = "the-shared-agent-token";
const KEY = "the-key-of-a-client";
const INSTANCE = "11111111-2222-3333-4444-555555555555";

const ask = (url: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
	fetch(url + path, {
		method: body === undefined ? "GET" : "POST",
		headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
		...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
	});
const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` });

/** Answers to call backs and calls; registered by hand. */
let host: FakeAgent;
beforeAll(() => {
	host = startFakeAgent({ name: "host" });
});
afterAll(() => host.stop());

const registration = (over: Record<string, unknown> = {}) => ({
	name: "gpu-1",
	endpoint: host.origin,
	models: ["qwen"],
	instance: INSTANCE,
	...over,
});
const requests = (): [string, unknown][] => [
	["/register", registration()],
	["/heartbeat", { name: "gpu-1", models: [], instance: INSTANCE }],
	["/agents", undefined],
];

describe("with a token and keys", () => {
	let router: RunningRouter;
	beforeAll(async () => {
		router = await startRouter({ env: { ROUTER_AGENT_TOKEN: TOKEN, ROUTER_API_KEYS: KEY } });
	});
	afterAll(() => router.stop());
	const post = (path: string, body: unknown) => ask(router.url, path, body, bearer(TOKEN));

	test.each([
		["no token", {}],
		["a wrong one", bearer("wrong")],
		["one that begins like it", bearer(TOKEN.slice(0, -1))],
		["one that goes on after it", bearer(`${TOKEN}x`)],
		["a client's key", bearer(KEY)],
		["an empty one", { authorization: "Bearer " }],
	] as [string, Record<string, string>][])("none of the routes takes %s", async (_, headers) => {
		for (const [path, body] of requests()) {
			const answer = await ask(router.url, path, body, headers);
			expect([path, answer.status]).toEqual([path, 401]);
			const text = await answer.text();
			expect(clientError(text).code).toBe("invalid_agent_token");
			expect(text).not.toContain(TOKEN);
		}
	});

	test("a client can't come in with the agents' token", async () => {
		expect((await ask(router.url, "/v1/models", undefined, bearer(TOKEN))).status).toBe(401);
	});

	test("an agent is taken in, heard of and shown, and its secret is its own", async () => {
		const answer = await post("/register", registration({ version: "9.9.9", gpus: [], more: { of: "it" } }));
		expect(answer.status).toBe(200);
		const told = (await answer.json()) as { secret: string; heartbeat_ms: number; reachable: boolean };
		const rest = { heartbeat_ms: 5000, reachable: true, prefix_blocks: 256 };
		expect(told).toEqual({ secret: expect.stringMatching(/^[\w-]{43}$/), ...rest });
		const models = [{ name: "qwen", state: "ready", running: 2, later: 1 }];
		const beat = await post("/heartbeat", { name: "gpu-1", instance: INSTANCE, models });
		expect([beat.status, await beat.json()]).toEqual([200, {}]);
		const shown = await (await ask(router.url, "/agents", undefined, bearer(TOKEN))).text();
		expect(JSON.parse(shown)).toEqual({
			object: "list",
			data: [
				{
					name: "gpu-1",
					endpoint: host.origin,
					state: "fresh",
					reachable: true,
					models: [{ ...models[0], in_flight: 0 }],
					gpus: [],
					version: "9.9.9",
					instance: INSTANCE.slice(0, 8),
					registered_at: expect.stringMatching(/^\d{4}-.*Z$/),
					last_heartbeat: expect.stringMatching(/^\d{4}-.*Z$/),
				},
			],
		});
		expect(shown).not.toContain(told.secret);
		const again = (await (await post("/register", registration())).json()) as { secret: string };
		expect(again.secret).toBe(told.secret);
		const other = await post("/register", registration({ name: "gpu-2" }));
		expect(((await other.json()) as { secret: string }).secret).not.toBe(told.secret);
	});

	test("calls to the agent carry its secret, never the shared token or the client's key", async () => {
		const { secret } = (await (await post("/register", registration({ models: ["mine"] }))).json()) as {
			secret: string;
		};
		const before = host.authorizations.length;
		const call = { model: "local/mine", messages: [{ role: "user", content: "hi" }] };
		const answer = await ask(router.url, "/v1/chat/completions", call, bearer(KEY));
		expect(answer.status).toBe(200);
		expect(answer.headers.get("x-router-provider")).toBe("local");
		expect(answer.headers.get("x-router-model")).toBe("mine");
		expect(answer.headers.get("x-router-agent")).toBe("gpu-1");
		expect(host.authorizations.length).toBe(before + 1);
		expect(host.authorizations.at(-1)).toBe(`Bearer ${secret}`);
		expect(host.authorizations.join()).not.toContain(TOKEN);
		expect(host.authorizations.join()).not.toContain(KEY);
	});

	test("a second agent of a name is refused while the first is alive, also when it claims to be it", async () => {
		await post("/register", registration());
		for (const instance of ["another", undefined]) {
			const answer = await post("/register", registration({ instance }));
			expect(answer.status).toBe(409);
			expect(clientError(await answer.text())).toMatchObject({ code: "agent_name_taken", param: "name" });
			expect((await post("/heartbeat", { name: "gpu-1", models: [], instance })).status).toBe(409);
		}
	});

	test("an agent that nobody knows has to register", async () => {
		const answer = await post("/heartbeat", { name: "never-seen", models: [] });
		expect(answer.status).toBe(404);
		expect(clientError(await answer.text()).code).toBe("agent_not_found");
	});

	test.each([
		["name", { name: "../../x" }],
		["name", { name: "--privileged" }],
		["name", { name: "a b" }],
		["name", { name: "" }],
		["name", { name: "x".repeat(65) }],
		["name", { name: undefined }],
		["models[0]", { models: ["../../x"] }],
		["models[1]", { models: ["qwen", "--privileged"] }],
		["models[0].name", { models: [{ name: "../../x", state: "ready" }] }],
		["models[0].state", { models: [{ name: "qwen", state: "happy" }] }],
		["models", { models: Array.from({ length: 300 }, (_, at) => `m${at}`) }],
		["models[0].kv_cache", { models: [{ name: "qwen", state: "ready", kv_cache: 7 }] }],
		["instance", { instance: "../../x" }],
		["endpoint", { endpoint: "" }],
		["gpus[0].memory_total", { gpus: [{ index: 0, name: "L4", memory_total: -1, memory_used: 0 }] }],
	] as [string, Record<string, unknown>][])(
		"a registration with a wrong %s is a 400 that says so",
		async (param, over) => {
			const answer = await post("/register", registration(over));
			const text = await answer.text();
			expect([answer.status, clientError(text)]).toEqual([
				400,
				expect.objectContaining({ code: "invalid_value", param }),
			]);
			expect(text).not.toContain("--privileged");
		},
	);

	test.each([
		["[]", 400],
		["null", 400],
		["{", 400],
		["", 400],
		[`{"name":"${"x".repeat(2 << 20)}"}`, 413],
	])("a body that is none is refused: %.9s", async (body, status) => {
		for (const path of ["/register", "/heartbeat"]) expect((await post(path, body)).status).toBe(status);
	});

	test("a body must be JSON by its media type", async () => {
		const answer = await fetch(`${router.url}/register`, { method: "POST", headers: bearer(TOKEN), body: "x=1" });
		expect(answer.status).toBe(415);
	});

	test.each(["http://10.1.2.3:5000", "http://169.254.169.254", "http://gpu-9.lan:5000", "file:///etc/passwd"])(
		"the router is not sent to %s",
		async (endpoint) => {
			const answer = await post("/register", registration({ name: "elsewhere", endpoint }));
			expect(answer.status).toBe(403);
			expect(clientError(await answer.text())).toMatchObject({ code: "endpoint_not_allowed", param: "endpoint" });
		},
	);

	test("the routes say which methods they take", async () => {
		const answer = await ask(router.url, "/register", undefined, bearer(TOKEN));
		expect([answer.status, answer.headers.get("allow")]).toEqual([405, "POST, OPTIONS"]);
	});

	test("neither token nor secret is in the log", async () => {
		await router.printed(/An agent registered/);
		expect(router.output()).not.toContain(TOKEN);
		expect(router.output()).not.toContain(host.authorizations.at(-1)!.slice(7));
	});
});

describe("an endpoint that the router can't reach", () => {
	let router: RunningRouter;
	beforeAll(async () => {
		router = await startRouter();
	});
	afterAll(() => router.stop());

	test("is named with its port, gets no calls, and gets them when a heartbeat finds it", async () => {
		const away = startFakeAgent({ name: "gpu-3" });
		await away.stop();
		const answer = await ask(
			router.url,
			"/register",
			registration({ name: "gpu-3", endpoint: away.origin, models: ["m"] }),
		);
		const told = (await answer.json()) as { reachable: boolean; problem: string };
		expect([answer.status, told.reachable]).toEqual([200, false]);
		expect(told.problem).toContain(`port ${away.port} of 127.0.0.1`);

		const call = { model: "local/m", messages: [{ role: "user", content: "hi" }] };
		const refused = await ask(router.url, "/v1/chat/completions", call);
		expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "5"]);
		expect(clientError(await refused.text())).toMatchObject({
			code: "model_unavailable",
			message: 'No agent serves "local/m" now: gpu-3: the router can\'t reach it.',
		});
		expect(await router.metric("router_agents", { state: "unreachable" })).toBe(1);

		const beat = { name: "gpu-3", instance: INSTANCE, models: ["m"] };
		const still = await ask(router.url, "/heartbeat", beat);
		expect(await still.json()).toMatchObject({ reachable: false, problem: told.problem });
		const back = startFakeAgent({ name: "gpu-3", port: away.port });
		expect(await (await ask(router.url, "/heartbeat", beat)).json()).toEqual({ reachable: true });
		expect((await ask(router.url, "/v1/chat/completions", call)).status).toBe(200);
		await back.stop();
	});
});

test("an endpoint elsewhere is taken where agents.allow lists it", async () => {
	const router = await startRouter({ config: { agents: { allow: ["192.0.2.0/24"] } } });
	// Addresses that are nobody's (RFC 5737): whether the router reaches them is another matter.
	const taken = await ask(router.url, "/register", registration({ endpoint: "http://192.0.2.1:5000/v1" }));
	expect([taken.status, await taken.json()]).toEqual([200, expect.objectContaining({ reachable: false })]);
	const refused = await ask(router.url, "/register", registration({ name: "gpu-2", endpoint: "http://198.51.100.1" }));
	expect(refused.status).toBe(403);
	expect(refused.headers.get("x-router-peer")).toBe("127.0.0.1");
	await router.stop();
});

describe("without any agent token", () => {
	test("a router on loopback that has no keys takes agents of this machine, and no web page", async () => {
		const router = await startRouter();
		for (const [path, body] of requests()) expect((await ask(router.url, path, body)).status).toBe(200);
		for (const [path, body] of requests()) {
			const answer = await ask(router.url, path, body, { origin: "https://evil.example" });
			expect([path, answer.status]).toEqual([path, 403]);
			expect((await ask(router.url, path, body, { host: "evil.example" })).status).toBe(403);
		}
		await router.stop();
	});

	test.each([
		["with keys", { ROUTER_API_KEYS: KEY }, [] as string[]],
		["beyond loopback", { HOST: "0.0.0.0" }, ["--insecure"]],
	])("a router %s takes none, and says what to set", async (_, env, args) => {
		const router = await startRouter({ env, args });
		const url = router.url.replace("0.0.0.0", "127.0.0.1");
		for (const [path, body] of requests()) {
			const answer = await ask(url, path, body, bearer(KEY));
			expect([path, answer.status]).toEqual([path, 401]);
			expect(clientError(await answer.text()).message).toContain("set ROUTER_AGENT_TOKEN");
		}
		await router.stop();
	});
});
