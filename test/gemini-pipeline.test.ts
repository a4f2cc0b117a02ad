/** What the router does for a chat call it does for one of Google's API: keys, limits, models, cost, failover and resume. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Json, Loose } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, streams } from "./kit/faults.ts";
import { HELLO, HELLO_USAGE, helloChunk } from "./kit/hello-answer.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const one = startFaultUpstream();
const two = startFaultUpstream();
const ALL = "rk-of-all-models-1234";
const FEW = "rk-of-few-models-1234";
let router: RunningRouter;
beforeAll(async () => {
	router = await startRouter({
		config: {
			providers: { one: { type: "vllm", base_url: one.origin }, two: { type: "vllm", base_url: two.origin } },
			models: [{ name: "fast", policy: "order", targets: ["one/a", "two/b"] }],
			prices: { "one/a": { input: 1, output: 2 }, "two/b": { input: 1, output: 2 } },
			keys: [
				{ name: "all", key: ALL },
				{ name: "few", key: FEW, models: ["dummy"], rpm: 2 },
			],
			log: { level: "trace" },
		},
	});
});
afterAll(async () => {
	await router.stop();
	one.stop();
	two.stop();
});

const asking = (more: Json = {}) => ({ contents: [{ role: "user", parts: [{ text: "hi" }] }], ...more });
async function send(path: string, body: Json = asking(), key = ALL) {
	const answer = await fetch(router.url + path, {
		method: "POST",
		headers: { "content-type": "application/json", "x-goog-api-key": key },
		body: JSON.stringify(body),
	});
	const text = await answer.text();
	return { status: answer.status, headers: answer.headers, text, json: () => JSON.parse(text) as Loose };
}
const pathOf = (method: string, model = "fast") => `/v1beta/models/${model}:${method}`;
const errorOf = ({ status, text }: { status: number; text: string }) => [
	status,
	(JSON.parse(text) as Loose)["error"].status,
];

describe("is refused in Google's words", () => {
	test("a key that is none, for calls, counts and models", async () => {
		expect(errorOf(await send(pathOf("generateContent"), asking(), "rk-nobody"))).toEqual([401, "UNAUTHENTICATED"]);
		expect(errorOf(await send(pathOf("countTokens"), asking(), "rk-nobody"))).toEqual([401, "UNAUTHENTICATED"]);
		const models = await fetch(`${router.url}/v1beta/models`, { headers: { "x-goog-api-key": "rk-nobody" } });
		expect(errorOf({ status: models.status, text: await models.text() })).toEqual([401, "UNAUTHENTICATED"]);
	});

	test.each<[string, Json, Json]>([
		["contents[0].parts[0].executableCode.language", { executableCode: { language: { toString: 1 } } }, {}],
		["contents[0].parts[0].executableCode.code", { executableCode: { code: { toString: 1 } } }, {}],
		["contents[0].parts[0].codeExecutionResult.outcome", { codeExecutionResult: { outcome: { toString: 1 } } }, {}],
		["contents[0].parts[0].codeExecutionResult.output", { codeExecutionResult: { output: { toString: 1 } } }, {}],
		["generationConfig.responseModalities[0]", { text: "hi" }, { responseModalities: [{ toString: 1 }] }],
	])("%s that is no text", async (field, part, generationConfig) => {
		const contents = [{ role: "model", parts: [part] }];
		const answer = await send(pathOf("generateContent", "dummy"), { contents, generationConfig });
		expect(errorOf(answer)).toEqual([400, "INVALID_ARGUMENT"]);
		expect(answer.json()["error"].message).toStartWith(`The field "${field}" must be a string`);
	});

	test("a model that the key may not use, in calls, counts and vectors", async () => {
		for (const method of ["generateContent", "streamGenerateContent?alt=sse", "countTokens"]) {
			expect(errorOf(await send(pathOf(method), asking(), FEW))).toEqual([403, "PERMISSION_DENIED"]);
		}
		const content = { parts: [{ text: "hi" }] };
		expect(errorOf(await send(pathOf("embedContent"), { content }, FEW))).toEqual([403, "PERMISSION_DENIED"]);
	});

	test("paths, methods and addresses that there are not", async () => {
		const to = async (method: string, path: string) => {
			const answer = await fetch(router.url + path, { method, headers: { "x-goog-api-key": ALL } });
			return errorOf({ status: answer.status, text: await answer.text() });
		};
		expect(await to("POST", "/v1beta/cachedContents")).toEqual([404, "NOT_FOUND"]);
		expect(await to("DELETE", "/v1beta/models/fast")).toEqual([405, "UNIMPLEMENTED"]);
		expect(await to("GET", "/v1beta/models/nope")).toEqual([404, "NOT_FOUND"]);
		expect(await to("POST", `/v1beta/models/fast:generateContent?${"a".repeat(9000)}`)).toEqual([
			414,
			"INVALID_ARGUMENT",
		]);
	});

	test("a stream's list of an error is a list", async () => {
		const { status, json } = await send(pathOf("streamGenerateContent", "nope"));
		expect([status, (json() as unknown as Loose[])[0]!["error"].status]).toEqual([404, "NOT_FOUND"]);
	});

	test("bytes that are no UTF-8", async () => {
		const [before, behind] = ['{"contents":[{"parts":[{"text":"', '"}]}]}'];
		for (const wrong of [[0xff, 0xfe], [0xc3], [0xed, 0xa0, 0x80]]) {
			const answer = await fetch(router.url + pathOf("generateContent", "dummy"), {
				method: "POST",
				headers: { "content-type": "application/json", "x-goog-api-key": ALL },
				body: Buffer.concat([Buffer.from(before), Uint8Array.from(wrong), Buffer.from(behind)]),
			});
			const { error } = (await answer.json()) as Loose;
			expect([answer.status, error.status, error.message]).toEqual([
				400,
				"INVALID_ARGUMENT",
				expect.stringContaining("UTF-8"),
			]);
		}
	});

	test("a field that an upstream minds, by the name that its client has written", async () => {
		const message = 'The field "max_completion_tokens" must be 1 or more.';
		one.run(answers("400 Bad Request", JSON.stringify({ error: { message, param: "max_completion_tokens" } })));
		const { status, json } = await send(pathOf("generateContent", "one/a"), asking({ labels: { field: "x" } }));
		expect([status, json()["error"].message]).toEqual([
			400,
			expect.stringContaining('"generationConfig.maxOutputTokens" must be 1 or more'),
		]);
	});

	test("calls beyond the key's limit, with how long to wait", async () => {
		let last = await send(pathOf("generateContent", "dummy"), asking(), FEW);
		for (let call = 0; call < 3 && last.status === 200; call++) {
			last = await send(pathOf("generateContent", "dummy"), asking(), FEW);
		}
		expect(errorOf(last)).toEqual([429, "RESOURCE_EXHAUSTED"]);
		const retry = (last.json()["error"].details as Loose[]).find((each) => each["@type"].endsWith("RetryInfo"));
		expect(retry!["retryDelay"]).toBe(`${last.headers.get("retry-after")}s`);
	});
});

test("models are those that the key may use, in pages", async () => {
	const list = async (query: string, key = ALL) => {
		const answer = await fetch(`${router.url}/v1beta/models${query}`, { headers: { "x-goog-api-key": key } });
		return (await answer.json()) as Loose;
	};
	expect(((await list("", FEW))["models"] as Loose[]).map(({ name }) => name)).toEqual(["models/dummy"]);
	const names = ((await list("?pageSize=1000"))["models"] as Loose[]).map(({ name }) => name);
	const seen: string[] = [];
	let query = "?pageSize=1";
	for (let page = 0; page < names.length; page++) {
		const { models, nextPageToken } = await list(query);
		seen.push(...(models as Loose[]).map(({ name }) => name));
		expect(nextPageToken === undefined).toBe(page === names.length - 1);
		query = `?pageSize=1&pageToken=${nextPageToken}`;
	}
	expect(seen).toEqual(names);
	expect((await list("?pageSize=x"))["error"].status).toBe("INVALID_ARGUMENT");
});

test("tokens are counted without a call, of contents or of a whole request", async () => {
	one.run(answers("500 Internal Server Error", ""));
	const count = async (body: Json) => {
		const answer = await send(pathOf("countTokens"), body);
		expect([answer.status, answer.headers.get("x-router-estimated")]).toEqual([200, "true"]);
		return answer.json()["totalTokens"] as number;
	};
	const short = await count(asking());
	expect(short).toBeGreaterThan(0);
	const generateContentRequest = asking({ systemInstruction: { parts: [{ text: "word ".repeat(400) }] } });
	expect(await count({ generateContentRequest })).toBeGreaterThan(short + 200);
	expect([...new Set(one.received.map(({ path }) => path))]).toEqual(["/tokenize"]);
	expect(errorOf(await send(pathOf("countTokens"), {}))).toEqual([400, "INVALID_ARGUMENT"]);
});

test("a call costs what it costs, and says so in its usage", async () => {
	one.run(answers("200 OK", HELLO));
	const whole = await send(pathOf("generateContent"));
	expect(whole.headers.get("x-router-cost-usd")).toBe("0.002");
	expect(whole.json()["usageMetadata"]).toEqual({
		promptTokenCount: 1000,
		candidatesTokenCount: 500,
		totalTokenCount: 1500,
		cost: 0.002,
	});
	one.run(streams([helloChunk({ content: "Hello" }), helloChunk({}, "stop"), HELLO_USAGE, "data: [DONE]\n\n"]));
	const streamed = await send(pathOf("streamGenerateContent?alt=sse"));
	expect(streamed.text).toContain('"totalTokenCount":1500,"cost":0.002}');
	// Google's own clients in Go and Python take a comment for a broken event.
	expect(streamed.text).not.toMatch(/^:/m);
});

test("a call that one target refuses for the time being goes to the next", async () => {
	one.run(answers("503 Service Unavailable", "{}"));
	two.run(answers("200 OK", HELLO));
	const failover = asking({ systemInstruction: { parts: [{ text: "failover" }] } });
	const { status, headers } = await send(pathOf("generateContent"), failover);
	expect([status, headers.get("x-router-provider")]).toEqual([200, "two"]);
});

test("a stream that breaks goes on at another target, as one answer", async () => {
	one.run(async (connection) => {
		const beginning = [
			helloChunk({ role: "assistant", content: "" }),
			helloChunk({ content: "Hello " }),
			helloChunk({ content: "wor" }),
		];
		await begins(beginning)(connection);
		await Bun.sleep(50);
		connection.destroy();
	});
	two.run((connection) => {
		const { messages } = JSON.parse(connection.request.body) as Loose;
		expect(messages.at(-1)).toEqual({ role: "assistant", content: "Hello wor" });
		const rest = [
			helloChunk({ role: "assistant", content: "" }),
			helloChunk({ content: "ld." }),
			helloChunk({}, "stop"),
			HELLO_USAGE,
		];
		return streams([...rest, "data: [DONE]\n\n"])(connection);
	});
	const resumed = asking({ systemInstruction: { parts: [{ text: "resume" }] } });
	const pieces = (await send(pathOf("streamGenerateContent"), resumed)).json() as unknown as Loose[];
	expect(pieces.map((each) => each["candidates"][0].content.parts[0].text).join("")).toBe("Hello world.");
	expect(pieces.at(-1)!["candidates"][0].finishReason).toBe("STOP");
	expect(two.errors).toEqual([]);
});

/** The text of all files below a directory. */
function textsIn(directory: string): string {
	return readdirSync(directory, { recursive: true, withFileTypes: true })
		.filter((entry) => entry.isFile())
		.map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1"))
		.join("\n");
}

