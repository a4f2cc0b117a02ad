/** What `/swagger` says of `/v1/responses`. The examples are real answers of the model `dummy`. */
import { ResponsesRequestSchema } from "../dialects/openai-responses/request-schema.ts";
import { type Detail, errorResponses, streamed } from "../http/route-docs.ts";
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
	store: false,
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
		"OpenAI's Responses for every model of the router, as Codex, the Agents SDK and the AI SDK call them. Nothing is kept: a conversation " +
		"comes whole with each call. Tools that OpenAI runs itself are left out, and named in `x-router-dropped`.",
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
	description: "There is none yet: clients that try it (Codex) are told to send a POST.",
	responses: errorResponses("invalid_api_key", "method_not_allowed", "websocket_unavailable"),
};
