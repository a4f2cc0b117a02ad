/** Google's Gemini API in front of models of every wire: requests, whole answers, streams in both forms, errors. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { callHandlers } from "../src/api/routes.ts";
import { type ClientRequest, clientRequests } from "./kit/client-recordings.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { answers, cutsAfter, streams } from "./kit/faults.ts";
import { hello, MODELS, messagesRig } from "./kit/messages.ts";

const rig = messagesRig();
afterAll(() => rig.stop());
beforeEach(() => {
	rig.restart();
	rig.upstream.run(hello);
});

const user = (...parts: readonly Json[]) => ({ role: "user", parts });
const model = (...parts: readonly Json[]) => ({ role: "model", parts });
const asking = (more: Json = {}) => ({ contents: [user({ text: "hi" })], ...more });
const pathOf = (name: string, method = "generateContent", version = "/v1beta") => `${version}/models/${name}:${method}`;
const generate = (body: Json, name: string = MODELS.openai, headers: Record<string, string> = {}) =>
	rig.send(body, headers, pathOf(name));
const eventsOf = (text: string) =>
	text
		.split("\n\n")
		.filter((event) => event.trim() !== "")
		.map((event) => JSON.parse(event.replace(/^data: /, "")) as Loose);

describe("is refused in Google's words", () => {
	test.each([
		["no JSON", "hi", "The body is no valid JSON."],
		["no contents", {}, 'The field "contents" is missing.'],
		["a list where a text belongs", asking({ contents: [user({ text: [] })] }), "contents[0].parts[0].text"],
		["a file without bytes", asking({ contents: [user({ inlineData: { mimeType: "image/png" } })] }), "inlineData"],
		[
			"a result of no call",
			asking({ contents: [user({ functionResponse: { name: "f", response: {} } })] }),
			'The field "contents[0].parts[0].functionResponse" is the result of no call before it.',
		],
	] as [string, Json | string, string][])("%s", async (_, body, message) => {
		const { status, json } = await rig.send(body, {}, pathOf(MODELS.openai));
		expect([status, json["error"].code, json["error"].status]).toEqual([400, 400, "INVALID_ARGUMENT"]);
		expect(json["error"].message).toContain(message);
		expect(rig.upstream.received).toEqual([]);
	});

	test("a model that nobody serves, and a method that there is none of", async () => {
		const unknown = await generate(asking(), "nobody");
		expect([unknown.status, unknown.json["error"].status]).toEqual([404, "NOT_FOUND"]);
		const method = await rig.send(asking(), {}, pathOf(MODELS.openai, "predict"));
		expect([method.status, method.json["error"].status]).toEqual([404, "NOT_FOUND"]);
	});
});

describe.each(Object.entries(MODELS))("for a model of the wire %s", (_, name) => {
	test.each(["/v1beta", "/v1", ""])("answers whole under %p", async (version) => {
		const { status, json, text } = await rig.send(asking(), {}, pathOf(name, "generateContent", version));
		expect([status, status === 200 ? "" : text]).toEqual([200, ""]);
		expect(json["candidates"]).toEqual([
			{ content: { parts: [{ text: "Hello" }], role: "model" }, finishReason: "STOP", index: 0 },
		]);
		expect(json["usageMetadata"]).toMatchObject({ promptTokenCount: 3, candidatesTokenCount: 2, totalTokenCount: 5 });
	});

	test("answers where the name stands without models/, as the AI SDK writes those with a slash", async () => {
		const { status, json } = await rig.send(asking(), {}, `/v1beta/${name}:generateContent`);
		expect([status, json["candidates"]?.[0].content.parts]).toEqual([200, [{ text: "Hello" }]]);
	});

	test("streams events, the last of which has the finish reason and the counts", async () => {
		const { headers, text } = await rig.send(asking(), {}, `${pathOf(name, "streamGenerateContent")}?alt=sse`);
		expect(headers.get("content-type")).toBe("text/event-stream");
		const events = eventsOf(text);
		expect(events.map((each) => each["candidates"][0].content.parts[0].text).join("")).toBe("Hello");
		expect(events.slice(0, -1).every((each) => each["candidates"][0].finishReason === undefined)).toBe(true);
		expect(events.at(-1)!["candidates"][0].finishReason).toBe("STOP");
		expect(events.at(-1)!["usageMetadata"]).toMatchObject({ promptTokenCount: 3, candidatesTokenCount: 2 });
	});

	test("streams one list without alt=sse", async () => {
		const { headers, json } = await rig.send(asking(), {}, pathOf(name, "streamGenerateContent"));
		expect(headers.get("content-type")).toStartWith("application/json");
		const pieces = json as unknown as Loose[];
		expect(pieces.map((each) => each["candidates"][0].content.parts[0].text).join("")).toBe("Hello");
	});

	test("counts tokens", async () => {
		rig.upstream.run(answers("500 Internal Server Error", "{}"));
		const { status, json, headers } = await rig.send(asking(), {}, pathOf(name, "countTokens"));
		expect(status).toBe(200);
		expect(json["totalTokens"]).toBeGreaterThan(0);
		expect(headers.get("x-router-estimated")).toBe("true");
	});
});

test("a stream that breaks ends in an error, in both forms", async () => {
	for (const query of ["?alt=sse", ""]) {
		rig.upstream.run(cutsAfter(2));
		const { text } = await rig.send(asking(), {}, pathOf(MODELS.openai, "streamGenerateContent") + query);
		const pieces = query === "" ? (JSON.parse(text) as Loose[]) : eventsOf(text);
		expect(pieces.at(-1)!["error"].status).toBe("UNAVAILABLE");
		expect(pieces.at(-1)!["error"].code).toBe(502);
	}
});

test("a request in both spellings reaches an upstream in OpenAI's words", async () => {
	const tools = [
		{
			function_declarations: [
				{ name: "f.g", parameters: { type: "OBJECT", properties: { a_b: { type: "STRING", nullable: true } } } },
				{ name: "h", parameters_json_schema: { type: "object", properties: { c_d: { type: "string" } } } },
			],
		},
		{ google_search: {} },
	];
	const { status, text, headers } = await generate({
		system_instruction: { parts: { text: "Be short." } },
		contents: [
			user({ text: "a" }, { inline_data: { mime_type: "image/png", data: "AAAA" } }),
			model(
				{ text: "t", thought: true },
				{ function_call: { name: "f.g", args: { a_b: 12 } }, thought_signature: "c2ln" },
			),
			user({ function_response: { name: "f.g", response: { output: "done" } } }),
		],
		tools,
		tool_config: { function_calling_config: { mode: "ANY", allowed_function_names: ["f.g"] } },
		generation_config: {
			temperature: 0.5,
			max_output_tokens: 100,
			stop_sequences: ["x"],
			thinking_config: { thinking_budget: 8192, include_thoughts: true },
			response_mime_type: "application/json",
			response_schema: { type: "OBJECT", properties: { n: { type: "INTEGER" } }, propertyOrdering: ["n"] },
		},
		safety_settings: [{ category: "HARM_CATEGORY_HARASSMENT", threshold: "BLOCK_NONE" }],
	});
	expect([status, status === 200 ? "" : text]).toEqual([200, ""]);
	expect(headers.get("x-router-dropped")).toBe("safetySettings, tools.googleSearch");
	const asked = rig.asked();
	const name = asked["tools"][0].function.name as string;
	expect(name).toMatch(/^f_g_[0-9a-f]{8}$/);
	expect(asked).toMatchObject({
		model: "m",
		messages: [
			{ role: "system", content: "Be short." },
			{
				role: "user",
				content: [
					{ type: "text", text: "a" },
					{ type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
				],
			},
			{
				role: "assistant",
				content: null,
				tool_calls: [{ id: "call_0", type: "function", function: { name, arguments: '{"a_b":12}' } }],
			},
			{ role: "tool", tool_call_id: "call_0", content: "done" },
		],
		temperature: 0.5,
		max_completion_tokens: 100,
		stop: ["x"],
		reasoning_effort: "medium",
		tool_choice: { type: "function", function: { name } },
	});
	expect(asked["tools"]).toHaveLength(1);
	expect(asked["tools"][0].function.parameters).toEqual({
		type: "object",
		properties: { a_b: { type: ["string", "null"] } },
	});
	expect(asked["response_format"].json_schema.schema).toEqual({
		type: "object",
		properties: { n: { type: "integer" } },
	});
	expect(JSON.stringify(asked)).not.toContain("c2ln");
});

test("what Google signed goes back to it, with its own tools and settings", async () => {
	await generate(
		{
			contents: [
				user({ text: "a" }),
				model({ functionCall: { name: "f", args: {} }, thoughtSignature: "c2ln" }),
				user({ functionResponse: { name: "f", response: { output: "done" } } }),
			],
			tools: [{ functionDeclarations: [{ name: "f" }] }],
			safetySettings: [{ category: "HARM_CATEGORY_HARASSMENT", threshold: "BLOCK_NONE" }],
			generationConfig: {
				thinkingConfig: { thinkingBudget: 99, includeThoughts: true },
				mediaResolution: "MEDIA_RESOLUTION_LOW",
			},
		},
		MODELS.gemini,
	);
	const asked = rig.asked();
	expect(asked["contents"][1].parts[0]).toMatchObject({ functionCall: { name: "f" }, thoughtSignature: "c2ln" });
	expect(asked["safetySettings"]).toHaveLength(1);
	expect(asked["generationConfig"]).toMatchObject({
		thinkingConfig: { thinkingBudget: 99, includeThoughts: true },
		mediaResolution: "MEDIA_RESOLUTION_LOW",
	});
});

describe("models", () => {
	const list = async (path: string, headers: Record<string, string> = {}) => {
		const answer = await rig.get(path, headers);
		return [answer.status, (await answer.json()) as Loose] as const;
	};

	test("are listed as Google does, under its path or for its clients", async () => {
		for (const [path, headers] of [
			["/v1beta/models", {}],
			["/v1/models", { "x-goog-api-client": "google-genai-sdk/3.3.0" }],
		] as const) {
			const [status, json] = await list(path, headers);
			expect(status).toBe(200);
			expect(json["models"][0]).toMatchObject({ name: expect.stringMatching(/^models\//) as string });
		}
		const [, openai] = await list("/v1/models");
		expect(openai["object"]).toBe("list");
	});

	test("one is told by its name", async () => {
		const [status, json] = await list("/v1beta/models/gemini-2.5-flash");
		expect([status, json["name"]]).toEqual([200, "models/gemini-2.5-flash"]);
	});
});

describe("what clients were recorded to send is taken by every wire", () => {
	const recorded = ["gemini-cli-turns", "ai-sdk-google"].flatMap((file) =>
		clientRequests(file).map((request, index) => [`${file} ${index}`, request] as [string, ClientRequest]),
	);
	const generating = recorded.filter(([, { path }]) => !path.includes("embedContent"));
	if (generating.length === 0) return;

	describe.each(Object.entries(MODELS))("%s", (_, name) => {
		test.each(generating)("%s", async (__, { path, headers, body }) => {
			const own = Object.fromEntries(Object.entries(headers).filter(([key]) => key.startsWith("x-goog-api-client")));
			const answer = await rig.send(body, own, path.replace("gemini-2.5-flash", name));
			expect([answer.status, answer.status === 200 ? "" : answer.text]).toEqual([200, ""]);
			expect(answer.text).toContain('"finishReason":"STOP"');
		});
	});
});

describe("streams", () => {
	const chunk = (delta: Json, finish_reason: string | null = null) =>
		`data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
	const call = (index: number, args: string, more: Json = {}) =>
		chunk({
			tool_calls: [{ index, ...more, function: { ...(more["id"] ? { name: `f${index}` } : {}), arguments: args } }],
		});
	const streamed = async (pieces: readonly string[], more: Json = {}) => {
		rig.upstream.run(streams([...pieces, chunk({}, "tool_calls"), "data: [DONE]\n\n"]));
		const { text } = await rig.send(asking(more), {}, `${pathOf(MODELS.openai, "streamGenerateContent")}?alt=sse`);
		return eventsOf(text);
	};
	const partsOf = (events: readonly Loose[]) =>
		events.flatMap((each) => (each["candidates"]?.[0].content.parts ?? []) as Loose[]);

	test("calls whose pieces come in turn go out whole, big numbers in them as they were", async () => {
		const events = await streamed([
			call(0, '{"a":', { id: "x" }),
			call(1, '{"b":', { id: "y" }),
			call(0, "12345678901234567890}"),
			call(1, "2}"),
		]);
		expect(partsOf(events).map((part) => part["functionCall"]?.name)).toEqual(["f0", "f1"]);
		expect(partsOf(events)[1]).toEqual({ functionCall: { id: "y", name: "f1", args: { b: 2 } } });
		expect(events.at(-1)!["candidates"][0].finishReason).toBe("STOP");
		rig.upstream.run(
			streams([call(0, '{"a":12345678901234567890}', { id: "x" }), chunk({}, "tool_calls"), "data: [DONE]\n\n"]),
		);
		const { text } = await rig.send(asking(), {}, `${pathOf(MODELS.openai, "streamGenerateContent")}?alt=sse`);
		expect(text).toContain('"args":{"a":12345678901234567890}');
	});

	test("a piece of a call behind its end is a break", async () => {
		const events = await streamed([call(0, '{"a":1}', { id: "x" }), chunk({ content: "Hello" }), call(0, '{"b":1}')]);
		expect(events.at(-1)!["error"].status).toBe("UNAVAILABLE");
	});

	test("thoughts are there for whoever asks for them", async () => {
		const pieces = [chunk({ reasoning_content: "Hm." }), chunk({ content: "Hello" })];
		expect(partsOf(await streamed(pieces)).map(({ text }) => text)).toEqual(["Hello", ""]);
		const asked = await streamed(pieces, { generationConfig: { thinkingConfig: { includeThoughts: true } } });
		expect(partsOf(asked)[0]).toEqual({ text: "Hm.", thought: true });
	});
});

test("the cache answers across wires, streams in both forms among them", async () => {
	const body = asking({ generationConfig: { temperature: 0 } });
	const chat = { model: MODELS.openai, messages: [{ role: "user", content: "hi" }], temperature: 0 };
	await rig.send(chat, {}, "/v1/chat/completions");
	for (const path of ["generateContent", "streamGenerateContent?alt=sse", "streamGenerateContent"]) {
		const { headers, text } = await rig.send(body, {}, pathOf(MODELS.openai, path));
		expect(headers.get("x-router-cache")).toBe("hit");
		expect(text).toContain('"text":"Hello"');
		expect(text).toContain('"finishReason":"STOP"');
	}
	expect(rig.upstream.received).toHaveLength(1);
});

test("a stream of its own is kept for all", async () => {
	for (const [query, said] of [
		["?alt=sse", "one"],
		["", "two"],
	] as const) {
		const body = asking({ generationConfig: { temperature: 0 }, systemInstruction: { parts: [{ text: said }] } });
		await rig.send(body, {}, pathOf(MODELS.openai, "streamGenerateContent") + query);
		const { headers, json } = await generate(body);
		expect([headers.get("x-router-cache"), json["candidates"][0].content.parts]).toEqual(["hit", [{ text: "Hello" }]]);
	}
});

describe("embeddings", () => {
	const content = { parts: [{ text: "a" }] };

	test("Google's own get what they are for, others are asked without it", async () => {
		rig.upstream.run(answers("200 OK", JSON.stringify({ embeddings: [{ values: [0.5] }] })));
		const body = { content, taskType: "RETRIEVAL_QUERY", outputDimensionality: 1 };
		const own = await rig.send(body, {}, pathOf("gemini-embedding-001", "embedContent"));
		expect([own.status, own.json["embedding"]]).toEqual([200, { values: [0.5] }]);
		expect(rig.asked()["requests"][0]).toMatchObject({ content, taskType: "RETRIEVAL_QUERY", outputDimensionality: 1 });
		const data = [
			{ object: "embedding", index: 0, embedding: Buffer.from(new Float32Array([0.5]).buffer).toString("base64") },
		];
		rig.upstream.run(answers("200 OK", JSON.stringify({ object: "list", data, model: "m" })));
		const other = await rig.send(body, {}, pathOf(MODELS.openai, "embedContent"));
		expect([other.status, other.json["embedding"]]).toEqual([200, { values: [0.5] }]);
		expect(other.headers.get("x-router-dropped")).toBe("taskType");
		expect(rig.asked()).toEqual({ model: "m", input: ["a"], encoding_format: "float", dimensions: 1 });
	});

	test("a batch that asks for vectors of two kinds, or for one of no text, is refused by the field", async () => {
		const requests = [{ content }, { content, taskType: "RETRIEVAL_QUERY" }];
		const mixed = await rig.send({ requests }, {}, pathOf(MODELS.openai, "batchEmbedContents"));
		expect([mixed.status, mixed.json["error"].message]).toEqual([
			400,
			'The field "requests[1].taskType" must be the same in all requests of a batch.',
		]);
		const empty = await rig.send({ content: { parts: [] } }, {}, pathOf(MODELS.openai, "embedContent"));
		expect([empty.status, empty.json["error"].message]).toEqual([400, expect.stringContaining("must hold text")]);
	});
});

test("the paths that an agent has for its models stay its own", () => {
	const { context } = rig.restart();
	expect([...callHandlers(context).keys()]).toContain("/models/*");
	const atAgent = Object.assign(Object.create(context) as typeof context, { isBehindRouter: true });
	expect([...callHandlers(atAgent).keys()]).not.toContain("/models/*");
	expect([...callHandlers(atAgent).keys()]).toContain("/v1beta/models/*");
});
