/**
 * How many tokens a call's prompt has, roughly, before anyone has counted them. Reserved of token limits until the upstream's own
 * count is there. On the 59 recorded calls, most of them a sentence or two, half are off by 155 tokens or less and 95 % by 678
 * (`bun test/bench/estimate.ts`): what vendors put before a prompt unasked (Claude with tools: 350 tokens), and pictures.
 */
import type { Call } from "../openai/call.ts";
import { fieldNamed } from "../openai/json.ts";

/** The part of a call that is read. */
export type Estimated = Pick<Call, "operation" | "raw" | "body" | "fields">;

/** Characters a token, of plain text in Latin letters and of JSON schemas. */
const TEXT = 4;
const SCHEMA = 5;
/** Further tokens a byte beyond the first of a character: Chinese has about one token a character of three bytes. */
const EXTRA_BYTE = 0.35;
/** What `{"role":"user","content":""},` takes of the text, characters, and what it stands for, tokens. */
const FRAME = 22;
const FRAME_TOKENS = 4;
/** What tools bring with them besides their schemas. */
const TOOLS_TOKENS = 100;
/** A picture, a file or a sound: from 85 (OpenAI, low detail) to 1,600 (Claude, large). */
const MEDIA_TOKENS = 500;

/** Tokens of the prompt; at least 1. 1 µs for short ones; counting bytes costs 0.05 µs a kilobyte. */
export function estimatedTokens({ operation, raw, body, fields }: Estimated): number {
	const textOf = (name: string): string => {
		const field = fieldNamed(fields, name);
		return field ? raw.slice(field.start, field.end) : "";
	};
	if (operation !== "chat") {
		const name = operation === "completions" ? "prompt" : "input";
		return Math.max(1, Math.ceil(countIn(body[name]) ?? ofText(textOf(name))));
	}
	const messages = body["messages"] as readonly { content?: unknown }[];
	const media = mediaIn(messages);
	const text = textOf("messages");
	const tools = textOf("tools").length + textOf("functions").length;
	const tokens =
		ofText(text) -
		(media.characters + messages.length * FRAME) / TEXT +
		messages.length * FRAME_TOKENS +
		media.count * MEDIA_TOKENS +
		tools / SCHEMA +
		(tools > 2 ? TOOLS_TOKENS : 0) +
		textOf("response_format").length / TEXT;
	return Math.max(1, Math.ceil(tokens));
}

/** Tokens that the answer may have at most, where the client says so; else 0. */
export function mostAnswerTokens({ body }: Pick<Call, "body">): number {
	const most = whole(body["max_completion_tokens"]) ?? whole(body["max_tokens"]) ?? 0;
	return most * (whole(body["n"]) ?? 1);
}

/** Tokens of an answer of so many characters. */
export function answerTokens(characters: number): number {
	return Math.ceil(characters / TEXT);
}

function ofText(text: string): number {
	return text.length / TEXT + (Buffer.byteLength(text) - text.length) * EXTRA_BYTE;
}

/** Prompts may be given as tokens already. */
function countIn(value: unknown): number | undefined {
	if (!Array.isArray(value) || value.length === 0) return undefined;
	if (typeof value[0] === "number") return value.length;
	if (!Array.isArray(value[0])) return undefined;
	return value.reduce((sum: number, each) => sum + (Array.isArray(each) ? each.length : 0), 0);
}

/** Parts that are no text, and the characters of those that are in the message itself. */
function mediaIn(messages: readonly { content?: unknown }[]): { count: number; characters: number } {
	const found = { count: 0, characters: 0 };
	for (const { content } of messages) {
		if (!Array.isArray(content)) continue;
		for (const part of content as Part[]) {
			if (part.type === "text" || part.type === "refusal") continue;
			found.count++;
			const data = part.image_url?.url ?? part.input_audio?.data ?? part.file?.file_data;
			if (typeof data === "string") found.characters += data.length;
		}
	}
	return found;
}

interface Part {
	readonly type?: unknown;
	readonly image_url?: { readonly url?: unknown } | null;
	readonly input_audio?: { readonly data?: unknown } | null;
	readonly file?: { readonly file_data?: unknown } | null;
}

const whole = (value: unknown): number | undefined =>
	typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : undefined;
