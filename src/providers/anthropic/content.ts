/** Pieces of a message's content as Anthropic's content blocks, each the text of its JSON. */

import { invalid, unsupported } from "../../openai/chat.ts";
import { type CacheControl, isCited, type Message, type Part } from "../../openai/chat-schema.ts";
import { objectText } from "../../openai/json.ts";
import { type MediaSource, sourceOf } from "../media-parts.ts";
import { namedContent } from "../message-marks.ts";

/** What the API reads (platform.claude.com, vision). */
const IMAGES = new Set(["image/jpeg", "image/png", "image/gif", "image/webp"]);

/** The marker's JSON; undefined where there is none. */
export const cacheText = (cache: CacheControl): string | undefined => (cache ? JSON.stringify(cache) : undefined);

/** Whether a text says anything. Blocks that are all space are a 400 where no other text stands beside them. */
export const says = (text: string): boolean => /\S/.test(text);

/**
 * The blocks of a message's content, its speaker's name in front. Text that the API refuses is left out: what is empty, and what is all space
 * with no other text beside it. `last` marks the last block for the cache. `mark` is put on each text.
 */
export function contentBlocks(
	message: Message,
	path: string,
	last?: CacheControl,
	mark?: (text: string) => string,
): string[] {
	const named = message.name ? namedContent(message) : undefined;
	const content = named ? named.content : message.content;
	const lead = named?.lead;
	const marked = (text: string) => (mark ? mark(text) : text);
	if (typeof content === "string") return says(content) ? [textBlock(marked(content), last)] : [];
	const parts = content ?? [];
	const isSaid = lead !== undefined || parts.some((part) => says(textOf(part) ?? ""));
	const blocks: string[] = lead === undefined ? [] : [textBlock(marked(lead))];
	for (const [index, part] of parts.entries()) {
		const cache = cacheOf(part) ?? (index === parts.length - 1 ? last : undefined);
		const text = textOf(part);
		if (text === undefined) blocks.push(fileBlock(part, `${path}.content[${index}]`, cache));
		else if (isSaid && text !== "") blocks.push(textBlock(marked(text), cache));
	}
	return blocks;
}

/** The text of a part that is one. */
const textOf = (part: Part): string | undefined =>
	part.type === "text" ? part.text : part.type === "refusal" ? part.refusal : undefined;
const cacheOf = (part: Part): CacheControl => (part.type === "refusal" ? undefined : part.cache_control);

/** A block of text. */
export function textBlock(text: string, cache?: CacheControl): string {
	return cache
		? `{"type":"text","text":${JSON.stringify(text)},"cache_control":${JSON.stringify(cache)}}`
		: `{"type":"text","text":${JSON.stringify(text)}}`;
}

function fileBlock(part: Part, path: string, cache: CacheControl): string {
	if (part.type === "input_audio") throw unsupported(`${path}.type`, "Claude hears no audio");
	const { source, param } = sourceOf(part, path);
	const isImage = part.type === "image_url" || (source.kind === "data" && source.type.startsWith("image/"));
	const title = part.type === "file" ? part.file.filename : undefined;
	const cited = isCited(part);
	if (isImage && cited) throw unsupported(`${path}.citations`, "Claude cites no images");
	return objectText({
		type: isImage ? '"image"' : '"document"',
		source: isImage ? imageSource(source, param) : documentSource(source, param),
		title: isImage || !title ? undefined : JSON.stringify(title),
		citations: cited ? '{"enabled":true}' : undefined,
		cache_control: cacheText(cache),
	});
}

function imageSource(source: MediaSource, param: string): string {
	if (source.kind === "data" && !IMAGES.has(source.type)) {
		throw unsupported(param, `Claude reads ${[...IMAGES].join(", ")}, not ${source.type}`);
	}
	return sourceText(source);
}

function documentSource(source: MediaSource, param: string): string {
	if (source.kind !== "data" || source.type === "application/pdf") return sourceText(source);
	if (!source.type.startsWith("text/")) throw unsupported(param, `Claude reads PDF and text, not ${source.type}`);
	const text = Buffer.from(source.data, "base64").toString("utf8");
	if (text === "") throw invalid(param, "holds no text");
	return `{"type":"text","media_type":"text/plain","data":${JSON.stringify(text)}}`;
}

function sourceText(source: MediaSource): string {
	if (source.kind === "url") return `{"type":"url","url":${JSON.stringify(source.url)}}`;
	if (source.kind === "id") return `{"type":"file","file_id":${JSON.stringify(source.id)}}`;
	return `{"type":"base64","media_type":${JSON.stringify(source.type)},"data":${JSON.stringify(source.data)}}`;
}
