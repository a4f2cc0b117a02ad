/** Of all answers of Anthropic and Gemini: counts add up, a stream is the whole answer in pieces, no shape of one is the router's fault. */
import { expect, test } from "bun:test";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import type { Call } from "../src/openai/call.ts";
import { SseSplitter, sseData } from "../src/openai/sse.ts";
import { messageAnswer as claudeAnswer, messageTokens as claudeTokens } from "../src/providers/anthropic/response.ts";
import { MessageDecoder } from "../src/providers/anthropic/stream.ts";
import { chatUsage } from "../src/providers/chat-answer.ts";
import { generatedAnswer as geminiAnswer, generatedTokens as geminiTokens } from "../src/providers/gemini/response.ts";
import { GenerateDecoder } from "../src/providers/gemini/stream.ts";
import type { StoredThinking, StreamDecoder } from "../src/providers/provider.ts";
import { configureUpstreams } from "../src/providers/registry.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { folded } from "./kit/folded.ts";
import { configOf } from "./kit/pipeline.ts";
import { type Random, random } from "./kit/random.ts";

const count = (rng: Random) => rng.pick([0, 1, 7, 1234, undefined, null, -5, 1.5, "9"]);

test("usage adds up, whatever a vendor counts", () => {
	for (let seed = 0; seed < 1000; seed++) {
		const rng = random(seed);
		const claude = {
			input_tokens: count(rng),
			output_tokens: count(rng),
			cache_creation_input_tokens: count(rng),
			cache_read_input_tokens: count(rng),
			output_tokens_details: rng.pick([undefined, null, { thinking_tokens: count(rng) }]),
		};
		const details = [
			{ modality: "IMAGE", tokenCount: count(rng) },
			{ modality: "TEXT", tokenCount: 3 },
		];
		const gemini = {
			promptTokenCount: count(rng),
			candidatesTokenCount: count(rng),
			thoughtsTokenCount: count(rng),
			toolUsePromptTokenCount: count(rng),
			cachedContentTokenCount: count(rng),
			promptTokensDetails: rng.pick([undefined, details]),
		};
		for (const tokens of [claudeTokens(claude), geminiTokens(gemini)]) {
			const usage = chatUsage(tokens);
			expect(usage.total_tokens).toBe(usage.prompt_tokens + usage.completion_tokens);
			const numbers = [usage.prompt_tokens, usage.completion_tokens, ...Object.values(usage.prompt_tokens_details)];
			for (const number of [...numbers, ...Object.values(usage.completion_tokens_details)]) {
				expect(Number.isSafeInteger(number) && number >= 0).toBe(true);
			}
		}
	}
});

const WORDS = ["Grüße ", "你好", " 🙂", '"quoted" \\ ', "\n\ndata: x\n\n", "{", " [DONE]"];
const words = (rng: Random) => Array.from({ length: 1 + rng.below(6) }, () => rng.pick(WORDS)).join("");
/** A text in pieces, cut anywhere but inside a character. */
const pieces = (rng: Random, text: string) => {
	const characters = [...text];
	const made: string[] = [];
	while (characters.length > 0) made.push(characters.splice(0, 1 + rng.below(4)).join(""));
	return made;
};

const upstreams = configureUpstreams(configOf(), {});
const upstream = (name: string) => upstreams.find((each) => each.name === name)!;
const asked = { model: "asked", messages: [{ role: "user", content: "hi" }], stream_options: { include_usage: true } };
const call = parseRequest("chat", JSON.stringify(asked)) as Call;

/** What a decoder makes of a stream whose bytes come in random pieces, and what it keeps. */
function decoded(decoder: StreamDecoder, sse: string, rng: Random): { text: string; keeps: StoredThinking[] } {
	const splitter = new SseSplitter();
	const bytes = Buffer.from(sse);
	let text = "";
	const keeps: StoredThinking[] = [];
	const take = (events: ReturnType<SseSplitter["push"]>) => {
		for (const event of events) {
			const out = decoder.push(event);
			expect(out.failure).toBeUndefined();
			text += out.bytes ?? event.raw;
			keeps.push(...(out.thinking ?? []));
		}
	};
	for (let at = 0; at < bytes.length; ) {
		const end = at + 1 + rng.below(200);
		take(splitter.push(bytes.subarray(at, end)));
		at = end;
	}
	take(splitter.end());
	expect(decoder.end()).toBeUndefined();
	const rest = decoder.flush?.() ?? {};
	const usage = rest.usage === undefined ? "" : sseData(rest.usage);
	return { text: `${text}${rest.bytes ?? ""}${usage}data: [DONE]\n\n`, keeps: [...keeps, ...(rest.thinking ?? [])] };
}

/** Null and an empty text say the same; the JSON of arguments may be spaced. */
function comparable(choices: readonly Loose[]): unknown {
	return choices.map(({ message, logprobs, ...choice }) => ({
		...choice,
		logprobs: logprobs ?? null,
		message: {
			...message,
			content: message.content ?? "",
			refusal: message.refusal ?? null,
			...(message.tool_calls
				? {
						tool_calls: message.tool_calls.map(({ index: _, ...each }: Loose) => ({
							...each,
							function: { ...each["function"], arguments: JSON.parse(each["function"].arguments) },
						})),
					}
				: {}),
		},
	}));
}

