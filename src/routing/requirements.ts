/** What a call asks of its target, read from its body without changing it. */
import type { Call } from "../openai/call.ts";
import { fieldNamed } from "../openai/json.ts";
import { OPERATIONS, type Operation } from "../openai/operations.ts";
import { NO_BLOCKS, type Prompt, promptOf } from "./affinity.ts";
import type { Feature } from "./route.ts";

/** The part of a call that is read. */
export type RoutedCall = Pick<Call, "operation" | "raw" | "body" | "fields" | "stream" | "headers">;

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
	/** The conversation, where a session header names one. */
	readonly session: string | undefined;
	/** The prompt with its blocks hashed, which costs with each block: only where replicas are to be compared. */
	prompt(): Prompt;
}

/** Characters a token: of English about 4.2, and JSON's own among them; no plain text has more than 8. */
const PER_TOKEN = 4;
const MOST_PER_TOKEN = 8;
/** Longest session name that is looked at, characters. */
const LONGEST_SESSION = 200;

/** By which clients keep a conversation together, as providers/request-headers.ts sends them on. */
const SESSION = /^(?:session[-_]id|x-session-id|x-[a-z-]+-session-id)$/;

/** Reads it. The prompt is hashed when it is asked for. */
export function needsOf(call: RoutedCall): Needs {
	const { operation, body } = call;
	const { promptField, promptFields, generates } = OPERATIONS[operation];
	const parts = promptFields.flatMap((name) => {
		const field = fieldNamed(call.fields, name);
		return field ? [call.raw.slice(field.start, field.end)] : [];
	});
	let characters = 0;
	for (const part of parts) characters += part.length;
	const images = promptField === "messages" ? imagesIn(body["messages"]) : { count: 0, characters: 0 };
	const text = characters - images.characters;
	let prompt: Prompt | undefined;
	return {
		operation,
		isStream: call.stream,
		features: featuresOf(call, images.count),
		characters,
		leastTokens: text / MOST_PER_TOKEN,
		tokens: Math.ceil(text / PER_TOKEN),
		maxTokens: whole(body["max_completion_tokens"]) ?? whole(body["max_tokens"]),
		session: sessionOf(call.headers),
		prompt() {
			// Where nothing is generated there is no prefix cache to hit.
			prompt ??= generates ? promptOf("", parts) : { characters, blocks: NO_BLOCKS };
			return prompt;
		},
	};
}

function featuresOf({ operation, body }: RoutedCall, images: number): Feature[] {
	if (operation === "embeddings") return ["embeddings"];
	const features: Feature[] = [];
	if (isFilled(body["tools"]) || isFilled(body["functions"])) features.push("tools");
	if (images > 0) features.push("images");
	if ((body["response_format"] as { type?: unknown } | null | undefined)?.type === "json_schema")
		features.push("schema");
	return features;
}

/** Pictures, and the characters of those that are in the text itself: they are no words. */
function imagesIn(messages: unknown): { count: number; characters: number } {
	const found = { count: 0, characters: 0 };
	for (const message of messages as { content?: unknown }[]) {
		if (!Array.isArray(message.content)) continue;
		for (const part of message.content as { type?: unknown; image_url?: { url?: unknown } }[]) {
			if (part.type !== "image_url") continue;
			found.count++;
			const url = part.image_url?.url;
			if (typeof url === "string" && url.startsWith("data:")) found.characters += url.length;
		}
	}
	return found;
}

/** The first session header. Most calls have none. */
function sessionOf(headers: Headers): string | undefined {
	const plain = headers.get("x-session-id") ?? headers.get("session-id") ?? headers.get("session_id");
	if (plain) return plain.slice(0, LONGEST_SESSION);
	for (const [name, value] of headers) if (SESSION.test(name) && value !== "") return value.slice(0, LONGEST_SESSION);
	return undefined;
}

const isFilled = (value: unknown): boolean => Array.isArray(value) && value.length > 0;
const whole = (value: unknown): number | undefined =>
	typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : undefined;
