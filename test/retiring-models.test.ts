/** Models that vendors give up: what their lists say of it, and where the router says it. The lists are in the words of the vendors' own references. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { lifecycleHeaders, lifecycleIn, lifecycleText, listedLifecycle } from "../src/providers/model-lifecycle.ts";
import { cli, directory } from "./kit/cli.ts";
import type { Loose } from "./kit/exchange.ts";
import { hello } from "./kit/hello-answer.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const at = (text: string) => Date.parse(text) / 1000;

describe("an entry of a vendor's list", () => {
	test.each([
		["OpenAI's, with a day", { shutdown_date: "2027-01-14" }, { retiresAt: at("2027-01-14") }],
		["OpenAI's, of a model that goes on", { shutdown_date: null }, undefined],
		[
			"Anthropic's, deprecated",
			{ lifecycle: "deprecated", deprecated_at: "2026-09-14T00:00:00Z", retires_at: "2027-01-22T00:00:00Z" },
			{ deprecatedAt: at("2026-09-14"), retiresAt: at("2027-01-22") },
		],
		["Anthropic's, deprecated without a day", { lifecycle: "deprecated", deprecated_at: null, retires_at: null }, {}],
		[
			"Anthropic's, retired",
			{ lifecycle: "retired", deprecated_at: "2025-01-01T00:00:00Z", retires_at: "2025-10-28T00:00:00Z" },
			{ deprecatedAt: at("2025-01-01"), retiresAt: at("2025-10-28"), isRetired: true as const },
		],
		["Anthropic's, active", { lifecycle: "active", deprecated_at: null, retires_at: null }, undefined],
		["OpenRouter's", { expiration_date: "2026-12-31" }, { retiresAt: at("2026-12-31") }],
		["OpenRouter's, of a model that goes on", { expiration_date: null }, undefined],
		["one without any such field", { id: "m" }, undefined],
		["one with a day that is none", { shutdown_date: "soon" }, undefined],
		["one with a day that no month has", { shutdown_date: "2027-13-41" }, undefined],
		["one with an object", { shutdown_date: { day: 1 }, lifecycle: 7 }, undefined],
		["one with a year beyond all dates", { retires_at: "275760-01-01", deprecated_at: 1e300 }, undefined],
		["one with Unix time", { shutdown_date: 1_800_000_000 }, { retiresAt: 1_800_000_000 }],
	])("%s", (_, entry, known) => {
		expect(lifecycleIn(entry)).toEqual(known);
	});

	test("is listed so that a router before this one reads the same", () => {
		for (const known of [
			{ retiresAt: at("2027-01-14") },
			{ deprecatedAt: at("2026-09-14T10:00:00Z"), retiresAt: at("2027-01-22") },
			{ isRetired: true as const },
			{},
		]) {
			expect(lifecycleIn(listedLifecycle(known))).toEqual(known);
		}
		expect(listedLifecycle(undefined)).toEqual({});
	});

	test("becomes the headers of RFC 8594 and RFC 9745", () => {
		const known = { deprecatedAt: 1_688_169_599, retiresAt: at("2027-01-14") };
		expect(lifecycleHeaders(known)).toEqual({ deprecation: "@1688169599", sunset: "Thu, 14 Jan 2027 00:00:00 GMT" });
		expect(lifecycleHeaders({})).toEqual({});
	});

	test.each([
		[{ retiresAt: at("2027-01-14") }, "is retired by V on 2027-01-14"],
		[{ retiresAt: at("2026-11-01") }, "was to be retired by V on 2026-11-01"],
		[{ isRetired: true as const, retiresAt: at("2026-11-01") }, "is retired: V answers no calls for it any more"],
		[{ deprecatedAt: at("2026-09-14") }, "is deprecated at V since 2026-09-14, which has not said when it ends"],
		[{}, "is deprecated at V, which has not said when it ends"],
	])("%j is said in words", (known, words) => {
		expect(lifecycleText(known, "V", Date.parse("2026-11-30"))).toBe(words);
	});
});

const OPENAI_LIST = {
	object: "list",
	data: [
		{ id: "gpt-4o", object: "model", created: 1715367049, owned_by: "system", shutdown_date: "2127-01-14" },
		{ id: "gpt-6", object: "model", created: 1790000000, owned_by: "system", shutdown_date: null },
	],
};
const claude = (id: string, lifecycle: string, deprecated_at: string | null, retires_at: string | null) => ({
	type: "model",
	id,
	display_name: id,
	created_at: "2025-09-29T00:00:00Z",
	lifecycle,
	deprecated_at,
	retires_at,
});
const CLAUDE_LIST = {
	data: [
		claude("claude-opus-5-5", "active", null, null),
		claude("claude-opus-4-5", "deprecated", "2026-09-14T00:00:00Z", "2127-01-22T00:00:00Z"),
	],
	has_more: false,
	first_id: "claude-opus-5-5",
	last_id: "claude-opus-4-5",
};
const OPENROUTER_LIST = {
	data: [
		{ id: "z-ai/glm-4.7", name: "GLM 4.7", created: 1, context_length: 200_000, expiration_date: "2126-12-31" },
		{ id: "z-ai/glm-6", name: "GLM 6", created: 1, context_length: 200_000, expiration_date: null },
	],
};
const GEMINI_LIST = {
	models: [{ name: "models/gemini-2.5-flash-preview", supportedGenerationMethods: ["generateContent"] }],
};

const CHAT = hello(3, 2);
const MESSAGE = {
	id: "msg_1",
	type: "message",
	role: "assistant",
	model: "m",
	content: [{ type: "text", text: "hello" }],
	stop_reason: "end_turn",
	usage: { input_tokens: 3, output_tokens: 2 },
};
const chunk = (delta: object, finish_reason: string | null) =>
	`data: ${JSON.stringify({ ...CHAT, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
const STREAM = `${chunk({ role: "assistant", content: "hello" }, null)}${chunk({}, "stop")}data: [DONE]\n\n`;

/** All vendors, behind the proxy of the environment: their addresses are no local ones. */
const vendors = Bun.serve({
	hostname: "127.0.0.1",
	port: 0,
	async fetch(request) {
		const host = request.headers.get("host")!.replace(/:\d+$/, "");
		const { pathname } = new URL(request.url);
		asked.push(`${request.method} ${host}${pathname}`);
		if (request.method === "GET") return Response.json(LISTS[host], { status: LISTS[host] ? 200 : 404 });
		if (host === "claude.example") return Response.json(MESSAGE);
		const { stream } = (await request.json()) as { stream?: boolean };
		if (!stream) return Response.json(CHAT);
		return new Response(STREAM, {
			headers: { "content-type": "text/event-stream" },
		});
	},
});
const LISTS: Record<string, object> = {
	"openai.example": OPENAI_LIST,
	"claude.example": CLAUDE_LIST,
	"openrouter.example": OPENROUTER_LIST,
	"gemini.example": GEMINI_LIST,
};
const asked: string[] = [];

