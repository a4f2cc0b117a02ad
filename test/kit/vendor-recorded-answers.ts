/** What each recorded answer of Anthropic and Gemini must become, read off the recordings by hand and by other code than the router's. */
import { expect } from "bun:test";
import type { Json, Loose } from "./exchange.ts";
import type { Recording } from "./recordings.ts";

/** One answer. */
export interface Expected {
	readonly model: string;
	readonly finish: "stop" | "length" | "tool_calls" | "content_filter";
	/** Prompt and completion. */
	readonly tokens: readonly [number, number];
	readonly cached?: number;
	readonly reasoning?: number;
	readonly promptDetails?: Json;
	/** Name and arguments of each call. */
	readonly calls?: readonly (readonly [string, Json])[];
	/** The same where the answer was cut off inside: the arguments' text so far. */
	readonly cut?: readonly (readonly [string, unknown])[];
	/** How many blocks of thinking come along. */
	readonly thoughts?: number;
	/** The first call, or the text, carries a signature of Google's. */
	readonly signsCall?: boolean;
	readonly signsText?: boolean;
}

const sonnet4 = { model: "claude-sonnet-4-20250514" } as const;
const sonnet45 = { model: "claude-sonnet-4-5-20250929" } as const;
const haiku45 = { model: "claude-haiku-4-5-20251001" } as const;
const sum = (name: string) => [name, { a: 2, b: 3 }] as const;

