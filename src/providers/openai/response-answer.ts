/** A whole response of OpenAI's Responses as a chat's answer. */
import type { Call } from "../../openai/call.ts";
import { thoughtFields } from "../../openai/reasoning.ts";
import { objectIn, type Tokens } from "../../openai/usage.ts";
import { chatUsage, type FinishReason, now } from "../chat-answer.ts";
import type { Failure } from "../failure.ts";
import { OwnAnswer } from "../passed-own.ts";
import type { Answer, StoredThinking } from "../provider.ts";
import type { Upstream } from "../registry.ts";
import { type Json, responseReading } from "./response-events.ts";

const textIn = (value: unknown): string => (typeof value === "string" ? value : "");
const listIn = (value: unknown): readonly Json[] =>
	Array.isArray(value) ? value.map((each: unknown): Json => objectIn(each) ?? {}) : [];

/** How OpenRouter calls what OpenAI has encrypted, among other vendors' signed thoughts: a client sends it back as it came. */
export const ENCRYPTED_FORMAT = "openai-responses-v1";

/** What was thought, as OpenAI alone can read it; undefined where it was not asked for. */
export function encryptedDetail({ id, encrypted_content: data }: Json, index: number): object | undefined {
	if (typeof data !== "string" || data === "") return undefined;
	return { type: "reasoning.encrypted", data, id, format: ENCRYPTED_FORMAT, index };
}

/** What was thought before calls of tools, to be put back where the client of a chat drops it. */
export function storedThinking(callId: unknown, details: readonly object[]): StoredThinking[] {
	if (typeof callId !== "string" || details.length === 0) return [];
	return [{ id: callId, value: JSON.stringify(details) }];
}

/** Annotations of a text as a chat has them: a level deeper. */
export const chatAnnotation = ({ type, ...cited }: Json): object => ({ type, [String(type)]: cited });

/** How a response ended. */
export function finishOf({ incomplete_details: details }: Json, hasCalls: boolean): FinishReason {
	const reason = objectIn(details)?.["reason"];
	if (reason === "max_output_tokens") return "length";
	if (reason === "content_filter") return "content_filter";
	return hasCalls ? "tool_calls" : "stop";
}

/** Paragraphs of a summary. */
export const BETWEEN_SUMMARIES = "\n\n";

interface Said {
	text: string;
	refusal: string;
	readonly thoughts: string[];
	readonly details: object[];
	readonly calls: Json[];
	readonly annotations: object[];
	readonly logprobs: unknown[];
}

/**
 * The answer, or the failure that it is.
 * @param own the response as it came, where the client speaks Responses itself
 */
export function responseAsChat(
	upstream: Upstream,
	response: Json,
	call: Call,
	own: string | undefined,
): Answer | Failure {
	const { failure, tokens, cost } = responseReading(upstream, response);
	if (failure) return { ...failure, tokens, cost };
	if (own !== undefined) {
		const { output } = response;
		const isMore = Array.isArray(output) && output.some((item) => saysMore(objectIn(item) ?? {}));
		return new OwnAnswer(own, { saysMore: isMore, tokens, cost }, () => ({
			body: chatOf(response, call, tokens).body,
		}));
	}
	const { body, calls, details } = chatOf(response, call, tokens);
	return { body, tokens, cost, thinking: storedThinking(calls[0]?.["id"], details) };
}

/** Items of which a chat has a form. */
const PLAIN: ReadonlySet<unknown> = new Set(["reasoning", "message", "function_call"]);

/** Whether a chat can't say it: under which name the client knows a tool of a namespace it does not say either. */
const saysMore = ({ type, namespace }: Json): boolean => !PLAIN.has(type) || Boolean(namespace);

/** The chat, JSON, and what of it is to be stored. */
function chatOf(
	response: Json,
	call: Call,
	tokens: Tokens | undefined,
): { readonly body: string } & Pick<Said, "calls" | "details"> {
	const said: Said = {
		...{ text: "", refusal: "" },
		...{ thoughts: [], details: [], calls: [], annotations: [], logprobs: [] },
	};
	for (const item of listIn(response["output"])) add(said, item);
	const { text, refusal, thoughts, details, calls, annotations, logprobs } = said;
	const thought = thoughts.join(BETWEEN_SUMMARIES);
	const message = {
		role: "assistant",
		content: text === "" && (calls.length > 0 || refusal !== "") ? null : text,
		refusal: refusal === "" ? null : refusal,
		...(annotations.length > 0 ? { annotations } : {}),
		...(thought === "" ? {} : thoughtFields(thought)),
		...(details.length > 0 ? { reasoning_details: details } : {}),
		...(calls.length > 0 ? { tool_calls: calls } : {}),
	};
	const { id, created_at: created, model, service_tier } = response;
	const completion = {
		id: textIn(id).replace(/^resp_/, "chatcmpl-") || `chatcmpl-${crypto.randomUUID()}`,
		object: "chat.completion",
		created: typeof created === "number" ? Math.floor(created) : now(),
		model: textIn(model) || call.facts.model,
		choices: [
			{
				index: 0,
				message,
				logprobs: logprobs.length > 0 ? { content: logprobs } : null,
				finish_reason: finishOf(response, calls.length > 0),
			},
		],
		...(tokens ? { usage: chatUsage(tokens) } : {}),
		...(typeof service_tier === "string" ? { service_tier } : {}),
	};
	return { body: JSON.stringify(completion), calls, details };
}

function add(said: Said, item: Json): void {
	switch (item["type"]) {
		case "reasoning": {
			for (const part of [...listIn(item["summary"]), ...listIn(item["content"])])
				said.thoughts.push(textIn(part["text"]));
			const detail = encryptedDetail(item, said.details.length);
			if (detail) said.details.push(detail);
			return;
		}
		case "message":
			for (const part of listIn(item["content"])) {
				if (part["type"] === "refusal") said.refusal += textIn(part["refusal"]);
				else said.text += textIn(part["text"]);
				said.annotations.push(...listIn(part["annotations"]).map(chatAnnotation));
				said.logprobs.push(...listIn(part["logprobs"]));
			}
			return;
		case "function_call":
			said.calls.push({
				id: item["call_id"],
				type: "function",
				function: { name: item["name"], arguments: textIn(item["arguments"]) },
			});
	}
}
