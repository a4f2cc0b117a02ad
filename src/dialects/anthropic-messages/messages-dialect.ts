/** Anthropic's Messages API, `POST /v1/messages`, in front of every model. */
import type { ParsedRequest } from "../../openai/call.ts";
import type { CallFacts } from "../../openai/call-facts.ts";
import { hasLongNumbers, parsedExactly } from "../../openai/exact-numbers.ts";
import { type Field, fieldNamed, splice } from "../../openai/json.ts";
import type { Operation } from "../../openai/operations.ts";
import { textOf } from "../../openai/sse.ts";
import { utf8Text } from "../../openai/validation.ts";
import { type Dialect, madeOnce } from "../dialect.ts";
import { parseRequest } from "../openai-chat.ts";
import { hasForeignBlocks, namesOtherModels } from "./foreign-blocks.ts";
import { messageText } from "./messages-answer.ts";
import type { RequestForm } from "./messages-content.ts";
import { errorResponse } from "./messages-error.ts";
import { type ChatForm, MessagesFacts } from "./messages-facts.ts";
import { foldMessages } from "./messages-fold.ts";
import { messagesHeaders } from "./messages-headers.ts";
import { chatRequest } from "./messages-request.ts";
import type { MessagesRequest } from "./messages-schema.ts";
import { MessagesStream } from "./messages-stream.ts";
import { type CheckedRequest, readRequest } from "./messages-validation.ts";

/** From this version on its rules are severer. */
const SEVERE_SINCE = "2026-10-21";

/** The wire as clients of one version of it speak. */
function messagesDialect(isSevere: boolean): Omit<Dialect, "forRequest"> {
	return {
		id: "anthropic-messages",
		contentType: "application/json",
		streamContentType: "text/event-stream; charset=utf-8",
		parse: (operation, sent) => parseMessages(operation, sent, isSevere),
		answer: (answer, { id, facts }, costUsd) => messageText(textOf(answer), id, costUsd, namesOf(facts)),
		stream: (call) => new MessagesStream(call, namesOf(call.facts)),
		fold: (_, stream) => foldMessages(stream),
		error: errorResponse,
		headers: messagesHeaders,
	};
}

/** The whole names of tools that were sent short. */
const namesOf = (facts: CallFacts | undefined): ReadonlyMap<string, string> | undefined =>
	facts instanceof MessagesFacts ? facts.shortToolNames : undefined;

const severe: Dialect = messagesDialect(true);

/** `/v1/messages`. */
export const anthropicMessages: Dialect = {
	...messagesDialect(false),
	forRequest: (headers) => (hasSevereRules(headers) ? severe : anthropicMessages),
};

const VERSION = /^\d{4}-\d\d-\d\d$/;

function hasSevereRules(headers: Headers): boolean {
	const version = headers.get("anthropic-version");
	return version !== null && VERSION.test(version) && version >= SEVERE_SINCE;
}

/**
 * The request.
 * @param isSevere the rules of version 2026-10-21 hold
 */
function parseMessages(operation: Operation, sent: Buffer, isSevere: boolean): ParsedRequest {
	const text = utf8Text(sent);
	return parsedRequest(operation, text, readRequest(text, "messages", isSevere));
}

/**
 * A request whose tokens are to be counted, which need not say how long its answer may be. Throws as `parse` does.
 * @param headers the client's
 */
export function countedRequest(text: string, headers: Headers): ParsedRequest {
	const checked = readRequest(text, "count", hasSevereRules(headers));
	return parsedRequest("chat", text, { ...checked, request: { ...checked.request, max_tokens: 1 } });
}

function parsedRequest(
	operation: Operation,
	text: string,
	{ request: checked, fields }: CheckedRequest,
): ParsedRequest {
	// Budgets are compared, which exact numbers can't be.
	const request = hasLongNumbers(text)
		? { ...parsedExactly<MessagesRequest>(text), thinking: checked.thinking ?? null }
		: checked;
	const formFor = (form: RequestForm) => {
		let made: ChatForm | undefined;
		return () => {
			if (!made) {
				const { text: chat, leftOut } = chatRequest(request, form);
				const { facts, body } = parseRequest(operation, chat);
				made = { facts, body: body(), leftOut };
			}
			return made;
		};
	};
	const others = formFor("others");
	const claude = formFor("claude");
	const marked = formFor("marked");
	return {
		facts: new MessagesFacts(checked, text, fields, others),
		stream: checked.stream === true,
		body: madeOnce(() => others().body),
		leftOut: () => others().leftOut,
		prefills: checked.messages.at(-1)?.role === "assistant",
		isThoughtless: checked.thinking?.type === "disabled",
		native: {
			vendor: "anthropic",
			body: () => claude().body,
			leftOut: () => claude().leftOut,
			marked: () => marked().body,
			own: ownText(text, checked, fields),
		},
	};
}

/** The client's text for a model of another name; undefined where it holds what Anthropic would refuse, or names other models. */
function ownText(
	text: string,
	request: MessagesRequest,
	fields: readonly Field[],
): (model: string) => string | undefined {
	const made = new Map<string, string | undefined>();
	let isClaudes: boolean | undefined;
	return (model) => {
		isClaudes ??= !hasForeignBlocks(request) && !namesOtherModels(request);
		if (!isClaudes) return undefined;
		if (model === request.model) return text;
		let own = made.get(model);
		if (own === undefined) {
			const { start, end } = fieldNamed(fields, "model")!;
			own = splice(text, [{ start, end, insert: JSON.stringify(model) }]);
			made.set(model, own);
		}
		return own;
	};
}
