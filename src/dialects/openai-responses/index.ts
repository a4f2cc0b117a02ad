/**
 * OpenAI's Responses, `/v1/responses`, as Codex, the Agents SDK and the AI SDK speak it: translated to a chat and back. What a request refers to of
 * earlier responses is handed to it: nothing is looked up or stored here.
 */
import type { ErrorCode, RouterError } from "../../errors.ts";
import type { ParsedRequest } from "../../openai/call.ts";
import type { Operation } from "../../openai/operations.ts";
import { textOf } from "../../openai/sse.ts";
import { type Dialect, type DialectCall, madeOnce } from "../dialect.ts";
import { parseRequest } from "../openai-chat.ts";
import { refusal } from "./field-names.ts";
import { foldResponse } from "./folded-response.ts";
import { ownForm } from "./own-request.ts";
import { ownResponse, saveOwn } from "./own-response.ts";
import { type ResponsesRequest, readRequest } from "./request.ts";
import { ResponsesFacts } from "./request-facts.ts";
import { referencesIn } from "./stored-response.ts";
import { ResponseStream } from "./stream.ts";
import { wholeResponse } from "./whole-answer.ts";

/** `POST /v1/responses`. */
export const openAiResponses: Dialect = {
	id: "openai-responses",
	contentType: "application/json",
	streamContentType: "text/event-stream; charset=utf-8",
	showsRequest: true,
	references: referencesIn,
	parse(operation, sent, _known, earlier) {
		const request = readRequest(sent, earlier);
		const chat = madeOnce(() => parseRequest(operation, JSON.stringify(request.chat)));
		// What is taken as in a chat is checked as there.
		if (request.hasChatFields) chat();
		const { leftOut, body: asked } = request;
		const facts = new ResponsesFacts(request, chat);
		const stream = asked.stream === true;
		const body = () => chat().body();
		const named = leftOut.length > 0 ? () => leftOut : undefined;
		const native = claudeRequest(operation, request, named);
		// A vendor's own summary could be read by that vendor alone, and the next call may go elsewhere.
		const responses = request.isCompaction ? undefined : ownForm(request);
		return { facts, stream, body, leftOut: named, native, responses };
	},
	answer: (answer, call, costUsd) => wholeResponse(textOf(answer), call, costUsd),
	nativeAnswer(answer, call, costUsd) {
		const response = ownResponse(answer, call, costUsd);
		saveOwn(response, call);
		return response;
	},
	stream: (call) => new ResponseStream(call),
	fold: foldResponse,
	error(error, headers, call) {
		const own = refusal(error, call);
		return call?.stream && IN_STREAM.has(error.errorCode) ? failedStream(own, headers, call) : own.response(headers);
	},
};

function claudeRequest(
	operation: Operation,
	{ claudeChat }: ResponsesRequest,
	leftOut: ParsedRequest["leftOut"],
): ParsedRequest["native"] {
	if (!claudeChat) return undefined;
	const body = madeOnce(() => parseRequest(operation, JSON.stringify(claudeChat())).body());
	return { vendor: "anthropic", body, leftOut, own: () => undefined };
}

/** What OpenAI tells a stream's client in the stream, and agents look for there alone: Codex then cuts its history. */
const IN_STREAM: ReadonlySet<ErrorCode> = new Set(["context_length_exceeded"]);

function failedStream(error: RouterError, headers: Readonly<Record<string, string>>, call: DialectCall): Response {
	const type = { "content-type": openAiResponses.streamContentType, "cache-control": "no-cache" };
	return new Response(new ResponseStream(call).error(error), { headers: { ...error.headers, ...type, ...headers } });
}
