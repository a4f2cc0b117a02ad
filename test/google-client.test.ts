/** The official `@google/genai`, unmodified but for `baseUrl`, reads every upstream's answers and errors through the router. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { ApiError, type GenerateContentResponse, type GoogleGenAI } from "@google/genai";
import { dialect, upstreamsAt } from "./kit/dialects.ts";
import { BROKEN_STREAMS, REFUSALS } from "./kit/error-fixtures.ts";
import type { ExchangeResponse, Json, Loose } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { cutsAfter } from "./kit/faults.ts";
import { askedContents, googleClient } from "./kit/google-client.ts";
import type { Replay } from "./kit/replay.ts";
import { REPLAYED, type ReplayedRouter, startReplayedRouter } from "./kit/replayed-upstreams.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { SCENARIO_NAMES, type ScenarioName, scenario } from "./kit/scenarios.ts";

let started: ReplayedRouter;
let replay: Replay;
let router: RunningRouter;
let client: GoogleGenAI;
beforeAll(async () => {
	started = await startReplayedRouter();
	({ replay, router } = started);
	client = googleClient(router.url);
});
afterAll(() => started.stop());

/** Google's word for a status. */
const STATUSES: Readonly<Record<number, string>> = {
	400: "INVALID_ARGUMENT",
	401: "UNAUTHENTICATED",
	404: "NOT_FOUND",
	410: "INVALID_ARGUMENT",
	422: "INVALID_ARGUMENT",
	429: "RESOURCE_EXHAUSTED",
	502: "UNAVAILABLE",
	503: "UNAVAILABLE",
	504: "DEADLINE_EXCEEDED",
};

/** What the promise rejects with, and the error in the answer; fails when it is no error of the API. */
async function rejection(promise: PromiseLike<unknown>): Promise<{ status: number; error: Loose }> {
	try {
		await promise;
	} catch (error) {
		if (!(error instanceof ApiError)) throw error;
		const [, json] = /(\{.*\})/s.exec(error.message) ?? [];
		return { status: error.status, error: (JSON.parse(json!) as Loose)["error"] };
	}
	throw new Error("the call succeeded");
}

const hello = (model: string) => askedContents(model, "text");
const streamed = async (model: string) => Array.fromAsync(await client.models.generateContentStream(hello(model)));

describe.each([...new Set(REFUSALS.map(({ provider }) => provider))])("%s refuses", (name) => {
	const refusals = REFUSALS.filter(({ provider }) => provider === name);
	const { model } = dialect(name);

	test.each(refusals.map((row) => [row.name, row] as const))("%s", async (_, refusal) => {
		for (const call of [() => client.models.generateContent(hello(model)), () => streamed(model)]) {
			replay.play(refusal.response);
			const { status, error } = await rejection(call());
			expect([status, error["code"], error["status"]]).toEqual([
				refusal.status,
				refusal.status,
				STATUSES[refusal.status],
			]);
		}
	});
});

test.each(BROKEN_STREAMS.map((row) => [row.name, row] as const))(
	"a stream that breaks throws: %s",
	async (_, broken) => {
		const seen = Promise.withResolvers<void>();
		const response = { status: 200, headers: { "content-type": "text/event-stream" }, sse: broken.sse };
		replay.play(response, { before: '"error"', until: seen.promise });
		const stream = await client.models.generateContentStream(hello(dialect(broken.provider).model));
		const { error } = await rejection(Array.fromAsync(stream, () => seen.resolve()));
		expect(error["message"]).toContain(broken.message);
	},
);

test("an upstream that breaks off inside the stream: the client throws", async () => {
	const faults = startFaultUpstream();
	const broken = await startRouter(upstreamsAt(faults.origin));
	try {
		faults.run(cutsAfter(2));
		const stream = await googleClient(broken.url).models.generateContentStream(hello("local/qwen3-8b"));
		const { error } = await rejection(Array.fromAsync(stream));
		expect(error).toMatchObject({ code: 502, status: "UNAVAILABLE" });
	} finally {
		await broken.stop();
		faults.stop();
	}
});

describe("keys", () => {
	test("as x-goog-api-key, in the URL and as a bearer; a wrong one is refused", async () => {
		const key = "rk-the-only-right-key";
		const guarded = await startRouter({ env: { ROUTER_API_KEYS: key } });
		try {
			const { status, error } = await rejection(
				googleClient(guarded.url, "rk-another").models.generateContent(hello("dummy")),
			);
			expect([status, error["status"]]).toEqual([401, "UNAUTHENTICATED"]);
			expect((await googleClient(guarded.url, key).models.generateContent(hello("dummy"))).text).toBeString();
			const path = `${guarded.url}/v1beta/models/dummy:generateContent`;
			const ask = (url: string, headers: Record<string, string> = {}) =>
				fetch(url, {
					method: "POST",
					headers: { "content-type": "application/json", ...headers },
					body: JSON.stringify({ contents: [{ parts: [{ text: "hi" }] }] }),
				});
			expect((await ask(`${path}?key=${key}`)).status).toBe(200);
			expect((await ask(path, { authorization: `Bearer ${key}` })).status).toBe(200);
			expect((await ask(`${path}?key=wrong`)).status).toBe(401);
			expect((await fetch(`${guarded.url}/v1beta/models?key=${key}`)).status).toBe(200);
			expect((await ask(`${guarded.url}/v1beta/models/x:nothing?key=${key}`)).status).toBe(404);
		} finally {
			await guarded.stop();
		}
	});
});

