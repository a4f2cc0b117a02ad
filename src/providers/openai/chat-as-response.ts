/** A chat request as OpenAI's Responses take it: for models that OpenAI has there alone, or that take tools there alone. */
import { readChat, unsupported } from "../../openai/chat.ts";
import type { AssistantMessage, Chat, Message, Part, Tool } from "../../openai/chat-schema.ts";
import type { RequestBody } from "../../openai/request-fields.ts";
import { signerOf } from "../../openai/thought-details.ts";
import { objectIn } from "../../openai/usage.ts";
import { CARRIED, DROPPED, type FieldRules, refuseOthers } from "../fields.ts";
import type { RequestInputs } from "../provider.ts";
import { allowedTools } from "../tools.ts";
import type { UnsupportedFields } from "../unsupported-fields.ts";

/** Fields that Responses have under the same name. */
const SAME = [
	"temperature",
	"top_p",
	"top_logprobs",
	"service_tier",
	"metadata",
	"user",
	"safety_identifier",
	"prompt_cache_key",
	"prompt_cache_options",
	"prompt_cache_retention",
] as const;
/** Those of every translator that Responses have none for. */
const NOT_CARRIED = new Set(["stop", "top_k"]);
const RULES: FieldRules = {
	carried: new Set([...CARRIED.filter((name) => !NOT_CARRIED.has(name)), ...SAME, "logprobs", "verbosity", "store"]),
	dropped: new Set([...DROPPED, "cache_control"]),
};

/** Fewer tokens than that OpenAI does not take for a limit. */
const LEAST_TOKENS = 16;

/** What the router asks for so that a conversation can go on. */
const ENCRYPTED_CONTENT = "reasoning.encrypted_content";
const LOGPROBS = "message.output_text.logprobs";

/** What a request is made of besides the chat. */
export interface ResponseTerms {
	readonly model: string;
	readonly stream: boolean;
	/** Thoughts of answers before, by the ids of their calls. */
	readonly inputs: RequestInputs;
	readonly fields: UnsupportedFields;
	/** What the model thinks is asked for in its encrypted form. */
	readonly asksReasoning: boolean;
	/** What was thought before is left out. */
	readonly withoutThoughts: boolean;
}

/** The body. Throws RouterError naming what has no form there. */
export function chatAsResponse(
	body: RequestBody,
	{ model, stream, inputs, fields, asksReasoning, withoutThoughts }: ResponseTerms,
): string {
	const chat = readChat(body);
	refuseOthers(body, RULES, fields);
	const limit = chat.max_completion_tokens ?? chat.max_tokens;
	const include = [...(asksReasoning ? [ENCRYPTED_CONTENT] : []), ...(chat.logprobs ? [LOGPROBS] : [])];
	const items = chat.messages.flatMap((message, at) => itemsOf(message, `messages[${at}]`, inputs));
	return JSON.stringify({
		model,
		input: withoutThoughts ? items.filter((item) => (item as { type?: unknown }).type !== "reasoning") : items,
		...toolFields(chat),
		...textField(chat, body["verbosity"]),
		...(chat.reasoning_effort ? { reasoning: { effort: chat.reasoning_effort } } : {}),
		...(limit ? { max_output_tokens: Math.max(LEAST_TOKENS, limit) } : {}),
		...Object.fromEntries(SAME.flatMap((name) => (body[name] == null ? [] : [[name, body[name]]]))),
		...(include.length > 0 ? { include } : {}),
		store: body["store"] === true,
		...(stream ? { stream } : {}),
	});
}

function itemsOf(message: Message, path: string, inputs: RequestInputs): object[] {
	const { role, content } = message;
	if (role === "assistant") return assistantItems(message, path, inputs);
	const at = `${path}.content`;
	if (role === "tool") {
		const output = typeof content === "string" ? content : partsOf(content, at);
		return [{ type: "function_call_output", call_id: message.tool_call_id, output }];
	}
	return [{ role, content: typeof content === "string" ? content : partsOf(content, at) }];
}

