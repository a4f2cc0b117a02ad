/** A conversation in Anthropic's words: the system prompt apart, turns of alternating roles, results in the turn behind their calls. */

import { unsupported } from "../../openai/chat.ts";
import type { AssistantMessage, Message, ToolMessage } from "../../openai/chat-schema.ts";
import type { RequestInputs } from "../provider.ts";
import { argumentsText } from "../tools.ts";
import { cacheText, contentBlocks, says, textBlock } from "./content.ts";
import { type Claude, takesSystemTurns } from "./models.ts";
import { type Thought, thoughtsIn } from "./thinking.ts";

/** The conversation, as JSON texts. */
export interface Conversation {
	readonly system: readonly string[];
	readonly messages: readonly string[];
	/** It goes on with tool calls whose thinking is not known. */
	readonly isOpenLoop: boolean;
	/** Thinking comes back with it. */
	readonly hasThoughts: boolean;
}

interface Turn {
	readonly role: string;
	readonly blocks: string[];
}

/** Throws `unsupported_parameter` or `invalid_value` naming the field that has no form there. */
export function conversationOf(messages: readonly Message[], model: Claude, inputs: RequestInputs): Conversation {
	const system: string[] = [];
	const turns: Turn[] = [];
	let isOpenLoop = false;
	let hasThoughts = false;
	let isBeginning = true;
	/** The last system message among the turns. */
	let later = "";
	const add = (role: string, blocks: readonly string[]) => {
		if (blocks.length === 0) return;
		const last = turns.at(-1);
		// Anything else is a 400 there (platform.claude.com, mid-conversation system messages, placement).
		const isMisplaced =
			role === "system" ? !last || last.role === "assistant" : role === "user" && last?.role === "system";
		if (isMisplaced) throw unsupported(`${later}.role`, "Claude takes it between a user's message and an answer only");
		if (last?.role === role) last.blocks.push(...blocks);
		else turns.push({ role, blocks: [...blocks] });
	};
	for (const [index, message] of messages.entries()) {
		const path = `messages[${index}]`;
		if (message.name && message.role !== "tool") throw unsupported(`${path}.name`, "its messages have no names");
		switch (message.role) {
			case "system":
			case "developer": {
				refuseFiles(message.content, path);
				const blocks = contentBlocks(message.content, path, message.cache_control);
				if (isBeginning) system.push(...blocks);
				else if (takesSystemTurns(model)) {
					later = path;
					add("system", blocks);
				} else throw unsupported(`${path}.role`, "this model takes system messages at the beginning only");
				continue;
			}
			case "user": {
				const blocks = contentBlocks(message.content, path, message.cache_control);
				// Left out behind an answer, it would have Claude go on with its own words.
				const isLost = blocks.length === 0 && index === messages.length - 1 && turns.at(-1)?.role !== "user";
				if (isLost) throw unsupported(`${path}.content`, "Claude answers no message that says nothing");
				add("user", blocks);
				isOpenLoop = false;
				break;
			}
			case "tool":
				add("user", [resultBlock(message, path)]);
				break;
			case "assistant": {
				refuseFiles(message.content, path);
				const thoughts = thoughtsOf(message, inputs);
				hasThoughts ||= thoughts.length > 0;
				add("assistant", saidBlocks(message, thoughts, path));
				// One turn of the model may be several messages, of which only the first thinks.
				if (message.tool_calls?.length) isOpenLoop = !isThought(turns.at(-1)?.blocks[0] ?? "");
			}
		}
		isBeginning = false;
	}
	if (turns.length === 0) throw unsupported("messages", "Claude answers no instructions alone");
	return { system, messages: turns.map(turnText), isOpenLoop, hasThoughts };
}

/** Only users show files. */
function refuseFiles(content: Message["content"], path: string): void {
	if (!Array.isArray(content)) return;
	const file = content.findIndex(({ type }) => type !== "text" && type !== "refusal");
	if (file !== -1) throw unsupported(`${path}.content[${file}].type`, "only messages of the user may hold files");
}

const turnText = ({ role, blocks }: Turn): string => `{"role":"${role}","content":[${blocks.join(",")}]}`;

/** What was stored is exact; what the client sends back may have been changed on the way. */
function thoughtsOf(message: AssistantMessage, inputs: RequestInputs): Thought[] {
	for (const { id } of message.tool_calls ?? []) {
		const stored = inputs.thinking(id);
		if (stored !== undefined) return thoughtsIn(JSON.parse(stored));
	}
	return thoughtsIn(message.reasoning_details);
}

/** Text and calls in their order, each thought where it stood. */
function saidBlocks(message: AssistantMessage, thoughts: readonly Thought[], path: string): string[] {
	const calls = (message.tool_calls ?? []).map((call, index) => useBlock(call, `${path}.tool_calls[${index}]`));
	if (thoughts.length === 0) return [...saidText(message, path), ...calls];
	// Content in parts is no longer what the model said: thoughts go before it.
	if (Array.isArray(message.content)) {
		return [...thoughts.map(({ block }) => JSON.stringify(block)), ...saidText(message, path), ...calls];
	}
	const text = message.content && says(message.content) ? message.content : "";
	const blocks: string[] = [];
	let written = 0;
	let called = 0;
	const goOn = (upTo: number, callsUpTo: number) => {
		const end = Math.min(upTo, text.length);
		const cache = end === text.length ? message.cache_control : undefined;
		if (end > written) blocks.push(textBlock(text.slice(written, end), cache));
		written = Math.max(written, end);
		blocks.push(...calls.slice(called, callsUpTo));
		called = Math.max(called, callsUpTo);
	};
	for (const { block, after } of thoughts) {
		goOn(after.text, after.calls);
		blocks.push(JSON.stringify(block));
	}
	goOn(text.length, calls.length);
	return blocks;
}

function saidText(message: AssistantMessage, path: string): string[] {
	const blocks = contentBlocks(message.content, path, message.cache_control);
	return blocks.length === 0 && message.refusal ? [textBlock(message.refusal)] : blocks;
}

const isThought = (block: string): boolean => /^\{"type":"(?:redacted_)?thinking"/.test(block);

/** The arguments go on as the text they came as, so that big numbers survive. */
function useBlock(
	{ id, function: { name, arguments: text } }: NonNullable<AssistantMessage["tool_calls"]>[number],
	path: string,
): string {
	return `{"type":"tool_use","id":${idText(id)},"name":${JSON.stringify(name)},"input":${argumentsText(text, path)}}`;
}

function resultBlock(message: ToolMessage, path: string): string {
	const blocks = contentBlocks(message.content, path);
	const content = blocks.length === 0 ? "" : `,"content":[${blocks.join(",")}]`;
	const cache = cacheText(message.cache_control);
	return `{"type":"tool_result","tool_use_id":${idText(message.tool_call_id)}${content}${cache ? `,"cache_control":${cache}` : ""}}`;
}

/** The API takes `[a-zA-Z0-9_-]` alone; other vendors' ids (`functions.f:0`) are written in that, the same each time. */
function idText(id: string): string {
	return JSON.stringify(id.replace(/[^\w-]/g, (other) => `_${other.charCodeAt(0).toString(16)}`));
}
