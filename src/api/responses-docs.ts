/** What `/swagger` says of `/v1/responses`. The examples are real answers of the model `dummy`. */
import { ResponsesRequestSchema } from "../dialects/openai-responses/request-schema.ts";
import { answer, type Detail, errorResponses, streamed } from "../http/route-docs.ts";
import { CALL_ERRORS, requestBody } from "./api-docs.ts";

const TAGS = ["OpenAI"];

const item = (status: string, content: readonly object[]) => ({
	id: "msg_6f0c0",
	type: "message",
	status,
	role: "assistant",
	content,
});
const said = { type: "output_text", text: "Hello world", annotations: [], logprobs: [] };
const response = {
	id: "resp_6f0c",
	object: "response",
	created_at: 1770000000,
	completed_at: 1770000000,
	status: "completed",
	error: null,
	incomplete_details: null,
	model: "dummy",
	output: [item("completed", [said])],
	usage: {
		input_tokens: 9,
		input_tokens_details: { cached_tokens: 0 },
		output_tokens: 2,
		output_tokens_details: { reasoning_tokens: 0 },
		total_tokens: 11,
	},
	store: true,
	tools: [],
	tool_choice: "auto",
};
const place = { item_id: "msg_6f0c0", output_index: 0, content_index: 0 };

/** `POST /v1/responses`. */
export const RESPONSES: Detail = {
	tags: TAGS,
	operationId: "createResponse",
	summary: "Response",
	description:
		"OpenAI's Responses for every model of the router, as Codex, the Agents SDK and the AI SDK call them. A response is stored for its key " +
		"unless the call says `store: false`. Tools that OpenAI runs itself are left out, and named in `x-router-dropped`.",
	requestBody: requestBody(ResponsesRequestSchema, { model: "dummy", input: "hi" }),
	responses: {
		200: streamed("The response; with `stream: true` as server-sent events.", response, [
			{ type: "response.created", sequence_number: 0, response: { ...response, status: "in_progress", output: [] } },
			{
				...{ type: "response.output_item.added", sequence_number: 2, output_index: 0 },
				item: item("in_progress", []),
			},
			{ type: "response.output_text.delta", sequence_number: 4, ...place, delta: "Hello world", logprobs: [] },
			{ type: "response.completed", sequence_number: 8, response },
		]),
		...errorResponses("unsupported_parameter", "previous_response_not_found", ...CALL_ERRORS),
	},
};

/** `GET /v1/responses`. */
export const RESPONSES_SOCKET: Detail = {
	tags: TAGS,
	operationId: "openResponsesSocket",
	summary: "Responses over a WebSocket",
	description:
		'A WebSocket: frames `{"type": "response.create", …}` with the body of the same call by POST go in, one event a frame comes out. ' +
		"A call goes on from the latest response of its connection (`previous_response_id`), though that says `store: false`.",
	responses: {
		101: { description: "The WebSocket is open." },
		...errorResponses("invalid_api_key", "method_not_allowed", "websocket_unavailable", "shutting_down"),
	},
};

/** `POST /v1/responses/compact`. */
export const COMPACT: Detail = {
	tags: TAGS,
	operationId: "compactResponse",
	summary: "A conversation in short",
	description: "The model sums the conversation up: the output goes into the next call's `input` in its place.",
	requestBody: requestBody(ResponsesRequestSchema, { model: "dummy", input: "hi" }),
	responses: {
		200: answer("The conversation in short.", {
			...{ id: "resp_6f0c", object: "response.compaction", created_at: 1770000000 },
			output: [{ id: "cmp_6f0c_0", type: "compaction", encrypted_content: "router-summary-1.SGVsbG8" }],
			usage: response.usage,
		}),
		...errorResponses("unsupported_parameter", "previous_response_not_found", ...CALL_ERRORS),
	},
};

/** `POST /v1/responses/input_tokens`. */
export const INPUT_TOKENS: Detail = {
	tags: TAGS,
	operationId: "countResponseInputTokens",
	summary: "Tokens of a response's input",
	description: "How many tokens a call has to read. A count that is a guess has the header `x-router-estimated: true`.",
	requestBody: requestBody(ResponsesRequestSchema, { model: "dummy", input: "hi" }),
	responses: {
		200: answer("The count.", { object: "response.input_tokens", input_tokens: 5 }),
		...errorResponses("unsupported_parameter", "previous_response_not_found", ...CALL_ERRORS),
	},
};

const parameter = (name: string, where: "path" | "query", description: string, schema: object) =>
	({ name, in: where, required: where === "path", description, schema }) as NonNullable<Detail["parameters"]>[number];
const ID = parameter("id", "path", "The response's id.", { type: "string" });
const STORED_ERRORS = ["invalid_api_key", "response_not_found", "internal_error"] as const;

/** `GET /v1/responses/{id}`. */
export const RESPONSE: Detail = {
	tags: TAGS,
	operationId: "getResponse",
	summary: "A stored response",
	description: "A response of this key's, as it was answered.",
	parameters: [ID],
	responses: { 200: answer("The response.", response), ...errorResponses("unsupported_parameter", ...STORED_ERRORS) },
};

/** `DELETE /v1/responses/{id}`. */
export const DELETE_RESPONSE: Detail = {
	tags: TAGS,
	operationId: "deleteResponse",
	summary: "Delete a stored response",
	description: "Deletes it, and what was sent for it. Nothing can go on from it, or from those that went on from it.",
	parameters: [ID],
	responses: {
		200: answer("It is deleted.", { id: "resp_6f0c", object: "response", deleted: true }),
		...errorResponses("responses_unavailable", ...STORED_ERRORS),
	},
};

/** `POST /v1/responses/{id}/cancel`. */
export const CANCEL_RESPONSE: Detail = {
	tags: TAGS,
	operationId: "cancelResponse",
	summary: "Cancel a response",
	description: "Responses in the background alone can be cancelled, and the router makes none: always an error.",
	parameters: [ID],
	responses: errorResponses("invalid_value", ...STORED_ERRORS),
};

/** `GET /v1/responses/{id}/input_items`. */
export const INPUT_ITEMS: Detail = {
	tags: TAGS,
	operationId: "listInputItems",
	summary: "What a stored response answers",
	description: "The items that were sent for it, and those of the responses that it went on from, a page at a time.",
	parameters: [
		ID,
		parameter("limit", "query", "Items on a page.", { type: "integer", minimum: 1, maximum: 100, default: 20 }),
		parameter("order", "query", "The latest first, or last.", {
			type: "string",
			enum: ["asc", "desc"],
			default: "desc",
		}),
		parameter("after", "query", "The last item of the page before.", { type: "string" }),
	],
	responses: {
		200: answer("A page.", {
			object: "list",
			data: [{ id: "msg_6f0c_in0", type: "message", role: "user", content: [{ type: "input_text", text: "hi" }] }],
			first_id: "msg_6f0c_in0",
			last_id: "msg_6f0c_in0",
			has_more: false,
		}),
		...errorResponses("invalid_value", ...STORED_ERRORS),
	},
};