describe("models", () => {
	test("are listed in pages, and told one by one", async () => {
		const names: (string | undefined)[] = [];
		for await (const { name } of await client.models.list({ config: { pageSize: 2 } })) names.push(name);
		expect(names).toContain("models/dummy");
		expect(new Set(names).size).toBe(names.length);
		expect(await client.models.get({ model: "dummy" })).toMatchObject({ name: "models/dummy" });
	});

	test("have their tokens counted", async () => {
		const { totalTokens } = await client.models.countTokens({ model: "dummy", contents: "Grüße" });
		expect(totalTokens).toBeGreaterThan(0);
	});
});

test("vectors", async () => {
	const data = [
		{ object: "embedding", index: 0, embedding: [0.5, 0.25] },
		{ object: "embedding", index: 1, embedding: [1, 2] },
	];
	const body = { object: "list", data, model: "m", usage: { prompt_tokens: 2, total_tokens: 2 } };
	replay.play({ status: 200, headers: { "content-type": "application/json" }, body } as ExchangeResponse);
	const { embeddings } = await client.models.embedContent({
		model: dialect("openai").model,
		contents: ["a", "b"],
		config: { outputDimensionality: 2 },
	});
	expect(embeddings?.map(({ values }) => values)).toEqual([
		[0.5, 0.25],
		[1, 2],
	]);
});

describe.each(REPLAYED.map((row) => [row.name, row] as const))("%s", (name, { model, answersAs, answer }) => {
	function expected(asked: ScenarioName) {
		const { content, refusal, reasoning, toolCalls, finish } = scenario(asked).said;
		// Gemini says that it stopped, not why in words.
		const words = refusal === undefined ? content : name === "gemini" ? null : refusal;
		const finishes = { stop: "STOP", length: "MAX_TOKENS", tool_calls: "STOP", content_filter: "SAFETY" };
		return {
			thoughts: reasoning ?? "",
			text: words ?? "",
			calls: (toolCalls ?? []).map(({ id, name: fn, arguments: text }) => [id, fn, JSON.parse(text) as Json]),
			finish: refusal === undefined ? finishes[finish] : "SAFETY",
		};
	}
	function seen(responses: readonly GenerateContentResponse[]) {
		const candidates = responses.flatMap((each) => each.candidates ?? []);
		const parts = candidates.flatMap(({ content }) => content?.parts ?? []);
		const joined = (isThought: boolean) =>
			parts.map(({ text, thought }) => (Boolean(thought) === isThought ? (text ?? "") : "")).join("");
		return {
			thoughts: joined(true),
			text: joined(false),
			calls: parts.flatMap(({ functionCall: call }) => (call ? [[call.id, call.name, call.args]] : [])),
			finish: candidates.at(-1)?.finishReason as string,
		};
	}
	const counted = (asked: ScenarioName) => ({
		promptTokenCount: 11,
		candidatesTokenCount: 7,
		cachedContentTokenCount: 4,
		...(scenario(asked).said.reasoning ? { thoughtsTokenCount: 30 } : {}),
	});

	test.each(SCENARIO_NAMES)("%s", async (asked) => {
		replay.play(answer(asked, false));
		const response = await client.models.generateContent(askedContents(model, asked));
		expect(seen([response])).toEqual(expected(asked));
		expect(response.usageMetadata as unknown).toMatchObject(counted(asked));
		expect(response.modelVersion).toBe(answersAs);
		expect(response.responseId).toBeString();
	});

	test.each(SCENARIO_NAMES)("%s, streamed and added up", async (asked) => {
		replay.play(answer(asked, true), "event");
		const responses = await Array.fromAsync(await client.models.generateContentStream(askedContents(model, asked)));
		expect(seen(responses)).toEqual(expected(asked));
		expect(responses.at(-1)!.usageMetadata as unknown).toMatchObject(counted(asked));
		expect(responses.at(-1)!.candidates?.[0]?.finishReason).toBeString();
		expect(responses.at(-1)!.modelVersion).toBe(answersAs);
	});

	// What Gemini sends comes as it came: its fixture ends without a part, and a chat of the client's keeps no such answer.
	const kept = name === "gemini" ? "" : scenario("text").said.content!;
	test(`a chat of the client's keeps ${kept ? "what was streamed" : "nothing of a stream that ends without a part"}`, async () => {
		replay.play(answer("text", true), "event");
		const chat = client.chats.create({ model });
		await Array.fromAsync(await chat.sendMessageStream({ message: "Grüße! 你好 🙂" }));
		const parts = chat.getHistory(true).flatMap(({ role, parts: all }) => (role === "model" ? (all ?? []) : []));
		expect(parts.map(({ text }) => text ?? "").join("")).toBe(kept);
	});

	test("a stream is passed on piece by piece, not gathered", async () => {
		const gate = Promise.withResolvers<void>();
		replay.play(answer("text", true), { before: "line.", until: gate.promise });
		let text = "";
		for await (const response of await client.models.generateContentStream(hello(model))) {
			text += response.text ?? "";
			if (text.includes("🙂")) gate.resolve();
		}
		expect(text).toBe(scenario("text").said.content!);
	});
});
