/**
 * How much a request of OpenAI's gives its model to read, by kind: what its tokens are estimated from (`accounts/usage/token-estimate.ts`).
 * Nothing is parsed or decoded: the texts' lengths and bytes say it. Pure.
 */
import { VENDORS, WIRE_FIELDS } from "../vendors.ts";
import type { Operation } from "./operations.ts";
import type { ParsedBody } from "./parsed-body.ts";
import type { RequestField } from "./request-scan.ts";

/** All that a model reads of a call. */
export interface PromptSizes {
	/** One a field. */
	readonly parts: readonly PromptPart[];
	/** What is no text among them. Where it stands in the text itself, its characters are in the parts, too. */
	readonly media: readonly MediaPart[];
}

/** One field that a model reads. */
export interface PromptPart {
	/** `messages`: a list of messages. `tools`: functions that the model may call. `schema`: what the answer is held to. `text`: all else. */
	readonly kind: "messages" | "tools" | "schema" | "text";
	/** Of its JSON, UTF-16 units. */
	readonly characters: number;
	/** Of the same in UTF-8; not counted of tools and schemas, where it is `characters`. */
	readonly bytes: number;
	/** Of `messages`: how many. Of `text`: tokens that stand beside the text, of prompts that are given as tokens. */
	readonly count: number;
}

/** A picture, a sound, a film or a file. */
export interface MediaPart {
	readonly kind: "image" | "audio" | "video" | "file";
	/** Base64 that stands in the text; 0 where only its address does. */
	readonly characters: number;
	/** Of pictures: the client asks for the least detail. */
	readonly isLowDetail: boolean;
	/** Of sounds: not packed. */
	readonly isWav: boolean;
	/** Of files: a text. */
	readonly isText: boolean;
}

/**
 * Fields that no model reads. Every other one counts, also one that this router does not know: upstreams put `system`, `documents`,
 * `suffix` and the like into the prompt, and a limit must not be passed by a field's name.
 */
const NO_PROMPT = new Set([
	...WIRE_FIELDS,
	...Object.values(VENDORS).flatMap(({ defaults }) => Object.values(defaults ?? {}).flatMap(Object.keys)),
	...(
		"model stream stream_options user temperature top_p top_k min_p n best_of seed stop stop_token_ids frequency_penalty " +
		"presence_penalty repetition_penalty logit_bias logprobs top_logprobs max_tokens max_completion_tokens metadata audio " +
		"function_call tool_choice modalities moderation parallel_tool_calls prompt_cache_key prompt_cache_options " +
		"prompt_cache_retention cache_control reasoning_effort reasoning thinking safety_identifier service_tier store verbosity " +
		"web_search_options encoding_format dimensions echo models route provider plugins fallbacks usage session_id"
	).split(" "),
]);

/** The sizes of a request. */
export function promptSizes(operation: Operation, body: ParsedBody): PromptSizes {
	const parts: PromptPart[] = [];
	const media: MediaPart[] = [];
	for (const field of body.fields) {
		const part = partOf(field, operation, body, media);
		if (part) parts.push(part);
	}
	return { parts, media };
}

/** One field's; undefined where no model reads it. Adds the media in it. */
function partOf(
	field: RequestField,
	operation: Operation,
	body: ParsedBody,
	media: MediaPart[],
): PromptPart | undefined {
	const { key, start, end, levels } = field;
	if (NO_PROMPT.has(key)) return undefined;
	switch (key) {
		case "messages": {
			// What is no text lies in an object in a list in a message in the list, and says what it is.
			const isCounted = levels <= 2 || (Number.isFinite(levels) && !body.mayHaveType(field, MEDIA));
			const count = isCounted ? field.items : messagesIn(body.valueOf(field), media);
			if (count === undefined) break;
			return { kind: "messages", characters: body.lengthOf(field), bytes: end - start, count };
		}
		case "tools":
		case "functions":
			return settings("tools", body.lengthOf(field));
		case "response_format":
			return settings("schema", body.lengthOf(field));
		case "prompt":
		case "input":
			if (operation !== "chat") return levels === 0 ? ofText(field, body) : ofPrompts(field, body, media);
	}
	// Numbers and words such as true are settings.
	return isSaid(body.bytes[start]!) ? ofText(field, body) : undefined;
}

const QUOTE = 34;
const OPEN_BRACE = 123;
const OPEN_BRACKET = 91;
const isSaid = (first: number): boolean => first === QUOTE || first === OPEN_BRACE || first === OPEN_BRACKET;

const settings = (kind: "tools" | "schema", characters: number): PromptPart => ({
	kind,
	characters,
	bytes: characters,
	count: 0,
});

function ofText(field: RequestField, body: ParsedBody): PromptPart {
	return { kind: "text", characters: body.lengthOf(field), bytes: field.end - field.start, count: 0 };
}

/** How many messages there are, where it is a list of some. Adds the media in them. */
function messagesIn(messages: unknown, media: MediaPart[]): number | undefined {
	if (!Array.isArray(messages)) return undefined;
	for (const message of messages) addMedia((message as { content?: unknown } | null)?.content, media);
	return messages.length;
}

/** Of one prompt or several, which may be tokens already. */
function ofPrompts(field: RequestField, body: ParsedBody, media: MediaPart[]): PromptPart {
	const value = body.valueOf(field);
	if (!Array.isArray(value) || value.every((each) => typeof each === "string")) return ofText(field, body);
	let [count, characters, bytes] = [0, 0, 0];
	for (const each of value) {
		if (typeof each === "number") count++;
		else if (Array.isArray(each)) count += each.length;
		else if (each !== null) {
			addMedia([each], media);
			const said = JSON.stringify(each);
			characters += said.length;
			bytes += Buffer.byteLength(said);
		}
	}
	return { kind: "text", characters, bytes, count };
}

/** Kinds of part that are no text; of one that nobody knows all counts as text. */
const MEDIA = /image|audio|video|file|document/;

type Part = Record<string, unknown>;

/** Adds what is no text in a message's content, or in an input of embeddings. */
function addMedia(content: unknown, found: MediaPart[]): void {
	if (!Array.isArray(content)) return;
	for (const part of content as Part[]) {
		if (typeof part !== "object" || part === null) continue;
		const { type } = part;
		if (typeof type !== "string" || !MEDIA.test(type)) continue;
		const inner = part[type];
		const data = dataOf(inner) ?? dataOf(part);
		const isInside = data !== undefined && !/^https?:/i.test(data);
		const said = typeof inner === "object" && inner !== null ? (inner as Part) : part;
		found.push({
			kind: kindOf(type),
			characters: isInside ? data.length : 0,
			isLowDetail: said["detail"] === "low",
			isWav: said["format"] === "wav" || data?.startsWith("data:audio/wav") === true,
			isText: data !== undefined && /^data:(?:text\/|application\/(?:json|xml))/i.test(data),
		});
	}
}

function kindOf(type: string): MediaPart["kind"] {
	if (type.includes("image")) return "image";
	if (type.includes("audio")) return "audio";
	return type.includes("video") ? "video" : "file";
}

/** Where parts of all kinds keep what they hold, or its address. */
const PLACES = ["url", "data", "file_data"];

/** The text that holds it, or leads to it. */
function dataOf(value: unknown): string | undefined {
	if (typeof value === "string") return value;
	if (typeof value !== "object" || value === null) return undefined;
	for (const place of PLACES) {
		const data = (value as Part)[place];
		if (typeof data === "string") return data;
	}
	return undefined;
}
