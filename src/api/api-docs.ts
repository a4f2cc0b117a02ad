/** What `/swagger` says of the routes that clients call. The examples are real answers of the model `dummy`. */

import { answer, type Detail, errorResponses, streamed, wildcard } from "../http/route-docs.ts";
import { ChatRequest, CompletionRequest, EmbeddingRequest } from "../openai/request-fields.ts";

const TAGS = ["OpenAI"];
const created = 1770000000;
const usage = { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 };
const USER_ERRORS = [
	"invalid_json",
	"invalid_value",
	"duplicate_key",
	"context_length_exceeded",
	"content_filter",
	"invalid_api_key",
	"model_not_allowed",
	"model_not_found",
	"body_too_large",
	"unsupported_media_type",
	"rate_limit_exceeded",
	"insufficient_quota",
	"price_unknown",
	"input_too_large",
] as const;
const UPSTREAM_ERRORS = [
	"internal_error",
	"upstream_auth",
	"upstream_quota",
	"upstream_unreachable",
	"upstream_error",
	"upstream_truncated",
	"provider_key_missing",
	"upstream_overloaded",
	"shutting_down",
	"upstream_timeout",
] as const;
/** What any call may be refused with, or fail with. */
export const CALL_ERRORS = [...USER_ERRORS, ...UPSTREAM_ERRORS] as const;
const errors = errorResponses(...CALL_ERRORS);

/** The body of a call. */
export const requestBody = (schema: object, example: object) =>
	({ required: true, content: { "application/json": { schema, example } } }) as unknown as NonNullable<
		Detail["requestBody"]
	>;

const chunk = (delta: object, finish_reason: string | null = null) => ({
	id: "cmpl-6f0c",
	object: "chat.completion.chunk",
	created,
	model: "dummy",
	choices: [{ index: 0, delta, finish_reason }],
});

/** `POST /v1/chat/completions`. */
export const CHAT: Detail = {
	tags: TAGS,
	operationId: "createChatCompletion",
	summary: "Chat completion",
	description: "OpenAI's chat completions for every model of the router. Unknown fields pass through to the upstream.",
	requestBody: requestBody(ChatRequest, { model: "dummy", messages: [{ role: "user", content: "hi" }] }),
	responses: {
		200: streamed(
			"The answer; with `stream: true` as server-sent events.",
			{
				id: "cmpl-6f0c",
				object: "chat.completion",
				created,
				model: "dummy",
				choices: [{ index: 0, message: { role: "assistant", content: "Hello world" }, finish_reason: "stop" }],
				usage,
			},
			[
				chunk({ role: "assistant", content: "" }),
				chunk({ content: "Hello" }),
				chunk({ content: " world" }),
				chunk({}, "stop"),
			],
		),
		...errors,
	},
};

/** `POST /v1/completions`. */
export const COMPLETIONS: Detail = {
	tags: TAGS,
	operationId: "createCompletion",
	summary: "Text completion",
	requestBody: requestBody(CompletionRequest, { model: "dummy", prompt: "Say hello" }),
	responses: {
		200: streamed(
			"The answer; with `stream: true` as server-sent events.",
			{
				id: "cmpl-6f0c",
				object: "text_completion",
				created,
				model: "dummy",
				choices: [{ index: 0, text: "Hello world", logprobs: null, finish_reason: "stop" }],
				usage,
			},
			[
				{
					id: "cmpl-6f0c",
					object: "text_completion",
					created,
					model: "dummy",
					choices: [{ index: 0, text: "Hello", logprobs: null, finish_reason: null }],
				},
			],
		),
		...errors,
	},
};

/** `POST /v1/embeddings`. */
export const EMBEDDINGS: Detail = {
	tags: TAGS,
	operationId: "createEmbedding",
	summary: "Embeddings",
	requestBody: requestBody(EmbeddingRequest, { model: "dummy", input: "hello" }),
	responses: {
		200: answer("One vector an input.", {
			object: "list",
			data: [{ object: "embedding", index: 0, embedding: [0.12, -0.3, 0.5] }],
			model: "dummy",
			usage: { prompt_tokens: 2, total_tokens: 2 },
		}),
		...errors,
	},
};

const model = { id: "dummy", object: "model", created: 0, owned_by: "router" };

/** `GET /v1/models`. */
export const MODELS: Detail = {
	tags: TAGS,
	operationId: "listModels",
	summary: "Models",
	description: "Configured names, and what each upstream that is ready says it serves.",
	responses: {
		200: answer("The models.", { object: "list", data: [model] }),
		...errorResponses("invalid_api_key", "internal_error"),
	},
};

/** `GET /v1/models/{model}`. */
export const MODEL: Detail = {
	tags: TAGS,
	operationId: "retrieveModel",
	summary: "One model",
	...wildcard("model", "The model's name, slashes included.", "dummy"),
	responses: {
		200: answer("The model.", model),
		...errorResponses("invalid_api_key", "model_not_found", "internal_error"),
	},
};

const candidate = {
	rank: 1,
	id: "local/gpu-1/qwen3-8b",
	provider: "local",
	model: "qwen3-8b",
	agent: "gpu-1",
	tier: "targets",
	kind: "local",
	score: 1540,
	reason: "least uncached prompt × load",
	inputs: { in_flight: 0, queued_characters: 0, uncached_characters: 1540, wait_ms: 0, cost_usd: 0 },
};

/** `POST /v1/route`. */
export const EXPLAIN: Detail = {
	tags: ["Router"],
	operationId: "explainRoute",
	summary: "Where would this call go, and why?",
	description:
		"Takes the body of a call (or a model's name alone), makes none, and answers every " +
		"candidate in the order to try, with its score, what that was made of, and the reason it stands where it stands. " +
		"Which call it is the body's fields say, or `path`; whoever means pictures or sound has to say the path. " +
		"A call with the header `x-router-explain: 1` gets the same in that header of its answer.",
	parameters: [
		{
			name: "path",
			in: "query",
			description: "Where the call would be made: `/v1/messages`, `/v1beta/models/{model}:generateContent`.",
			schema: { type: "string" },
		},
	],
	requestBody: {
		required: true,
		content: {
			"application/json": {
				schema: { type: "object", required: ["model"], properties: { model: { type: "string" } } },
				example: { model: "dummy", messages: [{ role: "user", content: "hi" }] },
			},
		},
	},
	responses: {
		200: answer("The plan.", {
			model: "fast",
			route: "models: fast",
			policy: "balanced",
			call: { operation: "chat", stream: false, characters: 1540, tokens: 385, needs: [], has_session: false },
			candidates: [candidate],
		}),
		...errorResponses(
			"invalid_json",
			"invalid_value",
			"duplicate_key",
			"invalid_api_key",
			"model_not_allowed",
			"model_not_found",
			"body_too_large",
			"unsupported_media_type",
			"model_unavailable",
		),
	},
};
