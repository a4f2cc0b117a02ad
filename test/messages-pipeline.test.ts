/** What the router does for a chat call it does for one of the Messages API: keys, limits, models, cost, failover and resume. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Json, Loose } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, streams } from "./kit/faults.ts";
import { HELLO, HELLO_USAGE, helloChunk } from "./kit/hello-answer.ts";
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
				{ name: "counts", key: "rk-of-who-counts-1234", rpm: 2 },
			],
		},
	});
});
afterAll(async () => {
	await router.stop();
	one.stop();
	two.stop();
});

const ALL = { "x-api-key": "rk-of-all-models-1234", authorization: "" };
const FEW = { "x-api-key": "rk-of-few-models-1234", authorization: "" };
const asking = (more: Json = {}) => ({
	model: "fast",
	max_tokens: 100,
	messages: [{ role: "user", content: "hi" }],
	...more,
});
const send = (body: Json, headers: Record<string, string> = ALL, path = "/v1/messages?beta=true") =>
	post(router.url + path, body, { "anthropic-version": "2023-06-01", ...headers });

describe("is refused in Anthropic's words", () => {
	const errorOf = ({ status, text }: { status: number; text: string }) => [
		status,
		(JSON.parse(text) as Loose)["error"].type,
	];

	test("a key that is none, for calls, counts and models", async () => {
		const wrong = { "x-api-key": "rk-that-nobody-has-1", authorization: "" };
		expect(errorOf(await send(asking(), wrong))).toEqual([401, "authentication_error"]);
		expect(errorOf(await send(asking(), wrong, "/v1/messages/count_tokens"))).toEqual([401, "authentication_error"]);
		const models = await fetch(`${router.url}/v1/models`, { headers: { ...wrong, "anthropic-version": "2023-06-01" } });
		expect(errorOf({ status: models.status, text: await models.text() })).toEqual([401, "authentication_error"]);
	});

	test("a model that the key may not use, in calls and in counts", async () => {
		expect(errorOf(await send(asking(), FEW))).toEqual([403, "permission_error"]);
		expect(errorOf(await send(asking(), FEW, "/v1/messages/count_tokens"))).toEqual([403, "permission_error"]);
	});

	test("paths and methods that there are not", async () => {
		const to = async (method: string, path: string, headers = {}) => {
			const answer = await fetch(router.url + path, { method, headers: { ...ALL, ...headers } });
			return errorOf({ status: answer.status, text: await answer.text() });
		};
		expect(await to("GET", "/v1/messages")).toEqual([405, "invalid_request_error"]);
		expect(await to("POST", "/v1/messages/batches")).toEqual([404, "not_found_error"]);
		expect(await to("GET", "/v1/models/nope", { "anthropic-version": "2023-06-01" })).toEqual([404, "not_found_error"]);
		expect(await to("POST", `/v1/messages?${"a".repeat(9000)}`)).toEqual([414, "invalid_request_error"]);
	});

	test("calls beyond the key's limit, with how long to wait", async () => {
		const body = asking({ model: "dummy" });
		const first = await send(body, FEW);
		expect(first.headers.get("anthropic-ratelimit-requests-limit")).toBe("2");
		expect(first.headers.get("anthropic-ratelimit-requests-remaining")).toMatch(/^[01]$/);
		let last = first;
		for (let call = 0; call < 3 && last.status === 200; call++) last = await send(body, FEW);
		expect(errorOf(last)).toEqual([429, "rate_limit_error"]);
		expect(Number(last.headers.get("retry-after"))).toBeGreaterThan(0);
		expect(last.headers.get("anthropic-ratelimit-requests-remaining")).toBe("0");
	});
});

describe("models as Anthropic's clients list them", () => {
	const list = async (query = "", headers: Record<string, string> = ALL) => {
		const answer = await fetch(`${router.url}/v1/models${query}`, {
			headers: { ...headers, "anthropic-version": "2023-06-01" },
		});
		return { status: answer.status, ...((await answer.json()) as Loose) } as Loose;
	};

	test.each(["0", "1001", "x"])("a limit of %s is refused by its name", async (limit) => {
		const { status, error } = await list(`?limit=${limit}`);
		expect([status, error.message]).toEqual([400, expect.stringContaining("limit: Input should be")]);
	});

	test("all that the key may use, one as well", async () => {
		const { data, has_more, first_id, last_id } = await list("", FEW);
		expect(data.map(({ id, type, display_name }: Loose) => [id, type, display_name])).toEqual([
			["dummy", "model", "dummy"],
		]);
		expect([has_more, first_id, last_id]).toEqual([false, "dummy", "dummy"]);
		expect(await list("/dummy", FEW)).toMatchObject({ type: "model", id: "dummy", created_at: "1970-01-01T00:00:00Z" });
	});

	test("in pages, forward and back", async () => {
		const ids = ((await list("?limit=1000"))["data"] as Loose[]).map(({ id }) => id);
		expect(ids).toContain("fast");
		const seen: string[] = [];
		let query = "?limit=1";
		for (let page = 0; page < ids.length; page++) {
			const { data, has_more, last_id } = await list(query);
			seen.push(...data.map(({ id }: Loose) => id));
			expect(has_more).toBe(page < ids.length - 1);
			query = `?limit=1&after_id=${encodeURIComponent(last_id)}`;
		}
		expect(seen).toEqual(ids);
		const before = await list(`?limit=1&before_id=${encodeURIComponent(ids.at(-1))}`);
		expect(before["data"].map(({ id }: Loose) => id)).toEqual(ids.slice(-2, -1));
	});

	test("OpenAI's clients get OpenAI's list", async () => {
		const answer = await fetch(`${router.url}/v1/models`, { headers: { authorization: `Bearer ${FEW["x-api-key"]}` } });
		expect(await answer.json()).toMatchObject({ object: "list", data: [{ id: "dummy", object: "model" }] });
	});
});

test("tokens are counted without a call: more for a longer prompt and for tools", async () => {
	one.run(answers("500 Internal Server Error", ""));
	const count = async (more: Json) => {
		const { max_tokens, ...body } = asking(more);
		const { status, text, headers } = await send(body, ALL, "/v1/messages/count_tokens");
		expect([status, headers.get("x-router-estimated")]).toEqual([200, "true"]);
		return (JSON.parse(text) as Loose)["input_tokens"] as number;
	};
	const short = await count({});
	expect(short).toBeGreaterThan(0);
	expect(await count({ messages: [{ role: "user", content: "hi ".repeat(400) }] })).toBeGreaterThan(short + 200);
	const tools = [{ name: "f", description: "Does it.", input_schema: { type: "object" } }];
	expect(await count({ tools })).toBeGreaterThan(short);
	expect([...new Set(one.received.map(({ path }) => path))]).toEqual(["/tokenize"]);
});

test("a call costs what it costs, and says so in its usage", async () => {
	one.run(answers("200 OK", HELLO));
	const whole = await send(asking());
	expect(whole.headers.get("x-router-cost-usd")).toBe("0.002");
	expect(JSON.parse(whole.text)["usage"]).toEqual({
		input_tokens: 1000,
		cache_creation_input_tokens: 0,
		cache_read_input_tokens: 0,
		output_tokens: 500,
		cost: 0.002,
	});
	one.run(streams([helloChunk({ content: "Hello" }), helloChunk({}, "stop"), HELLO_USAGE, "data: [DONE]\n\n"]));
	const streamed = await send(asking({ stream: true }));
	expect(streamed.text).toContain('"output_tokens":500,"cost":0.002}');
});

test("a call that one target refuses for the time being goes to the next", async () => {
	one.run(answers("503 Service Unavailable", "{}"));
	two.run(answers("200 OK", HELLO));
	const { status, headers } = await send(asking({ system: "failover" }));
	expect([status, headers.get("x-router-provider")]).toEqual([200, "two"]);
});

test("a server whose stream can't be told any more is left: it works for nobody", async () => {
	const left = Promise.withResolvers<void>();
	const call = (index: number, id?: string) =>
		helloChunk({ tool_calls: [{ index, id, function: { name: id && "f", arguments: "{}" } }] });
	one.run(async (connection) => {
		await begins([helloChunk({ content: "Hello" }), call(0, "a"), call(1, "b"), call(0)])(connection);
		await connection.closed;
		left.resolve();
	});
	const { text } = await send(asking({ stream: true }));
	expect(text).toContain("event: error");
	await left.promise;
});

test("a stream that breaks goes on at another target, as one message", async () => {
	one.run(async (connection) => {
		await begins([
			helloChunk({ role: "assistant", content: "" }),
			helloChunk({ content: "Hello " }),
			helloChunk({ content: "wor" }),
		])(connection);
		await Bun.sleep(50);
		connection.destroy();
	});
	two.run((connection) => {
		const { messages } = JSON.parse(connection.request.body) as Loose;
		expect(messages.at(-1)).toEqual({ role: "assistant", content: "Hello wor" });
		return streams([
			helloChunk({ role: "assistant", content: "" }),
			helloChunk({ content: "ld." }),
			helloChunk({}, "stop"),
			HELLO_USAGE,
			"data: [DONE]\n\n",
		])(connection);
	});
	const { text } = await send(asking({ stream: true, system: "resume" }));
	const events = text
		.split("\n")
		.filter((line) => line.startsWith("data: "))
		.map((line) => JSON.parse(line.slice(6)) as Loose);
	expect(events.filter(({ type }) => type === "message_start").length).toBe(1);
	expect(events.filter(({ type }) => type === "content_block_start").length).toBe(1);
	expect(events.map(({ delta }) => delta?.text ?? "").join("")).toBe("Hello world.");
	expect(events.at(-1)).toEqual({ type: "message_stop" });
	expect(two.errors).toEqual([]);
});

test("past its key's limits no upstream counts any more, and the count is estimated", async () => {
	one.run(answers("200 OK", '{"count":67}'));
	const seen: unknown[] = [];
	for (let nth = 0; nth < 4; nth++) {
		const headers = { "x-api-key": "rk-of-who-counts-1234", authorization: "" };
		const { status, headers: said } = await send(asking(), headers, "/v1/messages/count_tokens");
		seen.push([status, said.get("x-router-estimated")]);
	}
	expect(seen).toEqual([
		[200, null],
		[200, null],
		[200, "true"],
		[200, "true"],
	]);
	expect(one.received).toHaveLength(2);
});
