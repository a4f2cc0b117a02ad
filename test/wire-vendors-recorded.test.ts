/** Every recorded exchange with Anthropic and Gemini, through the router: what the vendor gets and what the client gets. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import type OpenAI from "openai";
import { clientError, expectRouterHeaders } from "./kit/contract.ts";
import { answerText, eventData, type Json, type Loose } from "./kit/exchange.ts";
import { folded } from "./kit/folded.ts";
import { needing } from "./kit/needing.ts";
import { openAiClient } from "./kit/openai-client.ts";
import { random } from "./kit/random.ts";
import { type Recording, recordings } from "./kit/recordings.ts";
import { CLIENT_KEY } from "./kit/rig.ts";
import { camel, meaningOfAnthropic, meaningOfGemini } from "./kit/vendor-meaning.ts";
import { ANSWERS, REFUSED, saidIn } from "./kit/vendor-recorded-answers.ts";
import { openAiOfAnthropic, openAiOfGemini } from "./kit/vendor-reverse.ts";
import { CLAUDE_KEY, GEMINI_KEY, startVendorRig, type VendorRig } from "./kit/vendor-rig.ts";

const CHAT = "/v1/chat/completions";
const all = ["anthropic", "gemini"].flatMap(recordings);
const row = (recording: Recording) => [recording.id, recording] as const;

/** Recorded without `alt=sse`, whose form the router always asks for: the pieces, as events. */
function withEvents(recording: Recording): Recording {
	const { response } = recording;
	if (recording.id !== "gemini/nested-model-optional") return recording;
	const pieces = (response.body ?? JSON.parse(response.text ?? "")) as unknown[];
	return {
		...recording,
		response: {
			status: 200,
			headers: { "content-type": "text/event-stream" },
			sse: pieces.map((piece) => `data: ${JSON.stringify(piece)}\r\n\r\n`).join(""),
		},
	};
}
const everything = all.map(withEvents);
/** Its error has no blank line behind it, so it is whole only at the stream's end, after the first bytes have left. */
const BROKEN = "gemini/error-mid-stream";
const good = everything.filter(({ id }) => !Object.hasOwn(REFUSED, id) && id !== BROKEN);
const whole = good.filter(({ response }) => response.sse === undefined);
const streams = good.filter(({ response }) => response.sse !== undefined);

/** The model of a recording, and whether it was streamed. */
function modelOf({ provider, request, response }: Recording): { model: string; stream: boolean } {
	const stream = response.sse !== undefined;
	if (provider === "anthropic") return { model: String(request?.body?.["model"] ?? "claude-sonnet-4-5"), stream };
	return { model: /models\/([^:]+):/.exec(request?.path ?? "")?.[1] ?? "gemini-2.5-flash", stream };
}

/** What a client sends for it. Some recordings kept no request. */
function sent(recording: Recording): Json {
	const { model, stream } = modelOf(recording);
	const { provider } = recording;
	const body = recording.request?.body;
	if (!body) return { model, messages: [{ role: "user", content: "Hello" }], stream };
	const request = provider === "anthropic" ? openAiOfAnthropic(body) : openAiOfGemini(model, stream, camelSchema(body));
	return { ...request, stream };
}

/** The dialect of the one recording that used Google's own schema words. */
function camelSchema(body: Json): Json {
	const { generationConfig, ...rest } = camel(body) as Loose;
	const { responseSchema, ...config } = generationConfig ?? {};
	return { ...rest, generationConfig: responseSchema ? { ...config, responseJsonSchema: responseSchema } : config };
}

