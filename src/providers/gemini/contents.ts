/** A conversation in Gemini's words, each piece the text of its JSON. */
import { Type } from "@sinclair/typebox";
import { LazyCheck } from "../../lazy-check.ts";
import { invalid, unsupported } from "../../openai/chat.ts";
import type { AssistantMessage, Message, Part, ToolCall, ToolMessage } from "../../openai/chat-schema.ts";
import { googlesSignature } from "../../openai/thought-details.ts";
import { type NamedContent, namedContent, withoutForgedMarks } from "../message-marks.ts";
import type { RequestInputs } from "../provider.ts";
import { argumentsText } from "../tools.ts";
import { sentName } from "./function-names.ts";
import { filePart, inlinePart } from "./media.ts";
import { isThird, takesPrefill } from "./models.ts";
import { Turns, textPart } from "./turns.ts";

/** The conversation. */
export interface Contents {
	/** Parts of the system instruction. */
	readonly system: readonly string[];
	readonly contents: readonly string[];
	/** Calls stand in it. */
	readonly hasCalls: boolean;
}

/** What is known while the conversation is read. */
interface Context {
	/** Of the third generation, or a later one. */
	readonly isThird: boolean;
	readonly baseUrl: string;
	readonly inputs: RequestInputs;
	readonly turns: Turns;
}

/** Throws `unsupported_parameter` or `invalid_value` naming the field that has no form there. */
export function contentsOf(
	messages: readonly Message[],
	model: string,
	baseUrl: string,
	inputs: RequestInputs,
): Contents {
	const turns = new Turns();
	const context: Context = { isThird: isThird(model), baseUrl, inputs, turns };
	const system: string[] = [];
	let isBeginning = true;
	for (const [index, message] of withoutForgedMarks(messages).entries()) {
		const path = `messages[${index}]`;
		if (message.role === "user") turns.user(userParts(namedContent(message), path, context));
		else if (message.role === "tool") addResult(message, path, context);
		else if (message.role === "assistant") addAnswer(message, path, context);
		else {
			const texts = textsIn(namedContent(message), path);
			if (isBeginning) system.push(...texts.map(textPart));
			else for (const text of texts) turns.system(text);
			continue;
		}
		isBeginning = false;
	}
	const { contents, last } = turns.end();
	if (last === "model" && (contents.length === 1 || !takesPrefill(model))) {
		const why = takesPrefill(model)
			? "it is the assistant's, and Gemini wants a user's message before it"
			: "this model takes no assistant's message as the last";
		throw unsupported(`messages[${messages.length - 1}].role`, why);
	}
	return { system, contents, hasCalls: turns.hasCalls };
}

function userParts({ lead, content }: NamedContent, path: string, { baseUrl, inputs }: Context): string[] {
	if (typeof content === "string") return [textPart(content)];
	const parts = (content ?? []).flatMap((part, index) => {
		if (part.type === "text") return part.text === "" ? [] : [textPart(part.text)];
		return [filePart(part, `${path}.content[${index}]`, baseUrl, inputs)];
	});
	if (lead !== undefined) parts.unshift(textPart(lead));
	// A turn without a part is a 400, one with an empty text is not.
	return parts.length > 0 ? parts : [textPart("")];
}

/** The texts of content that may hold nothing else. */
function textsIn({ lead, content }: NamedContent, path: string): string[] {
	if (typeof content === "string") return content === "" ? [] : [content];
	const texts = (content ?? []).flatMap((part: Part, index) => {
		const text = part.type === "text" ? part.text : part.type === "refusal" ? part.refusal : undefined;
		if (text === undefined) throw unsupported(`${path}.content[${index}].type`, "only text may stand here");
		return text === "" ? [] : [text];
	});
	if (lead !== undefined) texts.unshift(lead);
	return texts;
}

const Extra = Type.Object(
	{ google: Type.Object({ thought_signature: Type.String() }, { additionalProperties: true }) },
	{ additionalProperties: true },
);
const EXTRA = new LazyCheck(Extra);

/** The signature in an `extra_content`, as Google's own OpenAI half names it. */
const signatureIn = (extra: unknown): string | undefined =>
	EXTRA.Check(extra) ? extra.google.thought_signature : undefined;

/**
 * The signature of a call that has none: calls of other models, or of before a restart. Google documents it for that (thought
 * signatures, FAQ); in base64, as the field is bytes and as a recorded exchange shows it taken.
 */
