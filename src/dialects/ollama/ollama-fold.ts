/** A stream of this wire as OpenAI's whole answer, for the cache. */
import { objectIn } from "../../openai/usage.ts";
import { contentText } from "../chat-message.ts";
import type { DialectCall } from "../dialect.ts";
import { plainToolName } from "../tool-names.ts";
import type { OllamaForm } from "./ollama-answer.ts";

type Json = Readonly<Record<string, unknown>>;

/** The answer without its counts, which the record of its call has; undefined where the stream is not whole, or does not say all. */
export function foldOllama(form: OllamaForm, { id, operation, facts }: DialectCall, stream: Uint8Array) {
	let content = "";
	let thinking = "";
	let end: Json | undefined;
	const calls: Json[] = [];
	const details: unknown[] = [];
	const logprobs: unknown[] = [];
	for (const line of Buffer.from(stream).toString().split("\n")) {
		const object = line === "" ? undefined : objectIn(JSON.parse(line));
		if (!object) continue;
		const said = form === "chat" ? (objectIn(object["message"]) ?? {}) : object;
		content += contentText(form === "chat" ? said["content"] : said["response"]);
		thinking += contentText(said["thinking"]);
		for (const call of listOf(said["tool_calls"])) calls.push(chatCall(objectIn(call) ?? {}, line, calls.length));
		details.push(...listOf(said["reasoning_details"]));
		logprobs.push(...listOf(object["logprobs"]));
		if (object["done"] === true) end = object;
	}
	if (!end || end["left_out"] !== undefined) return undefined;
	const { done_reason, router } = end;
	const isRefusal = done_reason === "refusal";
	const finish = isRefusal ? "stop" : done_reason;
	const finish_reason = finish === "stop" && calls.length > 0 ? "tool_calls" : finish;
	const message = {
		role: "assistant",
		content: isRefusal || (content === "" && calls.length > 0) ? null : content,
		...(isRefusal ? { refusal: content } : {}),
		...(thinking === "" ? {} : { reasoning_content: thinking, reasoning: thinking }),
		...(details.length > 0 ? { reasoning_details: details } : {}),
		...(calls.length > 0 ? { tool_calls: calls } : {}),
	};
	const isText = operation === "completions";
	const choice = {
		index: 0,
		...(isText ? { text: content } : { message }),
		...(logprobs.length > 0 ? { logprobs: { content: logprobs } } : {}),
		finish_reason,
	};
	return JSON.stringify({
		id: `chatcmpl-${id.replace(/^req_/, "")}`,
		object: isText ? "text_completion" : "chat.completion",
		created: 0,
		model: objectIn(router)?.["model"] ?? facts.model,
		choices: [choice],
	});
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** How the arguments of a call begin in its line. Each line has one call, written by `toolCallText`. */
const ARGUMENTS = '"arguments":';

/** A call in OpenAI's words, its arguments as they stand in the line: a parse may round their numbers. */
function chatCall({ id, function: fn }: Json, line: string, index: number): Json {
	const { name, arguments: args } = objectIn(fn) ?? {};
	const at = line.indexOf(ARGUMENTS, line.indexOf('"function":{"index":')) + ARGUMENTS.length;
	const text = line.slice(at, line.lastIndexOf("}}]}"));
	return {
		id: contentText(id) || `call_${index}`,
		type: "function",
		function: { name: plainToolName(contentText(name)), arguments: isSame(text, args) ? text : JSON.stringify(args) },
	};
}

function isSame(text: string, args: unknown): boolean {
	try {
		return JSON.stringify(JSON.parse(text)) === JSON.stringify(args);
	} catch {
		return false;
	}
}
