/** A conversation in Anthropic's words: the system prompt apart, turns of alternating roles, results in the turn behind their calls. */

import { unsupported } from "../../openai/chat.ts";
import type { AssistantMessage, CacheControl, Message, ToolMessage } from "../../openai/chat-schema.ts";
import { withThoughts } from "../../openai/reasoning.ts";
import { markedSystemText } from "../../openai/system-marks.ts";
import { withoutForgedMarks } from "../message-marks.ts";
import type { RequestInputs } from "../provider.ts";
import { argumentsText } from "../tools.ts";
import { cacheText, contentBlocks, says, textBlock } from "./content.ts";
import { type Claude, hasTrait } from "./models.ts";
import { type Thought, thoughtsIn } from "./thinking.ts";

/** The conversation, as JSON texts. */
export interface Conversation {
	readonly system: readonly string[];
	readonly messages: readonly string[];
	/** It goes on with tool calls whose thinking is not known. */
	readonly isOpenLoop: boolean;
	/** Thinking comes back with it. */
	readonly hasThoughts: boolean;
	/** The message whose words the answer is to go on with, the last one: `messages[3].role`. */
	readonly prefill: string | undefined;
}

interface Turn {
	readonly role: string;
	readonly blocks: string[];
}

/** Stands where a conversation begins with the assistant, or with its answer to instructions alone: the API takes a user's message first. */
const BEGINNING = "(The assistant begins.)";

/** Throws `unsupported_parameter` or `invalid_value` naming the field that has no form there. */
export function conversationOf(messages: readonly Message[], model: Claude, inputs: RequestInputs): Conversation {
	const system: string[] = [];
	const turns = new Turns(system, hasTrait(model, "takesSystemTurns"));
	let isOpenLoop = false;
	let hasThoughts = false;
	let isBeginning = true;
	for (const [index, message] of withoutForgedMarks(messages).entries()) {
		const path = `messages[${index}]`;
		switch (message.role) {
			case "system":
			case "developer": {
				refuseFiles(message.content, path);
				if (isBeginning) system.push(...contentBlocks(message, path, message.cache_control));
				else turns.later(message, path);
				continue;
			}
			case "user": {
				const blocks = contentBlocks(message, path, message.cache_control);
				// Left out behind an answer, it would have Claude go on with its own words.
				const isLost = blocks.length === 0 && index === messages.length - 1 && turns.last?.role !== "user";
				if (isLost) throw unsupported(`${path}.content`, "Claude answers no message that says nothing");
				turns.user(blocks);
				isOpenLoop = false;
				break;
			}
			case "tool":
				turns.result(resultBlock(message, path));
				break;
			case "assistant": {
				refuseFiles(message.content, path);
				const thoughts = thoughtsOf(message, inputs);
				hasThoughts ||= thoughts.length > 0;
				turns.assistant(saidBlocks(message, thoughts, path));
				// One turn of the model may be several messages, of which only the first thinks.
				if (message.tool_calls?.length) isOpenLoop = !isThought(turns.last?.blocks[0] ?? "");
			}
		}
		isBeginning = false;
	}
	const all = turns.end();
	if (all.length === 0) throw unsupported("messages", "Claude answers no messages that say nothing");
	const prefill = all.at(-1)!.role === "assistant" ? `messages[${messages.length - 1}].role` : undefined;
	return { system, messages: all.map(turnText), isOpenLoop, hasThoughts, prefill };
}

/** Turns of alternating roles. */
class Turns {
	readonly #turns: Turn[] = [];
	/** System messages that wait for what follows them: its text as such, and as part of a user's turn. */
	#waiting: { readonly block: string; readonly marked: string }[] = [];

	/**
	 * @param system gets what stands before all turns
	 * @param takesSystem the API takes a system message between a user's turn and an answer, and nowhere else (platform.claude.com,
	 * mid-conversation system messages, placement)
	 */
	constructor(
		private readonly system: string[],
		private readonly takesSystem: boolean,
	) {}

	get last(): Turn | undefined {
		return this.#turns.at(-1);
	}

