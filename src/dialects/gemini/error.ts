/** Errors in Google's words (google.rpc.Status). */
import type { RouterError } from "../../errors.ts";
import { clientField, type FieldNames, inClientsFields } from "../client-fields.ts";

/** By HTTP status; what is not named here is `INTERNAL` from 500 on, and below that `INVALID_ARGUMENT`. */
const STATUSES: Readonly<Record<number, string>> = {
	401: "UNAUTHENTICATED",
	402: "RESOURCE_EXHAUSTED",
	403: "PERMISSION_DENIED",
	404: "NOT_FOUND",
	405: "UNIMPLEMENTED",
	409: "ABORTED",
	429: "RESOURCE_EXHAUSTED",
	499: "CANCELLED",
	502: "UNAVAILABLE",
	503: "UNAVAILABLE",
	504: "DEADLINE_EXCEEDED",
};

/** What the client calls fields of OpenAI's; where in its contents a message's stands nobody can say. */
const FIELDS: FieldNames = [
	[/^messages\b.*$/, "contents"],
	[/^tools\[(\d+)\](?:\.function)?\b/, "tools[0].functionDeclarations[$1]"],
	[/^tool_choice\b.*$/, "toolConfig.functionCallingConfig"],
	[/^response_format\b(?:\.json_schema\b(?:\.schema\b)?)?/, "generationConfig.responseSchema"],
	[/^reasoning_effort$/, "generationConfig.thinkingConfig"],
	[/^stop\b(?:\[(\d+)\])?/, "generationConfig.stopSequences"],
	[/^(?:max_completion_tokens|max_tokens)$/, "generationConfig.maxOutputTokens"],
	[/^top_p$/, "generationConfig.topP"],
	[/^top_k$/, "generationConfig.topK"],
	[/^n$/, "generationConfig.candidateCount"],
	[/^top_logprobs$/, "generationConfig.logprobs"],
	[/^logprobs$/, "generationConfig.responseLogprobs"],
	[/^frequency_penalty$/, "generationConfig.frequencyPenalty"],
	[/^presence_penalty$/, "generationConfig.presencePenalty"],
	[/^modalities$/, "generationConfig.responseModalities"],
	[/^(temperature|seed)$/, "generationConfig.$1"],
];

/** `error` of an answer, or of a stream's last event. */
export interface GeminiError {
	/** The HTTP status. */
	readonly code: number;
	readonly message: string;
	readonly status: string;
	readonly details: readonly object[];
}

const TYPES = "type.googleapis.com/google.rpc.";

/**
 * The error. Its details name the router's own code (`ErrorInfo`), the field at fault (`BadRequest`), and when to call again (`RetryInfo`).
 * @param request the call's id
 */
export function errorObject(error: RouterError, request?: string): GeminiError {
	const { status: code, errorCode, body, headers } = error;
	const { param } = body.error;
	const message = inClientsFields(error.message, FIELDS);
	const seconds = Number(headers["retry-after"]);
	const details: object[] = [{ "@type": `${TYPES}ErrorInfo`, reason: errorCode.toUpperCase(), domain: "router" }];
	if (param !== null && code === 400) {
		const fieldViolations = [{ field: clientField(param, FIELDS), description: message }];
		details.push({ "@type": `${TYPES}BadRequest`, fieldViolations });
	}
	if (seconds > 0) details.push({ "@type": `${TYPES}RetryInfo`, retryDelay: `${seconds}s` });
	if (request !== undefined) details.push({ "@type": `${TYPES}RequestInfo`, requestId: request });
	return { code, message, status: STATUSES[code] ?? (code >= 500 ? "INTERNAL" : "INVALID_ARGUMENT"), details };
}

/** The same as JSON, as it stands in an answer or in a stream. */
export const errorText = (error: RouterError, request?: string): string =>
	JSON.stringify({ error: errorObject(error, request) });

/**
 * The whole answer, with the headers of the error.
 * @param isList the client reads a list, as streams without `alt=sse` are one
 */
export function errorResponse(error: RouterError, headers: Readonly<Record<string, string>>, isList = false): Response {
	const { status, headers: all } = error.response(headers);
	const body = errorText(error, headers["x-request-id"]);
	return new Response(isList ? `[${body}]` : body, { status, headers: all });
}
