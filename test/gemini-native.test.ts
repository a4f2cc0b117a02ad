/** Gemini behind Google's API: its client's own bytes go up, and all that it says comes down, also what OpenAI's words have no form for. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import type { Json, Loose } from "./kit/exchange.ts";
import { answers, begins, streams } from "./kit/faults.ts";
import { HELLO, hello, MODELS, messagesRig } from "./kit/messages.ts";

const rig = messagesRig();
afterAll(() => rig.stop());
beforeEach(() => {
	rig.restart({
		models: [
			{ name: "flash", targets: ["gemini/gemini-2.5-flash"] },
			{ name: "both", policy: "order", targets: ["gemini/gemini-2.5-flash", "box/m"] },
		],
	});
	rig.upstream.run(hello);
});

const user = (...parts: readonly Json[]) => ({ role: "user", parts });
const asking = (more: Json = {}) => ({ contents: [user({ text: "hi" })], ...more });
const generate = (body: Json | string, model: string = MODELS.gemini) =>
	rig.send(body, { "x-goog-api-key": "rk-of-the-client" }, `/v1beta/models/${model}:generateContent`);
const stream = (body: Json, query = "?alt=sse", model: string = MODELS.gemini) =>
	rig.send(body, {}, `/v1beta/models/${model}:streamGenerateContent${query}`);
const eventsOf = (text: string) =>
	text
		.split(/\r?\n\r?\n/)
		.filter((event) => event.trim() !== "")
		.map((event) => JSON.parse(event.replace(/^data: /, "")) as Loose);

const piece = (candidate: Json, more: Json = {}): Json => ({
	candidates: [{ ...candidate, index: 0 }],
	modelVersion: "gemini-2.5-flash",
	responseId: "own",
	...more,
});
const said = (...parts: readonly Json[]) => piece({ content: { parts, role: "model" } });
const usageMetadata = { promptTokenCount: 30, candidatesTokenCount: 12, thoughtsTokenCount: 10, totalTokenCount: 52 };
const ending = (more: Json = {}) =>
	piece({ content: { parts: [{ text: "" }], role: "model" }, finishReason: "STOP", ...more }, { usageMetadata });
const CALL = { functionCall: { name: "f", args: { a: 1 } }, thoughtSignature: "c2lnbmVk" };

/** An answer with kinds of parts that no other vendor has. */
const SEARCHED = [
	said({ text: "I look it up.", thought: true }),
	said({ executableCode: { language: "PYTHON", code: "print(1)" } }),
	said({ codeExecutionResult: { outcome: "OUTCOME_OK", output: "1" } }),
	said({ text: "Bern is " }),
	said({ text: "a city." }, CALL),
	ending({ groundingMetadata: { webSearchQueries: ["Bern"] }, safetyRatings: [] }),
];
/** As Google sends them: lines end with CRLF. */
const sent = (pieces: readonly Json[]) => streams(pieces.map((each) => `data: ${JSON.stringify(each)}\r\n\r\n`));

