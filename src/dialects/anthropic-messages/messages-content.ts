/** Blocks of messages as parts of OpenAI's. */
import { objectIn } from "../../openai/usage.ts";
import type { Block } from "./messages-schema.ts";

/** A part of a message in OpenAI's words (`openai/chat-schema.ts`). */
export type ContentPart =
	| { readonly type: "text"; readonly text: string; readonly cache_control?: unknown }
	| { readonly type: "image_url"; readonly image_url: { readonly url: string }; readonly cache_control?: unknown }
	| {
			readonly type: "file";
			readonly file: { readonly filename?: string; readonly file_data?: string; readonly file_id?: string };
			readonly citations?: unknown;
			readonly cache_control?: unknown;
	  };

/**
 * For whom a request is put into OpenAI's words. `claude`: with all that Claude alone has words for (cache markers, documents' citations, signed
 * thoughts). `others`: in the words that most servers take, texts as one string. `marked`: the same for a server that passes calls on to Claude, with cache markers
 * and signed thoughts.
 */
export type RequestForm = "claude" | "marked" | "others";

/** Notes what is left out: the name of a field, or the type of a block or a tool. */
export type LeaveOut = (name: string) => void;

/** The parts that a block comes to: none where it has no form there, which is noted. */
export function partsOf(block: Block, form: RequestForm, leaveOut: LeaveOut): ContentPart[] {
	const mark = form !== "others" && block["cache_control"] != null ? { cache_control: block["cache_control"] } : {};
	switch (block.type) {
		case "text":
			return [{ type: "text", text: block["text"] as string, ...mark }];
		case "image":
			return imageParts(block["source"] as Block, mark, form, leaveOut);
		case "document":
			return documentParts(block, mark, form, leaveOut);
		case "search_result":
			return [{ type: "text", text: searchText(block), ...mark }];
		case "compaction":
			// What stands for a conversation that was made shorter.
			return typeof block["content"] === "string" ? [{ type: "text", text: block["content"], ...mark }] : [];
		default:
			leaveOut(block.type);
			return [];
	}
}

function imageParts(source: Block, mark: object, form: RequestForm, leaveOut: LeaveOut): ContentPart[] {
	if (source.type === "base64") {
		return [{ type: "image_url", image_url: { url: dataUrl(source["media_type"], source["data"]) }, ...mark }];
	}
	if (source.type === "url") return [{ type: "image_url", image_url: { url: source["url"] as string }, ...mark }];
	if (source.type === "file" && form === "claude") {
		return [{ type: "file", file: { file_id: source["file_id"] as string }, ...mark }];
	}
	leaveOut(`image.${source.type}`);
	return [];
}

const dataUrl = (type: unknown, data: unknown): string => `data:${type};base64,${data}`;

function documentParts(block: Block, mark: object, form: RequestForm, leaveOut: LeaveOut): ContentPart[] {
	const source = block["source"] as Block;
	const title = textIn(block["title"]);
	const context = textIn(block["context"]);
	const about: ContentPart[] = context === undefined ? [] : [{ type: "text", text: context }];
	const cited = form === "claude" && objectIn(block["citations"])?.["enabled"] === true;
	// OpenAI wants one with a file's bytes.
	const named = title !== undefined || form !== "claude" ? { filename: title ?? "document.pdf" } : {};
	const citations = cited ? { citations: { enabled: true } } : {};
	switch (source.type) {
		case "base64": {
			const file = { ...named, file_data: dataUrl(source["media_type"], source["data"]) };
			return [...about, { type: "file", file, ...citations, ...mark }];
		}
		case "url": {
			const file = { ...named, file_data: source["url"] as string };
			return [...about, { type: "file", file, ...citations, ...mark }];
		}
		case "text": {
			const data = source["data"] as string;
			// Few servers take files, and all take text.
			if (form !== "claude" || data === "")
				return [{ type: "text", text: documentText(title, context, data), ...mark }];
			const file_data = dataUrl("text/plain", Buffer.from(data).toString("base64"));
			return [...about, { type: "file", file: { ...named, file_data }, ...citations, ...mark }];
		}
		case "content": {
			const inner = source["content"] as string | Block[];
			if (typeof inner === "string") return [{ type: "text", text: documentText(title, context, inner), ...mark }];
			const parts = inner.flatMap((each) => partsOf(each, form, leaveOut));
			return title === undefined ? [...about, ...parts] : [{ type: "text", text: `${title}:` }, ...about, ...parts];
		}
		default:
			if (form === "claude") {
				const file = { ...named, file_id: source["file_id"] as string };
				return [...about, { type: "file", file, ...citations, ...mark }];
			}
			leaveOut(`document.${source.type}`);
			return about;
	}
}

const documentText = (title: string | undefined, context: string | undefined, data: string): string =>
	[title === undefined ? "<document>" : `<document title=${JSON.stringify(title)}>`, context, data, "</document>"]
		.filter((line) => line !== undefined)
		.join("\n");

function searchText(block: Block): string {
	const texts = (block["content"] as Block[]).map((each) => textIn(each["text"]) ?? "");
	return [
		`<search_result title=${JSON.stringify(block["title"])} source=${JSON.stringify(block["source"])}>`,
		...texts,
		"</search_result>",
	].join("\n");
}

const textIn = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);

/** Content as most servers take it: a string where it is text alone, without a marker. Templates of local models join texts by a line end, too. */
export function plainContent(parts: readonly ContentPart[]): string | readonly ContentPart[] {
	let text = "";
	for (const [index, part] of parts.entries()) {
		if (part.type !== "text" || part.cache_control !== undefined) return parts;
		text += index === 0 ? part.text : `\n${part.text}`;
	}
	return text;
}

/** What the parts say in words. */
export function wordsIn(parts: readonly ContentPart[]): string {
	return parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n");
}
