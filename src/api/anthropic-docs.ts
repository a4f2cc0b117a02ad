/** What `/swagger` says of the routes that Anthropic's clients call. The examples are real answers of the model `dummy`. */
import { errorObject } from "../dialects/anthropic-messages/messages-error.ts";
import { CountRequest, MessagesRequest } from "../dialects/anthropic-messages/messages-schema.ts";
import { namedEvent } from "../dialects/anthropic-messages/messages-stream.ts";
import { ERRORS, type ErrorCode, RouterError } from "../errors.ts";
import { answer, type Detail } from "../http/route-docs.ts";

const TAGS = ["Anthropic"];
const BY_STATUS: Readonly<Record<number, readonly ErrorCode[]>> = {
	400: ["invalid_json", "invalid_value", "duplicate_key", "context_length_exceeded", "content_filter"],
	401: ["invalid_api_key"],
	403: ["model_not_allowed", "price_unknown"],
	404: ["model_not_found"],
	413: ["body_too_large", "input_too_large"],
	415: ["unsupported_media_type"],
	429: ["rate_limit_exceeded", "insufficient_quota"],
	500: ["internal_error"],
	502: ["upstream_auth", "upstream_quota", "upstream_unreachable", "upstream_error", "upstream_truncated"],
	503: ["provider_key_missing", "upstream_overloaded", "shutting_down"],
	504: ["upstream_timeout"],
};

const errorSchema = {
	type: "object",
	required: ["type", "error", "request_id"],
	properties: {
		type: { type: "string", enum: ["error"] },
		error: {
			type: "object",
			required: ["type", "message"],
			properties: { type: { type: "string" }, message: { type: "string" }, details: { type: "object" } },
		},
		request_id: { type: "string" },
	},
};

const example = (code: ErrorCode) => ({
	type: "error",
	error: errorObject(new RouterError(code, ERRORS[code].remedy)),
	request_id: "req_5f0c",
});

/** The errors of these routes, by status. */
const errors = Object.fromEntries(
	Object.entries(BY_STATUS).map(([status, codes]) => [
		status,
		{
			description: codes.map((code) => ERRORS[code].remedy).join("\n\n"),
			content: {
				"application/json": {
					schema: errorSchema,
					examples: Object.fromEntries(codes.map((code) => [code, { value: example(code) }])),
				},
			},
		},
	]),
) as unknown as NonNullable<Detail["responses"]>;

const usage = { input_tokens: 9, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 2 };
const head = { id: "msg_6f0c", type: "message", role: "assistant", model: "dummy" };
const message = {
	...head,
	content: [{ type: "text", text: "Hello world" }],
	stop_reason: "end_turn",
	stop_sequence: null,
	usage,
};
const events: readonly (readonly [name: string, event: object])[] = [
	["message_start", { message: { ...head, content: [], stop_reason: null, stop_sequence: null, usage } }],
	["content_block_start", { index: 0, content_block: { type: "text", text: "" } }],
	["content_block_delta", { index: 0, delta: { type: "text_delta", text: "Hello world" } }],
	["content_block_stop", { index: 0 }],
	["message_delta", { delta: { stop_reason: "end_turn", stop_sequence: null }, usage }],
	["message_stop", {}],
];
const stream = events.map(([name, event]) => namedEvent(name, JSON.stringify({ type: name, ...event }))).join("");

const request = (schema: object, sent: object) =>
	({ required: true, content: { "application/json": { schema, example: sent } } }) as unknown as NonNullable<
		Detail["requestBody"]
	>;

/** `POST /v1/messages`. */
export const MESSAGES_DOCS: Detail = {
	tags: TAGS,
	operationId: "createMessage",
	summary: "Message",
	description:
		"Anthropic's Messages API for every model of the router. What a model's upstream has no form for is left out and named in " +
		"`x-router-dropped`. The key goes as `x-api-key` or `authorization: Bearer …`.",
	requestBody: request(MessagesRequest, {
		model: "dummy",
		max_tokens: 1024,
		messages: [{ role: "user", content: "hi" }],
	}),
	responses: {
		200: {
			description: "The message; with `stream: true` as server-sent events.",
			content: {
				...(answer("", message) as { content: object }).content,
				"text/event-stream": { schema: { type: "string" }, example: stream },
			},
		},
		...errors,
	},
};

/** `POST /v1/messages/count_tokens`. */
export const COUNT_TOKENS_DOCS: Detail = {
	tags: TAGS,
	operationId: "countMessageTokens",
	summary: "Tokens of a message",
	description: "How many tokens a call has to read. A count that is a guess has the header `x-router-estimated: true`.",
	requestBody: request(CountRequest, { model: "dummy", messages: [{ role: "user", content: "hi" }] }),
	responses: { 200: answer("The count.", { input_tokens: 5 }), ...errors },
};
