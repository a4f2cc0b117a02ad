/** Copies of calls for another model: whose they are never in the way, on the bill or past the key of, and what they are compared by. */
import { afterAll, afterEach, describe, expect, test } from "bun:test";
import type { Json } from "./kit/exchange.ts";
import { type Answering, ShadowRouter, ShadowUpstream, says } from "./kit/shadow-upstream.ts";
import { until } from "./kit/until.ts";

const upstream = new ShadowUpstream();
let router: ShadowRouter | undefined;
afterEach(async () => {
	await router?.stop();
	router = undefined;
	upstream.clear();
});
afterAll(() => upstream.stop());

async function start(shadow: Json = {}, more: Json = {}): Promise<ShadowRouter> {
	router = await ShadowRouter.start(upstream, shadow, more);
	return router;
}

/** The caller has its answer, nothing of its call went to the other model, and it is counted why. */
async function isDropped(at: ShadowRouter, outcome: string, call = at.call("hello")): Promise<void> {
	const answer = await call;
	expect(answer.status).toBe(200);
	await until(async () => (await at.outcomes(outcome)) === 1, `a call counted as ${outcome}`);
	expect(upstream.of("second")).toEqual([]);
}

const gate = () => {
	const { promise, resolve } = Promise.withResolvers<void>();
	const held: Answering = async (asked) => {
		await promise;
		return says("late")(asked);
	};
	return { held, open: resolve };
};

describe("no copy is sent", () => {
	test("where the caller's key may not use the other model", async () => {
		const at = await start({}, { keys: [{ name: "app", key: "key-of-the-app", models: ["fast"] }] });
		await isDropped(at, "not_allowed", at.call("hello", {}, { authorization: "Bearer key-of-the-app" }));
	});

	test.each([
		["is stored", { store: true }],
		["has its upstream search the web", { web_search_options: {} }],
		["has a tool that its upstream runs", { tools: [{ type: "web_search" }] }],
		["names further models", { models: ["box/first", "box/third"] }],
		["asks for sound that can be referred to", { modalities: ["text", "audio"], audio: { voice: "a", format: "wav" } }],
	])("of a call that %s", async (_, more) => {
		const at = await start();
		await isDropped(at, "effects", at.call("hello", more));
	});

	test("of a response that is stored; of one that is not there is one", async () => {
		const at = await start();
		const respond = (store: boolean) =>
			fetch(`${at.running.url}/v1/responses`, {
				method: "POST",
				headers: { "content-type": "application/json" },
				body: JSON.stringify({ model: "fast", input: "hello", store }),
			});
		await isDropped(
			at,
			"effects",
			respond(true).then(async (answer) => ({
				status: answer.status,
				headers: answer.headers,
				text: await answer.text(),
			})),
		);
		await (await respond(false)).text();
		await until(async () => (await at.outcomes("compared")) === 1);
	});

	test("where nobody knows what it costs", async () => {
		const vendor = { type: "openai", api_key: "k", base_url: upstream.url };
		const providers = { box: { type: "openai-compatible", base_url: upstream.url }, vendor };
		const at = await start({ to: "vendor/second" }, { providers, prices: {} });
		await isDropped(at, "no_price");
	});

	test("where nobody serves the other model", async () => {
		await isDropped(await start({ to: "nowhere" }), "unavailable");
	});

	test("where its own budget is spent, and no caller is told of that", async () => {
		// One answer is 13 tokens, a dollar each.
		const at = await start({ budget: { usd: 12, per: "total" } });
		await at.call("hello");
		await until(async () => (await at.outcomes("compared")) === 1);
		upstream.clear();
		await isDropped(at, "budget");
		expect(await at.running.metric("router_limited_calls_total")).toBe(0);
		expect((await at.row()).budget).toMatchObject({ usd: 12, spent: 13 });
	});

	test("where limits on the other model are used up", async () => {
		const at = await start({}, { limits: { models: { other: { rpm: 1 } } } });
		await at.call("hello", { model: "other" });
		upstream.clear();
		await isDropped(at, "limited");
		expect(await at.running.metric("router_limited_calls_total")).toBe(0);
	});

	test("where as many calls run for the other model as may", async () => {
		const { held, open } = gate();
		upstream.answers.set("second", held);
		const models = [
			{ name: "fast", targets: ["box/first"], shadow: { to: "other", share: "100%", budget: { usd: 1e6 } } },
			{ name: "other", targets: ["box/second"], concurrency: 1 },
		];
		const at = await start({}, { models });
		const running = at.call("mine", { model: "other" });
		await until(() => upstream.of("second").length === 1);
		await at.call("hello");
		await until(async () => (await at.outcomes("busy")) === 1);
		open();
		expect((await running).status).toBe(200);
		expect(upstream.of("second").length).toBe(1);
	});

	test("to a name that nobody serves, which the log says once", async () => {
		const models = [{ name: "fast", targets: ["box/first"], shadow: { to: "misspelt", share: "100%" } }];
		const at = await start({}, { models });
		for (let call = 1; call <= 3; call++) {
			await at.call(`hello ${call}`);
			await until(async () => (await at.outcomes("unavailable")) === call);
		}
		await at.running.printed(/shadow of fast: nobody serves misspelt, so no copy is made/);
		expect(at.running.output().split("nobody serves misspelt").length - 1).toBe(1);
	});

	test("to a target that is out of use", async () => {
		const at = await start();
		upstream.answers.set("second", () => new Response("no", { status: 500 }));
		for (let call = 0; call < 20 && (await at.outcomes("busy")) === 0; call++) {
			await at.call(`hello ${call}`);
			const settled = async () => (await at.outcomes("failed")) + (await at.outcomes("busy"));
			await until(async () => (await settled()) === call + 1);
		}
		expect(await at.outcomes("busy")).toBe(1);
	});

	test("of a call whose client got no answer", async () => {
		const at = await start();
		upstream.answers.set("first", () => new Response("no", { status: 400 }));
		expect((await at.call("hello")).status).toBe(400);
		upstream.answers.clear();
		await at.call("hello again");
		await until(async () => (await at.outcomes("compared")) === 1);
		expect(upstream.of("second").length).toBe(1);
	});
});

