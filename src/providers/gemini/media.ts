/** Files in Gemini's words: bytes inline, or the name of a file that Google already has. */

import { unsupported } from "../../openai/chat.ts";
import { isCited, type Message, type Part } from "../../openai/chat-schema.ts";
import { sourceOf } from "../media-parts.ts";
import type { Media, MediaNeed, RequestInputs } from "../provider.ts";

/** Hosts whose files Google reads itself: its own store, and YouTube. */
const OWN_HOSTS = new Set(["generativelanguage.googleapis.com", "www.youtube.com", "youtube.com", "youtu.be"]);

/** What it reads (ai.google.dev, image understanding); others are a 400 ("Unsupported MIME type: image/gif"). */
const IMAGES = new Set(["image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"]);

const isOwn = (url: string): boolean => OWN_HOSTS.has(new URL(url).hostname);

/** What must be fetched for the parts of these messages. */
export function mediaNeeds(messages: readonly Message[]): MediaNeed[] {
	return messages.flatMap(({ content }, message) => {
		if (!Array.isArray(content)) return [];
		return content.flatMap((part, index): MediaNeed[] => {
			if (part.type !== "image_url" && part.type !== "file") return [];
			const { source, param } = sourceOf(part, `messages[${message}].content[${index}]`);
			return source.kind === "url" && !isOwn(source.url) ? [{ kind: "media", url: source.url, param }] : [];
		});
	});
}

/** A part with a file. Throws where Gemini has no such kind of file. */
export function filePart(part: Part, path: string, baseUrl: string, inputs: RequestInputs): string {
	const inline = inlinePart(part, path, inputs);
	if (inline !== undefined) return inline;
	const { source, param } = sourceOf(part, path);
	if (source.kind === "url") return uriPart(source.url);
	const id = source.kind === "id" ? source.id : "";
	if (/^files\/[\w-]+$/.test(id)) return uriPart(`${baseUrl}/${id}`);
	if (id.startsWith("https://") && URL.canParse(id) && isOwn(id)) return uriPart(id);
	throw unsupported(param, "it must be the name of a file at Google, files/…");
}

/** The same, where its bytes are at hand; else undefined. */
export function inlinePart(part: Part, path: string, inputs: RequestInputs): string | undefined {
	if (isCited(part)) throw unsupported(`${path}.citations`, "Gemini cites what it searched, not a call's documents");
	if (part.type === "input_audio") {
		const { data, format } = part.input_audio;
		return inlineText({ type: `audio/${format}`, data });
	}
	if (part.type === "refusal" || part.type === "text") throw unsupported(`${path}.type`, "a file is wanted here");
	const { source, param } = sourceOf(part, path);
	const media = source.kind === "data" ? source : source.kind === "url" ? inputs.media(source.url) : undefined;
	if (media?.type.startsWith("image/") && !IMAGES.has(media.type)) {
		throw unsupported(param, `Gemini reads ${[...IMAGES].join(", ")}, not ${media.type}`);
	}
	return media && inlineText(media);
}

const inlineText = ({ type, data }: Media): string =>
	`{"inlineData":{"mimeType":${JSON.stringify(type)},"data":${JSON.stringify(data)}}}`;
const uriPart = (uri: string): string => `{"fileData":{"fileUri":${JSON.stringify(uri)}}}`;
