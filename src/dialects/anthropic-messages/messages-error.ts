/** Errors in Anthropic's words. */
import type { RouterError } from "../../errors.ts";
import { type FieldNames, inClientsFields } from "../client-fields.ts";
import { messagesHeaders } from "./messages-headers.ts";
import { THREAD_UNSUPPORTED } from "./messages-validation.ts";

/** `error` of an answer, or of a stream's `error` event. */
export interface MessagesError {
	readonly type: string;
	readonly message: string;
	readonly details?: object;
}

/** By status; what is not named here is an `api_error` from 500 on, and below that an `invalid_request_error`. */
const TYPES: Readonly<Record<number, string>> = {
	401: "authentication_error",
	402: "billing_error",
	403: "permission_error",
	404: "not_found_error",
	409: "conflict_error",
	413: "request_too_large",
	429: "rate_limit_error",
	503: "overloaded_error",
	504: "timeout_error",
	529: "overloaded_error",
};

/** The error. An upstream's own words are kept, but for those of a prompt that is too long, which clients must know by their form. */
export function errorObject(error: RouterError): MessagesError {
	const { status, errorCode, message, body } = error;
	const type = TYPES[status] ?? (status >= 500 ? "api_error" : "invalid_request_error");
	if (errorCode === "context_length_exceeded") return { type, message: overflowMessage(message) };
	const details = body.error.code === THREAD_UNSUPPORTED ? { details: { error_code: THREAD_UNSUPPORTED } } : {};
	return { type, message: inClientsFields(message, FIELDS), ...details };
}

/** What the client calls fields of OpenAI's; those of its messages stand elsewhere in OpenAI's words. */
const FIELDS: FieldNames = [
	[/^tools\[(\d+)\]\.function\.parameters\b/, "tools.$1.input_schema"],
	[/^tools\[(\d+)\](?:\.function)?\b/, "tools.$1"],
	[/^tool_choice\.function\b/, "tool_choice"],
	[/^response_format\b(?:\.json_schema\b)?/, "output_config.format"],
	[/^reasoning_effort$/, "output_config.effort"],
	[/^stop\b(?:\[(\d+)\])?/, "stop_sequences"],
	[/^(?:max_completion_tokens|max_tokens)$/, "max_tokens"],
];

/** The whole answer, with the headers of the error. */
export function errorResponse(error: RouterError, headers: Readonly<Record<string, string>>): Response {
	const id = headers["x-request-id"];
	const { status, headers: all } = error.response({
		...headers,
		...(id === undefined ? {} : messagesHeaders(id, { ...error.headers, ...headers })),
	});
	const body = JSON.stringify({ type: "error", error: errorObject(error), request_id: id ?? null });
	return new Response(body, { status, headers: all });
}

const NUMBER = "([\\d,]+)";
/** Prompt and answer together, in the words of vLLM and OpenAI: the limit, the prompt, the answer. */
const BOTH: readonly RegExp[] = [
	new RegExp(
		`${NUMBER} tokens\\. However, you requested ${NUMBER} tokens \\(${NUMBER} in the messages, ${NUMBER} in`,
		"i",
	),
];
/** `max_tokens` too large: the answer, the limit, the prompt. */
const TOO_LARGE = new RegExp(
	`too large: ${NUMBER}\\..{0,40}maximum context length is ${NUMBER} tokens and your request has ${NUMBER} input`,
	"is",
);
/** The limit, and behind it the prompt. */
const LIMIT_FIRST = new RegExp(
	`(?:maximum|max|limit)\\D{0,60}?${NUMBER}(?: tokens)?\\D{0,120}?(?:requested|resulted in|contains|has|got|of|is|to)\\D{0,40}?${NUMBER}`,
	"i",
);
/** The prompt, and behind it the limit: Anthropic's, Google's, llama.cpp's. */
const PROMPT_FIRST = new RegExp(
	`(?:prompt|input|request|count|messages)\\D{0,60}?${NUMBER}(?: tokens)?\\D{0,120}?(?:maximum|max|limit|exceeds|context|>)\\D{0,120}?${NUMBER}`,
	"i",
);

const numberOf = (text: string): number => Number(text.replaceAll(",", ""));

/**
 * A prompt that is too long, in the words by which Anthropic's clients know it: "prompt is too long: N tokens > M maximum"; where it is the answer's
 * limit that has no room beside the prompt, "input length and `max_tokens` exceed context limit: N + A > M", on which they ask for a
 * shorter one. Where the upstream says no numbers its own words stand behind the first ones.
 */
export function overflowMessage(message: string): string {
	const own =
		/prompt is too long: [\d,]+ tokens > [\d,]+ maximum|input length and `max_tokens` exceed context limit: .*/i.exec(
			message,
		);
	if (own) return own[0];
	for (const words of BOTH) {
		const [, most, , prompt, answer] = words.exec(message) ?? [];
		if (most && prompt && answer && numberOf(prompt) <= numberOf(most)) return noRoom(prompt, answer, most);
		if (most && prompt) return tooLong(prompt, most);
	}
	const [, asked, limit, sent] = TOO_LARGE.exec(message) ?? [];
	if (asked && limit && sent) return noRoom(sent, asked, limit);
	const [, most, got] = LIMIT_FIRST.exec(message) ?? [];
	if (most && got && numberOf(got) > numberOf(most)) return tooLong(got, most);
	const [, prompt, bound] = PROMPT_FIRST.exec(message) ?? [];
	if (prompt && bound && numberOf(prompt) > numberOf(bound)) return tooLong(prompt, bound);
	return `prompt is too long: ${message}`;
}

const tooLong = (prompt: string, most: string): string =>
	`prompt is too long: ${numberOf(prompt)} tokens > ${numberOf(most)} maximum`;

const noRoom = (prompt: string, answer: string, most: string): string =>
	`input length and \`max_tokens\` exceed context limit: ${numberOf(prompt)} + ${numberOf(answer)} > ${numberOf(most)}, decrease input length or \`max_tokens\` and try again`;
