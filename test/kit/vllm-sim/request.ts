/** Reads a call's body, and renders its conversation as a chat template does. */
import { ApiError, invalid } from "./errors.ts";
import type { Model } from "./model.ts";
import { pieceOf, tokenize } from "./tokens.ts";

/** A JSON object. */
export type Json = Record<string, unknown>;

/** One message of a conversation. */
export interface Message {
	readonly role: string;
	readonly content?: unknown;
	readonly tool_calls?: readonly Json[];
	readonly reasoning?: string;
}

/** A prompt, and the partial answer that is to be continued. */
export interface Prompt {
	readonly text: string;
	readonly partial: string | undefined;
}

/** The body as an object. Throws ApiError as FastAPI and pydantic do. */
export async function readBody(request: Request): Promise<Json> {
	const type = request.headers.get("content-type")?.split(";")[0]?.trim().toLowerCase();
	if (type !== "application/json") {
		throw invalid(["body"], "Unsupported Media Type: Only 'application/json' is allowed", "value_error");
	}
	let body: unknown;
	try {
		body = await request.json();
	} catch {
		throw invalid(["body", 0], "JSON decode error", "json_invalid", {});
	}
	if (typeof body !== "object" || body === null || Array.isArray(body)) {
		throw invalid(["body"], "Input should be a valid dictionary", "model_attributes_type");
	}
	return body as Json;
}

/** Throws 404 for a model this server doesn't have; no model at all means the first. */
export function checkModel(body: Json, model: Model): string {
	const asked = body["model"] ?? model.names[0]!;
	if (typeof asked !== "string")
		throw invalid(["body", "model"], "Input should be a valid string", "string_type", asked);
	if (!model.names.includes(asked) && !model.adapters.has(asked))
		throw new ApiError(404, `The model \`${asked}\` does not exist.`, "model");
	return asked;
}

/** The conversation as ChatML. */
export function renderChat(body: Json): Prompt {
	const messages = body["messages"];
	if (messages === undefined) throw invalid(["body", "messages"], "Field required", "missing", body);
	if (!Array.isArray(messages)) throw invalid(["body", "messages"], "Input should be a valid list", "list_type");
	const addPrompt = body["add_generation_prompt"] ?? true;
	const continues = body["continue_final_message"] ?? false;
	if (addPrompt && continues) {
		throw new ApiError(400, "Cannot set both `continue_final_message` and `add_generation_prompt` to True.");
	}
	if (messages.length === 0) throw new ApiError(400, "list object has no element 0");
	const last = messages.at(-1) as Message;
	const tools = Array.isArray(body["tools"]) && body["tools"].length > 0 ? JSON.stringify(body["tools"]) : "";
	const head = tools && `<|im_start|>system\n# Tools\n${tools}<|im_end|>\n`;
	const said = (continues ? messages.slice(0, -1) : messages).map((message, at) => renderMessage(message, at));
	return {
		text: head + said.join("") + (addPrompt || continues ? "<|im_start|>assistant\n" : ""),
		partial: continues ? contentText(last.content, messages.length - 1) : undefined,
	};
}

function renderMessage(message: Message, at: number): string {
	if (typeof message?.role !== "string") {
		throw invalid(["body", "messages", at, "role"], "Field required", "missing");
	}
	const calls = message.tool_calls?.length ? JSON.stringify(message.tool_calls) : "";
	return `<|im_start|>${message.role}\n${contentText(message.content, at)}${calls}<|im_end|>\n`;
}

/** Text as it is, parts one after the other; an image counts as a thousand characters of it. */
function contentText(content: unknown, at: number): string {
	if (typeof content === "string") return content;
	if (content === undefined || content === null) return "";
	if (!Array.isArray(content)) {
		throw invalid(["body", "messages", at, "content"], "Input should be a valid string", "string_type", content);
	}
	return content
		.map((part: Json) => {
			if (part["type"] === "text") return String(part["text"] ?? "");
			if (part["type"] === "image_url") return `<|vision_start|>${"pad ".repeat(250)}<|vision_end|>`;
			throw new ApiError(400, `Unknown part type: ${part["type"]}`);
		})
		.join("");
}

/** The limit of new tokens. Throws vLLM's 400 when prompt and answer can't both fit; undefined: the model's length. */
export function tokenLimit(body: Json, tokens: number, model: Model): number | undefined {
	if (tokens >= model.maxLength) {
		throw new ApiError(
			400,
			`This model's maximum context length is ${model.maxLength} tokens. However, your request has ${tokens} input tokens. Please reduce the length of the input messages.`,
			"input_tokens",
		);
	}
	const name = body["max_completion_tokens"] === undefined ? "max_tokens" : "max_completion_tokens";
	const asked = body[name];
	if (asked === undefined || asked === null) return undefined;
	if (!Number.isInteger(asked)) throw invalid(["body", name], "Input should be a valid integer", "int_type", asked);
	if ((asked as number) < 1) throw new ApiError(400, `${name} must be at least 1, got ${asked}.`, name);
	if ((asked as number) > model.maxLength - tokens) {
		throw new ApiError(
			400,
			`'max_tokens' or 'max_completion_tokens' is too large: ${asked}. This model's maximum context length is ${model.maxLength} tokens and your request has ${tokens} input tokens (${asked} > ${model.maxLength} - ${tokens}).`,
			"max_tokens",
		);
	}
	return asked as number;
}

/** A completion's prompts, as text and as tokens; of token ids the text is their numbers. */
export function readPrompts(body: Json): { readonly text: string; readonly tokens: readonly string[] }[] {
	const prompt = body["prompt"];
	const texts = typeof prompt === "string" ? [prompt] : prompt;
	if (Array.isArray(texts) && texts.every((part) => typeof part === "string") && texts.length > 0) {
		return texts.map((text) => ({ text, tokens: tokenize(text) }));
	}
	if (Array.isArray(texts) && texts.length > 0 && texts.every(Number.isInteger)) {
		return [{ text: texts.map((id) => ` ${id}`).join(""), tokens: texts.map(pieceOf) }];
	}
	throw new ApiError(400, "Either prompt or prompt_embeds must be provided and non-empty.");
}

/** Its tokens. */
export const promptTokens = ({ text, partial }: Prompt): string[] => tokenize(text + (partial ?? ""));
