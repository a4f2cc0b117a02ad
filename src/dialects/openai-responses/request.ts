/** A request, checked, and as a chat. */
import { RouterError } from "../../errors.ts";
import { fieldNamed } from "../../openai/json.ts";
import { ParsedBody } from "../../openai/parsed-body.ts";
import type { RequestBody } from "../../openai/request-fields.ts";
import { indexed, requestScan } from "../../openai/request-scan.ts";
import { utf8Text } from "../../openai/validation.ts";
import { leftOutNames } from "../client-fields.ts";
import type { EarlierAnswers } from "../dialect.ts";
import { requestObject } from "../request-object.ts";
import { checkField, checkOf, invalidField, unsupportedField } from "./field-checks.ts";
import { type Conversation, conversationOf, type MessagePath } from "./input.ts";
import { type PlainInput, plainInput } from "./input-scan.ts";
import { refuseRepeatedNames } from "./item-names.ts";
import {
	RESPONSES_REQUEST,
	type ResponsesBody,
	type ResponsesInput,
	ResponsesRequestSchema,
	TEXT_FORMATS,
} from "./request-schema.ts";
import { chatToolFields, type ToolForms, toolFormsOf } from "./tools.ts";

/** Fields that are known here, and go into the chat in a form of their own, or say nothing to a model. */
const READ = new Set(
	(
		"model input instructions stream stream_options tools tool_choice parallel_tool_calls max_tool_calls max_output_tokens temperature top_p " +
		"top_logprobs reasoning text include truncation store background previous_response_id conversation prompt metadata client_metadata service_tier " +
		// Of a WebSocket's frames.
		"type generate stream_id"
	).split(" "),
);

/** Fields of a chat, OpenAI's and of servers of one's own, that are taken here, too, since this wire has none for what they say. */
const PASSED = new Set(
	(
		"user safety_identifier prompt_cache_key prompt_cache_retention prompt_cache_options presence_penalty frequency_penalty seed stop " +
		"logit_bias top_k min_p top_a typical_p repetition_penalty length_penalty min_tokens ignore_eos stop_token_ids skip_special_tokens " +
		"chat_template_kwargs structured_outputs guided_json guided_regex guided_choice guided_grammar thinking thinking_token_budget " +
		"cache_salt priority mm_processor_kwargs venice_parameters models route provider plugins transforms fallbacks anthropic gemini"
	).split(" "),
);

/** `include` of log probabilities. */
const LOGPROBS = "message.output_text.logprobs";

/** A request. What its items say is read of them when it is first asked for, unless only that shows whether they are good. */
export class ResponsesRequest {
	readonly tools: ToolForms;
	/** Where the chat's tools stand in the request. */
	readonly #toolPaths: readonly string[];
	/** The fields of the chat but for its messages. */
	readonly #fields: Readonly<Record<string, unknown>>;
	/** It has fields of chats alone, which nobody has checked. */
	readonly hasChatFields: boolean;
	/** What of it is left out, in this wire's words. */
	readonly leftOut: readonly string[];
	/** Its answer is to be one item that stands for the conversation. */
	readonly isCompaction: boolean;
	#input: ResponsesInput | undefined;
	#conversation: Conversation | undefined;

	/**
	 * Throws RouterError (see `readRequest`).
	 * @param sent as its client has sent it
	 * @param body its fields, parsed; its input only where that had to be read
	 * @param plain undefined where its items are to be checked
	 * @param earlier what was found of the responses that it refers to
	 */
	constructor(
		readonly sent: ParsedBody,
		readonly body: ResponsesBody,
		readonly plain: PlainInput | undefined,
		readonly earlier: EarlierAnswers | undefined,
	) {
		this.tools = toolFormsOf(body.tools);
		if (!hasInput(sent) && !body.previous_response_id) throw invalidField("input", "is missing");
		const said = plain ? undefined : this.#said;
		if (said?.messages.length === 0) throw invalidField("input", "must hold at least one message");
		this.isCompaction = said?.isCompaction === true;
		// The tools stay, so that the upstream's cached prompt holds.
		const choice = this.isCompaction && this.tools.functions.length > 0 ? "none" : body.tool_choice;
		const { fields: toolFields, paths } = chatToolFields(this.tools, choice, body.parallel_tool_calls);
		this.#toolPaths = paths;
		const fields: Record<string, unknown> = { ...toolFields };
		setOptions(fields, body);
		if (this.isCompaction) delete fields["response_format"];
		const leftOut: string[] = [];
		for (const name of this.tools.leftOut) leftOut.push(name);
		if (said) leftOut.push(...said.leftOut);
		// Nothing is cut off a conversation that is too long.
		if (body.truncation && body.truncation !== "disabled") leftOut.push("truncation");
		if (body.store && !earlier?.areStored) leftOut.push("store");
		let hasChatFields = false;
		for (const name in body) {
			const value = body[name];
			if (value === null || READ.has(name)) continue;
			if (PASSED.has(name)) {
				fields[name] = value;
				hasChatFields ||= !Object.hasOwn(ResponsesRequestSchema.properties, name);
			} else leftOut.push(name);
		}
		this.#fields = fields;
		this.hasChatFields = hasChatFields;
		this.leftOut = leftOut.length === 0 ? leftOut : leftOutNames(leftOut);
	}

