/** Answers that were made without a field: none for a call that may not lose it, and named to every one that gets them. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { apiRoutes, ROUTES } from "../src/api/routes.ts";
import type { Json } from "./kit/exchange.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";
import { plainDialect } from "./kit/plain-dialect.ts";
import { startStrictClaude } from "./kit/strict-claude.ts";

const claude = startStrictClaude();
afterAll(() => claude.stop());
beforeEach(() => claude.play([[{ type: "text", text: "One" }], [{ type: "text", text: "Two" }]]));

const CLAUDE = "anthropic/claude-opus-4-7";
const drop = { unsupported: "drop" };
const refuse = { unsupported: "refuse" };
const routerWith = (provider: Json = {}, alias: Json = {}): Pipeline =>
	pipeline({
		cached: true,
		config: {
			providers: { anthropic: { base_url: claude.origin, api_key: "sk-ant-strict", ...provider } },
			models: [{ name: "m", targets: [CLAUDE], cache: { enabled: true }, ...alias }],
			cache: { enabled: true, ttl: "1m" },
		},
	});
/** The same router after a reload: what was kept stays. */
const reloaded = (before: Pipeline, ...settings: Parameters<typeof routerWith>): Pipeline => {
	const after = routerWith(...settings);
	Object.assign(after.context, { cache: before.context.cache });
	return after;
};
const ask = { model: "m", messages: [{ role: "user", content: "Hi" }], temperature: 0.2 };
const send = async (router: Pipeline, body: Json = ask) => {
	const answer = await router.send(body);
	await answer.text();
	const said = (name: string) => answer.headers.get(`x-router-${name}`);
	return [answer.status, said("cache"), said("dropped")];
};
const MISS = [200, "miss", "temperature"];
const HIT = [200, "hit", "temperature"];

describe("is not given again", () => {
	test.each([
		["of the provider", [drop], [refuse]],
		["of the provider, to none", [drop], [{}]],
		["of the model", [{}, drop], [{}, refuse]],
		["of the model, where the provider said the same", [drop, drop], [drop, refuse]],
	] as [string, Json[], Json[]][])("once a reload has changed the setting %s", async (_, before, after) => {
		const router = routerWith(...before);
		expect([await send(router), await send(router)]).toEqual([MISS, HIT]);
		expect((await send(reloaded(router, ...after)))[0]).toBe(400);
		expect(await send(reloaded(router, ...before))).toEqual(HIT);
	});

	test("to a chat, where it was made for a dialect that sends such fields unasked", async () => {
		const router = routerWith();
		const route = {
			method: "POST",
			operation: "chat",
			steps: ["auth", "limits", "cache", "relay"],
			path: "/plain",
		} as const;
		const detail = { summary: "Plain" };
		const app = apiRoutes(router.context, [...ROUTES, { ...route, dialect: plainDialect, detail }]);
		const plain = async () => {
			const body = JSON.stringify({ model: "m", ask: "Hi", temperature: 0.2 });
			const headers = { "content-type": "application/json" };
			const answer = await app.handle(new Request("http://localhost/plain", { method: "POST", body, headers }));
			return [answer.status, answer.headers.get("x-router-cache"), answer.headers.get("x-router-dropped")];
		};
		expect([await plain(), await plain()]).toEqual([MISS, HIT]);
		expect((await send(router))[0]).toBe(400);
		expect(await plain()).toEqual(HIT);
	});

	test("while it is on its way, neither", async () => {
		const router = routerWith(drop);
		const strict = reloaded(router, refuse);
		const [loose, firm] = await Promise.all([send(router), send(strict)]);
		expect([loose, firm[0]]).toEqual([MISS, 400]);
	});
});

describe("is named", () => {
	test.each([false, true])("in the header, and to the log and the ledger (streamed: %p)", async (stream) => {
		const router = routerWith(drop);
		expect([await send(router), await send(router, { ...ask, stream })]).toEqual([MISS, HIT]);
		const [first, second] = await router.settledCalls(2);
		expect([first!.droppedFields, second!.droppedFields]).toEqual([["temperature"], ["temperature"]]);
	});

	test("to those that share a stream under way", async () => {
		const router = routerWith(drop);
		const [one, other] = await Promise.all([
			send(router, { ...ask, stream: true }),
			send(router, { ...ask, stream: true }),
		]);
		expect([one, other]).toEqual([MISS, HIT]);
		for (const { droppedFields } of await router.settledCalls(2)) expect(droppedFields).toEqual(["temperature"]);
	});
});