function expectSame(whole: string, stream: string): void {
	const { id, model, choices, usage } = JSON.parse(whole) as Loose;
	const added = folded(stream);
	expect(comparable(added["choices"])).toEqual(comparable(choices));
	expect([added["id"], added["model"], added["usage"]]).toEqual([id, model, usage]);
}

test("Anthropic's stream, added up, is the whole answer", () => {
	for (let seed = 0; seed < 200; seed++) {
		const rng = random(seed);
		const content = Array.from({ length: rng.below(6) }, (_, index): Loose => {
			switch (rng.below(4)) {
				case 0:
					return { type: "thinking", thinking: rng.pick(["", words(rng)]), signature: `sig${index}` };
				case 1:
					return { type: "redacted_thinking", data: `data${index}` };
				case 2: {
					const input = rng.pick([{}, { a: words(rng) }, { n: [1, { b: null }] }]);
					return { type: "tool_use", id: `toolu_${index}`, name: "f", input };
				}
				default:
					return { type: "text", text: words(rng) };
			}
		});
		const stop_reason = rng.pick([
			"end_turn",
			"tool_use",
			"max_tokens",
			"stop_sequence",
			"refusal",
			"pause_turn",
			"new_one",
		]);
		const stop_details = stop_reason === "refusal" ? { type: "refusal", explanation: rng.pick([null, "No."]) } : null;
		const usage = {
			input_tokens: 3,
			cache_read_input_tokens: rng.below(9),
			cache_creation_input_tokens: 1,
			output_tokens: 7,
		};
		const message = {
			id: "msg_1",
			type: "message",
			role: "assistant",
			model: "claude-x",
			content,
			stop_reason,
			stop_details,
			usage,
		};
		const events = [
			{
				type: "message_start",
				message: { ...message, content: [], stop_reason: null, usage: { ...usage, output_tokens: 1 } },
			},
			...content.flatMap((block, index) => blockEvents(rng, block, index)),
			{ type: "message_delta", delta: { stop_reason, stop_details }, usage: { output_tokens: 7 } },
			{ type: "message_stop" },
		];
		const sse = events
			.flatMap((event) => (rng.below(5) === 0 ? [event, { type: "ping" }] : [event]))
			.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}${" ".repeat(rng.below(9))}\n\n`)
			.join("");
		const whole = claudeAnswer(JSON.stringify(message), message as never);
		if ("kind" in whole) throw new Error(whole.message);
		const { text, keeps } = decoded(new MessageDecoder(upstream("anthropic"), call), sse, rng);
		expectSame(whole.body, text);
		expect(keeps).toEqual([...(whole.thinking ?? [])]);
	}
});

function blockEvents(rng: Random, block: Loose, index: number): { type: string; [field: string]: unknown }[] {
	const delta = (of: Loose) => ({ type: "content_block_delta", index, delta: of });
	const start = (content_block: Loose) => ({ type: "content_block_start", index, content_block });
	const stop = { type: "content_block_stop", index };
	switch (block["type"]) {
		case "text":
			return [
				start({ type: "text", text: "" }),
				...pieces(rng, block["text"]).map((text) => delta({ type: "text_delta", text })),
				stop,
			];
		case "thinking":
			return [
				start({ type: "thinking", thinking: "", signature: "" }),
				...pieces(rng, block["thinking"]).map((thinking) => delta({ type: "thinking_delta", thinking })),
				delta({ type: "signature_delta", signature: block["signature"] }),
				stop,
			];
		case "tool_use": {
			const json = JSON.stringify(block["input"]);
			const parts = json === "{}" && rng.below(2) === 0 ? [""] : pieces(rng, json);
			return [
				start({ ...block, input: {} }),
				...parts.map((partial_json) => delta({ type: "input_json_delta", partial_json })),
				stop,
			];
		}
		default:
			return [start(block), stop];
	}
}

test("Gemini's stream, added up, is the whole answer", () => {
	for (let seed = 0; seed < 200; seed++) {
		const rng = random(seed);
		const candidates = Array.from({ length: 1 + rng.below(2) }, (_, index) => {
			const parts = Array.from({ length: rng.below(5) }, (_, at): Loose => {
				const signed = rng.below(3) === 0 ? { thoughtSignature: `sig${index}${at}` } : {};
				switch (rng.below(5)) {
					case 0:
						return { text: words(rng), thought: true };
					case 1:
						return {
							functionCall: {
								...(rng.below(2) === 0 ? { id: `id${index}${at}` } : {}),
								name: "f",
								args: { a: words(rng) },
							},
							...signed,
						};
					case 2:
						return { inlineData: { mimeType: "image/png", data: "AAAA" }, thought: rng.below(4) === 0, ...signed };
					default:
						return { text: words(rng), ...signed };
				}
			});
			const finishReason = rng.pick(["STOP", "MAX_TOKENS", "SAFETY", "RECITATION"]);
			return { content: { role: "model", parts }, finishReason, index };
		});
		const usageMetadata = {
			promptTokenCount: 11,
			candidatesTokenCount: rng.below(90),
			thoughtsTokenCount: 4,
			totalTokenCount: 0,
		};
		const head = { modelVersion: "gemini-x", responseId: "resp" };
		const pieceOf = (index: number, parts: Loose[], more: Loose = {}) => ({
			candidates: [{ content: { role: "model", parts }, index, ...more }],
			usageMetadata: { promptTokenCount: 11 },
			...head,
		});
		const events = [
			...candidates.flatMap(({ content, index }) => [
				pieceOf(index, []),
				...content.parts.flatMap((part) => {
					const { text, thoughtSignature, ...rest } = part;
					if (text === undefined) return [pieceOf(index, [part])];
					const cut = pieces(rng, text).map((each): Loose => ({ ...rest, text: each }));
					if (thoughtSignature) cut.at(-1)!["thoughtSignature"] = thoughtSignature;
					return cut.map((each) => pieceOf(index, [each]));
				}),
			]),
			{ candidates: candidates.map(({ finishReason, index }) => ({ finishReason, index })), usageMetadata, ...head },
		];
		const ending = rng.pick(["\n\n", "\r\n\r\n"]);
		const sse = events.map((event) => `data: ${JSON.stringify(event)}${ending}`).join("");
		const whole = geminiAnswer({ candidates, usageMetadata, ...head }, call);
		if ("kind" in whole) throw new Error(whole.message);
		const { text, keeps } = decoded(new GenerateDecoder(upstream("gemini"), call), sse, rng);
		expectSame(whole.body, text);
		expect(keeps).toEqual([...(whole.thinking ?? [])]);
	}
});

/** The same JSON with one value in it replaced by another. */
function mutated(rng: Random, value: unknown): unknown {
	if (typeof value === "object" && value !== null && rng.below(4) > 0) {
		const keys = Object.keys(value);
		if (keys.length > 0) {
			const key = rng.pick(keys);
			const inner = mutated(rng, (value as Json)[key]);
			if (Array.isArray(value)) return value.map((each, index) => (String(index) === key ? inner : each));
			return { ...value, [key]: inner };
		}
	}
	return rng.pick<unknown>([null, "", "x", -1, 1.5, true, [], [null], {}, { a: {} }, [[[]]]]);
}

test("answers of any shape are answers or failures of the vendor, never a fault of the router's", () => {
	const parts = [
		{ text: "a", thoughtSignature: "s" },
		{ functionCall: { name: "f", args: {} } },
		{ inlineData: { data: "" } },
	];
	const logprobsResult = { chosenCandidates: [{ token: "a", logProbability: 0 }], topCandidates: [{ candidates: [] }] };
	const generated = {
		candidates: [{ content: { parts }, finishReason: "STOP", index: 0, logprobsResult }],
		usageMetadata: { promptTokenCount: 1, promptTokensDetails: [{ modality: "IMAGE", tokenCount: 1 }] },
		promptFeedback: { blockReason: "SAFETY" },
		modelVersion: "m",
		responseId: "r",
	};
	const usage = { input_tokens: 1, output_tokens: 1, output_tokens_details: { thinking_tokens: 1 } };
	const content = [
		{ type: "thinking", thinking: "t", signature: "s" },
		{ type: "text", text: "a" },
		{ type: "tool_use", id: "i", name: "n", input: {} },
	];
	const message = { id: "m", model: "m", content, stop_reason: "refusal", stop_details: { explanation: "e" }, usage };
	const events = [
		{ type: "message_start", message: { id: "m", model: "m", usage } },
		...content.flatMap((block, index) => blockEvents(random(index), block, index)),
		{ type: "message_delta", delta: { stop_reason: "end_turn" }, usage },
		{ type: "message_stop" },
		{ type: "error", error: { type: "overloaded_error", message: "Overloaded" } },
	];
	for (let seed = 0; seed < 3000; seed++) {
		const rng = random(seed);
		const odd = mutated(rng, message);
		expect(claudeAnswer(JSON.stringify(odd), odd)).toBeObject();
		expect(geminiAnswer(mutated(rng, generated), call)).toBeObject();
		const claude = new MessageDecoder(upstream("anthropic"), call);
		const gemini = new GenerateDecoder(upstream("gemini"), call);
		for (const event of events) {
			const data = JSON.stringify(rng.below(3) === 0 ? mutated(rng, event) : event);
			expect(claude.push({ raw: `data: ${data}\n\n`, data })).toBeObject();
		}
		for (let i = 0; i < 3; i++) {
			const data = JSON.stringify(mutated(rng, generated));
			const { bytes } = gemini.push({ raw: `data: ${data}\n\n`, data });
			for (const line of bytes?.split("\n\n").filter(Boolean) ?? []) expect(JSON.parse(line.slice(6))).toBeObject();
		}
		for (const decoder of [claude, gemini]) if (!decoder.end()) expect(decoder.flush?.() ?? {}).toBeObject();
	}
});
