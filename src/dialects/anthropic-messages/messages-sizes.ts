/** How much a request of Anthropic's gives its model to read, from its own text: nothing is translated for it. */
import type { Field } from "../../openai/json.ts";
import type { MediaPart, PromptPart, PromptSizes } from "../../openai/prompt-sizes.ts";
import { objectIn } from "../../openai/usage.ts";
import type { Block, MessagesRequest } from "./messages-schema.ts";

/** What each of the fields is that a model reads. */
const KINDS: Readonly<Record<string, PromptPart["kind"]>> = {
	system: "text",
	messages: "messages",
	tools: "tools",
	output_config: "schema",
	output_format: "schema",
};

/**
 * The sizes of a request.
 * @param text its JSON
 * @param fields where its top-level fields stand in that
 */
export function messagesSizes(request: MessagesRequest, text: string, fields: readonly Field[]): PromptSizes {
	const parts = fields.flatMap(({ key, start, end }): PromptPart[] => {
		const kind = Object.hasOwn(KINDS, key) ? KINDS[key]! : undefined;
		if (kind === undefined || text.startsWith("null", start)) return [];
		// `{"effort":"high"}` is no schema.
		if (kind === "schema" && !text.slice(start, end).includes("schema")) return [];
		const characters = end - start;
		const isWords = kind === "messages" || kind === "text";
		const bytes = isWords ? Buffer.byteLength(text.slice(start, end)) : characters;
		return [{ kind, characters, bytes, count: kind === "messages" ? request.messages.length : 0 }];
	});
	const media: MediaPart[] = [];
	for (const { content } of request.messages) if (typeof content !== "string") addMedia(content as Block[], media);
	return { parts, media };
}

function addMedia(blocks: readonly Block[], media: MediaPart[]): void {
	for (const { type, source: sent, content } of blocks) {
		if (type === "tool_result" && Array.isArray(content)) addMedia(content as Block[], media);
		const source = objectIn(sent);
		// Documents of text are words.
		if ((type !== "image" && type !== "document") || !source || source["type"] === "text") continue;
		if (source["type"] === "content") {
			if (Array.isArray(source["content"])) addMedia(source["content"] as Block[], media);
			continue;
		}
		const data = source["type"] === "base64" ? source["data"] : undefined;
		const characters = typeof data === "string" ? data.length : 0;
		const kind = type === "image" ? "image" : "file";
		media.push({ kind, characters, isLowDetail: false, isWav: false, isText: false });
	}
}
