/** `GET /v1/models`: what upstreams list, under the names that reach it here, whatever state they are in. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { ModelList } from "../src/api/model-list.ts";
import { listModels, oneModel } from "../src/api/model-queries.ts";
import { clientError } from "./kit/contract.ts";
import type { Json } from "./kit/exchange.ts";
import { type FaultUpstream, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, neverAnswers, resetsBeforeHeaders, shortBody, stopsInHeaders } from "./kit/faults.ts";
import { pipeline } from "./kit/pipeline.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { type FakeVllm, startVllm } from "./kit/vllm.ts";

let good: FakeVllm;
let odd: FaultUpstream;
beforeAll(() => {
	good = startVllm(["Qwen/Qwen3-8B", "gpt-5-mini", "shared", "é 🙂"]);
	odd = startFaultUpstream();
});
afterAll(async () => {
	odd.stop();
	await good.stop();
});
beforeEach(() => odd.run(resetsBeforeHeaders));

/** A router in this process with the good upstream and the odd one; `local` and `llm-d` lead nowhere. */
function router(more: Json = {}, env: Record<string, string> = {}) {
	const providers = {
		box: { type: "vllm", base_url: good.origin },
		odd: { type: "vllm", base_url: odd.origin },
		local: { base_url: odd.origin },
	};
	const made = pipeline({ config: { providers, ...more }, env });
	const request = (headers: Record<string, string> = {}) => new Request("http://localhost/v1/models", { headers });
	return {
		ids: async (headers?: Record<string, string>) =>
			(await listModels(made.context, request(headers))).data.map(({ id }) => id),
		one: (id: string, headers?: Record<string, string>) => oneModel(made.context, request(headers), id),
	};
}
const OF_BOX = ["box/Qwen/Qwen3-8B", "box/gpt-5-mini", "box/shared", "box/é 🙂"];