/** By recording. */
export const ANSWERS: Readonly<Record<string, Expected>> = {
	"anthropic/anthropic-model-thinking-part-redacted": { ...sonnet45, finish: "stop", tokens: [92, 196], thoughts: 1 },
	"anthropic/anthropic-opus-46-adaptive-thinking-accepts-tool-output-unified": {
		model: "claude-opus-4-6",
		finish: "tool_calls",
		tokens: [671, 55],
		calls: [["final_result", { city: "Paris", country: "France" }]],
	},
	"anthropic/anthropic-prompt-caching-async-stream-1": {
		model: "claude-3-5-sonnet-20240620",
		finish: "stop",
		tokens: [4 + 1167, 256],
		cached: 1167,
	},
	"anthropic/anthropic-text-stream-helper-method": {
		model: "claude-3-5-haiku-20241022",
		finish: "stop",
		tokens: [11, 6],
	},
	"anthropic/anthropic-thinking-streaming": {
		model: "claude-3-7-sonnet-20250219",
		finish: "stop",
		tokens: [52, 216],
		thoughts: 1,
	},
	"anthropic/claude-sonnet-4-multi-tool-1": { ...sonnet4, finish: "stop", tokens: [705, 31] },
	"anthropic/claude-sonnet-4-multi-tool-streaming": {
		...sonnet4,
		finish: "tool_calls",
		tokens: [502, 137],
		calls: [sum("add"), sum("multiply")],
	},
	"anthropic/claude-sonnet-4-simple-object-streaming": {
		...sonnet4,
		finish: "tool_calls",
		tokens: [454, 67],
		calls: [["Person", { name: "Alice", age: 30, city: "Paris" }]],
	},
	"anthropic/claude-sonnet-4-thinking": {
		...sonnet4,
		finish: "tool_calls",
		tokens: [424, 110],
		calls: [["weather", { location: "Florence, Italy" }]],
		thoughts: 1,
	},
	"anthropic/document-binary-content-input": { ...sonnet45, finish: "stop", tokens: [1615, 28] },
	"anthropic/mixed-tools-native-output": {
		...sonnet45,
		finish: "tool_calls",
		tokens: [797, 91],
		calls: [
			["lookup_country", { city: "Tokyo" }],
			["get_founded_year", { city: "Tokyo" }],
		],
	},
	"anthropic/stop-settings-anthropic": { ...sonnet45, finish: "stop", tokens: [32, 5] },
	"anthropic/testimageuploadagent-anthropic-claude-sonnet-4": { ...sonnet4, finish: "stop", tokens: [27, 65] },
	"anthropic/tool-choice-matrix-none-anthropic": { ...sonnet45, finish: "stop", tokens: [567, 16] },
	"anthropic/vision-models-can-understand-remote-images-without-extension-1": {
		...haiku45,
		finish: "stop",
		tokens: [81, 146],
	},
	"anthropic/with-extended-thinking-preserves-thinking-signatures-between-turns-whe-1": {
		...haiku45,
		finish: "stop",
		tokens: [68, 44],
		reasoning: 29,
		thoughts: 1,
	},
	"gemini/cross-provider-capability-replay-google-gemini-3-flash-preview-openai--1": {
		model: "gemini-3-flash-preview",
		finish: "tool_calls",
		tokens: [321, 24 + 39],
		reasoning: 39,
		calls: [["lookup_refund_policy", { order_id: "order-123" }]],
		signsCall: true,
	},
	"gemini/function-calling-can-handle-multiple-tool-calls-in-a-single-response-1": {
		model: "gemini-2.5-flash",
		finish: "tool_calls",
		tokens: [101, 10],
		calls: [["dice_roll", {}]],
	},
	"gemini/gemini-2-5-flash-complex-object": {
		model: "gemini-2.5-flash",
		finish: "stop",
		tokens: [38, 55 + 176],
		reasoning: 176,
	},
	"gemini/gemini-2-5-flash-multi-tool-streaming": {
		model: "gemini-2.5-flash",
		finish: "tool_calls",
		tokens: [121, 36 + 38],
		reasoning: 38,
		calls: [sum("add"), sum("multiply")],
		signsCall: true,
	},
	"gemini/gemini-2-5-pro-thinking-streaming": {
		model: "gemini-2.5-pro",
		finish: "tool_calls",
		tokens: [54, 14 + 64],
		reasoning: 64,
		calls: [["weather", { location: "Florence, Italy" }]],
		signsCall: true,
	},
	"gemini/google-instructions-only-with-tool-calls": {
		model: "gemini-3-flash-preview",
		finish: "tool_calls",
		tokens: [83, 30 + 190],
		reasoning: 190,
		calls: [
			["generate_topic", {}],
			["generate_topic", {}],
			["generate_topic", {}],
		],
		signsCall: true,
	},
	"gemini/google-model-max-tokens-thinking-model-empty-response": {
		model: "gemini-2.5-pro",
		finish: "length",
		tokens: [15, 2],
		reasoning: 2,
	},
	"gemini/google-model-safety-settings": { model: "gemini-1.5-flash", finish: "content_filter", tokens: [14, 0] },
	"gemini/multimodal-tool-return-matrix-direct-url-document-google-2-5-2": {
		model: "gemini-2.5-flash",
		finish: "stop",
		tokens: [345, 37],
		cached: 230,
	},
	"gemini/nested-model-optional": {
		model: "gemini-3.6-flash",
		finish: "stop",
		tokens: [11, 14 + 381],
		reasoning: 381,
		signsText: true,
	},
	"gemini/testimageuploadagentstreaming-gemini-2-5-pro-stream": {
		model: "gemini-2.5-pro",
		finish: "stop",
		tokens: [272, 200 + 1114],
		reasoning: 1114,
		promptDetails: { image_tokens: 258 },
	},
	"gemini/tool-choice-matrix-none-google": {
		model: "gemini-2.5-flash",
		finish: "stop",
		tokens: [49, 128 + 996],
		reasoning: 996,
	},
	"anthropic/sdk-max-tokens-mid-tool-json-stream": {
		model: "claude-sonnet-4-5",
		finish: "length",
		tokens: [450, 124],
		cut: [["make_file", expect.stringMatching(/^\{"filename": "taxes\.txt[\s\S]*Filing taxes$/)]],
	},
};

/** What a recorded refusal becomes. */
export const REFUSED: Readonly<
	Record<string, { status: number; code: string; says: string; retryAfter?: string; hides?: string }>
> = {
	"anthropic/error-handling-raises-appropriate-auth-error": {
		status: 502,
		code: "upstream_auth",
		says: "ANTHROPIC_API_KEY",
		hides: "invalid x-api-key",
	},
	"anthropic/real-error-scenarios-handles-context-length-exceeded-errors": {
		status: 400,
		code: "context_length_exceeded",
		says: "3333404 tokens > 200000 maximum",
	},
	"gemini/error-handling-with-raises-appropriate-auth-error": {
		status: 502,
		code: "upstream_auth",
		says: "GEMINI_API_KEY",
	},
	"gemini/model-name-suggestion-google": { status: 404, code: "model_not_found", says: "gemini-3.6-flahs" },
	"gemini/prompt-blocked-safety-stream": { status: 400, code: "content_filter", says: "refused the prompt (SAFETY)" },
	"gemini/real-error-scenarios-handles-context-length-exceeded-errors": {
		status: 429,
		code: "rate_limit_exceeded",
		says: "generate_content_paid_tier_input_token_count",
		retryAfter: "48",
	},
};

/** What was said and thought, by a plain reading of the recording. */
export function saidIn({ response }: Recording): { text: string; reasoning: string } {
	const bodies: Loose[] = response.sse
		? response.sse.split(/\r?\n/).flatMap((line) => (line.startsWith("data: ") ? [JSON.parse(line.slice(6))] : []))
		: [response.body as Loose];
	const pieces = bodies.flatMap((body): Loose[] => [
		...(body["content"] ?? []),
		...(body["delta"] ? [body["delta"]] : []),
		...(body["candidates"]?.[0]?.content?.parts ?? []),
	]);
	const text = pieces.filter(({ thought }) => !thought).map(({ text: each }) => each ?? "");
	const thoughts = pieces.map(({ thought, thinking, text: each }) => thinking ?? (thought ? each : ""));
	return { text: text.join(""), reasoning: thoughts.join("") };
}
