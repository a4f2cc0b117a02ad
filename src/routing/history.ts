/**
 * By what a conversation is known without its client naming it: the beginnings of its history. Each of its prompts is what the one before
 * was, an answer, and what was said then; so what stands before an answer was a prompt once. Pure.
 */
import { eachItem, fieldNamed, fieldsOf, stringEnd } from "../openai/json.ts";

/** A part of a prompt, from its beginning on. */
export interface Beginning {
	/** Of its messages, as their client wrote them. What stands before those (tools, instructions) may be new with each call, as Claude Code's. */
	readonly hash: bigint;
	/** Of the same. */
	readonly characters: number;
}

/** A prompt as part of a conversation. */
export interface History {
	/** What was a prompt before, the last one first: `MOST_EARLIER` of them, and the first one. Empty where the conversation begins. */
	readonly earlier: readonly Beginning[];
	/** All of it. */
	readonly whole: Beginning;
	/** Characters of what stands before the messages. */
	readonly before: number;
	/** The first prompt of the conversation. */
	readonly first: Beginning;
	/** What its client calls the conversation; undefined where it has no name. */
	readonly session: Beginning | undefined;
	/** A cache that the call names, which stands before the prompt; undefined where it names none. */
	readonly named: Beginning | undefined;
}

/** Prompts before the last one that are looked for: clients write the end of their history anew (a shortened result, thoughts left out). */
const MOST_EARLIER = 8;
/** Roles of messages that a model has written. */
const ANSWERS = new Set(["assistant", "model"]);
/** Messages. What is no list of them is one: a text, texts, hundreds of thousands of tokens' numbers. */
const LIST = /^\[\s*\{/;
/** No prompt is so short. */
const SESSION = -1;
const NAMED_CACHE = -2;

/**
 * The history of a prompt.
 * @param texts as `CallFacts.history` or `promptContent` has them: the list of messages last
 * @param session what the client calls the conversation, with whose it is: others may have the same name
 * @param cache a cache that the call names
 */
export function historyIn(texts: readonly string[], session?: string, cache?: string): History {
	const list = texts.at(-1) ?? "";
	let before = 0;
	for (let at = 0; at < texts.length - 1; at++) before += texts[at]!.length;
	const prompts: Beginning[] = [];
	let hash = 0n;
	let characters = 0;
	let isAfterAnswer = true;
	for (const { start, end } of LIST.test(list) ? eachItem(list, 0) : [{ start: 0, end: list.length }]) {
		const message = list.slice(start, end);
		const isAnswer = ANSWERS.has(roleOf(message));
		if (isAnswer && !isAfterAnswer) prompts.push({ hash, characters });
		const plain = plainMessage(message);
		hash = Bun.hash.wyhash(plain, hash);
		characters += plain.length;
		isAfterAnswer = isAnswer;
	}
	const whole = { hash, characters };
	return {
		earlier: latest(prompts),
		whole,
		before,
		first: prompts[0] ?? whole,
		session: named(session, SESSION),
		named: named(cache, NAMED_CACHE),
	};
}

const named = (name: string | undefined, characters: number): Beginning | undefined =>
	name === undefined ? undefined : { hash: Bun.hash.wyhash(name), characters };

function latest(prompts: readonly Beginning[]): readonly Beginning[] {
	const last = prompts.slice(-MOST_EARLIER).reverse();
	return prompts.length > MOST_EARLIER ? [...last, prompts[0]!] : last;
}

const ROLE_FIRST = /^\{\s*"role"\s*:\s*"([a-z]+)"/;

/** The role of a message; empty for what is none. */
function roleOf(message: string): string {
	const first = ROLE_FIRST.exec(message);
	if (first) return first[1]!;
	if (message[0] !== "{") return "";
	const field = fieldNamed(fieldsOf(message), "role");
	return field ? message.slice(field.start + 1, field.end - 1) : "";
}

/** Marks of what is to be cached, which clients move to the end with each prompt. */
const CACHE_CONTROL = '"cache_control"';
const BREAKPOINT = '"prompt_cache_breakpoint"';
const MARK = `(?:${CACHE_CONTROL}|${BREAKPOINT})\\s*:\\s*(?:\\{[^{}]*\\}|null)`;
const MARKS = new RegExp(`,\\s*${MARK}|${MARK}\\s*(?:,\\s*)?`, "g");
/** A text that became a block to be marked, as JavaScript and Python write one, and within how many characters of its message. */
const BLOCKS = ['"content":[{"type":"text","text":', '"content": [{"type": "text", "text": '];
const MOST_BEFORE_CONTENT = 200;

/** The message without marks; a block alone as the text that it was before it was marked. */
function plainMessage(message: string): string {
	const plain = isMarked(message) ? message.replace(MARKS, "") : message;
	const head = plain.slice(0, MOST_BEFORE_CONTENT);
	for (const block of BLOCKS) {
		const at = head.indexOf(block);
		if (at === -1) continue;
		const start = at + block.length;
		const end = stringEnd(plain, start);
		if (plain.startsWith("}]", end)) {
			return plain.slice(0, at + block.indexOf("[")) + plain.slice(start, end) + plain.slice(end + 2);
		}
	}
	return plain;
}

/** Whether one of its fields is a mark. To look for their names in a long text would cost three times as much as to pass its strings over. */
function isMarked(message: string): boolean {
	for (let at = message.indexOf('"'); at !== -1; ) {
		const end = stringEnd(message, at);
		const length = end - at;
		if (length === CACHE_CONTROL.length && message.startsWith(CACHE_CONTROL, at)) return true;
		if (length === BREAKPOINT.length && message.startsWith(BREAKPOINT, at)) return true;
		at = message.indexOf('"', end);
	}
	return false;
}