describe("one upstream's trouble is no other's", () => {
	const json = { "content-type": "application/json" };
	const rows = [
		["that tears the connection down", resetsBeforeHeaders],
		["that answers HTML", answers("200 OK", "<html>", { "content-type": "text/html" })],
		["that answers 500", answers("500 Internal Server Error", '{"error":{"message":"x"}}')],
		["that answers 401", answers("401 Unauthorized", '{"error":"no key"}')],
		["that answers a 500 with a list in it", answers("500 Oh", '{"data":[{"id":"never"}]}')],
		["that answers null", answers("200 OK", "null")],
		["that answers a list of another shape", answers("200 OK", '[{"id":"never"}]')],
		["whose data is no list", answers("200 OK", '{"data":{"id":"never"}}')],
		["that breaks off", shortBody],
		["that sends half a JSON", answers("200 OK", '{"data":[{"id":"ne')],
		["that sends 20 MB", answers("200 OK", `{"data":[{"id":"${"x".repeat(20 << 20)}"}]}`, json)],
		["that redirects", answers("302 Found", "", { location: "http://127.0.0.1:9/" })],
	] as const;
	test.each(rows)("an upstream %s fails nothing", async (_, script) => {
		odd.run(script);
		expect(await router().ids()).toEqual(["dummy", ...OF_BOX]);
	});

	test.each([
		["that never answers", neverAnswers],
		["that stops in its headers", stopsInHeaders],
	] as const)("an upstream %s is not waited for beyond its time", async (_, script) => {
		odd.run(script);
		const made = router();
		expect(await made.ids()).toEqual(["dummy", ...OF_BOX]);
		expect(odd.errors).toEqual([]);
	});

	test("an upstream that was waited for in vain is not waited for again until it answers", async () => {
		odd.run(neverAnswers);
		const made = pipeline({ config: { providers: { odd: { type: "vllm", base_url: odd.origin } } } });
		const list = new ModelList(made.snapshot.catalog);
		const entry = made.snapshot.catalog.entries.find(({ upstream }) => upstream.name === "odd")!;
		await list.of(entry);
		let isOver = false;
		const waiting = list.of(entry).then(() => {
			isOver = true;
		});
		// All that is at hand is done; the wait for an upstream would not be.
		await new Promise(setImmediate);
		expect(isOver).toBe(true);
		await waiting;
	});

	test("entries without a name are passed over, odd fields replaced", async () => {
		const data = [
			null,
			5,
			{},
			{ id: "" },
			{ id: 7 },
			{ id: "a", created: "x", owned_by: 5 },
			{ id: "b", created: 1e99 },
		];
		odd.run(answers("200 OK", JSON.stringify({ data })));
		const made = router();
		expect((await made.ids()).filter((id) => id.startsWith("odd/"))).toEqual(["odd/a", "odd/b"]);
		expect(await made.one("odd/a")).toEqual({ id: "odd/a", object: "model", created: 0, owned_by: "odd" });
		expect((await made.one("odd/b")).created).toBe(0);
	});

	test("an adapter has the parent that its upstream lists, by the name that leads to it here", async () => {
		const data = [
			{ id: "base", parent: null },
			{ id: "sql", parent: "base" },
			{ id: "gpt-5-mini" },
			{ id: "chat", parent: "gpt-5-mini" },
			{ id: "odd", parent: "org/not-listed" },
			{ id: "none", parent: "" },
			{ id: "seven", parent: 7 },
		];
		odd.run(answers("200 OK", JSON.stringify({ data })));
		const made = router({
			providers: {
				odd: { type: "openai-compatible", base_url: odd.origin },
				openai: { base_url: odd.origin, api_key: "sk-x" },
			},
		});
		const parents = await Promise.all(
			["odd/base", "odd/sql", "odd/chat", "openai/chat", "odd/odd", "odd/none", "odd/seven"].map(
				async (id) => [id, (await made.one(id)).parent] as const,
			),
		);
		expect(parents).toEqual([
			["odd/base", undefined],
			["odd/sql", "odd/base"],
			["odd/chat", "odd/gpt-5-mini"],
			["openai/chat", "gpt-5-mini"],
			["odd/odd", "org/not-listed"],
			["odd/none", undefined],
			["odd/seven", undefined],
		]);
		expect(await made.one("odd/base")).not.toHaveProperty("parent");
	});

	test("an upstream that fails later keeps the list it gave", async () => {
		odd.run(answers("200 OK", '{"data":[{"id":"a"}]}'));
		const made = router();
		expect(await made.ids()).toContain("odd/a");
		odd.run(resetsBeforeHeaders);
		expect(await made.ids()).toContain("odd/a");
	});

	test("an upstream is asked once for many lists", async () => {
		odd.run(answers("200 OK", '{"data":[{"id":"a"}]}'));
		const made = router({ providers: { odd: { type: "vllm", base_url: odd.origin } } });
		await Promise.all(Array.from({ length: 20 }, () => made.ids()));
		expect(odd.received.length).toBe(1);
	});
});

describe("names", () => {
	test("are the upstream's own where those lead to it, else say the provider", async () => {
		odd.run(answers("200 OK", '{"data":[{"id":"gpt-5-mini"},{"id":"gpt-5"},{"id":"text"}]}'));
		const made = router(
			{
				models: [{ name: "gpt-5", targets: ["box/shared"] }],
				providers: { openai: { base_url: odd.origin, api_key: "sk-x" }, box: { type: "vllm", base_url: good.origin } },
			},
			{ LOCAL_AGENT_URL: odd.origin },
		);
		expect(await made.ids()).toEqual([
			"gpt-5",
			"dummy",
			"gpt-5-mini",
			"openai/gpt-5",
			"openai/text",
			"local/gpt-5-mini",
			"local/gpt-5",
			"local/text",
			...OF_BOX,
		]);
	});

	test("each lead to the upstream that listed them", async () => {
		const made = pipeline({ config: { providers: { box: { type: "vllm", base_url: good.origin } } } });
		for (const id of OF_BOX) {
			const answer = await made.send({ model: id, messages: [{ role: "user", content: "hi" }] });
			expect([id, answer.status]).toEqual([id, 200]);
		}
	});

	test("of OpenRouter's own models stay whole", async () => {
		odd.run(answers("200 OK", '{"data":[{"id":"openrouter/auto"},{"id":"google/gemini-3-pro"},{"id":"qwen/q"}]}'));
		const providers = {
			openrouter: { base_url: odd.origin, api_key: "sk-x" },
			local: { base_url: "http://127.0.0.1:9" },
		};
		expect(await router({ providers }).ids()).toEqual([
			"dummy",
			"openrouter/auto",
			"openrouter/google/gemini-3-pro",
			"openrouter/qwen/q",
		]);
	});
});

