/** A conversation's turns as OpenAI's messages. */
import { markedSystemText, withoutMarks } from "../../openai/system-marks.ts";
import { carriesDetails, detailsIn } from "../../openai/thought-details.ts";
import { sentToolName } from "../tool-names.ts";
import {
	type ContentPart,
	type LeaveOut,
	partsOf,
	plainContent,
	type RequestForm,
	wordsIn,
} from "./messages-content.ts";
import type { Block, MessagesRequest } from "./messages-schema.ts";

/** A message in OpenAI's words. */
export interface ChatMessage {
	readonly role: "system" | "user" | "assistant" | "tool";
	readonly content: string | readonly ContentPart[] | null;
	readonly [field: string]: unknown;
}

type Turn = MessagesRequest["messages"][number];

/** The line that Claude Code puts before its system prompt, new with each call: it bills Anthropic's customers, and says nothing to a model. */
const BILLING = /^x-anthropic-billing-header:[^\n]*\n?/;

/** The system prompt, as one message; none where it says nothing. */
export function systemMessages(
	system: MessagesRequest["system"],
	form: RequestForm,
	leaveOut: LeaveOut,
): ChatMessage[] {
	if (system == null) return [];
	if (typeof system === "string") {
		const text = form === "claude" ? system : system.replace(BILLING, "");
		return text === "" ? [] : [{ role: "system", content: text }];
	}
	const blocks = system as readonly Block[];
	const kept = form === "claude" ? blocks : blocks.filter((block) => !isBilling(block));
	const parts = kept.flatMap((block) => partsOf(block, form, leaveOut));
	if (parts.length === 0) return [];
	return [{ role: "system", content: form === "claude" ? parts : plainContent(parts) }];
}

const isBilling = ({ type, text }: Block): boolean => type === "text" && typeof text === "string" && BILLING.test(text);

/** The turns behind it, for Claude: system messages stay where they stand, and what else there is keeps its place. */
export function claudeMessages(turns: readonly Turn[], leaveOut: LeaveOut): ChatMessage[] {
	return turns.flatMap(({ role, content }): ChatMessage[] => {
		const blocks = blocksIn(content);
		if (role === "assistant") return assistantMessage(blocks, "claude", leaveOut);
		const results = blocks.filter(({ type }) => type === "tool_result");
		const parts = blocks
			.filter(({ type }) => type !== "tool_result")
			.flatMap((block) => partsOf(block, "claude", leaveOut));
		const messages: ChatMessage[] = results.map((result) => ({
			role: "tool",
			tool_call_id: result["tool_use_id"] as string,
			content: resultParts(result, "claude", leaveOut),
			...(result["cache_control"] == null ? {} : { cache_control: result["cache_control"] }),
		}));
		return parts.length === 0 ? messages : [...messages, { role, content: parts }];
	});
}

/**
 * The same for all others. Chat templates of many models take no system message but the first, and turns that alternate: a later system message
 * stands in the user's turn, marked, and what follows in one role is one message.
 */
export function plainMessages(turns: readonly Turn[], form: "marked" | "others", leaveOut: LeaveOut): ChatMessage[] {
	const isMarked = turns.some(({ role }) => role === "system");
	const messages: ChatMessage[] = [];
	/** The user's turn, until something else follows it. */
	let said: ContentPart[] = [];
	/** What the assistant says in a row, until something else follows it. */
	const answers = new AnswersInRow();
	const settleAnswers = () => messages.push(...assistantMessage(answers.taken(), form, leaveOut));
	const settle = () => {
		if (said.length === 0) return;
		settleAnswers();
		messages.push({ role: "user", content: plainContent(said) });
		said = [];
	};
	for (const { role, content } of turns) {
		const blocks = blocksIn(content);
		if (role === "system") {
			const text = wordsIn(blocks.flatMap((block) => partsOf(block, form, leaveOut)));
			if (text !== "") said.push({ type: "text", text: markedSystemText(text) });
		} else if (role === "assistant") {
			const [answer] = assistantMessage(blocks, form, leaveOut);
			// One that says nothing is none, and the user's turn goes on.
			if (!answer) continue;
			settle();
			answers.add(blocks, answer.content !== null);
		} else {
			const results = blocks.filter(({ type }) => type === "tool_result");
			if (results.length > 0) {
				settle();
				settleAnswers();
			}
			for (const result of results) {
				const parts = resultParts(result, form, leaveOut).map((part) => (isMarked ? unmarked(part) : part));
				const words = wordsIn(parts);
				const mark = form === "marked" ? result["cache_control"] : undefined;
				messages.push({
					role: "tool",
					tool_call_id: result["tool_use_id"] as string,
					content: mark == null ? words : [{ type: "text", text: words, cache_control: mark }],
				});
				// Few servers take anything but text in a result.
				const files = parts.filter(({ type }) => type !== "text");
				if (files.length > 0) said.push({ type: "text", text: `The result ${result["tool_use_id"]} holds:` }, ...files);
			}
			for (const block of blocks) {
				if (block.type === "tool_result") continue;
				const parts = partsOf(block, form, leaveOut);
				said.push(...(isMarked ? parts.map(unmarked) : parts));
			}
		}
	}
	settle();
	settleAnswers();
	return messages;
}