/** What it thought, its words and its calls, in this order. */
function assistantItems(message: AssistantMessage, path: string, inputs: RequestInputs): object[] {
	const { content, refusal, tool_calls: calls, reasoning_details: details } = message;
	const said = typeof content === "string" ? [{ type: "text", text: content } as Part] : (content ?? []);
	const parts = said.flatMap((part, at): object[] => {
		if (part.type === "refusal") return [{ type: "refusal", refusal: part.refusal }];
		if (part.type === "text") return part.text === "" ? [] : [{ type: "output_text", text: part.text }];
		throw unsupported(`${path}.content[${at}].type`, "what the assistant says is text there");
	});
	if (refusal) parts.push({ type: "refusal", refusal });
	const thoughts = thoughtItems(details);
	return [
		...(thoughts.length > 0 || !calls ? thoughts : storedThoughts(calls, inputs)),
		...(parts.length > 0 ? [{ type: "message", role: "assistant", content: parts }] : []),
		...(calls ?? []).map(({ id, function: fn }) => ({
			type: "function_call",
			call_id: id,
			name: fn.name,
			arguments: fn.arguments,
		})),
	];
}

/** What OpenAI has encrypted, as it goes back to it. */
function thoughtItems(details: unknown): object[] {
	if (!Array.isArray(details)) return [];
	return details.flatMap((each) => {
		const { type, data, id } = objectIn(each) ?? {};
		const isOwn = type === "reasoning.encrypted" && signerOf(each) === "openai" && typeof id === "string";
		return isOwn ? [{ type: "reasoning", id, summary: [], encrypted_content: data }] : [];
	});
}

/** The same where the client has dropped them. */
function storedThoughts(calls: readonly { readonly id: string }[], inputs: RequestInputs): object[] {
	for (const { id } of calls) {
		const stored = inputs.thinking(id);
		if (stored !== undefined) return thoughtItems(JSON.parse(stored));
	}
	return [];
}

function partsOf(content: Message["content"], path: string): object[] {
	if (typeof content === "string") return [{ type: "input_text", text: content }];
	return (content ?? []).map((part, at) => inputPart(part, `${path}[${at}]`));
}

function inputPart(part: Part, path: string): object {
	switch (part.type) {
		case "text":
			return { type: "input_text", text: part.text };
		case "image_url": {
			const { url, detail } = part.image_url;
			return { type: "input_image", image_url: url, detail: detail ?? "auto" };
		}
		case "file": {
			const { file_data, file_id, filename } = part.file;
			const isAddress = file_data?.startsWith("https://");
			return {
				type: "input_file",
				...(isAddress ? { file_url: file_data } : file_data ? { file_data } : {}),
				...(file_id ? { file_id } : {}),
				...(filename && !isAddress ? { filename } : {}),
			};
		}
		default:
			throw unsupported(`${path}.type`, "it has no counterpart there");
	}
}

function toolFields(chat: Chat): object {
	const { tools, mode, only } = allowedTools(chat);
	if (!chat.tools?.length) return {};
	const parallel = chat.parallel_tool_calls == null ? {} : { parallel_tool_calls: chat.parallel_tool_calls };
	const sent = { tools: chat.tools.map(toolOf), ...parallel };
	if (mode === "named") return { ...sent, tool_choice: { type: "function", name: only[0] } };
	// All stay in the prompt, so that what is cached of it holds.
	if (only.length > 0 && tools.length < chat.tools.length) {
		const allowed = only.map((name) => ({ type: "function", name }));
		return { ...sent, tool_choice: { type: "allowed_tools", mode, tools: allowed } };
	}
	return mode === "auto" ? sent : { ...sent, tool_choice: mode };
}

/** Responses hold calls to their schema unless they are told not to, and chats the other way round. */
const toolOf = ({ function: { name, description, parameters, strict } }: Tool): object => ({
	type: "function",
	name,
	...(description ? { description } : {}),
	parameters: parameters ?? { type: "object", properties: {} },
	strict: strict ?? false,
});

function textField({ response_format: format }: Chat, verbosity: unknown): object {
	const text: Record<string, unknown> = {};
	if (verbosity != null) text["verbosity"] = verbosity;
	if (format?.type === "json_object") text["format"] = { type: "json_object" };
	if (format?.type === "json_schema") {
		const { name, description, schema, strict } = format.json_schema;
		text["format"] = {
			type: "json_schema",
			name: name ?? "answer",
			...(description ? { description } : {}),
			schema: schema ?? {},
			strict: strict ?? false,
		};
	}
	return Object.keys(text).length > 0 ? { text } : {};
}
