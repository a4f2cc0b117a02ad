/** Anthropic's whole answers (SDK 1.12, Message), as OpenAI's. */
import { type Static, Type } from "@sinclair/typebox";
import { LazyCheck } from "../../lazy-check.ts";
import { fieldNamed, fieldsOf, itemsOf } from "../../openai/json.ts";
import { thoughtFields } from "../../openai/reasoning.ts";
import { open, optional } from "../../openai/request-fields.ts";
import { checkedTokens, objectIn, sumOf, type Tokens } from "../../openai/usage.ts";
import { type Annotation, codePointsIn } from "../annotations.ts";
import { chatUsage, type FinishReason, now, reportedTier } from "../chat-answer.ts";
import type { Failure } from "../failure.ts";
import { unnamedText } from "../message-marks.ts";
import type { Answer, StoredThinking } from "../provider.ts";
import { blockAnnotations } from "./cited-text.ts";
import { detailsOf, type Thought } from "./thinking.ts";

const text = optional(Type.String());

/** A block, as far as it is read. Unknown kinds are ignored: the request asked for none. */
export const BlockSchema = Type.Object(
	{
		type: Type.String(),
		text,
		thinking: text,
		signature: text,
		data: text,
		id: text,
		name: text,
		citations: Type.Optional(Type.Unknown()),
	},
	open,
);
/** A block. */
export type Block = Static<typeof BlockSchema>;

/** Its tokens, unchecked: `input_tokens` are those that no cache was read or written for. */
export interface AnthropicUsage {
	readonly input_tokens?: unknown;
	readonly output_tokens?: unknown;
	readonly cache_creation_input_tokens?: unknown;
	readonly cache_creation?: unknown;
	readonly cache_read_input_tokens?: unknown;
	readonly output_tokens_details?: unknown;
	readonly service_tier?: unknown;
}

/** Why the answer is over. */
export const StopSchema = Type.Object(
	{ stop_reason: text, stop_sequence: text, stop_details: optional(Type.Object({ explanation: text }, open)) },
	open,
);

/** What is read of a message. */
export const MessageSchema = Type.Object(
	{
		id: text,
		model: text,
		content: optional(Type.Array(BlockSchema)),
		usage: Type.Optional(Type.Unknown()),
		...StopSchema.properties,
	},
	open,
);
/** What is read of a message. */
export type ClaudeMessage = Static<typeof MessageSchema>;

const MESSAGE = new LazyCheck(MessageSchema);

/** Whether it is one, as far as it is read. */
export const isMessage = (value: unknown): value is ClaudeMessage => MESSAGE.Check(value);

const FINISH: Readonly<Record<string, FinishReason>> = {
	end_turn: "stop",
	stop_sequence: "stop",
	tool_use: "tool_calls",
	max_tokens: "length",
	model_context_window_exceeded: "length",
	// The turn is not at its end; only Anthropic's own tools, which are not used here, pause.
	pause_turn: "length",
	refusal: "content_filter",
};

/** OpenAI's word for a stop reason; one that is new says no more than that the answer is over. */
export const stopFinish = (reason: string | null | undefined): FinishReason =>
	reason && Object.hasOwn(FINISH, reason) ? FINISH[reason]! : "stop";

/** The sequence that ended an answer, under vLLM's name for it: OpenAI has none. */
export const matchedStop = ({ stop_reason, stop_sequence }: Static<typeof StopSchema>): { stop_reason?: string } =>
	stop_reason === "stop_sequence" && stop_sequence ? { stop_reason: stop_sequence } : {};

/** Its tokens, in OpenAI's sense and checked. What it leaves out is not there, but for the counts themselves. */
export function messageTokens(sent: unknown): Tokens {
	const usage: AnthropicUsage = objectIn(sent) ?? {};
	const { cache_read_input_tokens: cached, cache_creation_input_tokens: cacheWrite } = usage;
	return checkedTokens({
		input: sumOf(usage.input_tokens, cached, cacheWrite),
		output: usage.output_tokens,
		cached,
		cacheWrite,
		cacheWriteLong: objectIn(usage.cache_creation)?.["ephemeral_1h_input_tokens"],
		reasoning: objectIn(usage.output_tokens_details)?.["thinking_tokens"],
	});
}