describe("what Google would refuse, or read otherwise, is translated", () => {
	const called = (part: Json) => [
		user({ text: "hi" }),
		{ role: "model", parts: [part] },
		user({ functionResponse: { name: "f", response: { output: "done" } } }),
	];

	test("a call without its signature, for a model that wants one", async () => {
		const body = asking({ contents: called({ functionCall: { name: "f", args: {} } }), aFieldOfNextYear: 1 });
		const { status, headers } = await generate(body, "gemini-3-pro-preview");
		expect([status, headers.get("x-router-dropped")]).toEqual([200, "aFieldOfNextYear"]);
		expect(rig.asked()["contents"][1].parts[0].thoughtSignature).toBeString();
		expect("aFieldOfNextYear" in rig.asked()).toBe(false);
	});

	test("a body that names a model", async () => {
		await generate(asking({ model: "models/gemini-2.5-pro", aFieldOfNextYear: 1 }));
		expect(rig.upstream.received[0]!.path).toBe("/v1beta/models/gemini-2.5-flash:generateContent");
		expect("aFieldOfNextYear" in rig.asked()).toBe(false);
		expect("model" in rig.asked()).toBe(false);
	});

	test("models that a configuration names: the key may not be for them", async () => {
		const routingConfig = { manualMode: { modelName: "gemini-2.5-pro" } };
		const { headers } = await generate(asking({ generationConfig: { routingConfig, temperature: 0.5 } }));
		expect(headers.get("x-router-dropped")).toBe("generationConfig.routingConfig");
		expect(rig.asked()["generationConfig"]).toEqual({ temperature: 0.5 });
	});

	test("not a call with one, and none to a model that wants none", async () => {
		for (const [part, model] of [
			[CALL, "gemini-3-pro-preview"],
			[{ functionCall: { name: "f", args: {} } }, MODELS.gemini],
		] as const) {
			await generate(asking({ contents: called(part), aFieldOfNextYear: 1 }), model);
			expect(rig.asked()["aFieldOfNextYear"]).toBe(1);
		}
	});
});

test("a prompt of which a part is kept at Google goes nowhere else", async () => {
	const { status, json } = await generate(asking({ cachedContent: "cachedContents/1" }), MODELS.openai);
	expect([status, json["error"].status]).toEqual([400, "INVALID_ARGUMENT"]);
	expect(json["error"].message).toContain('"cachedContent"');
	await generate(asking({ cachedContent: "cachedContents/1" }));
	expect(rig.asked()["cachedContent"]).toBe("cachedContents/1");
});

test("the client's bytes go up as they came, with the router's own key, and nothing is left out", async () => {
	const body = JSON.stringify(
		asking({
			tools: [{ google_search: {} }],
			safety_settings: [{ category: "HARM_CATEGORY_HARASSMENT", threshold: "BLOCK_NONE" }],
			generation_config: { thinking_config: { thinking_budget: 7 } },
		}),
		undefined,
		"\t",
	).replace('"contents"', '"big": 12345678901234567890, "contents"');
	const { status, text, headers } = await generate(body, "flash");
	expect([status, text, headers.get("x-router-dropped")]).toEqual([200, HELLO.gemini, null]);
	const { body: asked, headers: with_, path } = rig.upstream.received[0]!;
	expect([asked, path]).toEqual([body, "/v1beta/models/gemini-2.5-flash:generateContent"]);
	expect(with_.get("x-goog-api-key")).toBe("AIza-of-the-router");
});

test("a whole answer comes as it came, with kinds of parts that no other vendor has", async () => {
	const answer = JSON.stringify({
		...ending({ content: { parts: [{ executableCode: { language: "PYTHON", code: "1" } }, CALL], role: "model" } }),
		aFieldOfNextYear: "1",
	});
	rig.upstream.run(answers("200 OK", answer));
	expect((await generate(asking())).text).toBe(answer);
});

test("a stream in the place of a whole answer is one, its counts included", async () => {
	rig.upstream.run(sent([said({ text: "Bern is " }), said({ text: "a city." }), ending()]));
	const { json } = await generate(asking());
	expect(json.candidates[0]).toMatchObject({ content: { parts: [{ text: "Bern is a city." }] }, finishReason: "STOP" });
	expect(json.usageMetadata).toMatchObject({ ...usageMetadata, totalTokenCount: 52 });
});

test("a stream comes with each of its events as it came, in both forms", async () => {
	rig.upstream.run(sent(SEARCHED));
	const { text, headers } = await stream(asking());
	expect(headers.get("x-router-dropped")).toBeNull();
	expect(eventsOf(text)).toEqual(SEARCHED);
	expect((await stream(asking(), "")).json as unknown).toEqual(SEARCHED);
});

test("its words are none of a client's of OpenAI's", async () => {
	rig.upstream.run(sent(SEARCHED));
	const chat = { model: MODELS.gemini, stream: true, messages: [{ role: "user", content: "hi" }] };
	const { text } = await rig.send(chat, {}, "/v1/chat/completions");
	expect(text).toContain("Bern is ");
	expect(text).not.toContain('"gemini":');
});

