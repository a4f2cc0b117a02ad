/**
 * What clients may send (OpenAI's openapi.yaml v2.3.0: CreateChatCompletionRequest, CreateCompletionRequest,
 * CreateEmbeddingRequest). Every level lets unknown fields through: an upstream may know more than this file.
 * Where vendors differ in a field's shape it is left open; what the router itself reads is strict. Of numbers only that is refused
 * to which no upstream gives a meaning: `max_tokens: 0` warms Anthropic's cache and -1 is no limit for llama.cpp, `top_logprobs: -1`
 * is all of them for vLLM, a temperature above 2 is one for it, and what is none the upstream itself says.
 */
import { type Static, type TSchema, Type } from "@sinclair/typebox";

/** What is not known may stand there, too. */
export const open = { additionalProperties: true } as const;
/** What is not known may not. */
export const closedObject = { additionalProperties: false } as const;
/** May be absent, or null. */
export const optional = <T extends TSchema>(schema: T) => Type.Optional(Type.Union([schema, Type.Null()]));
const object = <T extends Record<string, TSchema>>(properties: T) => Type.Object(properties, open);
const anyObject = Type.Object({}, open);
const number = optional(Type.Number());
const integer = optional(Type.Integer());
/** Where no upstream gives less a meaning. */
const atLeast = (minimum: number) => optional(Type.Integer({ minimum }));
/** Of an answer: -1 is no limit for some servers; what is less, or does not fit into 32 bits, none could mean. */
const limit = optional(Type.Integer({ minimum: -1, maximum: 2_147_483_647 }));
const boolean = optional(Type.Boolean());
const string = optional(Type.String());
const freeObject = optional(anyObject);

const part = object({ type: Type.String() });
const toolCall = object({ id: Type.Optional(Type.String()), type: Type.Optional(Type.String()) });

const message = object({
	role: Type.String({ minLength: 1, examples: ["user"] }),
	content: optional(Type.Union([Type.String(), Type.Array(part)])),
	name: string,
	tool_calls: optional(Type.Array(toolCall)),
	tool_call_id: string,
});

const common = {
	model: Type.String({ minLength: 1, maxLength: 512, examples: ["dummy"] }),
	stream: boolean,
	stream_options: optional(
		object({ include_usage: boolean, include_obfuscation: boolean, continuous_usage_stats: boolean }),
	),
	user: string,
	temperature: number,
	top_p: number,
	n: atLeast(1),
	seed: integer,
	stop: optional(Type.Union([Type.String(), Type.Array(Type.String())])),
	frequency_penalty: number,
	presence_penalty: number,
	logit_bias: freeObject,
	max_tokens: limit,
};

/** `POST /v1/chat/completions`. */
export const ChatRequest = object({
	...common,
	messages: Type.Array(message, { minItems: 1, examples: [[{ role: "user", content: "hi" }]] }),
	audio: freeObject,
	function_call: optional(Type.Union([Type.String(), anyObject])),
	functions: optional(Type.Array(anyObject)),
	logprobs: boolean,
	max_completion_tokens: limit,
	metadata: freeObject,
	modalities: optional(Type.Array(Type.String())),
	moderation: Type.Optional(Type.Unknown()),
	parallel_tool_calls: boolean,
	prediction: freeObject,
	prompt_cache_key: string,
	prompt_cache_options: freeObject,
	prompt_cache_retention: string,
	reasoning_effort: string,
	response_format: freeObject,
	safety_identifier: string,
	service_tier: string,
	store: boolean,
	tool_choice: optional(Type.Union([Type.String(), anyObject])),
	tools: optional(Type.Array(object({ type: Type.String() }))),
	top_logprobs: integer,
	verbosity: string,
	web_search_options: freeObject,
});

const filled = { minItems: 1 } as const;
const tokens = Type.Array(Type.Integer(), filled);
const texts = Type.Array(Type.String(), filled);

/** `POST /v1/completions`. */
export const CompletionRequest = object({
	...common,
	prompt: Type.Union([Type.String(), texts, tokens, Type.Array(tokens, filled), Type.Null()], {
		examples: ["Say hello"],
	}),
	best_of: atLeast(0),
	echo: boolean,
	logprobs: Type.Optional(Type.Union([Type.Integer(), Type.Boolean(), Type.Null()])),
	suffix: string,
});

/** `POST /v1/embeddings`. */
export const EmbeddingRequest = object({
	model: common.model,
	input: Type.Union([Type.String(), texts, tokens, Type.Array(tokens, filled), Type.Array(anyObject, filled)], {
		examples: ["hello"],
	}),
	encoding_format: string,
	dimensions: atLeast(1),
	user: string,
});

/** What the router itself reads of any request. */
export type RequestBody = Pick<Static<typeof ChatRequest>, "model" | "stream" | "stream_options" | "user"> &
	Record<string, unknown>;
