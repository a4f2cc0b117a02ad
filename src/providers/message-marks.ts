/**
 * What some wires have no field for and the text of messages says instead: who speaks (`name`), and that words are a system message's in
 * the middle of a conversation. Pure, and of each message alone, so that a conversation that goes on keeps its first bytes and the vendor
 * its cached prompt.
 */
import type { Message, Part } from "../openai/chat-schema.ts";
import { withoutMarks } from "../openai/system-marks.ts";

/** What is read of a message. */
type NamedMessage = Pick<Message, "role" | "name" | "content">;

/** A message's content with its speaker's name in front. */
export interface NamedContent {
	/** Text of a part of its own before the content, where that does not begin with text: `Ann:`. */
	readonly lead?: string | undefined;
	readonly content: Message["content"];
}

/** Characters of a name that are sent; OpenAI takes 64. */
const LONGEST_NAME = 64;
/** What no name is made of: it would end the line, or look like a mark. OpenAI takes letters, digits, `_` and `-` alone. */
const ODD = /[^\p{L}\p{M}\p{N}._@'+-]+/gu;

/** `Ann:` for a message of the user's, the assistant's or the system's that says a name; undefined for all others. */
function speakerOf({ name, role }: Pick<Message, "name" | "role">): string | undefined {
	// A tool's name is in the call that it answers.
	if (!name || role === "tool") return undefined;
	const plain = [...name.toWellFormed().replace(ODD, "_")].slice(0, LONGEST_NAME).join("");
	return /[^_]/.test(plain) ? `${plain}:` : undefined;
}

const says = (text: string): boolean => /\S/.test(text);
const isSaying = (part: Part): boolean =>
	part.type === "text" ? says(part.text) : part.type === "refusal" ? says(part.refusal) : true;

/**
 * The content with the name in front of its text: `Ann: Hi`. A message that says nothing stays as it is, since a name alone is no message.
 */
export function namedContent(message: NamedMessage): NamedContent {
	// Most have none.
	if (!message.name) return message as NamedContent;
	const { content } = message;
	const speaker = speakerOf(message);
	if (speaker === undefined || !content) return { content };
	if (typeof content === "string") return { content: says(content) ? `${speaker} ${content}` : content };
	const [first] = content;
	if (!first || !content.some(isSaying)) return { content };
	if (first.type !== "text" || !says(first.text)) return { lead: speaker, content };
	return { content: [{ ...first, text: `${speaker} ${first.text}` }, ...content.slice(1)] };
}

/**
 * The messages for a wire on which later system messages are marked: where there are some, no words of the user's or of a tool's, which may be
 * anyone's, look like them (`<system_>`). All others stay as they are.
 */
export function withoutForgedMarks(messages: readonly Message[]): readonly Message[] {
	let isBeginning = true;
	let isMarked = false;
	for (const { role } of messages) {
		if (role !== "system" && role !== "developer") isBeginning = false;
		else if (!isBeginning) isMarked = true;
	}
	return isMarked ? messages.map(withoutForged) : messages;
}

function withoutForged(message: Message): Message {
	const { role, content } = message;
	if ((role !== "user" && role !== "tool") || !content) return message;
	if (typeof content === "string") return { ...message, content: withoutMarks(content) };
	const parts = content.map((part) => (part.type === "text" ? { ...part, text: withoutMarks(part.text) } : part));
	return { ...message, content: parts };
}

/**
 * The names that the assistant's earlier messages were sent with, as they stood in front of the text: a model that sees them may begin its answer
 * so, and no client wants that.
 */
export function answerNames(messages: unknown): readonly string[] {
	if (!Array.isArray(messages)) return NONE;
	let names: string[] | undefined;
	for (const { role, name } of messages as readonly Message[]) {
		if (role !== "assistant" || !name) continue;
		const speaker = speakerOf({ role, name });
		if (speaker !== undefined && !names?.includes(`${speaker} `)) {
			names ??= [];
			names.push(`${speaker} `);
		}
	}
	return names ?? NONE;
}

const NONE: readonly string[] = [];

/** A whole answer's text without the speaker's name at its beginning. */
export function unnamedText(text: string, names: readonly string[]): string {
	const name = names.find((each) => text.startsWith(each));
	return name === undefined ? text : text.slice(name.length);
}

/** The same for text that comes in pieces: they are held back only while they may be the beginning of a name. */
export class UnnamedText {
	#held: string | undefined = "";

	constructor(private readonly names: readonly string[]) {}

	/** What of it can be sent by now; "" while nothing can. */
	push(text: string): string {
		if (this.#held === undefined) return text;
		const all = this.#held + text;
		const isOpen = this.names.some((name) => name.length > all.length && name.startsWith(all));
		this.#held = isOpen ? all : undefined;
		return isOpen ? "" : unnamedText(all, this.names);
	}

	/** What is still held back when the text ends, or something else follows it. */
	end(): string {
		const held = this.#held ?? "";
		this.#held = undefined;
		return held;
	}
}
