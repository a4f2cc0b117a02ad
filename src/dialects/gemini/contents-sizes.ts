/** How much a request of Google's gives its model to read, from its own text: nothing is translated for it. */
import type { Field } from "../../openai/json.ts";
import type { MediaPart, PromptPart, PromptSizes } from "../../openai/prompt-sizes.ts";
import type { GeminiPart, GenerateRequest } from "./request-schema.ts";

/** What each of the fields is that a model reads, in both spellings. */
const KINDS: Readonly<Record<string, PromptPart["kind"]>> = {
	contents: "messages",
	systemInstruction: "text",
	system_instruction: "text",
	tools: "tools",
	generationConfig: "schema",
	generation_config: "schema",
};

/** A configuration without one is no prompt. */
const SCHEMA = /"response_?(?:json_?)?schema"/i;

/**
 * The sizes of a request.
 * @param text its JSON
 * @param fields where its top-level fields stand in that
 */
export function contentsSizes({ contents }: GenerateRequest, text: string, fields: readonly Field[]): PromptSizes {
	const parts = fields.flatMap(({ key, start, end }): PromptPart[] => {
		const kind = Object.hasOwn(KINDS, key) ? KINDS[key]! : undefined;
		if (kind === undefined || text.startsWith("null", start)) return [];
		const value = text.slice(start, end);
		if (kind === "schema" && !SCHEMA.test(value)) return [];
		const characters = end - start;
		const isWords = kind === "messages" || kind === "text";
		const bytes = isWords ? Buffer.byteLength(value) : characters;
		return [{ kind, characters, bytes, count: kind === "messages" ? contents.length : 0 }];
	});
	const media: MediaPart[] = [];
	for (const content of contents) {
		for (const part of (content.parts ?? []) as GeminiPart[]) {
			addMedia(part, media);
			for (const inner of part.functionResponse?.parts ?? []) addMedia(inner, media);
		}
	}
	return { parts, media };
}

function addMedia({ inlineData, fileData }: Pick<GeminiPart, "inlineData" | "fileData">, media: MediaPart[]): void {
	const type = (inlineData?.mimeType ?? fileData?.mimeType ?? "").toLowerCase();
	if (!inlineData && !fileData) return;
	media.push({
		kind: kindOf(type),
		characters: inlineData?.data.length ?? 0,
		isLowDetail: false,
		isWav: /^audio\/(?:x-)?wave?/.test(type),
		isText: /^(?:text\/|application\/(?:json|xml))/.test(type),
	});
}

function kindOf(type: string): MediaPart["kind"] {
	if (type.startsWith("image/")) return "image";
	if (type.startsWith("audio/")) return "audio";
	return type.startsWith("video/") ? "video" : "file";
}
