/** Requests of Google's, Ollama's and Anthropic's clients that are odd: answered, or refused in words that their writer understands. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { apiRoutes } from "../src/api/routes.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { streams } from "./kit/faults.ts";
import { hello } from "./kit/messages.ts";
import { pipeline } from "./kit/pipeline.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());
let app: ReturnType<typeof apiRoutes>;
beforeEach(() => {
	app = apiRoutes(pipeline({ config: { providers: { box: { type: "vllm", base_url: upstream.origin } } } }).context);
	upstream.run(hello);
});

const answerTo = (path: string, body: Json) =>
	app.handle(
		new Request(`http://localhost${path}`, {
			method: "POST",
			headers: { host: "localhost", "content-type": "application/json" },
			body: JSON.stringify(body),
		}),
	);
const post = async (path: string, body: Json) => (await answerTo(path, body)).text();
async function send(path: string, body: Json) {
	const answer = await answerTo(path, body);
	return { status: answer.status, headers: answer.headers, json: (await answer.json()) as Loose };
}
const asked = () => JSON.parse(upstream.received.at(-1)!.body) as Loose;

const hi = [{ role: "user", content: "hi" }];
const contents = [{ role: "user", parts: [{ text: "hi" }] }];
const GOOGLES = "/v1beta/models/box/m:generateContent";
const STREAM = "/v1beta/models/box/m:streamGenerateContent?alt=sse";
/** Requests of each wire that holds what it is given besides. */
const WIRES: readonly (readonly [path: string, body: Json])[] = [
	["/v1/messages", { model: "box/m", max_tokens: 5, messages: hi }],
	["/v1/responses", { model: "box/m", input: "hi", store: false, seed: 1 }],
	[GOOGLES, { contents }],
];

describe.each(WIRES)("%s: names of fields that are left out", (path, body) => {
	test("with line ends and of other alphabets break no answer", async () => {
		const { status, headers } = await send(path, { ...body, "odd\r\nset-cookie: a=b": 1, 天気: 2, häßlich: 3 });
		expect(status).toBe(200);
		expect(headers.get("set-cookie")).toBeNull();
		expect(headers.get("x-router-dropped")).toMatch(/^[\w.:, -]+$/);
	});

	test("are told up to a number that clients can read", async () => {
		const more = Object.fromEntries(Array.from({ length: 3000 }, (_, at) => [`field_${at}`, at]));
		const { status, headers } = await send(path, { ...body, ...more });
		expect(status).toBe(200);
		expect(headers.get("x-router-dropped")!.length).toBeLessThan(8192);
		expect(headers.get("x-router-dropped")).toMatch(/field_?0, field_?1/);
	});
});

describe("Google's", () => {
	test.each(["assistant", "system", "MODEL"])("the role %s is refused: its words would be the user's", async (role) => {
		const { status, json } = await send(GOOGLES, { contents: [{ role, parts: [{ text: "x" }] }] });
		expect([status, json["error"].message]).toEqual([
			400,
			'The field "contents[0].role" must be "user" or "model"; it is a string.',
		]);
	});

	test("a field in both spellings is refused, at any level: nobody knows which one holds", async () => {
		const generationConfig = { top_k: 1, topK: 2 };
		for (const body of [
			{ contents, generationConfig },
			{ contents, generationConfig: {}, generation_config: {} },
		]) {
			const { status, json } = await send(GOOGLES, body);
			expect([status, json["error"].details[0].reason]).toEqual([400, "DUPLICATE_KEY"]);
		}
	});

	test.each([
		["any", "required"],
		["none", "none"],
		["auto", undefined],
	])("the mode %s may be in small letters", async (mode, choice) => {
		const tools = [{ functionDeclarations: [{ name: "f" }] }];
		await send(GOOGLES, { contents, tools, toolConfig: { functionCallingConfig: { mode } } });
		expect(asked()["tool_choice"]).toBe(choice as never);
	});

	test("content without text is named as it stands in the request", async () => {
		const content = { parts: [] };
		const one = await send("/v1beta/models/box/m:embedContent", { content });
		expect(one.json["error"].message).toContain('"content.parts"');
		const many = await send("/v1beta/models/box/m:batchEmbedContents", { requests: [{ content }] });
		expect(many.json["error"].message).toContain('"requests[0].content.parts"');
	});

	test("events stand on one line each for clients that take other characters for its end, as Python's do", async () => {
		const delta = { role: "assistant", content: "a\u2028b\u2029c\u0085d" };
		const chunk = { id: "1", object: "chat.completion.chunk", created: 1, model: "m" };
		const said = JSON.stringify({ ...chunk, choices: [{ index: 0, delta, finish_reason: "stop" }] });
		upstream.run(streams([`data: ${said}\n\n`, "data: [DONE]\n\n"]));
		const text = await post(STREAM, { contents });
		expect(text).not.toMatch(/[\u0085\u2028\u2029]/);
		const events = text.split("\n").filter((line) => line.startsWith("data: "));
		const [first] = events.map((line) => JSON.parse(line.slice(6)) as Loose);
		expect(first!["candidates"][0].content.parts[0].text).toBe(delta.content);
	});

	test("calls without an id get none that another one has", async () => {
		const calls = [{ functionCall: { name: "a" } }, { functionCall: { id: "call_0", name: "b" } }];
		const results = [
			{ functionResponse: { name: "a", response: { output: "A" } } },
			{ functionResponse: { id: "call_0", name: "b", response: { output: "B" } } },
		];
		await send(GOOGLES, { contents: [...contents, { role: "model", parts: calls }, { role: "user", parts: results }] });
		expectPaired();
	});
});

describe("Ollama's", () => {
	const chat = (more: Json) => send("/api/chat", { model: "box/m", messages: hi, stream: false, ...more });

	test("calls without an id get none that another one has", async () => {
		const tool_calls = [{ function: { name: "a" } }, { id: "call_0", function: { name: "b" } }];
		const results = [
			{ role: "tool", tool_name: "a", content: "A" },
			{ role: "tool", tool_call_id: "call_0", content: "B" },
		];
		await chat({ messages: [...hi, { role: "assistant", tool_calls }, ...results] });
		expectPaired();
	});

	test("tools may have any name, and get names that every server takes", async () => {
		await chat({
			tools: [{ function: { name: "天気" } }, { function: { name: "a.b" } }, { function: { name: "a_b" } }],
		});
		const names = (asked()["tools"] as Loose[]).map((tool) => tool["function"].name as string);
		for (const name of names) expect(name).toMatch(/^[\w-]{1,64}$/);
		expect(new Set(names).size).toBe(3);
	});

	test("pictures that the model has shown are left out, and named", async () => {
		const { headers } = await chat({ messages: [...hi, { role: "assistant", content: "x", images: ["aaaa"] }, ...hi] });
		expect(headers.get("x-router-dropped")).toBe("messages.images");
	});
});

/** Each of the two calls has an id of its own, and its result the same. */
function expectPaired(): void {
	const messages = asked()["messages"] as Loose[];
	const [a, b] = messages[1]!["tool_calls"] as Loose[];
	expect(a!["id"]).not.toBe(b!["id"]);
	expect(messages.slice(2).map(({ tool_call_id, content }) => [tool_call_id, content])).toEqual([
		[a!["id"], "A"],
		[b!["id"], "B"],
	]);
}