const ADMIN = "admin-key-of-the-test";
const CONFIG = {
	providers: {
		openai: { base_url: "http://openai.example/v1", api_keys: ["key-of-openai-1", "key-of-openai-2"] },
		anthropic: { base_url: "http://claude.example/v1", api_key: "key-of-anthropic" },
		openrouter: { base_url: "http://openrouter.example/api/v1", api_key: "key-of-openrouter" },
		gemini: { base_url: "http://gemini.example/v1beta", api_key: "key-of-google" },
	},
	models: [
		{ name: "fast", targets: ["openai/gpt-4o"] },
		{ name: "deep", targets: ["anthropic/claude-opus-4-5", "openai/gpt-6"] },
		{ name: "both", targets: ["anthropic/claude-opus-4-5"], fallback: ["openrouter/z-ai/glm-4.7"] },
		{ name: "new", targets: ["openai/gpt-6"] },
		{ name: "any-*", targets: ["openai/*"] },
		{ name: "google", targets: ["gemini/gemini-2.5-flash-preview"] },
		{ name: "mine", targets: ["dummy/dummy"] },
	],
	admin: { keys: [{ name: "ops", key: ADMIN }] },
};
const ENV = { HTTP_PROXY: `http://127.0.0.1:${vendors.port}` };
const SENTENCES = [
	"fast: openai/gpt-4o is retired by OpenAI on 2127-01-14",
	"deep: anthropic/claude-opus-4-5 is retired by Anthropic on 2127-01-22",
	"both: anthropic/claude-opus-4-5 is retired by Anthropic on 2127-01-22",
	"both: openrouter/z-ai/glm-4.7 is retired by OpenRouter on 2126-12-31",
	"google: gemini/gemini-2.5-flash-preview is deprecated at Google Gemini, which has not said when it ends",
];

