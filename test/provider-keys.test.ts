/** Several keys for one provider, and what is done with one that its upstream refuses. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { refusal } from "./kit/configure.ts";
import { clientError } from "./kit/contract.ts";
import { type Script, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";

const first = startFaultUpstream();
const second = startFaultUpstream();
afterAll(() => {
	first.stop();
	second.stop();
});

const KEYS = ["sk-number-one", "sk-number-two", "sk-number-three"];
const ok = answers(
	"200 OK",
	'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}',
);
const error = (status: string, headers: Record<string, string> = {}) =>
	answers(status, '{"error":{"message":"no"}}', { "content-type": "application/json", ...headers });
/** By the key that it was called with; the others are taken. */
const byKey =
	(scripts: Record<string, Script>): Script =>
	(connection) =>
		(scripts[usedIn(connection.request.headers)] ?? ok)(connection);
const usedIn = (headers: Headers) => headers.get("authorization")!.replace("Bearer ", "");
const used = () => first.received.map(({ headers }) => usedIn(headers));

const call = { model: "one/m", messages: [{ role: "user", content: "hi" }] };
const config = (keys: object = { api_keys: KEYS }) => ({
	providers: {
		one: { type: "openai-compatible", base_url: first.origin, ...keys },
		two: { type: "openai-compatible", base_url: second.origin, api_key: "sk-of-two" },
	},
	models: [{ name: "fast", policy: "order", targets: ["one/m", "two/m"] }],
});
let router: Pipeline;
beforeEach(() => {
	router = pipeline({ config: config() });
	first.run(ok);
	second.run(ok);
});

test("keys take turns, the single one first", async () => {
	router = pipeline({ config: config({ api_key: "sk-first-of-all", api_keys: [...KEYS, "sk-first-of-all"] }) });
	for (let round = 0; round < 5; round++) await router.send(call);
	expect(used()).toEqual(["sk-first-of-all", ...KEYS, "sk-first-of-all"]);
});

describe("a refused key", () => {
	test.each([
		["401 Unauthorized", "auth"],
		["403 Forbidden", "auth"],
		["402 Payment Required", "quota"],
	])("is left out, and its call answered with the next (%s)", async (status, kind) => {
		first.run(byKey({ [KEYS[0]!]: error(status) }));
		for (let round = 0; round < 4; round++) expect((await router.send(call)).status).toBe(200);
		expect(used()).toEqual([KEYS[0], KEYS[1], KEYS[2], KEYS[1], KEYS[2]] as string[]);
		expect(router.attempts[0]).toMatchObject({ target: "one/m", failure: kind });
	});

	test("with a 403 is left out for that model only", async () => {
		first.run(byKey({ [KEYS[0]!]: error("403 Forbidden") }));
		await router.send(call);
		first.run(ok);
		for (let round = 0; round < 3; round++) await router.send({ ...call, model: "one/other" });
		expect(used().sort()).toEqual([...KEYS].sort());
	});

	test("of three is named by its setting, and none of them is shown", async () => {
		first.run(error("401 Unauthorized"));
		const answer = await router.send(call);
		const text = await answer.text();
		expect([answer.status, clientError(text).code]).toEqual([502, "upstream_auth"]);
		expect(clientError(text).message).toBe("one refused the router's key: check providers.one.api_keys[2].");
		expect(used()).toEqual(KEYS);
		for (const key of KEYS) expect(text).not.toContain(key);
	});

	test("sends calls to another target without asking its own", async () => {
		router = pipeline({ config: config({ api_key: "sk-only" }) });
		first.run(error("401 Unauthorized"));
		for (let round = 0; round < 3; round++) {
			const answer = await router.send({ ...call, model: "fast" });
			expect(answer.headers.get("x-router-provider")).toBe("two");
			await answer.text();
		}
		expect(first.received.length).toBe(1);
	});

	test("is said to be out of use where every other target failed, in words that name the setting", async () => {
		router = pipeline({ config: config({ api_key: "sk-only" }) });
		first.run(error("401 Unauthorized"));
		await router.send({ ...call, model: "fast" });
		second.run(error("404 Not Found"));
		const answer = await router.send({ ...call, model: "fast" });
		// Why the target failed that was asked says more than that another one was not.
		expect(answer.status).toBe(404);
		expect(first.received.length).toBe(1);
	});

	test("is used all the same by a call that has nowhere else to go, and is in use again once it is taken", async () => {
		router = pipeline({ config: config({ api_key: "sk-only" }) });
		first.run(error("401 Unauthorized"));
		expect((await router.send(call)).status).toBe(502);
		const { state } = router.context;
		const { catalog } = router.snapshot;
		expect([...state.keysOut(catalog.entries)]).toEqual([["one", 1]]);
		first.run(ok);
		expect((await router.send(call)).status).toBe(200);
		expect([...state.keysOut(catalog.entries)]).toEqual([]);
		expect((await router.send({ ...call, model: "fast" })).headers.get("x-router-provider")).toBe("one");
	});
});

test("a key whose limit is used up is spared: the call goes on with the next key at once", async () => {
	first.run(byKey({ [KEYS[0]!]: error("429 Too Many Requests", { "retry-after": "30" }) }));
	for (let round = 0; round < 3; round++) expect((await router.send(call)).status).toBe(200);
	expect(used()).toEqual([KEYS[0], KEYS[1], KEYS[2], KEYS[1]] as string[]);
});

test("a key that an upstream echoes reaches nobody, whichever it was", async () => {
	first.run((connection) => {
		const key = usedIn(connection.request.headers);
		return answers("400 Bad Request", JSON.stringify({ error: { message: `bad: ${key}` } }), {
			"content-type": "application/json",
			"x-echo": key,
		})(connection);
	});
	for (let round = 0; round < 3; round++) {
		const answer = await router.send(call);
		const seen = (await answer.text()) + JSON.stringify([...answer.headers]);
		for (const key of KEYS) expect(seen).not.toContain(key);
	}
});

test.each([
	["no list", "providers: { openai: { api_keys: sk-one } }", "api_keys"],
	["an empty one", "providers: { openai: { api_keys: [] } }", "api_keys"],
	["one with an empty key", 'providers: { openai: { api_keys: ["sk-good", ""] } }', "api_keys[1]"],
])("keys that are %s are refused by their place", (_, yaml, place) => {
	expect(refusal({ yaml })).toContain(place);
});