test("a copy gives its place up as soon as a caller waits for one", async () => {
	const { held, open } = gate();
	upstream.answers.set("second", held);
	const models = [
		{ name: "fast", targets: ["box/first"], shadow: { to: "other", share: "100%", budget: { usd: 1e6 } } },
		{ name: "other", targets: ["box/second"], concurrency: 1 },
	];
	const at = await start({}, { models });
	await at.call("hello");
	await until(() => upstream.of("second").length === 1);
	upstream.answers.clear();
	// The copy's answer never comes.
	expect((await at.call("mine", { model: "other" })).status).toBe(200);
	await until(async () => (await at.outcomes("failed")) === 1);
	open();
});

test("a caller has its whole answer before the copy is sent, and waits for nothing of it", async () => {
	const { held, open } = gate();
	upstream.answers.set("second", held);
	const at = await start();
	for (const stream of [false, true]) {
		const answer = await at.call(`hello ${stream}`, { stream });
		expect(answer.status).toBe(200);
		expect(answer.text).toContain("Hello.");
	}
	await until(() => upstream.of("second").length === 2);
	expect(await at.outcomes("compared")).toBe(0);
	open();
	await until(async () => (await at.outcomes("compared")) === 2);
});

test("a copy that fails is said to have failed, and the caller never hears of it", async () => {
	upstream.answers.set("second", () => new Response("no", { status: 503 }));
	const at = await start();
	expect((await at.call("hello")).status).toBe(200);
	await until(async () => (await at.outcomes("failed")) === 1);
	expect(upstream.of("second").length).toBe(1);
	expect(await at.row()).toMatchObject({ pairs: 0, failed: 1 });
	expect(await at.running.metric("router_upstream_failures_total")).toBe(0);
});

test("a router that is told to stop gives its copies up", async () => {
	upstream.answers.set("second", () => new Promise(() => {}));
	const at = await start();
	await at.call("hello");
	await until(() => upstream.of("second").length === 1);
	process.kill(at.running.pid, "SIGTERM");
	await until(() => upstream.of("second")[0]!.isGone);
	await at.running.printed(/No further calls are taken/);
});
