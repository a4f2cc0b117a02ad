/** Pieces of a message's content as Anthropic's content blocks, each the text of its JSON. */

import { invalid, unsupported } from "../openai/chat.ts";
import type { CacheControl, Part } from "../openai/chat-schema.ts";
import { objectText } from "../openai/json.ts";
import { type Source, sourceOf } from "./media.ts";

/** What the API reads (platform.claude.com, vision). */
const IMAGES = new Set(["image/jpeg", "image/png", "image/gif", "image/webp"]);

/** The marker's JSON; undefined where there is none. */
export const cacheText = (cache: CacheControl): string | undefined => (cache ? JSON.stringify(cache) : undefined);

/** The blocks of a message's content. Empty text is left out, which the API refuses. `last` marks the last block for the cache. */
export function contentBlocks(
	content: string | readonly Part[] | null | undefined,
	place: string,
	last?: CacheControl,
): string[] {
	if (typeof content === "string") return content === "" ? [] : [textBlock(content, last)];
	const blocks: string[] = [];
	for (const [index, part] of (content ?? []).entries()) {
		const cache = cacheOf(part) ?? (index === (content?.length ?? 0) - 1 ? last : undefined);
		if (part.type === "text") {
			if (part.text !== "") blocks.push(textBlock(part.text, cache));
		} else if (part.type === "refusal") {
			if (part.refusal !== "") blocks.push(textBlock(part.refusal, cache));
		} else blocks.push(fileBlock(part, `${place}.content[${index}]`, cache));
	}
	return blocks;
}

const cacheOf = (part: Part): CacheControl => (part.type === "refusal" ? undefined : part.cache_control);

/** A block of text. */
export function textBlock(text: string, cache?: CacheControl): string {
	return cache
		? `{"type":"text","text":${JSON.stringify(text)},"cache_control":${JSON.stringify(cache)}}`
		: `{"type":"text","text":${JSON.stringify(text)}}`;
}

function fileBlock(part: Part, place: string, cache: CacheControl): string {
	if (part.type === "input_audio") throw unsupported(`${place}.type`, "Claude hears no audio");
	const { source, param } = sourceOf(part, place);
	const isImage = part.type === "image_url" || (source.kind === "data" && source.type.startsWith("image/"));
	const title = part.type === "file" ? part.file.filename : undefined;
	return objectText({
		type: isImage ? '"image"' : '"document"',
		source: isImage ? imageSource(source, param) : documentSource(source, param),
		title: isImage || !title ? undefined : JSON.stringify(title),
		cache_control: cacheText(cache),
	});
}

function imageSource(source: Source, param: string): string {
	if (source.kind === "data" && !IMAGES.has(source.type)) {
		throw unsupported(param, `Claude reads ${[...IMAGES].join(", ")}, not ${source.type}`);
	}
	return sourceText(source);
}

function documentSource(source: Source, param: string): string {
	if (source.kind !== "data" || source.type === "application/pdf") return sourceText(source);
	if (!source.type.startsWith("text/")) throw unsupported(param, `Claude reads PDF and text, not ${source.type}`);
	const text = Buffer.from(source.data, "base64").toString("utf8");
	if (text === "") throw invalid(param, "holds no text");
	return `{"type":"text","media_type":"text/plain","data":${JSON.stringify(text)}}`;
}

function sourceText(source: Source): string {
	if (source.kind === "url") return `{"type":"url","url":${JSON.stringify(source.url)}}`;
	if (source.kind === "id") return `{"type":"file","file_id":${JSON.stringify(source.id)}}`;
	return `{"type":"base64","media_type":${JSON.stringify(source.type)},"data":${JSON.stringify(source.data)}}`;
}
