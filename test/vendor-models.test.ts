/** `GET /v1/models` of Anthropic and Gemini: all pages, in OpenAI's shape, under names that lead there. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { listModels } from "../src/api/model-queries.ts";
import type { Json } from "./kit/exchange.ts";
import { pipeline } from "./kit/pipeline.ts";
import { CLAUDE_KEY, GEMINI_KEY, vendorsAt } from "./kit/vendor-rig.ts";

let asked: string[] = [];
let answer: (url: URL, headers: Headers) => Response;
const server = Bun.serve({
	port: 0,
	hostname: "127.0.0.1",
	fetch(request) {
		const url = new URL(request.url);
		asked.push(url.pathname + url.search);
		return answer(url, request.headers);
	},
});
beforeAll(() => {
	answer = vendors;
});
afterAll(() => server.stop(true));

const CLAUDES = [
	{ type: "model", id: "claude-opus-4-7", display_name: "Claude Opus 4.7", created_at: "2026-04-16T00:00:00Z" },
	{
		type: "model",
		id: "claude-haiku-4-5-20251001",
		display_name: "Claude Haiku 4.5",
		created_at: "2025-10-01T00:00:00Z",
	},
];
const GEMINIS = [
	{ name: "models/gemini-3-flash-preview", supportedGenerationMethods: ["generateContent", "countTokens"] },
	{ name: "models/gemini-embedding-001", supportedGenerationMethods: ["embedContent"] },
	{ name: "models/veo-3", supportedGenerationMethods: ["predictLongRunning"] },
	{ name: "models/gemini-2.5-pro" },
];

function vendors(url: URL, headers: Headers): Response {
	if (url.pathname === "/v1/models") {
		expect(headers.get("x-api-key")).toBe(CLAUDE_KEY);
		expect(headers.get("anthropic-version")).toBe("2023-06-01");
		const isFirst = url.searchParams.get("after_id") === null;
		const data = [CLAUDES[isFirst ? 0 : 1]];
		return Response.json({ data, has_more: isFirst, first_id: data[0]!.id, last_id: data[0]!.id });
	}
	expect(headers.get("x-goog-api-key")).toBe(GEMINI_KEY);
	expect(url.search).not.toContain(GEMINI_KEY);
	const isFirst = url.searchParams.get("pageToken") === null;
	return Response.json({
		models: isFirst ? GEMINIS.slice(0, 3) : GEMINIS.slice(3),
		...(isFirst ? { nextPageToken: "p/2=" } : {}),
	});
}

function router() {
	asked = [];
	const { context } = pipeline({
		env: vendorsAt(server.url.origin),
		config: { models: [{ name: "smart", targets: ["claude-opus-4-7"] }] },
	});
	return async () => (await listModels(context, new Request("http://localhost/v1/models"))).data as unknown as Json[];
}

test("every page is asked for, and each model has OpenAI's shape", async () => {
	answer = vendors;
	const models = await router()();
	expect(models).toEqual([
		{ id: "smart", object: "model", created: 0, owned_by: "router" },
		{ id: "dummy", object: "model", created: 0, owned_by: "router" },
		{ id: "claude-opus-4-7", object: "model", created: 1_776_297_600, owned_by: "anthropic" },
		{ id: "claude-haiku-4-5-20251001", object: "model", created: 1_759_276_800, owned_by: "anthropic" },
		{ id: "gemini-3-flash-preview", object: "model", created: 0, owned_by: "google" },
		{ id: "gemini-embedding-001", object: "model", created: 0, owned_by: "google" },
		{ id: "gemini-2.5-pro", object: "model", created: 0, owned_by: "google" },
	]);
	expect(asked.sort()).toEqual([
		"/v1/models?limit=1000",
		"/v1/models?limit=1000&after_id=claude-opus-4-7",
		"/v1beta/models?pageSize=1000",
		"/v1beta/models?pageSize=1000&pageToken=p%2F2%3D",
	]);
});

test("a second list is answered from what is known", async () => {
	answer = vendors;
	const list = router();
	await list();
	asked = [];
	expect((await list()).length).toBe(7);
	expect(asked).toEqual([]);
});

test("a vendor whose pages never end is asked for ten", async () => {
	answer = () =>
		Response.json({
			data: [{ id: "claude-x" }],
			has_more: true,
			last_id: "claude-x",
			models: [],
			nextPageToken: "more",
		});
	const ids = (await router()()).map(({ id }) => id);
	expect(ids).toEqual(["smart", "dummy", "claude-x"]);
	expect(asked.length).toBe(20);
});

test("an entry that is no model is passed over", async () => {
	answer = () =>
		Response.json({ data: [null, 1, { id: "claude-x" }], models: [null, "x", { name: "models/gemini-x" }] });
	expect((await router()()).map(({ id }) => id)).toEqual(["smart", "dummy", "claude-x", "gemini-x"]);
});

test.each([
	["nothing to be had", () => new Response("no", { status: 500 })],
	["no list", () => Response.json([])],
	["a list of something else", () => Response.json({ data: "x", models: {} })],
	[
		"a second page that fails",
		(url: URL) =>
			url.search.includes("after_id")
				? new Response("", { status: 500 })
				: Response.json({ data: [{ id: "a" }], has_more: true, last_id: "a" }),
	],
] as const)("with %s the configured names remain", async (_, answers) => {
	answer = answers as typeof answer;
	expect((await router()()).map(({ id }) => id)).toEqual(["smart", "dummy"]);
});
