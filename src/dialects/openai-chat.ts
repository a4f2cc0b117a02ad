/** OpenAI's own wire: chat completions, text completions and embeddings. The hub itself, so that nearly all passes as it is. */

import type { TSchema } from "@sinclair/typebox";
import { type TypeCheck, TypeCompiler } from "@sinclair/typebox/compiler";
import { RouterError } from "../errors.ts";
import { foldStream } from "../openai/answer-forms.ts";
import { type ParsedRequest, tooLarge } from "../openai/call.ts";
import { JsonTooLarge, type ParsedText, parseWithFields } from "../openai/json.ts";
import { OPERATIONS, type Operation } from "../openai/operations.ts";
import type { RequestBody } from "../openai/request-fields.ts";
import { DONE, KEEP_ALIVE, sseComment, sseData, textOf } from "../openai/sse.ts";
import { withCost } from "../openai/usage-edits.ts";
import { describe } from "../openai/validation.ts";
import type { Dialect, StreamEnd, StreamWriter } from "./dialect.ts";

/** Keeps no state: one for all streams. */
const writer: StreamWriter = {
	keepAlive: `${KEEP_ALIVE}\n\n`,
	push: (piece) => piece,
	end: (end) => usageEvent(end) + summary(end) + DONE,
	error: (error) => sseData(JSON.stringify(error.body)),
};

/** `/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`. */
export const openAiChat: Dialect = {
	contentType: "application/json",
	streamContentType: "text/event-stream; charset=utf-8",
	parse: parseRequest,
	answer: (answer, costUsd) => (costUsd === undefined ? answer : withCost(textOf(answer), costUsd)),
	stream: () => writer,
	fold: foldStream,
	error: (error, headers) => error.response(headers),
};

function usageEvent({ usageChunk, tellsCost, cost }: StreamEnd): string {
	if (usageChunk === undefined) return "";
	return sseData(tellsCost && cost !== undefined ? withCost(usageChunk, cost) : usageChunk);
}

/** As a comment, which clients skip. */
function summary({ provider, model, agent, attempts, cache, tokens, isEstimated, cost }: StreamEnd): string {
	const estimated = isEstimated || undefined;
	const facts = { provider, model, agent, attempts, cache, usage: tokens, estimated, cost_usd: cost };
	return sseComment(`router ${JSON.stringify(facts)}`);
}

const CHECKS = Object.fromEntries(
	Object.entries(OPERATIONS).map(([operation, { request }]) => [operation, TypeCompiler.Compile(request)]),
) as Record<Operation, TypeCheck<TSchema>>;

/**
 * Reads a request's text. Throws `invalid_json`, `duplicate_key` (two parsers could disagree about which one counts)
 * `body_too_large` (more fields than a parse should see), or `invalid_value` with the path of the first field at fault; messages never quote the body.
 */
export function parseRequest(operation: Operation, raw: string): ParsedRequest {
	let parsed: ParsedText;
	try {
		parsed = parseWithFields(raw);
	} catch (cause) {
		if (cause instanceof JsonTooLarge) throw tooLarge(cause);
		throw new RouterError("invalid_json", `The body is no valid JSON: ${reasonOf(cause)}.`);
	}
	const { value: body, fields, repeated } = parsed;
	if (typeof body !== "object" || body === null || Array.isArray(body)) {
		throw new RouterError("invalid_value", 'The body must be a JSON object, such as {"model": …}.');
	}
	if (repeated !== undefined) {
		throw new RouterError("duplicate_key", `The field "${repeated.slice(0, 64)}" stands twice; send it once.`, {
			param: repeated.slice(0, 64),
		});
	}
	const check = CHECKS[operation];
	if (!check.Check(body)) {
		const error = check.Errors(body).First();
		const { param, message } = error ? describe(error) : { param: undefined, message: "A field has a wrong type." };
		throw new RouterError("invalid_value", message, { param });
	}
	const checked = body as RequestBody;
	return { raw, body: checked, fields, stream: checked.stream === true && OPERATIONS[operation].canStream };
}

/** The parser's reason without what it quotes: that is the client's text. */
function reasonOf(error: unknown): string {
	const message = error instanceof SyntaxError ? error.message : "it is nested too deeply";
	return message.replace(/^JSON Parse error: /, "").replace(/\s*(["'`]).{2,}\1/s, "");
}