describe("one model", () => {
	const refused = async (asked: Promise<unknown>) =>
		asked.then(
			() => "found",
			(error) => [error.status, error.errorCode],
		);

	test.each(["nosuch/model", "nosuch", "box/", "/x", "local/nothing"])(
		"that no call would be sent for is a 404: %s",
		async (id) => {
			odd.run(answers("200 OK", '{"data":[{"id":"shared"}]}'));
			expect(await refused(router().one(id))).toEqual([404, "model_not_found"]);
		},
	);

	test.each(["box/shard", "box/nothing", "odd/anything"])(
		"that no upstream lists is one all the same where a call for it is sent there: %s",
		async (id) => {
			odd.run(answers("200 OK", '{"data":[{"id":"ok"}]}'));
			expect(await router().one(id)).toEqual({ id, object: "model", created: 0, owned_by: id.split("/")[0]! });
		},
	);

	test("of a prefix is one whatever its upstream lists", async () => {
		odd.run(answers("200 OK", '{"data":[{"id":"gpt-4o","created":7}]}'));
		const made = router({ providers: { openai: { base_url: odd.origin, api_key: "k" } } });
		expect(await made.one("gpt-4o")).toMatchObject({ id: "gpt-4o", created: 7, owned_by: "openai" });
		expect(await made.one("gpt-99-nano")).toMatchObject({ id: "gpt-99-nano", created: 0, owned_by: "openai" });
	});

	test("asks the upstream that its name leads to, and no other", async () => {
		odd.run(neverAnswers);
		const made = router({ models: [{ name: "fast", targets: ["odd/x"] }] });
		expect(await made.one("box/shared")).toMatchObject({ id: "box/shared", owned_by: "vllm" });
		expect(await made.one("fast")).toMatchObject({ id: "fast", owned_by: "router" });
		expect(await made.one("dummy")).toMatchObject({ id: "dummy", owned_by: "router" });
		expect(odd.received.length).toBe(0);
	});

	test("of an upstream that has not said what it serves is taken at its word", async () => {
		expect(await router().one("odd/anything")).toMatchObject({ id: "odd/anything", owned_by: "odd" });
		expect(await router().one("gpt-5")).toMatchObject({ id: "gpt-5", owned_by: "openai" });
	});

	test("may be asked for by another of its names", async () => {
		const made = router({ models: [{ name: "fast", targets: ["box/shared"] }] });
		expect(await made.one("fast")).toMatchObject({ id: "fast", owned_by: "router" });
		expect(await made.one("box/shared")).toMatchObject({ id: "box/shared", owned_by: "vllm", created: 1_760_000_000 });
	});
});

test.each(["local", "local-small", "local/shared", "fast", "team/fast"])(
	"%s, which calls are served under, is known",
	async (id) => {
		odd.run(answers("200 OK", '{"data":[{"id":"shared"}]}'));
		const models = [
			{ name: "fast", targets: ["box/shared"] },
			{ name: "team/fast", targets: ["box/unlisted"] },
		];
		const made = router({ models });
		await made.ids();
		expect(await made.one(id)).toMatchObject({ id, object: "model" });
	},
);

describe("a restricted key sees what it may call, and nothing else", () => {
	const keys = [
		{ name: "a", key: "key-of-a", models: ["box/Qwen/*"] },
		{ name: "b", key: "key-of-b", models: ["fast", "openai/*"] },
		{ name: "all", key: "key-of-all" },
	];
	const models = [
		{ name: "fast", targets: ["dummy"] },
		{ name: "mine", targets: ["box/Qwen/Qwen3-8B"] },
	];
	const key = (name: string) => ({ "x-api-key": `key-of-${name}` });

	test("in the list, by the name or by what it leads to", async () => {
		const made = router({ keys, models });
		expect(await made.ids(key("a"))).toEqual(["mine", "box/Qwen/Qwen3-8B"]);
		expect(await made.ids(key("b"))).toEqual(["fast"]);
		expect(await made.ids(key("all"))).toEqual(["fast", "mine", "dummy", ...OF_BOX]);
	});

	test("one by one, also where the upstream has not said what it serves", async () => {
		const made = router({ keys, models });
		for (const id of ["fast", "dummy", "odd/anything", "gpt-5", "box/shared"]) {
			expect([id, await made.one(id, key("a")).catch((error) => error.status)]).toEqual([id, 404]);
		}
		expect(await made.one("gpt-5", key("b"))).toMatchObject({ id: "gpt-5" });
	});

	test("and nothing without a key", async () => {
		const made = router({ keys, models });
		expect(await made.ids().catch((error) => error.status)).toBe(401);
		expect(await made.one("fast", { "x-api-key": "wrong" }).catch((error) => error.status)).toBe(401);
	});
});