	/** What is said, before anything is made of it. */
	get input(): ResponsesInput {
		this.#input ??= (this.body[INPUT] as ResponsesInput | null | undefined) ?? inputIn(this.sent) ?? [];
		return this.#input;
	}

	/** The same request as a chat. */
	get chat(): Readonly<Record<string, unknown>> & { readonly model: string } {
		return { model: this.body.model, messages: this.#said.messages, ...this.#fields };
	}

	/** The chat for Claude, where that is another one. */
	get claudeChat(): (() => ResponsesRequest["chat"]) | undefined {
		if (this.plain || !this.#said.isMarked) return undefined;
		return () => ({ ...this.chat, messages: this.#conversationFor("claude").messages });
	}

	/** Where what became the chat's messages, and its tools, stands in the request. */
	get paths(): { readonly messages: readonly MessagePath[]; readonly tools: readonly string[] } {
		return { messages: this.#said.paths, tools: this.#toolPaths };
	}

	get #said(): Conversation {
		this.#conversation ??= this.#conversationFor("others");
		return this.#conversation;
	}

	#conversationFor(form: "claude" | "others"): Conversation {
		return conversationOf(this.input, this.body.instructions, this.tools, form, this.earlier);
	}
}

const INPUT = "input";
const LOWER_N = 110;

/** Null is none. */
function hasInput(sent: ParsedBody): boolean {
	const field = sent.field(INPUT);
	return field !== undefined && sent.bytes[field.start] !== LOWER_N;
}

function inputIn(sent: ParsedBody): ResponsesInput | null | undefined {
	const field = sent.field(INPUT);
	return field && (JSON.parse(sent.textOf(field)) as ResponsesInput | null);
}

/**
 * Reads a request. Throws RouterError: `invalid_json`, `duplicate_key`, `body_too_large`, `invalid_value` naming the field at fault,
 * `unsupported_parameter` for what the router can't do, `previous_response_not_found`.
 */
export function readRequest(bytes: Buffer, earlier?: EarlierAnswers): ResponsesRequest {
	const { sent, body, plain } = checkedRequest(bytes);
	refuseStateful(body, earlier);
	return new ResponsesRequest(sent, body, earlier?.conversation ? undefined : plain, earlier);
}

const scan = requestScan(ResponsesRequestSchema);

/** A request that its schema finds good. */
interface CheckedRequest {
	readonly sent: ParsedBody;
	readonly body: ResponsesBody;
	readonly plain: PlainInput | undefined;
}

/** What a scan has found of a request. */
type ScannedRequest = Pick<CheckedRequest, "sent" | "plain">;

/** By their bytes: what a request refers to is asked before it is read, and one that is answered or refused before that is kept no longer than its call. */
const scanned = new WeakMap<Buffer, ScannedRequest>();

function scannedRequest(bytes: Buffer): ScannedRequest | undefined {
	const before = scanned.get(bytes);
	if (before) {
		scanned.delete(bytes);
		return before;
	}
	const fields = scan(bytes);
	if (!fields) return undefined;
	const sent = new ParsedBody(bytes, fields, undefined, indexed.isAscii);
	const input = sent.field(INPUT);
	return { sent, plain: input && plainInput(bytes, input.start) };
}

/** Whether a request refers to nothing of earlier answers: false where a scan can't tell. It is to be read next, or never. */
export function refersToNothing(bytes: Buffer): boolean {
	const found = scannedRequest(bytes);
	if (found) scanned.set(bytes, found);
	return found?.plain !== undefined && found.sent.field("previous_response_id") === undefined;
}

/** Checks the bytes against the schema: by a scan, or, where that does not find them good, by what knows why. */
function checkedRequest(bytes: Buffer): CheckedRequest {
	const found = scannedRequest(bytes);
	if (found) {
		const { sent, plain } = found;
		const input = sent.field(INPUT);
		if (input && !plain) refuseRepeatedNames(sent.textOf(input), 0);
		return { sent, body: bodyOf(sent), plain };
	}
	const raw = utf8Text(bytes);
	const { value, fields } = requestObject(raw, {
		noObject: 'The body must be a JSON object, such as {"model": …, "input": …}.',
	});
	checkField(RESPONSES_REQUEST, value, "");
	const input = fieldNamed(fields, INPUT);
	if (input) refuseRepeatedNames(raw, input.start);
	const sent = ParsedBody.of(raw, fields, value as RequestBody);
	return { sent, body: value as unknown as ResponsesBody, plain: undefined };
}

/** The parse of all but the input, which is most of a request: in its place is null. */
function bodyOf(sent: ParsedBody): ResponsesBody {
	const body: Record<string, unknown> = {};
	for (const field of sent.fields) {
		const { key } = field;
		// As a name in an object literal it would be none.
		if (key === "__proto__") return { ...(JSON.parse(sent.raw) as ResponsesBody), [INPUT]: null };
		body[key] = key === INPUT ? null : sent.valueIn(field);
	}
	return body as ResponsesBody;
}

/** What needs responses that are not here, or conversations or prompts, which are not stored. */
function refuseStateful(
	{ background, conversation, previous_response_id: previous, prompt }: ResponsesBody,
	earlier: EarlierAnswers | undefined,
): void {
	if (previous && !earlier?.conversation) {
		throw new RouterError(
			"previous_response_not_found",
			`Previous response with id '${previous.slice(0, 100)}' not found.`,
			{
				param: "previous_response_id",
			},
		);
	}
	if (background) throw unsupportedField("background", "it answers while the client waits; leave it out");
	if (conversation != null)
		throw unsupportedField("conversation", "it keeps no conversations; send the items in input");
	if (prompt != null) throw unsupportedField("prompt", "it keeps no prompts; send the text in instructions and input");
}

/** All but the messages, the tools and what is passed on as it is. */
function setOptions(chat: Record<string, unknown>, body: ResponsesBody): void {
	const { reasoning, text, service_tier: tier } = body;
	if (body.stream) chat["stream"] = true;
	if (typeof body.temperature === "number") chat["temperature"] = body.temperature;
	if (typeof body.top_p === "number") chat["top_p"] = body.top_p;
	if (typeof body.max_output_tokens === "number") chat["max_completion_tokens"] = body.max_output_tokens;
	if (reasoning?.effort) chat["reasoning_effort"] = reasoning.effort;
	if (text?.verbosity) chat["verbosity"] = text.verbosity;
	if (text?.format) setFormat(chat, text.format as TextFormat);
	if (tier && tier !== "auto") chat["service_tier"] = tier;
	if (body.top_logprobs || body.include?.includes(LOGPROBS)) {
		chat["logprobs"] = true;
		if (body.top_logprobs) chat["top_logprobs"] = body.top_logprobs;
	}
}

interface TextFormat {
	readonly type: string;
	readonly name?: string;
	readonly schema?: object;
	readonly description?: string | null;
	readonly strict?: boolean | null;
}

function setFormat(chat: Record<string, unknown>, format: TextFormat): void {
	const { type, name, schema, description, strict } = format;
	const check = checkOf(TEXT_FORMATS, type);
	if (!check) throw invalidField("text.format.type", `must be one of ${Object.keys(TEXT_FORMATS).join(", ")}`);
	checkField(check, format, "text.format");
	if (type === "json_object") chat["response_format"] = { type };
	if (type !== "json_schema") return;
	const json_schema = {
		name,
		...(description ? { description } : {}),
		schema,
		...(typeof strict === "boolean" ? { strict } : {}),
	};
	chat["response_format"] = { type, json_schema };
}
