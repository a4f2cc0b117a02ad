/** A request, checked, and as a chat. */
import { RouterError } from "../../errors.ts";
import { requestScan } from "../../openai/request-scan.ts";
import { utf8Text } from "../../openai/validation.ts";
import { leftOutNames } from "../client-fields.ts";
import type { EarlierAnswers } from "../dialect.ts";
import { requestObject } from "../request-object.ts";
import { checkField, checkOf, invalidField, unsupportedField } from "./field-checks.ts";
import { conversationOf, type MessagePath } from "./input.ts";
import { RESPONSES_REQUEST, type ResponsesBody, ResponsesRequestSchema, TEXT_FORMATS } from "./request-schema.ts";
import { chatToolFields, ToolForms } from "./tools.ts";

/** A request. */
export interface ResponsesRequest {
	/** As the client sent it. */
	readonly body: ResponsesBody;
	/** The same as a chat. */
	readonly chat: Readonly<Record<string, unknown>> & { readonly model: string };
	/** The chat for Claude, where that is another one. */
	readonly claudeChat: (() => ResponsesRequest["chat"]) | undefined;
	readonly tools: ToolForms;
	/** Where what became the chat's messages, and its tools, stands in the request. */
	readonly paths: { readonly messages: readonly MessagePath[]; readonly tools: readonly string[] };
	/** What of it is left out, in this wire's words. */
	readonly leftOut: readonly string[];
	/** It has fields of chats alone, which nobody has checked. */
	readonly hasChatFields: boolean;
	/** Its answer is to be one item that stands for the conversation. */
	readonly isCompaction: boolean;
	/** What was found of the responses that it refers to. */
	readonly earlier: EarlierAnswers | undefined;
}

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

/**
 * Reads a request. Throws RouterError: `invalid_json`, `duplicate_key`, `body_too_large`, `invalid_value` naming the field at fault,
 * `unsupported_parameter` for what the router can't do, `previous_response_not_found`.
 */
export function readRequest(sent: Buffer, earlier?: EarlierAnswers): ResponsesRequest {
	const body = parsedBody(sent);
	refuseStateful(body, earlier);
	const tools = new ToolForms(body.tools ?? []);
	if (body.input == null && !body.previous_response_id) throw invalidField("input", "is missing");
	const input = body.input ?? [];
	const conversation = conversationOf(input, body.instructions, tools, "others", earlier);
	if (conversation.messages.length === 0) throw invalidField("input", "must hold at least one message");
	const { isCompaction } = conversation;
	// The tools stay, so that the upstream's cached prompt holds.
	const choice = isCompaction && tools.functions.length > 0 ? "none" : body.tool_choice;
	const { fields: toolFields, paths: toolPaths } = chatToolFields(tools, choice, body.parallel_tool_calls);
	const leftOut = [...tools.leftOut, ...conversation.leftOut];
	// Nothing is cut off a conversation that is too long.
	if (body.truncation && body.truncation !== "disabled") leftOut.push("truncation");
	if (body.store && !earlier?.areStored) leftOut.push("store");
	const chat: Record<string, unknown> & { model: string } = {
		model: body.model,
		messages: conversation.messages,
		...toolFields,
	};
	setOptions(chat, body);
	if (isCompaction) delete chat["response_format"];
	let hasChatFields = false;
	for (const [name, value] of Object.entries(body)) {
		if (value === null || READ.has(name)) continue;
		if (PASSED.has(name)) {
			chat[name] = value;
			hasChatFields ||= !Object.hasOwn(ResponsesRequestSchema.properties, name);
		} else leftOut.push(name);
	}
	return {
		body,
		chat,
		claudeChat: conversation.isMarked
			? () => ({ ...chat, messages: conversationOf(input, body.instructions, tools, "claude", earlier).messages })
			: undefined,
		tools,
		paths: { messages: conversation.paths, tools: toolPaths },
		leftOut: leftOutNames(leftOut),
		hasChatFields,
		isCompaction,
		earlier,
	};
}

const scan = requestScan(ResponsesRequestSchema);

/** The body, checked against the schema: by a scan of its bytes, or, where that does not find it good, by what knows why. */
function parsedBody(sent: Buffer): ResponsesBody {
	if (scan(sent)) return JSON.parse(sent.toString()) as ResponsesBody;
	const { value } = requestObject(utf8Text(sent), {
		noObject: 'The body must be a JSON object, such as {"model": …, "input": …}.',
	});
	checkField(RESPONSES_REQUEST, value, "");
	return value as unknown as ResponsesBody;
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