const NO_SIGNATURE = Buffer.from("skip_thought_signature_validator").toString("base64");

function addAnswer(message: AssistantMessage, path: string, context: Context): void {
	const calls = message.tool_calls ?? [];
	const details = message.reasoning_details;
	const own = signatureIn(message.extra_content) ?? googlesSignature(details);
	const texts = textsIn(namedContent(message), path);
	if (texts.length === 0 && message.refusal) texts.push(message.refusal);
	const parts = texts.map((text, index) =>
		signed(`{"text":${JSON.stringify(text)}`, index === texts.length - 1 ? own : undefined),
	);
	if (parts.length === 0 && own) parts.push(signed('{"text":""', own));
	if (message.images) parts.push(...imageParts(message, path, context));
	const signatures = calls.map(
		({ id, extra_content }) =>
			context.inputs.thinking(id) ?? signatureIn(extra_content) ?? googlesSignature(details, id),
	);
	const isUnsigned = context.isThird && signatures.every((signature) => signature === undefined);
	for (const [index, call] of calls.entries()) {
		// Of calls made together only the first has one.
		const signature = signatures[index] ?? (isUnsigned && index === 0 ? NO_SIGNATURE : undefined);
		parts.push(signed(callText(call, `${path}.tool_calls[${index}]`), signature));
	}
	context.turns.model(parts, calls);
}

const Image = Type.Object(
	{
		image_url: Type.Object({ url: Type.String({ pattern: "^data:" }) }, { additionalProperties: true }),
		extra_content: Type.Optional(Type.Unknown()),
	},
	{ additionalProperties: true },
);
const IMAGE = new LazyCheck(Image);

/** The images that a model made, as its answer brought them. The third generation refuses one without its signature. */
function imageParts({ images }: AssistantMessage, path: string, { inputs }: Context): string[] {
	if (!Array.isArray(images)) return [];
	return images.flatMap((image: unknown, index) => {
		if (!IMAGE.Check(image)) return [];
		const { image_url, extra_content } = image;
		const part = inlinePart({ type: "image_url", image_url }, `${path}.images[${index}]`, inputs) ?? "";
		return [signed(part.slice(0, -1), signatureIn(extra_content))];
	});
}

/** A part that lacks its closing brace, with the signature that belongs to it. */
const signed = (part: string, signature: string | undefined): string =>
	signature === undefined ? `${part}}` : `${part},"thoughtSignature":${JSON.stringify(signature)}}`;

function callText({ id, function: { name, arguments: text } }: ToolCall, path: string): string {
	return `{"functionCall":{"id":${JSON.stringify(id)},"name":${JSON.stringify(sentName(name))},"args":${argumentsText(text, path)}}`;
}

function addResult(message: ToolMessage, path: string, { turns, isThird: isLater, baseUrl, inputs }: Context): void {
	const name = turns.nameOf(message.tool_call_id);
	if (name === undefined) throw invalid(`${path}.tool_call_id`, "is the id of no call before it");
	const parts = typeof message.content === "string" ? [] : (message.content ?? []);
	const text =
		typeof message.content === "string"
			? message.content
			: parts.map((part) => (part.type === "text" ? part.text : "")).join("");
	const inside: string[] = [];
	/** What can't stand inside it. */
	const files: string[] = [];
	for (const [index, part] of parts.entries()) {
		if (part.type === "text") continue;
		const at = `${path}.content[${index}]`;
		const inline = isLater ? inlinePart(part, at, inputs) : undefined;
		if (inline !== undefined) inside.push(inline);
		else files.push(filePart(part, at, baseUrl, inputs));
	}
	const response = responseText(text);
	const media = inside.length > 0 ? `,"parts":[${inside.join(",")}]` : "";
	const id = JSON.stringify(message.tool_call_id);
	const part = `{"functionResponse":{"id":${id},"name":${JSON.stringify(name)},"response":${response}${media}}}`;
	turns.result(message.tool_call_id, part, files);
}

/** Numbers that the API, which holds them as doubles, would change. */
const LARGE_NUMBER = /\d{16}|\d[eE][+-]?\d/;

/** A JSON object as it is, all else as the text it is: the API wants an object. */
function responseText(text: string): string {
	const trimmed = text.trim();
	if (trimmed[0] === "{" && !LARGE_NUMBER.test(trimmed)) {
		try {
			JSON.parse(trimmed);
			return trimmed;
		} catch {
			// It only looks like an object.
		}
	}
	return `{"output":${JSON.stringify(text)}}`;
}