/** What must come back with the calls of a turn that thought. */
export function storedThinking(thoughts: readonly Thought[], ids: readonly string[]): StoredThinking[] {
	if (thoughts.length === 0 || ids.length === 0) return [];
	const value = JSON.stringify(detailsOf(thoughts));
	return ids.map((id) => ({ id, value }));
}

/**
 * The answer for the client, from the body's text and its parse.
 * @param names see `answerNames`
 */
export function messageAnswer(body: string, message: unknown, names: readonly string[] = []): Answer | Failure {
	if (!isMessage(message) || !message.content || !message.stop_reason) {
		const usage = objectIn(objectIn(message)?.["usage"]);
		return {
			kind: "truncated",
			tokens: usage && messageTokens(usage),
			isWhole: !isMessage(message) || !message.content,
			isOurs: true,
			message: "sent an answer that is no whole message",
		};
	}
	const { text, reasoning, thoughts, calls, annotations } = saidIn(body, message.content, names);
	const finish_reason = stopFinish(message.stop_reason);
	const assistant: Record<string, unknown> = {
		role: "assistant",
		content: text === "" && calls.length > 0 ? null : text,
		refusal: finish_reason === "content_filter" ? (message.stop_details?.explanation ?? null) : null,
	};
	if (annotations.length > 0) assistant["annotations"] = annotations;
	if (reasoning) Object.assign(assistant, thoughtFields(reasoning));
	if (thoughts.length > 0) assistant["reasoning_details"] = detailsOf(thoughts);
	if (calls.length > 0) assistant["tool_calls"] = calls;
	const tokens = messageTokens(message.usage);
	const completion = {
		id: message.id ?? "",
		object: "chat.completion",
		created: now(),
		model: message.model ?? "",
		choices: [{ index: 0, message: assistant, logprobs: null, finish_reason, ...matchedStop(message) }],
		service_tier: reportedTier(objectIn(message.usage)?.["service_tier"]),
		usage: chatUsage(tokens),
	};
	const ids = calls.map(({ id }) => id);
	return { body: JSON.stringify(completion), tokens, thinking: storedThinking(thoughts, ids) };
}

/** What the blocks of an answer say together. */
function saidIn(body: string, content: readonly Block[], names: readonly string[]) {
	const thoughts: Thought[] = [];
	const calls: { id: string; type: "function"; function: { name: string; arguments: string } }[] = [];
	const annotations: Annotation[] = [];
	let text = "";
	/** A name was left out. */
	let isCut = false;
	/** Code points of the text before `counted`: where nothing is cited nobody asks. */
	let points = 0;
	let counted = 0;
	let reasoning: string | undefined;
	const after = () => ({ text: text.length, calls: calls.length });
	for (const [index, block] of content.entries()) {
		if (block.type === "text") {
			const said = text === "" ? unnamedText(block.text ?? "", names) : (block.text ?? "");
			isCut ||= said.length !== (block.text ?? "").length;
			const at = text.length;
			text += said;
			if (!block.citations) continue;
			const start_index = points + codePointsIn(text.slice(counted, at));
			points = start_index + codePointsIn(said);
			counted = text.length;
			annotations.push(...blockAnnotations(block.citations, { start_index, end_index: points }));
		} else if (block.type === "thinking") {
			const thinking = block.thinking ?? "";
			const { signature } = block;
			reasoning = (reasoning ?? "") + thinking;
			// One cut off has no signature, and one behind a name that was left out no good one: they can't come back.
			if (signature && !isCut) thoughts.push({ block: { type: "thinking", thinking, signature }, after: after() });
		} else if (block.type === "redacted_thinking") {
			if (!isCut) thoughts.push({ block: { type: "redacted_thinking", data: block.data ?? "" }, after: after() });
		} else if (block.type === "tool_use") {
			const call = { name: block.name ?? "", arguments: inputText(body, index) };
			calls.push({ id: block.id ?? "", type: "function", function: call });
		}
	}
	return { text, reasoning, thoughts, calls, annotations };
}

/** The input of the block there, as its text stands in the answer: a parse would round big numbers. */
export function inputText(body: string, index: number): string {
	const content = fieldNamed(fieldsOf(body), "content");
	const item = content && itemsOf(body, content.start)[index];
	const input = item && fieldNamed(fieldsOf(body, item.start), "input");
	return input ? body.slice(input.start, input.end) : "{}";
}
