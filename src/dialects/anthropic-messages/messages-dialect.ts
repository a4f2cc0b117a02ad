/** Anthropic's Messages API, `POST /v1/messages`, in front of every model. */
import type { NativeRequest, ParsedRequest } from "../../openai/call.ts";
import type { CallFacts } from "../../openai/call-facts.ts";
import { hasLongNumbers, parsedExactly } from "../../openai/exact-numbers.ts";
import { type Field, fieldNamed, splice } from "../../openai/json.ts";
import type { ParsedBody } from "../../openai/parsed-body.ts";
import { textOf } from "../../openai/sse.ts";
import { utf8Text } from "../../openai/validation.ts";
import type { Dialect } from "../dialect.ts";
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
		parse: (_, sent) => parseMessages(sent, isSevere),
		answer: (answer, { id, facts }, costUsd, _, parsed) =>
			messageText(parsed ?? JSON.parse(textOf(answer)), id, costUsd, namesOf(facts)),
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
function parseMessages(sent: Buffer, isSevere: boolean): ParsedRequest {
	const text = utf8Text(sent);
	return parsedRequest(text, readRequest(text, "messages", isSevere));
}

/**
 * A request whose tokens are to be counted, which need not say how long its answer may be. Throws as `parse` does.
 * @param headers the client's
 */
export function countedRequest(text: string, headers: Headers): ParsedRequest {
	const checked = readRequest(text, "count", hasSevereRules(headers));
	return parsedRequest(text, { ...checked, request: { ...checked.request, max_tokens: 1 } });
}

function parsedRequest(text: string, { request: checked, fields }: CheckedRequest): ParsedRequest {
	const forms = new RequestForms(checked, text, fields);
	return {
		facts: new MessagesFacts(checked, text, fields, forms),
		stream: checked.stream === true,
		body: () => forms.form("others").body,
		leftOut: () => forms.form("others").leftOut,
		prefills: checked.messages.at(-1)?.role === "assistant",
		isThoughtless: checked.thinking?.type === "disabled",
		native: forms,
	};
}

/** A request in OpenAI's words, for others and for Claude, each made when it is first asked for. */
class RequestForms implements NativeRequest {
	readonly vendor = "anthropic";
	#exact: MessagesRequest | undefined;
	readonly #made: { [form in RequestForm]?: ChatForm } = {};
	/** Claude takes all that it holds, and nothing in it leads to other models. */
	#isClaudes: boolean | undefined;
	/** The model that was asked about last, and its text. */
	#model: string;
	#own: string;

	constructor(
		private readonly request: MessagesRequest,
		private readonly text: string,
		private readonly fields: readonly Field[],
	) {
		this.#model = request.model;
		this.#own = text;
	}

	form(form: RequestForm): ChatForm {
		this.#made[form] ??= this.#translated(form);
		return this.#made[form];
	}

	#translated(form: RequestForm): ChatForm {
		// Budgets are compared, which exact numbers can't be.
		this.#exact ??= hasLongNumbers(this.text)
			? { ...parsedExactly<MessagesRequest>(this.text), thinking: this.request.thinking ?? null }
			: this.request;
		const { text: chat, leftOut } = chatRequest(this.#exact, form);
		const { facts, body } = parseRequest("chat", chat);
		return { facts, body: body(), leftOut };
	}

	body(): ParsedBody {
		return this.form("claude").body;
	}

	leftOut(): readonly string[] {
		return this.form("claude").leftOut;
	}

	marked(): ParsedBody {
		return this.form("marked").body;
	}

	/** The client's text for a model of another name; undefined where it holds what Anthropic would refuse, or names other models. */
	own(model: string): string | undefined {
		this.#isClaudes ??= !hasForeignBlocks(this.request) && !namesOtherModels(this.request);
		if (!this.#isClaudes) return undefined;
		if (model !== this.#model) {
			const { start, end } = fieldNamed(this.fields, "model")!;
			this.#model = model;
			this.#own =
				model === this.request.model ? this.text : splice(this.text, [{ start, end, insert: JSON.stringify(model) }]);
		}
		return this.#own;
	}
}