describe.each([1, 2])("a router with %i workers", (workers) => {
	let router: RunningRouter;
	const chat = (model: string, more: object = {}) =>
		post(`${router.url}/v1/chat/completions`, { model, messages: [{ role: "user", content: "hi" }], ...more });
	const ends = async (model: string, more?: object) => {
		const { status, headers } = await chat(model, more);
		return [status, headers.get("sunset"), headers.get("deprecation")];
	};
	const GPT = [200, "Tue, 14 Jan 2127 00:00:00 GMT", null];
	beforeAll(async () => {
		router = await startRouter({ config: { ...CONFIG, server: { workers } }, env: ENV });
	}, 60_000);
	afterAll(() => router.stop());

	test("names each target that ends in its log, soon after its start, once", async () => {
		for (const sentence of SENTENCES) await router.printed(new RegExp(RegExp.escape(`models: ${sentence}`)));
		for (const sentence of SENTENCES) expect(router.output().split(`models: ${sentence}`).length).toBe(2);
		expect(router.output()).not.toContain("models: new:");
		expect(router.output()).not.toContain("models: mine:");
	}, 60_000);

	test("heads answers, whole and streamed, of whichever key, by when their model ends", async () => {
		// Each thread asks for itself.
		await until(async () => Bun.deepEquals(await ends("fast"), GPT), "the header");
		for (let call = 0; call < 4; call++) expect(await ends("fast")).toEqual(GPT);
		for (const model of ["openai/gpt-4o", "any-gpt-4o"]) expect(await ends(model)).toEqual(GPT);
		expect(await ends("fast", { stream: true })).toEqual(GPT);
		expect(await ends("both")).toEqual([200, "Wed, 22 Jan 2127 00:00:00 GMT", `@${at("2026-09-14")}`]);
		expect(await ends("new")).toEqual([200, null, null]);
		expect(await ends("dummy")).toEqual([200, null, null]);
	}, 60_000);

	test("lists them with their ends: a name ends with the last of its targets", async () => {
		const list = (await (await fetch(`${router.url}/v1/models`)).json()) as Loose;
		const byId = new Map((list["data"] as Loose[]).map((model) => [model["id"], model]));
		const end = { lifecycle: "deprecated", shutdown_date: "2127-01-14" };
		expect(byId.get("fast")).toMatchObject(end);
		expect(byId.get("gpt-4o")).toMatchObject(end);
		expect(byId.get("both")).toMatchObject({ shutdown_date: "2127-01-22", deprecated_at: "2026-09-14T00:00:00Z" });
		expect(byId.get("z-ai/glm-4.7") ?? byId.get("openrouter/z-ai/glm-4.7")).toMatchObject({
			shutdown_date: "2126-12-31",
		});
		for (const id of ["deep", "new", "gpt-6", "dummy"]) {
			expect(Object.keys(byId.get(id)!)).not.toContain("shutdown_date");
			expect(Object.keys(byId.get(id)!)).not.toContain("lifecycle");
		}
		const one = await fetch(`${router.url}/v1/models/claude-opus-4-5`, {
			headers: { "anthropic-version": "2023-06-01" },
		});
		expect(await one.json()).toMatchObject({
			lifecycle: "deprecated",
			deprecated_at: "2026-09-14T00:00:00Z",
			retires_at: "2127-01-22T00:00:00Z",
		});
	}, 60_000);

	test("has the day of each target in its metrics, as Unix time, and none where no day is known", async () => {
		const page = await (await fetch(`${router.url}/metrics`)).text();
		const lines = page.split("\n").filter((line) => line.startsWith("router_model_retirement_timestamp_seconds{"));
		expect(lines).toEqual([
			`router_model_retirement_timestamp_seconds{model="fast",target="openai/gpt-4o"} ${at("2127-01-14")}`,
			`router_model_retirement_timestamp_seconds{model="deep",target="anthropic/claude-opus-4-5"} ${at("2127-01-22")}`,
			`router_model_retirement_timestamp_seconds{model="both",target="anthropic/claude-opus-4-5"} ${at("2127-01-22")}`,
			`router_model_retirement_timestamp_seconds{model="both",target="openrouter/z-ai/glm-4.7"} ${at("2126-12-31")}`,
		]);
	}, 60_000);

	test("tells administrators which targets of its names end", async () => {
		const headers = { authorization: `Bearer ${ADMIN}` };
		const answer = await fetch(`${router.url}/admin/models/retiring`, { headers });
		expect((await fetch(`${router.url}/admin/models/retiring`)).status).toBe(401);
		const { data } = (await answer.json()) as { data: Loose[] };
		expect(data.map(({ text }) => text)).toEqual(SENTENCES);
		expect(data[1]).toEqual({
			name: "deep",
			target: "anthropic/claude-opus-4-5",
			text: SENTENCES[1],
			lifecycle: "deprecated",
			deprecated_at: "2026-09-14T00:00:00Z",
			shutdown_date: "2127-01-22",
		});
	}, 60_000);
});

