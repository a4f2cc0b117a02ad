/** A whole answer of an upstream that speaks OpenAI: what it means, and what of it the client sees. */
import { JsonTooLarge, parseBounded, splice, UNCHECKED_LENGTH } from "../../openai/json.ts";
import { OPERATIONS } from "../../openai/operations.ts";
import { objectIn, readUsage } from "../../openai/usage.ts";
import { completionEdit, withCounts } from "../../openai/usage-edits.ts";
import type { SignedThoughts } from "../../vendors.ts";
import { oversized, unreadable } from "../answer-object.ts";
import { NO_CHOICE, TRUNCATED } from "../failure.ts";
import type { Provider, StoredThinking } from "../provider.ts";
import type { Upstream } from "../registry.ts";
import { failureOf, readError, readErrorObject } from "../upstream-error.ts";
import { responseAsChat } from "./response-answer.ts";
import type { Json } from "./response-events.ts";
import { SignedAnswer } from "./signed-thoughts.ts";

/** What vLLM calls the end of an answer that it stopped at, since it shuts down. */
export const ABORTED = "abort";

/** What the router reads of a whole answer. */
interface Completion {
	readonly error?: unknown;
	readonly usage?: unknown;
	/** llama.cpp's own counts. */
	readonly timings?: unknown;
	readonly choices?: unknown;
	readonly data?: unknown;
}

/** A choice, or an embedding. */
interface Item {
	readonly error?: unknown;
	readonly finish_reason?: unknown;
	readonly message?: unknown;
	readonly text?: unknown;
}

/** Whether it is a response (`/responses`), or what a server says of one that it can't make. */
const isResponse = ({ object, output, choices }: Json): boolean =>
	choices === undefined && (object === "response" || Array.isArray(output));

/** The decoder of one upstream. */
export function responseDecoder(upstream: Upstream): Provider["decode"] {
	const { signs } = upstream.row;
	return (status, headers, body, call) => {
		const { operation } = call;
		if (status < 200 || status >= 300) return failureOf(upstream, status, readError(body, status), headers);
		let answer: Completion;
		try {
			answer = parseBounded(body, UNCHECKED_LENGTH) as Completion;
		} catch (cause) {
			if (cause instanceof JsonTooLarge) return oversized(status, cause);
			return unreadable(status, body);
		}
		if (typeof answer !== "object" || answer === null || Array.isArray(answer)) {
			return { kind: "transport", status, isOurs: true, message: "sent an answer that is no JSON object" };
		}
		if (isResponse(answer as Json)) {
			return responseAsChat(upstream, answer as Json, call, call.responses ? body : undefined);
		}
		const row = OPERATIONS[operation];
		const list = answer[row.listField];
		const items: readonly (Item | null)[] = Array.isArray(list) ? list : [];
		let hasAnswer = row.answerField === undefined && items.length > 0;
		let isAborted = false;
		for (const item of items) {
			if (item?.finish_reason === ABORTED) isAborted = true;
			if (row.answerField !== undefined && item?.[row.answerField] != null) hasAnswer = true;
		}
		// A 200 may carry an error: OpenRouter puts it at the top, or inside the first choice.
		const inside = answer.error ? { ...answer } : items[0]?.error ? { error: items[0].error } : undefined;
		const error = inside && readErrorObject(inside);
		const { tokens, cost, completion, isPlain } = readUsage(answer.usage, answer.timings);
		if (error) return { ...failureOf(upstream, error.status ?? 500, error, headers), tokens, cost };
		if (isAborted) return { ...TRUNCATED, status, tokens, cost };
		if (!hasAnswer) return { ...NO_CHOICE, status, message: row.emptyMessage, tokens, cost };
		const thinking = signs && operation === "chat" ? signedIn(items[0], signs) : undefined;
		if (tokens && isPlain === false)
			return { body: withCounts(body, tokens, tokens.uncounted !== undefined), tokens, cost, thinking };
		const edit = completion === undefined ? undefined : completionEdit(body, completion);
		if (edit) return { body: splice(body, [edit]), tokens, cost, thinking };
		return { body, parsed: answer, tokens, cost, thinking };
	};
}

/** What the server has signed of a choice's message. */
function signedIn(item: Item | null | undefined, signs: SignedThoughts): StoredThinking[] | undefined {
	const message = objectIn(item?.message);
	if (!message?.["tool_calls"]) return undefined;
	const answer = new SignedAnswer(signs);
	answer.add(message);
	return answer.thinking;
}