/** Text of the user's, or of a tool, that might look like a system message's. */
const unmarked = (part: ContentPart): ContentPart =>
	part.type === "text" ? { ...part, text: withoutMarks(part.text) } : part;

const LINE_END: Block = { type: "text", text: "\n" };

/** Blocks of answers that follow each other: they are one message, in which each begins a line. */
class AnswersInRow {
	#blocks: Block[] = [];
	#hasText = false;

	/** @param hasText the answer says something besides its calls */
	add(blocks: readonly Block[], hasText: boolean): void {
		if (hasText && this.#hasText) this.#blocks.push(LINE_END);
		this.#hasText ||= hasText;
		for (const block of blocks) this.#blocks.push(block);
	}

	/** All of them, which are forgotten. */
	taken(): readonly Block[] {
		const blocks = this.#blocks;
		this.#blocks = [];
		this.#hasText = false;
		return blocks;
	}
}

const blocksIn = (content: Turn["content"]): readonly Block[] =>
	typeof content === "string" ? [{ type: "text", text: content }] : (content as readonly Block[]);

/** What a tool has said. That it failed OpenAI has no field for: its text says it. */
function resultParts(result: Block, form: RequestForm, leaveOut: LeaveOut): ContentPart[] {
	const content = result["content"] as Turn["content"] | null | undefined;
	const parts = content == null ? [] : blocksIn(content).flatMap((block) => partsOf(block, form, leaveOut));
	if (result["is_error"] !== true || SAYS_ERROR.test(wordsIn(parts))) return parts;
	const [first, ...rest] = parts;
	if (first?.type !== "text") return [{ type: "text", text: "Error" }, ...parts];
	return [{ ...first, text: `Error: ${first.text}` }, ...rest];
}

const SAYS_ERROR = /^\W*(?:\w+_)?(?:error|exception|failed)\b/i;

/** What the assistant said, as one message; none where it said nothing that can be repeated. */
function assistantMessage(blocks: readonly Block[], form: RequestForm, leaveOut: LeaveOut): ChatMessage[] {
	let text = "";
	const calls: object[] = [];
	const thoughts: unknown[] = [];
	for (const block of blocks) {
		switch (block.type) {
			case "text":
				text += block["text"] as string;
				break;
			case "tool_use":
				calls.push(toolCall(block, form));
				break;
			case "thinking":
			case "redacted_thinking": {
				const signature = block["signature"] ?? block["data"];
				if (carriesDetails(signature)) thoughts.push(...detailsIn(signature));
				// What nobody has signed is no use to anyone: chat templates take it out of all turns but the last, where a cached prompt then ends.
				else if (signature && form !== "others")
					thoughts.push(thoughtDetail(block, thoughts.length, text.length, calls.length));
				break;
			}
			default: {
				const words = wordsIn(partsOf(block, "others", leaveOut));
				text += words;
			}
		}
	}
	if (text === "" && calls.length === 0) return [];
	const mark = form === "claude" ? blocks.findLast((block) => block["cache_control"] != null) : undefined;
	return [
		{
			role: "assistant",
			content: text === "" ? null : text,
			...(calls.length > 0 ? { tool_calls: calls } : {}),
			...(thoughts.length > 0 ? { reasoning_details: thoughts } : {}),
			...(mark ? { cache_control: mark["cache_control"] } : {}),
		},
	];
}

const toolCall = ({ id, name, input }: Block, form: RequestForm): object => ({
	id,
	type: "function",
	function: {
		name: form === "claude" ? name : sentToolName(name as string),
		arguments: JSON.stringify(input),
	},
});

/** A signed thought, as `reasoning_details` has it. */
function thoughtDetail(block: Block, index: number, text: number, calls: number): object {
	const rest = { format: "anthropic-claude-v1", index, after: { text, calls } };
	if (block.type === "redacted_thinking") return { type: "reasoning.encrypted", data: block["data"], ...rest };
	const { thinking, signature } = block;
	return { type: "reasoning.text", text: thinking, signature, ...rest };
}