describe("router check", () => {
	const check = async (env: Record<string, string>) => {
		using home = directory({ "router.yaml": JSON.stringify(CONFIG) });
		return await cli(["check", "--config", "router.yaml"], { cwd: home.path, env });
	};

	test("names them, asking the vendors that models: names", async () => {
		asked.length = 0;
		const { code, stdout } = await check(ENV);
		expect(code).toBe(0);
		expect(stdout).toContain(["", "Models that retire", ...SENTENCES.map((line) => `  ${line}`), ""].join("\n"));
		expect(asked.toSorted()).toEqual([
			"GET claude.example/v1/models",
			"GET gemini.example/v1beta/models",
			"GET openai.example/v1/models",
			"GET openrouter.example/api/v1/models",
		]);
	}, 60_000);

	test("is as good where no vendor can be asked, and says what is known without them", async () => {
		const { code, stdout } = await check({ HTTP_PROXY: "http://127.0.0.1:1" });
		expect(code).toBe(0);
		expect(stdout).toContain(`Models that retire\n  ${SENTENCES[4]}\n`);
		expect(stdout).toContain("The configuration is valid.");
	}, 60_000);
});

test("a vendor's address in one's own network is asked by nobody but its clients", async () => {
	asked.length = 0;
	const providers = { openai: { base_url: `http://127.0.0.1:${vendors.port}/v1`, api_key: "key-of-openai" } };
	const router = await startRouter({ config: { providers, models: [{ name: "fast", targets: ["openai/gpt-4o"] }] } });
	try {
		const call = { model: "fast", messages: [{ role: "user", content: "hi" }] };
		expect((await post(`${router.url}/v1/chat/completions`, call)).headers.get("sunset")).toBeNull();
		expect(asked).toEqual(["POST 127.0.0.1/v1/chat/completions"]);
		LISTS["127.0.0.1"] = OPENAI_LIST;
		await fetch(`${router.url}/v1/models`);
		const headed = await post(`${router.url}/v1/chat/completions`, call);
		expect(headed.headers.get("sunset")).toBe("Tue, 14 Jan 2127 00:00:00 GMT");
	} finally {
		await router.stop();
	}
}, 60_000);

afterAll(() => vendors.stop(true));
