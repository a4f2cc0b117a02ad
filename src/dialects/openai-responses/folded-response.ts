/** A complete stream of this wire as a whole chat answer, for the cache: made of the response that its last event holds. */
import { SseSplitter } from "../../openai/sse.ts";
import { objectIn } from "../../openai/usage.ts";
import type { DialectCall } from "../dialect.ts";
import { imageUrl } from "./output-items.ts";
import { requestIn } from "./request-facts.ts";
import { summaryIn } from "./summary.ts";
import { customArguments, type ToolForms } from "./tools.ts";

type Fields = Readonly<Record<string, unknown>>;

/** OpenAI's JSON, without the counts, which the call's record has; undefined where the stream holds no whole response. */
export function foldResponse(call: DialectCall, stream: Uint8Array): string | undefined {
	let response: Fields | undefined;
	for (const { name, data } of new SseSplitter().push(stream)) {
		if (data === undefined || (name !== "response.completed" && name !== "response.incomplete")) continue;
		response = objectIn(objectIn(JSON.parse(data))?.["response"]);
	}
	if (!response) return undefined;
	const { created_at: created, model, service_tier, output, incomplete_details: details } = response;
	const reason = objectIn(details)?.["reason"];
	const { tools, isCompaction } = requestIn(call);
	const items: readonly unknown[] = Array.isArray(output) ? output : [];
	// What the model said is not in it where that was no summary.
	if (isCompaction && items.length === 0) return undefined;
	if (items.some(saysMore)) return undefined;
	const { message, logprobs } = messageOf(items, tools);
	const finish = reason === "max_output_tokens" ? "length" : reason === "content_filter" ? "content_filter" : undefined;
	const choice = {
		index: 0,
		message,
		logprobs: logprobs.length > 0 ? { content: logprobs } : null,
		finish_reason: finish ?? ("tool_calls" in message ? "tool_calls" : "stop"),
	};
	const id = `chatcmpl-${String(response["id"]).replace(/^resp_/, "")}`;
	return JSON.stringify({ id, object: "chat.completion", created, model, choices: [choice], service_tier });
}

/** Items of which a chat has a form. */
const SAID: ReadonlySet<unknown> = new Set([
	"reasoning",
	"message",
	"function_call",
	"custom_tool_call",
	"compaction",
	"image_generation_call",
]);

/** Whether a chat can't say it: what OpenAI's own tools have done, and summaries that only OpenAI can read. */
function saysMore(sent: unknown): boolean {
	const { type, encrypted_content: encrypted } = objectIn(sent) ?? {};
	return !SAID.has(type) || (type === "compaction" && summaryIn(textIn(encrypted)) === undefined);
}

interface Said {
	text: string;
	refusal: string;
	thought: string;
	readonly calls: object[];
	readonly images: object[];
	readonly annotations: object[];
	readonly logprobs: unknown[];
	details: unknown;
	extra: unknown;
}

function messageOf(
	output: readonly unknown[],
	tools: ToolForms,
): { readonly message: object; readonly logprobs: readonly unknown[] } {
	const said: Said = {
		...{ text: "", refusal: "", thought: "", details: undefined, extra: undefined },
		...{ calls: [], images: [], annotations: [], logprobs: [] },
	};
	for (const item of output) add(said, objectIn(item) ?? {}, tools);
	const { text, refusal, thought, calls, images, annotations, logprobs, details, extra } = said;
	const message = {
		role: "assistant",
		content: text === "" && (calls.length > 0 || refusal !== "") ? null : text,
		refusal: refusal === "" ? null : refusal,
		...(annotations.length > 0 ? { annotations } : {}),
		...(thought === "" ? {} : { reasoning_content: thought, reasoning: thought }),
		...(details === undefined ? {} : { reasoning_details: details }),
		...(extra === undefined ? {} : { extra_content: extra }),
		...(images.length > 0 ? { images } : {}),
		...(calls.length > 0 ? { tool_calls: calls } : {}),
	};
	return { message, logprobs };
}

function add(said: Said, item: Fields, tools: ToolForms): void {
	const { type, content, summary, name, namespace, call_id: id, extra_content: extra } = item;
	switch (type) {
		case "reasoning":
			for (const part of listIn(summary)) said.thought += textIn(part["text"]);
			// Of those that the items carry it has all.
			said.details ??= item["reasoning_details"];
			break;
		case "message":
			for (const part of listIn(content)) addPart(said, part);
			said.extra ??= extra;
			break;
		case "function_call":
		case "custom_tool_call": {
			const args = type === "function_call" ? textIn(item["arguments"]) : customArguments(textIn(item["input"]));
			const sentName = tools.sentNameOf(textIn(name), textIn(namespace));
			const call = { id, type: "function", function: { name: sentName, arguments: args } };
			said.calls.push(extra === undefined ? call : { ...call, extra_content: extra });
			break;
		}
		case "compaction":
			said.text += summaryIn(textIn(item["encrypted_content"])) ?? "";
			break;
		case "image_generation_call":
			said.images.push({ type: "image_url", image_url: { url: imageUrl(item) } });
	}
}

function addPart(said: Said, part: Fields): void {
	if (part["type"] === "refusal") said.refusal += textIn(part["refusal"]);
	else said.text += textIn(part["text"]);
	for (const { type, ...cited } of listIn(part["annotations"])) said.annotations.push({ type, [String(type)]: cited });
	said.logprobs.push(...listIn(part["logprobs"]));
}

const textIn = (value: unknown): string => (typeof value === "string" ? value : "");
const listIn = (value: unknown): readonly Fields[] =>
	Array.isArray(value) ? value.map((each: unknown): Fields => objectIn(each) ?? {}) : [];
