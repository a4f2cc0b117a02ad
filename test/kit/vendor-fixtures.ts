/** Each scenario as Anthropic and Gemini would answer it, whole and streamed. Written from the vendors' types; nothing is copied. */
import type { ExchangeResponse, Json } from "./exchange.ts";
import { type ScenarioName, scenario } from "./scenarios.ts";

/** A vendor that is translated. */
export interface Vendor {
	readonly name: "anthropic" | "gemini";
	readonly model: string;
	answer(name: ScenarioName, stream: boolean): ExchangeResponse;
}

const JSON_TYPE = { "content-type": "application/json" };
const SSE = { "content-type": "text/event-stream" };
const words = (text: string) => text.split(/(?<=\s)/).filter(Boolean);
const parsed = (text: string) => JSON.parse(text) as Json;

const STOPS = { stop: "end_turn", length: "max_tokens", tool_calls: "tool_use", content_filter: "refusal" } as const;

function claudeAnswer(name: ScenarioName, stream: boolean): ExchangeResponse {
	const { said } = scenario(name);
	const isRefused = said.refusal !== undefined;
	const stop_reason = isRefused ? "refusal" : STOPS[said.finish];
	const stop_details = isRefused ? { type: "refusal", category: null, explanation: said.refusal } : null;
	const usage = {
		input_tokens: 4,
		cache_creation_input_tokens: 3,
		cache_read_input_tokens: 4,
		output_tokens: said.reasoning ? 37 : 7,
		output_tokens_details: said.reasoning ? { thinking_tokens: 30 } : null,
	};
	const thinking = said.reasoning ? [{ type: "thinking", thinking: said.reasoning, signature: "c2ln" }] : [];
	const text = said.content === null ? [] : [{ type: "text", text: said.content }];
	const calls = (said.toolCalls ?? []).map(({ id, name: fn, arguments: args }) => ({
		type: "tool_use",
		id,
		name: fn,
		input: parsed(args),
	}));
	const head = { id: "msg_fixture", type: "message", role: "assistant", model: "claude-opus-4-7" };
	if (!stream) {
		return {
			status: 200,
			headers: JSON_TYPE,
			body: { ...head, content: [...thinking, ...text, ...calls], stop_reason, stop_details, usage },
		};
	}
	const event = (data: Json & { type: string }) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
	let index = -1;
	const block = (start: Json, deltas: Json[]) => {
		index++;
		return [
			event({ type: "content_block_start", index, content_block: start }),
			event({ type: "ping" }),
			...deltas.map((delta) => event({ type: "content_block_delta", index, delta })),
			event({ type: "content_block_stop", index }),
		].join("");
	};
	const sse = [
		event({
			type: "message_start",
			message: { ...head, content: [], stop_reason: null, usage: { ...usage, output_tokens: 1 } },
		}),
		...thinking.map((each) =>
			block({ type: "thinking", thinking: "", signature: "" }, [
				...words(each.thinking).map((part) => ({ type: "thinking_delta", thinking: part })),
				{ type: "signature_delta", signature: each.signature },
			]),
		),
		...text.map((each) =>
			block(
				{ type: "text", text: "" },
				words(each.text).map((part) => ({ type: "text_delta", text: part })),
			),
		),
		...(said.toolCalls ?? []).map(({ id, name: fn, arguments: args }) =>
			block({ type: "tool_use", id, name: fn, input: {} }, [
				{ type: "input_json_delta", partial_json: args.slice(0, 5) },
				{ type: "input_json_delta", partial_json: args.slice(5) },
			]),
		),
		event({
			type: "message_delta",
			delta: { stop_reason, stop_details },
			usage: { output_tokens: usage.output_tokens },
		}),
		event({ type: "message_stop" }),
	].join("");
	return { status: 200, headers: SSE, sse };
}

function geminiAnswer(name: ScenarioName, stream: boolean): ExchangeResponse {
	const { said } = scenario(name);
	const isRefused = said.refusal !== undefined;
	const finishReason = isRefused ? "SAFETY" : said.finish === "length" ? "MAX_TOKENS" : "STOP";
	const parts: Json[] = [
		...(said.reasoning ? [{ text: said.reasoning, thought: true }] : []),
		...(said.content === null ? [] : [{ text: said.content }]),
		...(said.toolCalls ?? []).map(({ id, name: fn, arguments: args }, at) => ({
			functionCall: { id, name: fn, args: parsed(args) },
			...(at === 0 ? { thoughtSignature: "c2ln" } : {}),
		})),
	];
	const usageMetadata = {
		promptTokenCount: 11,
		candidatesTokenCount: 7,
		...(said.reasoning ? { thoughtsTokenCount: 30 } : {}),
		cachedContentTokenCount: 4,
	};
	const piece = (content: Json[], more: Json = {}) => ({
		candidates: [{ content: { role: "model", parts: content }, index: 0, ...more }],
		usageMetadata,
		modelVersion: "gemini-3-flash-preview",
		responseId: "fixture",
	});
	if (!stream) return { status: 200, headers: JSON_TYPE, body: piece(parts, { finishReason }) };
	const cut = parts.flatMap((part) =>
		typeof part["text"] === "string" ? words(part["text"]).map((text) => ({ ...part, text })) : [part],
	);
	const pieces = [...cut.map((part) => piece([part])), piece([], { finishReason })];
	return { status: 200, headers: SSE, sse: pieces.map((each) => `data: ${JSON.stringify(each)}\r\n\r\n`).join("") };
}

/** Both. */
export const VENDORS: readonly Vendor[] = [
	{ name: "anthropic", model: "claude-opus-4-7", answer: claudeAnswer },
	{ name: "gemini", model: "gemini-3-flash-preview", answer: geminiAnswer },
];
