/** What is told of copies of calls: comparisons, usage on lines of its own, and nothing of what was said. */
import { afterAll, afterEach, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Json } from "./kit/exchange.ts";
import { post } from "./kit/rig.ts";
import { answering, asksFor, ShadowRouter, ShadowUpstream, says } from "./kit/shadow-upstream.ts";
import { until } from "./kit/until.ts";

const upstream = new ShadowUpstream();
let router: ShadowRouter | undefined;
afterEach(async () => {
	await router?.stop();
	router = undefined;
	upstream.clear();
});
afterAll(() => upstream.stop());

const KEYS = { keys: [{ name: "app", key: "key-of-the-app", team: "research" }] };
const APP = { authorization: "Bearer key-of-the-app" };
const TOOLS = { tools: [{ type: "function", function: { name: "look", parameters: { type: "object" } } }] };

test("times, tokens, cost, ends and tools are compared, of whole answers and of streams", async () => {
	router = await ShadowRouter.start(upstream);
	const steps = [
		{ one: says("a"), other: says("quite another", 7), more: {} },
		{ one: says("a"), other: answering({ content: "a" }, "length", 5), more: {} },
		{ one: asksFor("look", '{"a":1,"b":2}'), other: asksFor("look", '{ "b": 2, "a": 1 }'), more: TOOLS },
		{ one: asksFor("look", '{"a":1}'), other: asksFor("look", '{"a":2}'), more: TOOLS },
		{ one: asksFor("look", "{}"), other: says("no need"), more: TOOLS },
	];
	let calls = 0;
	for (const stream of [false, true]) {
		for (const { one, other, more } of steps) {
			upstream.answers.set("first", one).set("second", other);
			expect((await router.call(`call ${calls}`, { ...more, stream })).status).toBe(200);
			calls++;
			await until(async () => (await router!.outcomes("compared")) === calls, `comparison ${calls}`);
		}
	}
	const row = await router.row();
	expect(row).toMatchObject({
		model: "fast",
		to: "other",
		pairs: 10,
		failed: 0,
		same_finish_reason: { compared: 10, same: 6 },
		same_tool_calls: { compared: 6, same: 2 },
	});
	expect(row.caller).toMatchObject({ tokens_out: 3, cost_usd: 13 });
	expect(row.shadow).toMatchObject({ tokens_out: 3, cost_usd: 13 });
	for (const { ms, first_token_ms } of [row.caller, row.shadow]) {
		expect(ms as number).toBeGreaterThan(0);
		expect(first_token_ms as number).toBeGreaterThan(0);
	}
	expect(await router.running.metric("router_shadow_tokens_total", { whose: "caller" })).toBe(30);
	expect(await router.running.metric("router_shadow_tokens_total", { whose: "shadow" })).toBe(42);
	expect(await router.running.metric("router_shadow_comparisons_total", { what: "tool_calls", same: "true" })).toBe(2);
});

/** A call with a tool, as clients of other APIs make it. */
const OTHER_APIS: readonly (readonly [path: string, body: Json])[] = [
	[
		"/v1/messages",
		{
			model: "fast",
			max_tokens: 100,
			messages: [{ role: "user", content: "look" }],
			tools: [{ name: "look", input_schema: { type: "object" } }],
		},
	],
	[
		"/v1/responses",
		{
			model: "fast",
			input: "look",
			store: false,
			tools: [{ type: "function", name: "look", parameters: { type: "object" } }],
		},
	],
	["/api/chat", { model: "fast", messages: [{ role: "user", content: "look" }], ...TOOLS }],
];

test.each(OTHER_APIS)(
	"%s: tool calls are compared as they are of chats",
	async (path, body) => {
		router = await ShadowRouter.start(upstream);
		let calls = 0;
		const compared = { compared: 0, same: 0 };
		for (const stream of [false, true]) {
			for (const other of ['{"a":1}', '{"a":2}']) {
				upstream.answers.set("first", asksFor("look", '{ "a": 1 }')).set("second", asksFor("look", other));
				const answer = await post(`${router.running.url}${path}`, { ...body, stream });
				expect([answer.status, answer.text]).toEqual([200, expect.stringContaining("look")]);
				calls++;
				compared.compared++;
				if (other.includes("1")) compared.same++;
				await until(async () => (await router!.outcomes("compared")) === calls, `comparison ${calls}`);
			}
		}
		expect(await router.row()).toMatchObject({
			pairs: 4,
			same_tool_calls: compared,
			same_finish_reason: { compared: 4, same: 4 },
		});
	},
	60_000,
);