needing("recordings").describe("recorded exchanges", () => {
	let rig: VendorRig;
	let client: OpenAI;
	beforeAll(async () => {
		rig = await startVendorRig();
		client = openAiClient(rig.router.url);
	});
	afterAll(() => rig.stop());

	test("there are 36 of them, and each is whole, a stream, or refused", () => {
		expect(all.length).toBe(36);
		expect(whole.length + streams.length + Object.keys(REFUSED).length + 1).toBe(36);
		expect(good.map(({ id }) => id).sort()).toEqual(Object.keys(ANSWERS).sort());
	});

	const requests = everything.filter(({ request }) => request?.body);
	test.each(requests.map(row))("%s: the vendor gets what was recorded, in meaning", async (_, recording) => {
		const { provider, request, response } = recording;
		rig.replay.play(response);
		await rig.post(CHAT, sent(recording));
		const got = rig.replay.received[0];
		if (!got) throw new Error("the vendor was not called");
		const body = JSON.parse(got.body);
		const { model, stream } = modelOf(recording);
		if (provider === "anthropic") {
			expect(got.path).toBe("/v1/messages");
			expect(got.headers.get("x-api-key")).toBe(CLAUDE_KEY);
			expect(got.headers.get("anthropic-version")).toBe("2023-06-01");
			expect(meaningOfAnthropic(body)).toEqual(meaningOfAnthropic(request.body!));
		} else {
			expect(got.path).toBe(`/v1beta/models/${model}:${stream ? "streamGenerateContent?alt=sse" : "generateContent"}`);
			expect(got.headers.get("x-goog-api-key")).toBe(GEMINI_KEY);
			expect(meaningOfGemini(body)).toEqual(meaningOfGemini(request.body!));
		}
		expect(got.headers.get("authorization")).toBeNull();
		expect(JSON.stringify([...got.headers])).not.toContain(CLIENT_KEY);
	});

	/** `streamed`: the client keeps the last piece only of a text field it does not know, and the JSON of a call cut off is none. */
	function expectAnswer(completion: OpenAI.ChatCompletion, recording: Recording, streamed = false): void {
		const expected = ANSWERS[recording.id]!;
		const { text, reasoning } = saidIn(recording);
		const { message, finish_reason } = completion.choices[0]!;
		const { content, role, refusal, reasoning_content, reasoning_details, extra_content, tool_calls } =
			message as unknown as Loose;
		const calls = (tool_calls ?? []) as Loose[];
		expect([role, refusal ?? null, content ?? ""]).toEqual(["assistant", null, text]);
		if (!streamed) expect(reasoning_content ?? "").toBe(reasoning);
		const made = calls.map(({ function: fn }) => [fn.name, expected.cut ? fn.arguments : JSON.parse(fn.arguments)]);
		expect(made as unknown).toEqual(expected.cut ?? expected.calls ?? []);
		for (const { id, type } of calls)
			expect([id, type]).toEqual([expect.stringMatching(/^(toolu_|call_|m71ii1s7$)/), "function"]);
		expect(new Set(calls.map(({ id }) => id)).size).toBe(calls.length);
		expect(reasoning_details?.length).toBe(expected.thoughts);
		const signed = calls.map((call) => call["extra_content"]?.google.thought_signature.length > 100);
		expect(signed).toEqual(calls.map((_, index) => index === 0 && expected.signsCall === true));
		expect(extra_content?.google.thought_signature.length > 100).toBe(expected.signsText === true);
		expect(finish_reason).toBe(expected.finish);
		expect(completion.model).toBe(expected.model);
		expect(completion.id).toMatch(recording.provider === "anthropic" ? /^msg_/ : /^[\w-]{22,23}$/);
		expect(completion.object).toBe("chat.completion");
		const { prompt_tokens, completion_tokens, total_tokens, ...details } = completion.usage!;
		expect([prompt_tokens, completion_tokens]).toEqual([...expected.tokens]);
		expect(total_tokens).toBe(prompt_tokens + completion_tokens);
		expect(details).toEqual({
			prompt_tokens_details: { cached_tokens: expected.cached ?? 0, ...expected.promptDetails },
			completion_tokens_details: { reasoning_tokens: expected.reasoning ?? 0 },
		} as never);
	}

	test.each(whole.map(row))("%s: the client gets the recorded answer", async (_, recording) => {
		rig.replay.play(recording.response);
		const { data, response } = await client.chat.completions.create(sent(recording) as never).withResponse();
		expectAnswer(data, recording);
		const { model } = modelOf(recording);
		expectRouterHeaders(response.headers, recording.provider, model);
	});

	test.each(streams.map(row))("%s: streamed, the client adds it up to the recorded answer", async (_, recording) => {
		rig.replay.play(recording.response, "event");
		const params = { ...sent(recording), stream_options: { include_usage: true } } as never;
		expectAnswer(await client.chat.completions.stream(params).finalChatCompletion(), recording, true);
	});

	test.each(streams.map(row))("%s: cut at any byte it reads the same", async (_, recording) => {
		const body = { ...sent(recording), stream_options: { include_usage: true } };
		rig.replay.play(recording.response);
		const uncut = folded((await rig.post(CHAT, body)).text);
		const { text, reasoning } = saidIn(recording);
		const { content, reasoning_content = "" } = uncut["choices"][0].message;
		expect([content, reasoning_content]).toEqual([text, reasoning]);
		const bytes = Buffer.byteLength(answerText(recording.response));
		const rng = random(bytes);
		for (let round = 0; round < 12; round++) {
			const cuts = Array.from({ length: 1 + rng.below(40) }, () => rng.below(bytes)).sort((a, b) => a - b);
			rig.replay.play(recording.response, cuts);
			expect(folded((await rig.post(CHAT, body)).text)).toEqual(uncut);
		}
		const everyByte = Array.from({ length: Math.min(bytes, 2500) }, (_, at) => at);
		rig.replay.play(recording.response, everyByte);
		expect(folded((await rig.post(CHAT, body)).text)).toEqual(uncut);
	});

	test.each(everything.filter(({ id }) => Object.hasOwn(REFUSED, id)).map(row))("%s: refused", async (_, recording) => {
		const expected = REFUSED[recording.id]!;
		rig.replay.play(recording.response);
		const { status, text, headers } = await rig.post(CHAT, sent(recording));
		const error = clientError(text);
		expect({ status, code: error.code }).toEqual({ status: expected.status, code: expected.code });
		expect(error.message).toContain(expected.says);
		if (expected.retryAfter) expect(headers.get("retry-after")).toBe(expected.retryAfter);
	});

	test(`${BROKEN}: the stream ends with the error`, async () => {
		const recording = everything.find(({ id }) => id === BROKEN)!;
		rig.replay.play(recording.response, "event");
		const { status, text } = await rig.post(CHAT, sent(recording));
		expect(status).toBe(200);
		expect(text).toContain('"content":"First "');
		expect(clientError(eventData(text).at(-1)!)).toMatchObject({
			code: "upstream_error",
			message: expect.stringContaining("The operation was cancelled."),
		});
		expect(text).not.toContain("[DONE]");
		expect(text).not.toContain('"finish_reason":"stop"');
	});
});
