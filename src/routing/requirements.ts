/** What a call asks of its target. */
import type { Call } from "../openai/call.ts";
import type { PromptContent } from "../openai/call-facts.ts";
import { eachItem, fieldNamed, fieldsOf } from "../openai/json.ts";
import { OPERATIONS, type Operation } from "../openai/operations.ts";
import { NO_BLOCKS, type Prompt, promptOf } from "./affinity.ts";
import { type History, historyIn } from "./history.ts";
import type { Feature } from "./route.ts";

/** The part of a call that is read. */
export type RoutedCall = Pick<Call, "operation" | "facts" | "stream" | "headers" | "keyId">;

/** A call as the plan sees it. */
export interface Needs {
	readonly operation: Operation;
	readonly isStream: boolean;
	readonly features: readonly Feature[];
	/** Of the prompt, as JSON text. */
	readonly characters: number;
	/** What the prompt has at least, tokens; a guess that leaves room: no tokenizer makes fewer of plain text. */
	readonly leastTokens: number;
	/** What it probably has, tokens. */
	readonly tokens: number;
	/** What the answer may have, where the client says so, tokens. */
	readonly maxTokens: number | undefined;
	/** The conversation, where a session header names one; a key's own, whatever others call theirs. */
	readonly session: string | undefined;
	/**
	 * Where its conversation stands among all, 0 to 1, by chance but always the same: by its session, else by what it began with. Costs a
	 * pass over that.
	 */
	conversation(): number;
	/** What came before in its conversation. Costs a pass over the prompt, once a call. */
	history(): History;
	/** The prompt with its blocks hashed, which costs with each block: only where replicas are to be compared. */
	prompt(): Prompt;
}

/** Characters a token, as a guess: of English about 4.2, and JSON's own among them; no plain text has more than 8. */
export const PER_TOKEN = 4;
const MOST_PER_TOKEN = 8;
/** Longest session name that is looked at, characters. */
const LONGEST_SESSION = 200;

/** By which clients keep a conversation together, as providers/request-headers.ts sends them on. */
const SESSION = /^(?:session[-_]id|x-session-id|x-[a-z-]+-session-id)$/;

/** Reads it. The prompt is hashed when it is asked for. */
export function needsOf(call: RoutedCall): Needs {
	const { operation, facts } = call;
	const content = facts.promptContent();
	let characters = 0;
	for (const part of content.texts) characters += part.length;
	const text = characters - content.imageCharacters;
	let prompt: Prompt | undefined;
	let conversation: number | undefined;
	const session = ownSessionOf(call);
	return {
		operation,
		isStream: call.stream,
		features: featuresOf(operation, content),
		characters,
		leastTokens: text / MOST_PER_TOKEN,
		tokens: Math.ceil(text / PER_TOKEN),
		maxTokens: facts.maxTokens,
		session,
		conversation() {
			conversation ??= Bun.hash.xxHash32(session ?? beginningOf(content.texts)) / 2 ** 32;
			return conversation;
		},
		history: () => historyOf(call),
		prompt() {
			// Where nothing is generated there is no prefix cache to hit.
			prompt ??= OPERATIONS[operation].generates ? promptOf("", content.texts) : { characters, blocks: NO_BLOCKS };
			return prompt;
		},
	};
}

/** By call: its attempts ask for it, too. */
const histories = new WeakMap<RoutedCall, History>();

/** The history of a call, where it was asked for before. */
export const historyRead = (call: RoutedCall): History | undefined => histories.get(call);

/** The history of a call, by which vendors' caches may know it. */
export function historyOf(call: RoutedCall): History {
	let history = histories.get(call);
	if (!history) {
		const { facts } = call;
		const texts = facts.history?.() ?? facts.promptContent().texts;
		const session = sessionOf(call.headers);
		// No header has a line break in it.
		history = historyIn(texts, session && `${call.keyId ?? ""}\n${session}`, facts.namedCache?.());
		histories.set(call, history);
	}
	return history;
}

function featuresOf(operation: Operation, { hasTools, images, hasSchema }: PromptContent): Feature[] {
	if (operation === "embeddings") return ["embeddings"];
	const features: Feature[] = [];
	if (hasTools) features.push("tools");
	if (images > 0) features.push("images");
	if (hasSchema) features.push("schema");
	return features;
}

/** Roles of what comes before a conversation, and of turns that the model or its tools took. */
const INSTRUCTIONS = new Set(["system", "developer"]);
const ANSWERS = new Set(["assistant", "tool", "model"]);

/**
 * What stays the same of a conversation from turn to turn: all before the first answer of the model's. What comes first behind the
 * instructions belongs to it, whoever has said it: many begin with one greeting.
 */
function beginningOf(texts: readonly string[]): string {
	// The messages are the last of what a template writes.
	const list = texts.at(-1) ?? "";
	const before = texts.slice(0, -1).join("");
	if (!list.startsWith("[")) return before + list;
	let [end, hasBegun] = [0, false];
	for (const item of eachItem(list, 0)) {
		// Texts, or tokens' numbers, which are many.
		if (list[item.start] !== "{") return before + list;
		const role = roleOf(list, item.start);
		if (hasBegun && ANSWERS.has(role)) break;
		hasBegun ||= !INSTRUCTIONS.has(role);
		end = item.end;
	}
	return before + list.slice(0, end);
}

/** Of the message that stands there; empty for what is none. */
function roleOf(list: string, at: number): string {
	if (list[at] !== "{") return "";
	const field = fieldNamed(fieldsOf(list, at), "role");
	const role: unknown = field && JSON.parse(list.slice(field.start, field.end));
	return typeof role === "string" ? role : "";
}

/** The session that a call's headers name: the first such header's, 200 characters at most. Most calls have none. */
export function sessionOf(headers: Headers): string | undefined {
	const plain = headers.get("x-session-id") ?? headers.get("session-id") ?? headers.get("session_id");
	if (plain) return plain.slice(0, LONGEST_SESSION);
	for (const [name, value] of headers) if (SESSION.test(name) && value !== "") return value.slice(0, LONGEST_SESSION);
	return undefined;
}

/**
 * The same as it is remembered. Of a caller with a key it is a hash with that: nobody can make up a name by which another key's session is
 * found, or moved. 43 characters, which have room in what routers tell each other.
 */
function ownSessionOf({ headers, keyId }: RoutedCall): string | undefined {
	const session = sessionOf(headers);
	if (session === undefined || keyId === undefined) return session;
	// No header has a line break in it.
	return Bun.SHA256.hash(`${keyId}\n${session}`, "base64url");
}