test("usage has them on lines of their own, and the caller's says nothing of them", async () => {
	router = await ShadowRouter.start(upstream, {}, KEYS);
	upstream.answers.set("second", says("much longer", 90));
	await router.call("hello", { user: "bob" }, APP);
	await until(async () => (await router!.outcomes("compared")) === 1);
	const usage = async (by: string) =>
		((await router!.admin(`usage?by=${by}`))["data"] as Json[]).map((row) => [row[by], row["calls"], row["cost_usd"]]);
	expect(await usage("key")).toEqual([
		["(shadow of fast)", 1, 100],
		["app", 1, 13],
	]);
	expect(await usage("model")).toEqual([
		["fast", 1, 13],
		["other (shadow)", 1, 100],
	]);
	expect(await usage("team")).toEqual([
		["(shadow)", 1, 100],
		["research", 1, 13],
	]);
	expect(await usage("user")).toEqual([
		["(shadow)", 1, 100],
		["bob", 1, 13],
	]);
	expect(await usage("provider")).toEqual([
		["box", 1, 13],
		["box (shadow)", 1, 100],
	]);
	// All that other metrics count is the caller's.
	expect(await router.running.metric("router_requests_total")).toBe(1);
	expect(await router.running.metric("router_attempts_total")).toBe(1);
	expect(await router.running.metric("router_cost_usd_total")).toBe(13);
});

test("a copy's row in the ledger says which call it is of; what was said stands nowhere", async () => {
	router = await ShadowRouter.start(upstream, {}, KEYS);
	upstream.answers.set("first", says("wordofthefirst")).set("second", says("wordofthesecond"));
	const headers = {
		...APP,
		"x-session-id": "sessionofthecaller",
		traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01`,
		"idempotency-key": "once",
	};
	const answer = await router.call("wordofthecaller", {}, headers);
	await until(async () => (await router!.outcomes("compared")) === 1);
	const listed = (await router.admin("calls?key=(shadow of fast)"))["data"] as Json[];
	expect(listed).toMatchObject([
		{
			model: "other",
			key: "(shadow of fast)",
			status: 200,
			target: "box/second",
			shadow: { model: "fast", of: answer.headers.get("x-request-id"), same_finish_reason: true },
		},
	]);
	expect(await router.admin(`calls/${listed[0]!["id"]}`)).toMatchObject({
		id: listed[0]!["id"],
		shadow: { cost_usd: 13 },
	});
	const [copy] = upstream.of("second");
	expect(copy!.body["messages"]).toEqual([{ role: "user", content: "wordofthecaller" }]);
	for (const name of ["x-session-id", "traceparent", "idempotency-key"]) {
		expect([name, copy!.headers.get(name)]).toEqual([name, null]);
		expect(upstream.of("first")[0]!.headers.has(name)).toBe(true);
	}
	for (const directory of ["data", "logs"]) {
		const path = join(router.running.directory, directory);
		for (const file of readdirSync(path, { recursive: true, withFileTypes: true })) {
			if (!file.isFile()) continue;
			const text = readFileSync(join(file.parentPath, file.name), "latin1");
			expect([file.name, /wordofthe/.test(text)]).toEqual([file.name, false]);
		}
	}
});

test("of a model without copies nothing is told, and of one that has none yet that it has none", async () => {
	router = await ShadowRouter.start(upstream, { share: "0%" });
	await router.call("hello");
	expect(await router.row()).toMatchObject({
		model: "fast",
		to: "other",
		pairs: 0,
		caller: {},
		same_tool_calls: { compared: 0, same: 0 },
	});
	expect(upstream.of("second")).toEqual([]);
});

test("the same calls are copied again, whichever worker they come to, and about as many as was said", async () => {
	router = await ShadowRouter.start(upstream, { share: "25%" }, { server: { workers: 2, drain: "0s" } });
	const texts = Array.from({ length: 200 }, (_, at) => `call ${at}`);
	const copied = async () => {
		for (let at = 0; at < texts.length; at += 20) {
			// Each over a connection of its own, which workers share by chance.
			const headers = { connection: "close" };
			await Promise.all(texts.slice(at, at + 20).map((text) => router!.call(text, {}, headers)));
		}
		await until(async () => upstream.of("second").length === (await router!.outcomes("compared")), "all compared");
		await router!.running.idle();
		return new Set(upstream.of("second").map(({ body }) => ((body["messages"] as Json[])[0] as Json)["content"]));
	};
	const first = await copied();
	expect(first.size).toBeGreaterThan(25);
	expect(first.size).toBeLessThan(80);
	expect(upstream.of("second").length).toBe(first.size);
	const second = await copied();
	expect(second).toEqual(first);
	await until(() => upstream.of("second").length === 2 * first.size, "the same copies again");
	await until(async () => (await router!.row()).pairs === 2 * first.size, "all in the ledger");
}, 60_000);
