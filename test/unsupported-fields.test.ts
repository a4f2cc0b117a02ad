/** Fields that a target has no form for: refused by name, or left out and named. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { batchOf, EndUsers } from "../src/accounts/usage/ledger-rows.ts";
import { apiRoutes, ROUTES } from "../src/api/routes.ts";
import { callText } from "../src/cli/admin-tables.ts";
import type { RouterError } from "../src/errors.ts";
import { UnsupportedFields, type UnsupportedTerms } from "../src/providers/unsupported-fields.ts";
import { shownCall } from "../src/server/admin/call-view.ts";
import { callLine } from "../src/telemetry/call-line.ts";
import type { Json } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { settled } from "./kit/ledger.ts";
import { page } from "./kit/pages.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";
import { plainDialect } from "./kit/plain-dialect.ts";
import { startStrictClaude } from "./kit/strict-claude.ts";
import { startStrictGemini } from "./kit/strict-gemini.ts";

const gemini = startStrictGemini();
const claude = startStrictClaude();
const box = startFaultUpstream();
afterAll(async () => {
	await gemini.stop();
	await claude.stop();
	await box.stop();
});

const message = { role: "assistant", content: "From the box." };
const ANSWER = {
	id: "x",
	object: "chat.completion",
	created: 1,
	model: "m",
	choices: [{ index: 0, message, finish_reason: "stop" }],
};

const routerWith = (providers: Json = {}, models: Json[] = []): Pipeline =>
	pipeline({
		cached: true,
		config: {
			providers: {
				gemini: { base_url: gemini.origin, api_key: "AIza-strict", ...((providers["gemini"] ?? {}) as Json) },
				anthropic: { base_url: claude.origin, api_key: "sk-ant-strict", ...((providers["anthropic"] ?? {}) as Json) },
				box: { type: "vllm", base_url: box.origin },
			},
			models,
			cache: { enabled: true, ttl: "1m" },
		},
	});

const GEMINI = "gemini/gemini-3-flash";
const CLAUDE = "anthropic/claude-opus-4-7";
const asking = (model: string, more: Json = {}) => ({ model, messages: [{ role: "user", content: "Hi" }], ...more });
const TUNED = { presence_penalty: 0.5, logit_bias: { "1": 5 } };

beforeEach(() => {
	gemini.play([[{ text: "Hello" }], [{ text: "Hello" }], [{ text: "Hello" }]]);
	claude.play([[{ type: "text", text: "Hello" }], [{ type: "text", text: "Hello" }]]);
	box.run(answers("200 OK", JSON.stringify(ANSWER)));
});

describe("whether a field may be left out", () => {
	const dropped = (field: string, terms?: UnsupportedTerms): readonly string[] | undefined | string => {
		const fields = new UnsupportedFields(terms);
		try {
			fields.add(field, "it has no counterpart there");
		} catch (error) {
			return (error as RouterError).errorCode;
		}
		return fields.dropped;
	};

	test.each([
		["a chat", { dialect: "openai-chat" }, "unsupported_parameter"],
		["a call of another dialect", { dialect: "plain" }, ["seed"]],
		["a provider's word", { dialect: "openai-chat", provider: "drop" }, ["seed"]],
		["a provider's word for another dialect", { dialect: "plain", provider: "refuse" }, "unsupported_parameter"],
		[
			"a model's word over its provider's",
			{ dialect: "openai-chat", provider: "drop", model: "refuse" },
			"unsupported_parameter",
		],
		["a model's word", { dialect: "openai-chat", provider: "refuse", model: "drop" }, ["seed"]],
	] as [string, UnsupportedTerms, string | string[]][])("is decided by %s", (_, terms, expected) => {
		expect(dropped("seed", terms)).toEqual(expected);
	});

	test.each([
		"seed",
		"frequency_penalty",
		"presence_penalty",
		"repetition_penalty",
		"logit_bias",
		"temperature",
		"top_p",
		"top_k",
		"min_p",
		"typical_p",
		"top_a",
		"verbosity",
		"reasoning_effort",
	])("is the owner's to say of %s, and the page for users names it", async (field) => {
		expect(dropped(field, { dialect: "openai-chat", provider: "drop" })).toEqual([field]);
		const text = await page("src/providers/claude-and-gemini.md");
		const section = text.slice(text.indexOf("## unsupported: drop or refuse"), text.indexOf("## Names and"));
		expect(section).toContain(`\`${field}\``);
	});

	test.each([
		"n",
		"logprobs",
		"top_logprobs",
		"modalities",
		"audio",
		"store",
		"web_search_options",
		"functions",
		"stop",
		"brand_new",
		"constructor",
	])("is no question where the client would get something else: %s", (field) =>
		expect(dropped(field, { dialect: "plain", provider: "drop", model: "drop" })).toBe("unsupported_parameter"),
	);
});

describe("by default", () => {
	test.each([
		[GEMINI, { presence_penalty: 0.5 }, "presence_penalty"],
		[GEMINI, { logit_bias: { "1": 5 } }, "logit_bias"],
		[CLAUDE, { seed: 7 }, "seed"],
		[CLAUDE, { temperature: 0.2 }, "temperature"],
	])("%s refuses a chat with %j, and nothing is sent", async (model, more, param) => {
		const answer = await routerWith().send(asking(model, more));
		const { error } = (await answer.json()) as { error: Json };
		expect([answer.status, error["code"], error["param"]]).toEqual([400, "unsupported_parameter", param]);
		expect([gemini.bodies, claude.bodies]).toEqual([[], []]);
	});

	test("the next target is tried, which gets the field", async () => {
		const models = [{ name: "both", targets: [GEMINI, "box/m"], policy: "order" }];
		const answer = await routerWith({}, models).send(asking("both", TUNED));
		expect([answer.status, answer.headers.get("x-router-provider")]).toEqual([200, "box"]);
		expect(answer.headers.has("x-router-dropped")).toBe(false);
		expect(JSON.parse(box.received[0]!.body)).toMatchObject(TUNED);
	});

	test("a call of another dialect is made without it, and says so", async () => {
		const route = {
			method: "POST",
			operation: "chat",
			steps: ["auth", "limits", "cache", "relay"],
			path: "/plain",
		} as const;
		const app = apiRoutes(routerWith().context, [
			...ROUTES,
			{ ...route, dialect: plainDialect, detail: { summary: "Plain" } },
		]);
		const body = JSON.stringify({ model: CLAUDE, ask: "Hi", temperature: 0.2 });
		const headers = { "content-type": "application/json" };
		const answer = await app.handle(new Request("http://localhost/plain", { method: "POST", body, headers }));
		expect([answer.status, answer.headers.get("x-router-dropped")]).toEqual([200, "temperature"]);
		expect(await answer.text()).toBe("Hello\n");
		expect(claude.bodies[0]).not.toHaveProperty("temperature");
	});
});

describe("where it is to be left out", () => {
	const drop = { unsupported: "drop" };

	test.each([
		["the provider", routerWith({ gemini: drop }), GEMINI],
		["the model", routerWith({ gemini: { unsupported: "refuse" } }, [{ name: "m", targets: [GEMINI], ...drop }]), "m"],
	])("by %s, the answer names it, whole and streamed", async (_, router, model) => {
		const whole = await router.send(asking(model, TUNED));
		expect([whole.status, whole.headers.get("x-router-dropped")]).toEqual([200, "logit_bias, presence_penalty"]);
		expect(gemini.bodies[0]!["generationConfig"]).toEqual({});
		const streamed = await router.send(asking(model, { ...TUNED, stream: true, user: "other" }));
		expect(streamed.headers.get("x-router-dropped")).toBe("logit_bias, presence_penalty");
		expect(await streamed.text()).toContain('"dropped":["logit_bias","presence_penalty"]');
		const [first] = await router.settledCalls(2);
		expect(first!.droppedFields).toEqual(["logit_bias", "presence_penalty"]);
	});

	test("an answer from the cache says what it was made without", async () => {
		const router = routerWith({ gemini: drop });
		const ask = asking(GEMINI, { ...TUNED, temperature: 0 });
		await (await router.send(ask)).text();
		const again = await router.send(ask);
		expect([again.headers.get("x-router-cache"), again.headers.get("x-router-dropped")]).toEqual([
			"hit",
			"logit_bias, presence_penalty",
		]);
	});

	test("an answer that was made without a field is none for a name that refuses it", async () => {
		const models = [
			{ name: "loose", targets: [GEMINI], ...drop },
			{ name: "same", targets: [GEMINI], ...drop },
			{ name: "firm", targets: [GEMINI] },
		];
		const router = routerWith({}, models);
		const asked = async (model: string, more: Json) => {
			const answer = await router.send(asking(model, more));
			return [answer.status, answer.headers.get("x-router-cache")];
		};
		expect(await asked("loose", { ...TUNED, temperature: 0 })).toEqual([200, "miss"]);
		expect(await asked("same", { ...TUNED, temperature: 0 })).toEqual([200, "hit"]);
		expect((await asked("firm", { ...TUNED, temperature: 0 }))[0]).toBe(400);
	});

	test("nothing is said of a call that lacks nothing", async () => {
		const answer = await routerWith({ gemini: drop }).send(asking(GEMINI, { seed: 7 }));
		expect([answer.status, answer.headers.has("x-router-dropped")]).toEqual([200, false]);
		expect(gemini.bodies[0]!["generationConfig"]).toEqual({ seed: 7 });
	});

	test("`reasoning_effort` goes as well, where the model can't think, or can't but think", async () => {
		const router = routerWith({ gemini: drop });
		const effort = async (model: string, reasoning_effort: string) => {
			const answer = await router.send(asking(model, { reasoning_effort }));
			return [answer.status, answer.headers.get("x-router-dropped")];
		};
		expect(await effort("gemini/gemini-2.0-flash", "high")).toEqual([200, "reasoning_effort"]);
		expect(await effort(GEMINI, "none")).toEqual([200, "reasoning_effort"]);
	});
});

test("a past call tells it: in the log, in the ledger and to `router why`", () => {
	const call = settled({ droppedFields: ["seed", "top_k"], attempts: 0 });
	expect(callLine(call, "2026-01-01T00:00:00Z")["dropped_fields"]).toBe("seed,top_k");
	const [row] = batchOf([call], [Date.UTC(2026, 0, 1)], [], new EndUsers()).calls;
	const shown = shownCall(row!, []);
	expect(shown.dropped_fields).toEqual(["seed", "top_k"]);
	expect(callText(shown)).toContain("left out seed, top_k: its upstream has no form for");
});