	/** A system message behind others. */
	later(message: Message, path: string): void {
		const blocks = contentBlocks(message, path, message.cache_control);
		if (!this.last) this.system.push(...blocks);
		else if (blocks.length > 0) {
			const marked = contentBlocks(message, path, message.cache_control, markedSystemText);
			this.#waiting.push(...blocks.map((block, index) => ({ block, marked: marked[index]! })));
		}
	}

	/** It keeps the blocks, as the others do. */
	user(blocks: string[]): void {
		if (blocks.length === 0) return;
		this.#add("user", this.#waiting.length === 0 ? blocks : [...this.#joined(), ...blocks]);
	}

	/** Results stand before all else in their turn. */
	result(block: string): void {
		this.#add("user", [block]);
	}

	assistant(blocks: string[]): void {
		if (blocks.length === 0) return;
		this.#settle();
		if (!this.last) this.#add("user", [textBlock(BEGINNING)]);
		this.#add("assistant", blocks);
	}

	/** All of them; nothing may be added any more. */
	end(): readonly Turn[] {
		this.#settle();
		// Instructions alone are answered, too.
		if (!this.last && this.system.length > 0) this.#add("user", [textBlock(BEGINNING)]);
		const { last } = this;
		if (last?.role === "assistant") trimEnd(last.blocks);
		return this.#turns;
	}

	/** Puts what waits before an answer. */
	#settle(): void {
		if (this.#waiting.length === 0) return;
		if (this.takesSystem && this.last?.role === "user") {
			this.#add(
				"system",
				this.#waiting.map(({ block }) => block),
			);
			this.#waiting = [];
		} else this.#add("user", this.#joined());
	}

	/** What waits, for a user's turn. */
	#joined(): string[] {
		if (this.#waiting.length === 0) return [];
		const blocks = this.#waiting.map(({ marked }) => marked);
		this.#waiting = [];
		return blocks;
	}

	#add(role: string, blocks: string[]): void {
		const { last } = this;
		if (last?.role === role) last.blocks.push(...blocks);
		else this.#turns.push({ role, blocks });
	}
}

/** The API takes no text that ends with white space at the end of what the answer goes on with. */
function trimEnd(blocks: string[]): void {
	const last = blocks.at(-1)!;
	if (!last.startsWith('{"type":"text"')) return;
	const block = JSON.parse(last) as { readonly text: string; readonly cache_control?: CacheControl };
	const text = block.text.trimEnd();
	blocks.pop();
	if (text !== "") blocks.push(textBlock(text, block.cache_control));
	else if (blocks.length > 0) trimEnd(blocks);
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
	if (thoughts.length === 0) {
		const said = saidText(message, path);
		return calls.length === 0 ? said : [...said, ...calls];
	}
	// Content in parts is no longer what the model said: thoughts go before it.
	if (Array.isArray(message.content)) {
		return [...thoughts.map(({ block }) => JSON.stringify(block)), ...saidText(message, path), ...calls];
	}
	// A name in front would move what is signed behind it.
	const text = message.content && says(message.content) ? message.content : "";
	return withThoughts(thoughts, text, calls, (piece, isLast) =>
		textBlock(piece, isLast ? message.cache_control : undefined),
	);
}

function saidText(message: AssistantMessage, path: string): string[] {
	const blocks = contentBlocks(message, path, message.cache_control);
	return blocks.length === 0 && message.refusal && says(message.refusal) ? [textBlock(message.refusal)] : blocks;
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
	const blocks = contentBlocks(message, path);
	const content = blocks.length === 0 ? "" : `,"content":[${blocks.join(",")}]`;
	const cache = cacheText(message.cache_control);
	return `{"type":"tool_result","tool_use_id":${idText(message.tool_call_id)}${content}${cache ? `,"cache_control":${cache}` : ""}}`;
}

/** The API takes `[a-zA-Z0-9_-]` alone; other vendors' ids (`functions.f:0`) are written in that, the same each time. */
function idText(id: string): string {
	return JSON.stringify(id.replace(/[^\w-]/g, (other) => `_${other.charCodeAt(0).toString(16)}`));
}
