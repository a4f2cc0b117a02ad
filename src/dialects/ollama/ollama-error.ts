/** Errors in Ollama's words: a text, and the status. */
import type { RouterError } from "../../errors.ts";
import { clientField, type FieldNames } from "../client-fields.ts";
import type { DialectCall } from "../dialect.ts";
import { askedModel, messagePath } from "./ollama-facts.ts";

/** Fields of OpenAI's as they begin in an error's words, and what the client calls them. */
const FIELDS: FieldNames = [
	[/^response_format\b(?:\.json_schema(?:\.schema)?)?/, "format"],
	[/^reasoning_effort$/, "think"],
	[/^(?:max_completion_tokens|max_tokens)$/, "options.num_predict"],
	[/^repetition_penalty$/, "options.repeat_penalty"],
	[/^(temperature|top_p|top_k|min_p|typical_p|seed|stop|presence_penalty|frequency_penalty)\b/, "options.$1"],
];

const MESSAGE = /^messages\[(\d{1,9})\]/;

/** The words with fields as the client has written them. */
function inOllamaFields(message: string, call: Pick<DialectCall, "facts"> | undefined): string {
	return message.replace(/"([\w.[\]]{1,200})"/g, (_, field: string) => {
		const [sent = "", index] = MESSAGE.exec(field) ?? [];
		const path = call && index !== undefined ? messagePath(call, Number(index)) : undefined;
		// A prompt has no parts.
		if (path !== undefined) return `"${MESSAGE.test(path) ? path + field.slice(sent.length) : path}"`;
		return `"${clientField(field, FIELDS)}"`;
	});
}

/** The body of a failure, and the last line of a stream that broke. */
export function ollamaError(error: RouterError, call?: Pick<DialectCall, "facts">): { readonly error: string } {
	const { errorCode, message } = error;
	// Clients look for these words, and then pull the model.
	if (errorCode === "model_not_found" && call) {
		return { error: `model '${askedModel(call).slice(0, 100)}' not found: ${message}` };
	}
	return { error: inOllamaFields(message, call) };
}

/** The whole answer, with the headers of the error. */
export function ollamaErrorResponse(
	error: RouterError,
	headers: Readonly<Record<string, string>>,
	call?: DialectCall,
): Response {
	const { status, headers: all } = error.response(headers);
	return new Response(JSON.stringify(ollamaError(error, call)), { status, headers: all });
}