test("a key in a URL lets its call in, and reaches no log, no ledger and no answer", async () => {
	const secret = "rk-that-nobody-may-ever-read";
	const keyed = await startRouter({
		config: {
			providers: { one: { type: "vllm", base_url: one.origin } },
			keys: [{ name: "k", key: secret }],
			log: { level: "trace" },
		},
	});
	try {
		one.run(answers("200 OK", HELLO));
		const post = (path: string, body = JSON.stringify(asking())) =>
			fetch(keyed.url + path, { method: "POST", headers: { "content-type": "application/json" }, body });
		const key = `key=${secret}`;
		const found = [
			await post(`/v1beta/models/one/a:generateContent?${key}`),
			await post(`/v1beta/models/one/a:streamGenerateContent?alt=sse&${key}`),
			await post(`/v1/models/one/a:countTokens?${key}`),
			await fetch(`${keyed.url}/v1beta/models?${key}`),
			await fetch(`${keyed.url}/v1/models/dummy?${key}`),
			await post(`/v1beta/models/one/a:generateContent?${key}`, "no JSON"),
			await post(`/v1beta/models/nope:generateContent?${key}`),
			await post(`/v1beta/models/one/a:predict?${key}`),
			await post(`/v1beta/nothing?${key}`),
			await post(`/v1beta/models/one/a:generateContent?${key}x`),
			await post(`/v1beta/models/one/a:generateContent?${key}&${"a".repeat(9000)}`),
		];
		expect(found.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 400, 404, 404, 404, 401, 414]);
		for (const answer of found) {
			expect(await answer.text()).not.toContain(secret);
			expect(JSON.stringify([...answer.headers])).not.toContain(secret);
		}
		await keyed.idle();
		expect(one.received.every(({ headers, path }) => !`${path}${JSON.stringify([...headers])}`.includes(secret))).toBe(
			true,
		);
		expect(
			keyed.output() + textsIn(join(keyed.directory, "logs")) + textsIn(join(keyed.directory, "data")),
		).not.toContain(secret);
	} finally {
		await keyed.stop();
	}
});