describe("a name that leads nowhere is told with the same close names", () => {
	const rows = [
		["BOXX/shared", '"box/shared"'],
		["boxx/what-it-has-not-listed", '"box/what-it-has-not-listed"'],
		["gtp-5-mini", '"gpt-5-mini"'],
		["fsat", '"fast"'],
		["openia/gpt-4o", '"openai/gpt-4o"'],
	] as const;
	const settings = () => ({
		models: [{ name: "fast", targets: ["dummy"] }],
		keys: [
			{ name: "all", key: "key-of-all" },
			{ name: "few", key: "key-of-few", models: ["fast"] },
		],
		providers: {
			box: { type: "vllm", base_url: good.origin },
			openai: { base_url: good.origin, api_key: "k" },
			local: { base_url: odd.origin },
		},
	});
	const messages = [{ role: "user", content: "hi" }];

	test.each(rows)("by a call and by the model's own address: %s", async (model, hint) => {
		const made = pipeline({ config: settings() });
		const headers = { authorization: "Bearer key-of-all" };
		const called = await made.send({ model, messages }, { headers });
		expect(called.status).toBe(404);
		const { message } = clientError(await called.text());
		expect(message).toContain(`Did you mean ${hint}`);
		const request = new Request("http://localhost/v1/models", { headers });
		expect(await oneModel(made.context, request, model).catch((error) => error.message)).toBe(message);
	});

	test("and names nothing that the key may not use", async () => {
		const made = pipeline({ config: settings() });
		const headers = { authorization: "Bearer key-of-few" };
		for (const [model] of rows) {
			const { message } = clientError(await (await made.send({ model, messages }, { headers })).text());
			expect([model, message.includes("Did you mean")]).toEqual([model, model === "fsat"]);
		}
	});
});

describe("over HTTP", () => {
	let running: RunningRouter;
	beforeAll(async () => {
		running = await startRouter({
			config: {
				providers: { box: { type: "vllm", base_url: good.origin }, local: { base_url: "http://127.0.0.1:9" } },
			},
		});
	});
	afterAll(() => running.stop());
	const get = (path: string) => fetch(running.url + path);

	test("the list has OpenAI's shape", async () => {
		const answer = await get("/v1/models");
		expect(answer.headers.get("content-type")).toStartWith("application/json");
		expect(await answer.json()).toEqual({
			object: "list",
			data: [
				{ id: "dummy", object: "model", created: 0, owned_by: "router" },
				...OF_BOX.map((id) => ({ id, object: "model", created: 1_760_000_000, owned_by: "vllm" })),
			],
		});
	});

	test.each(["/v1/models/box/Qwen/Qwen3-8B", "/v1/models/box%2FQwen%2FQwen3-8B", "/v1/models/box/Qwen%2fQwen3-8B"])(
		"trap: wildcard params arrive undecoded: %s",
		async (path) => {
			expect(await (await get(path)).json()).toMatchObject({ id: "box/Qwen/Qwen3-8B" });
		},
	);

	test("a name beyond ASCII is found encoded", async () => {
		expect(await (await get(`/v1/models/${encodeURIComponent("box/é 🙂")}`)).json()).toMatchObject({ id: "box/é 🙂" });
	});

	test.each(["/v1/models/nothing", "/v1/models/%E0%A4%A", "/v1/models/__proto__", "/v1/models/%00"])(
		"what is no model is a 404 in OpenAI's shape: %s",
		async (path) => {
			const answer = await get(path);
			expect(answer.status).toBe(404);
			clientError(await answer.text());
		},
	);
});
