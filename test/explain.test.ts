/** Why a call goes where it goes: `POST /v1/route`, the header, the command. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Explanation } from "../src/routing/explain.ts";
import { explain } from "../src/routing/explain.ts";
import { cli, directory } from "./kit/cli.ts";
import type { Json } from "./kit/exchange.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { Clock, call, replica, route, target } from "./kit/routes.ts";

describe("the reasons", () => {
	const reasons = (clock: Clock, needs: ReturnType<typeof call>, way: ReturnType<typeof route>) =>
		Object.fromEntries(
			explain({ model: "m", needs, route: way, plan: clock.plan(needs, way), now: clock.now }).candidates.map(
				({ id, reason }) => [id, reason],
			),
		);

	test("say what each candidate lacks", () => {
		const clock = new Clock();
		clock.state.opened("paused/m", true).closed({ failure: "rate", retryAfterMs: 30_000 });
		clock.served("busy/m", 3_000);
		for (let at = 0; at < 4; at++) clock.state.opened("busy/m", true);
		clock.failed("open/m", 5);
		const way = route(
			[
				replica("good/m"),
				replica("open/m"),
				target("paused/m"),
				replica("busy/m"),
				replica("late/m", { readiness: 101 }),
				replica("cold/m", { readiness: 4 }),
				replica("colder/m", { readiness: 4.25, placement: "16.4 GB to download" }),
				target("small/m", { context: 10 }),
				target("blind/m", { lacks: ["images"] }),
				target("keyless/m", { isKeyless: true }),
				target("last/m", { tier: "fallback", position: 0 }),
			],
			{ max_wait: 5_000 },
		);
		expect(reasons(clock, call("x".repeat(100), { features: ["images"] }), way)).toEqual({
			"good/m": "least uncached prompt × load",
			"open/m": "failed too often: tried last, and again in 1 s",
			"paused/m": "asked to be left alone: tried last for 27 s",
			"busy/m": "its queue makes a call wait 12 s, longer than max_wait",
			"late/m": "its agent was not heard of lately: used where nothing else serves",
			"cold/m": "its model has yet to be loaded",
			"colder/m": "its model has yet to be loaded: 16.4 GB to download",
			"small/m": "the prompt is longer than its context of 10 tokens",
			"blind/m": "takes no images",
			"keyless/m": "has no key or address: tried last",
			"last/m": "fallback: where no target answers",
		});
	});

	test("say where a model is loaded that nobody has ready, and why", () => {
		const way = route([
			replica("b/m", { readiness: 4.25, placement: "it does not fit" }),
			replica("a/m", { readiness: 4, placement: "its weights are there" }),
		]);
		expect(reasons(new Clock(), call("x"), way)).toEqual({
			"a/m": "the best place to load it: its weights are there",
			"b/m": "its model has yet to be loaded: it does not fit",
		});
	});

	test("say of a replica that is retired that it gets no further calls", () => {
		const way = route([
			replica("going/m", { readiness: 0.75 }),
			replica("staying/m"),
			replica("cold/m", { readiness: 4 }),
		]);
		expect(reasons(new Clock(), call("x"), way)).toEqual({
			"staying/m": "least uncached prompt × load",
			"going/m": "retired: it finishes the calls that it has",
			"cold/m": "its model has yet to be loaded",
		});
	});

	test("say how those that are well compare", () => {
		const clock = new Clock();
		clock.served("a/m", 10, call("y".repeat(1_000)));
		const own = route([replica("a/m"), replica("b/m"), target("llm-d/m", { kind: "llm-d" }), target("cloud/m")]);
		expect(reasons(clock, call("y".repeat(1_000)), own)).toEqual({
			"a/m": "least uncached prompt × load",
			"b/m": "more uncached prompt × load",
			"llm-d/m": "behind the local replicas",
			"cloud/m": "behind local replicas and llm-d",
		});
		const prices = { policy: "cheapest" } as const;
		const vendors = [
			target("a/x", { price: { input: 2, output: 2 } }),
			target("b/x", { price: { input: 1, output: 1 } }),
		];
		expect(reasons(clock, call(), route(vendors, prices))).toEqual({ "b/x": "cheapest", "a/x": "dearer" });
		const unpriced = [target("c/x"), ...vendors, target("d/x")];
		expect(reasons(clock, call(), route(unpriced, prices))).toEqual({
			"b/x": "cheapest",
			"a/x": "dearer",
			"c/x": "its price is not known",
			"d/x": "as good as the one before it",
		});
		expect(reasons(clock, call(), route([target("c/x"), target("d/x")], prices))).toEqual({
			"c/x": "no price is known of any: the least load",
			"d/x": "as good as the one before it",
		});
		expect(reasons(clock, call(), route(vendors, { policy: "order" }))).toEqual({
			"a/x": "first in order",
			"b/x": "later in order",
		});
	});

	test("say what can only be waited for", () => {
		const way = [
			replica("a/m", { readiness: 0 }),
			replica("b/m", { readiness: 52 }),
			replica("c/m", { readiness: 90, isQueue: true }),
		];
		expect(reasons(new Clock(), call(), route(way))).toMatchObject({
			"b/m": "its model is being started: used where nothing else is ready",
			"c/m": "its agent's queue: where its ready replicas fail",
		});
	});

	test("leave unknown numbers out, and what is infinite", () => {
		const clock = new Clock();
		clock.failed("a/m", 5);
		clock.now += 1_000;
		const needs = call();
		const way = route([replica("a/m"), replica("b/m")]);
		const { candidates } = explain({ model: "m", needs, route: way, plan: clock.plan(needs, way), now: clock.now });
		expect(candidates[0]).toMatchObject({ id: "a/m", reason: "tried, to find out whether it is well again" });
		expect(candidates[0]).toMatchObject({ score: undefined, inputs: { breaker: "open" } });
		expect(Object.keys(candidates[1]!.inputs)).not.toContain("time_ms");
	});
});

describe("a running router", () => {
	const KEY = "key-of-the-team";
	const config = {
		keys: [
			{ name: "all", key: KEY },
			{ name: "some", key: "key-of-some-models", models: ["box/*", "dummy"] },
		],
		providers: { box: { type: "vllm", base_url: "http://127.0.0.1:9" } },
		models: [{ name: "fast", targets: ["dummy", "openai/gpt-4o"], fallback: ["box/qwen"], max_wait: "5s" }],
	};
	let router: RunningRouter;
	beforeAll(async () => {
		router = await startRouter({ config, env: { OPENAI_API_KEY: "sk-openai-secret" } });
	});
	afterAll(() => router.stop());

	const ANTHROPICS = { "anthropic-version": "2023-06-01" };

	async function ask(body: Json | string, key = KEY, path = "", headers: Record<string, string> = {}) {
		const query = path === "" ? "" : `?path=${encodeURIComponent(path)}`;
		const answer = await fetch(`${router.url}/v1/route${query}`, {
			method: "POST",
			headers: { "content-type": "application/json", authorization: `Bearer ${key}`, ...headers },
			body: typeof body === "string" ? body : JSON.stringify(body),
		});
		const text = await answer.text();
		expect(text).not.toContain("sk-openai-secret");
		return { status: answer.status, body: JSON.parse(text) as Explanation & { error?: { code: string } } };
	}

	test("explains without making the call", async () => {
		const before = await router.metric("router_attempts_total");
		const { status, body } = await ask({ model: "fast", messages: [{ role: "user", content: "hi" }], stream: true });
		expect([status, body.route, body.policy, body.max_wait_ms]).toEqual([200, "models: fast", "balanced", 5_000]);
		expect(body.call).toMatchObject({ operation: "chat", stream: true, needs: [] });
		expect(body.candidates.map(({ rank, id, tier }) => [rank, id, tier])).toEqual([
			[1, "dummy/dummy", "targets"],
			[2, "openai/gpt-4o", "targets"],
			[3, "box/qwen", "fallback"],
		]);
		expect(body.candidates[1]!.inputs).toMatchObject({ in_flight: 0, context: expect.any(Number) });
		expect(await router.metric("router_attempts_total")).toBe(before);
	});

	test.each([
		[{ model: "fast" }, "chat"],
		[{ model: "fast", prompt: "hi" }, "completions"],
		[{ model: "fast", input: ["a", "b"] }, "embeddings"],
	])("takes %j for a call of its kind", async (body, operation) => {
		expect((await ask(body)).body.call.operation).toBe(operation as never);
	});

	test.each([
		[{ input: [{ role: "user", content: "hi" }] }, {}, "chat"],
		[{ input: "hi", instructions: "be brief" }, {}, "chat"],
		[{ contents: [{ role: "user", parts: [{ text: "hi" }] }] }, {}, "chat"],
		[{ max_tokens: 5, system: "be brief", messages: [{ role: "user", content: "hi" }] }, ANTHROPICS, "chat"],
	])("takes %j with %j for a call of its API", async (body, headers, operation) => {
		const found = await ask({ model: "dummy", ...body }, KEY, "", headers);
		expect([found.status, found.body.call?.operation]).toEqual([200, operation as never]);
		// The router's own dummy has no chat without messages.
		expect(found.body.candidates.map(({ rank, id }) => [rank, id])).toEqual([[1, "dummy/dummy"]]);
	});

	const said = [{ role: "user", content: "hi" }];
	test.each([
		["/v1/messages", { max_tokens: 5, messages: said }, "chat"],
		["v1/messages/?beta=true", { max_tokens: 5, messages: said }, "chat"],
		["/v1/responses", { input: "hi" }, "chat"],
		["/v1beta/models/fast:streamGenerateContent?alt=sse", { contents: [{ parts: [{ text: "hi" }] }] }, "chat"],
		["/v1beta/models/fast:embedContent", { content: { parts: [{ text: "hi" }] } }, "embeddings"],
		["/api/chat", { messages: said }, "chat"],
		["/api/embed", { input: "hi" }, "embeddings"],
		["/v1/images/generations", { prompt: "a cat" }, "image_generations"],
		["/v1/audio/speech", { input: "hi", voice: "alloy" }, "speech"],
		["/v1/rerank", { query: "a", documents: ["b"] }, "rerank"],
		["/v2/rerank", { query: "a", documents: ["b"] }, "rerank"],
		["/tokenize", { prompt: "hi" }, "tokenize"],
	])("explains a call at %s", async (path, body, operation) => {
		const found = await ask(
			{ model: path.startsWith("/v1/a") || path.startsWith("/v1/i") ? "openai/x" : "fast", ...body },
			KEY,
			path,
		);
		expect([found.status, found.body.error?.code, found.body.call?.operation]).toEqual([
			200,
			undefined,
			operation as never,
		]);
		expect(found.body.candidates.length).toBeGreaterThan(0);
	});

	test("explains a form, by its fields", async () => {
		const form = new FormData();
		form.append("file", new Blob(["sound"]), "a.wav");
		form.append("model", "openai/whisper-1");
		const answer = await fetch(`${router.url}/v1/route?path=/v1/audio/transcriptions`, {
			method: "POST",
			headers: { authorization: `Bearer ${KEY}` },
			body: form,
		});
		expect(await answer.json()).toMatchObject({ call: { operation: "transcriptions" }, candidates: [{ rank: 1 }] });
	});

	test.each([
		["/v1/mesages", "did you mean /v1/messages?"],
		["/v1/models", "no call of a model is made at /v1/models"],
		["/v1/files", "no call of a model is made at /v1/files"],
		["/v1/batches/b_1/cancel", "no call of a model is made"],
		["/v1/messages/count_tokens", "no call of a model is made"],
		["/v1beta/models/fast:countTokens", "countTokens counts"],
		["/v1beta/models/fast:dance", "methods are generateContent"],
		["/nothing/of/the/kind", "GET /swagger lists"],
	])("refuses %s in words", async (path, words) => {
		const { status, body } = await ask({ model: "fast", contents: [] }, KEY, path);
		const { error } = body as { error?: { code: string; param?: string; message?: string } };
		expect([status, error?.code, error?.param]).toEqual([400, "invalid_value", "path"]);
		expect(error?.message).toContain(words);
	});

	test("refuses what the call itself would be refused for", async () => {
		expect((await ask({ model: "fast" }, KEY, "/v1/messages")).body.error?.code).toBe("invalid_value");
		expect((await ask({ model: "openai/gpt-4o", query: "a", documents: [] }, KEY)).body.error?.code).toBe(
			"operation_not_served",
		);
		const other = { model: "box/qwen", messages: said, chat_template: "x" };
		expect((await ask(other, "key-of-some-models")).body.error?.code).toBe("engine_field_not_allowed");
	});

	test("shows a key what it may use, and refuses as a call is refused", async () => {
		const some = await ask({ model: "fast" }, "key-of-some-models");
		expect(some.body.candidates.map(({ id }) => id)).toEqual(["box/qwen"]);
		expect(await ask({ model: "openai/gpt-4o" }, "key-of-some-models")).toMatchObject({
			status: 403,
			body: { error: { code: "model_not_allowed" } },
		});
		expect((await ask({ model: "fats" })).body.error?.code).toBe("model_not_found");
		expect((await ask({ model: "fast" }, "wrong")).status).toBe(401);
		expect((await ask("{")).body.error?.code).toBe("invalid_json");
		expect((await ask("[]")).body.error?.code).toBe("invalid_value");
		expect((await ask({ messages: [] })).body.error?.code).toBe("invalid_value");
	});

	test.each([true, false])("puts the reasons into a header of a call that asks (stream: %p)", async (stream) => {
		const body = JSON.stringify({ model: "fast", stream, messages: [{ role: "user", content: "naïve ☃" }] });
		const send = (headers: Record<string, string>) =>
			fetch(`${router.url}/v1/chat/completions`, {
				method: "POST",
				headers: { "content-type": "application/json", authorization: `Bearer ${KEY}`, ...headers },
				body,
			});
		const asked = await send({ "x-router-explain": "1" });
		await asked.text();
		const explained = JSON.parse(asked.headers.get("x-router-explain")!) as Explanation;
		expect([asked.status, explained.candidates[0]]).toMatchObject([200, { id: "dummy/dummy", rank: 1 }]);
		const plain = await send({});
		await plain.text();
		expect(plain.headers.get("x-router-explain")).toBeNull();
	});

	test("gives the reasons with an error, too, and cuts a header that would be too long", async () => {
		const name = "☃".repeat(150);
		const answer = await fetch(`${router.url}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json", authorization: `Bearer ${KEY}`, "x-router-explain": "1" },
			body: JSON.stringify({ model: `box/${name}`, messages: [{ role: "user", content: "hi" }] }),
		});
		expect(answer.status).toBe(502);
		const header = answer.headers.get("x-router-explain")!;
		expect(header.length).toBeLessThan(8_000);
		expect(JSON.parse(header)).toMatchObject({ model: `box/${name}` });
	});

	test("is asked by `router explain`", async () => {
		using home = directory({
			"router.yaml": JSON.stringify(config),
			"request.json": JSON.stringify({ model: "ignored", messages: [{ role: "user", content: "x".repeat(4_000) }] }),
		});
		const run = (...args: string[]) => cli(["explain", ...args, "--url", router.url], { cwd: home.path });
		const { code, stdout } = await run("fast", "--file", "request.json");
		expect(code).toBe(0);
		const [title, call, , head, first] = stdout.split("\n");
		expect([title, call]).toEqual(["fast: models: fast, policy balanced, max_wait 5 s", "chat, about 1008 tokens"]);
		expect(head).toMatch(/TARGET +SCORE +INPUTS +WHY/);
		expect(first).toMatch(/^1 +dummy\/dummy /);
		expect((await run("fats")).stderr).toContain('There is no model "fats" here. Did you mean "fast"?');
		expect((await run("fast", "--file", "nowhere.json")).stderr).toContain(
			"--file nowhere.json can't be read (ENOENT)",
		);
		expect((await cli(["explain"], { cwd: home.path })).code).toBe(2);
	});
});