test("an answer that can't be said in OpenAI's words is not kept for others; one that can is, calls signed", async () => {
	const body = asking({ generationConfig: { temperature: 0 } });
	rig.upstream.run(sent(SEARCHED));
	for (let call = 1; call <= 2; call++) {
		const { headers } = await stream(body);
		expect([headers.get("x-router-cache"), rig.upstream.received.length]).toEqual(["miss", call]);
	}
	rig.upstream.run(sent([SEARCHED[3]!, SEARCHED[4]!, ending()]));
	await stream(body);
	const { headers, json } = await generate(body);
	expect(headers.get("x-router-cache")).toBe("hit");
	expect(json["candidates"][0].content.parts[0]).toEqual({ text: "Bern is a city." });
	expect(json["candidates"][0].content.parts[1]).toMatchObject(CALL);
});

test("a stream of Google's that breaks goes on at another vendor's model, as one answer", async () => {
	rig.upstream.run(async (connection) => {
		if (connection.nth === 0) {
			const beginning = [said({ text: "Hello " }), said({ text: "wor" })];
			await begins(beginning.map((each) => `data: ${JSON.stringify(each)}\r\n\r\n`))(connection);
			await Bun.sleep(50);
			return connection.destroy();
		}
		const chunk = (delta: Json, finish_reason: string | null = null) =>
			`data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
		const rest = [chunk({ role: "assistant", content: "" }), chunk({ content: "ld." }), chunk({}, "stop")];
		return streams([...rest, "data: [DONE]\n\n"])(connection);
	});
	const events = eventsOf((await stream(asking(), "?alt=sse", "both")).text);
	expect(rig.upstream.received.map(({ path }) => path)).toEqual([
		"/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
		"/v1/chat/completions",
	]);
	expect(rig.asked()["messages"].at(-1)).toEqual({ role: "assistant", content: "Hello wor" });
	expect(events.map((each) => each["candidates"][0].content.parts[0].text).join("")).toBe("Hello world.");
	expect(events.map((each) => each["candidates"][0].finishReason).filter(Boolean)).toEqual(["STOP"]);
});

test("one in which Google has run code goes on nowhere else, since nobody there would know of it", async () => {
	rig.upstream.run(async (connection) => {
		const beginning = [said({ text: "Hello " }), SEARCHED[1]!, said({ text: "wor" })];
		await begins(beginning.map((each) => `data: ${JSON.stringify(each)}\r\n\r\n`))(connection);
		await Bun.sleep(50);
		connection.destroy();
	});
	const events = eventsOf((await stream(asking(), "?alt=sse", "both")).text);
	expect(rig.upstream.received).toHaveLength(1);
	expect(events.at(-1)!["error"].status).toBe("UNAVAILABLE");
	expect(events.slice(0, -2)).toEqual([said({ text: "Hello " }), SEARCHED[1]!, said({ text: "wor" })]);
});

test("one that breaks and goes on nowhere ends in an error behind what was said", async () => {
	rig.upstream.run(async (connection) => {
		await begins([`data: ${JSON.stringify(said({ text: "Hello" }))}\r\n\r\n`])(connection);
		await Bun.sleep(50);
		connection.destroy();
	});
	const [first, ...rest] = eventsOf((await stream(asking())).text);
	expect(first).toEqual(said({ text: "Hello" }));
	// The second one is bare, for Go.
	expect(rest.map((each) => each["error"].status)).toEqual(["UNAVAILABLE", "UNAVAILABLE"]);
});

test("its errors are its own words", async () => {
	const error = { code: 400, message: "Something that only Google minds.", status: "INVALID_ARGUMENT" };
	rig.upstream.run(answers("400 Bad Request", JSON.stringify({ error })));
	const { status, json } = await generate(asking());
	expect([status, json["error"].message, json["error"].status]).toEqual([400, error.message, error.status]);
});
