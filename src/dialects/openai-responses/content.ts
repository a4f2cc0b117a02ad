/** Parts of items as parts of chat messages. */
import { checkField, checkOf, invalidField, unsupportedField } from "./field-checks.ts";
import { CONTENT_PARTS, type ContentPart, type ItemContent } from "./request-schema.ts";

/** A part of a chat message. */
export type ChatPart =
	| { readonly type: "text"; readonly text: string }
	| { readonly type: "image_url"; readonly image_url: { readonly url: string; readonly detail?: string } }
	| { readonly type: "file"; readonly file: Readonly<Record<string, string>> }
	| { readonly type: "input_audio"; readonly input_audio: { readonly data: string; readonly format: string } };

/** Content, or a part of it, that is a text. */
type TextPart = Extract<ChatPart, { type: "text" }>;
const isText = (part: ChatPart): part is TextPart => part.type === "text";

/** What the user shows: text alone where it is one text. Throws naming the part that is wrong, or has no form in a chat. */
export function userContent(content: ItemContent, path: string): string | readonly ChatPart[] {
	if (typeof content === "string") return content;
	const parts = content.map((part, index) => chatPart(part, `${path}[${index}]`));
	const [first] = parts;
	return parts.length === 1 && isText(first!) ? first.text : parts;
}

/** The texts of a message that may hold nothing else. */
export function textsOf(content: ItemContent, path: string): readonly string[] {
	if (typeof content === "string") return [content];
	return content.map((part, index) => {
		const made = chatPart(part, `${path}[${index}]`);
		if (isText(made)) return made.text;
		throw unsupportedField(`${path}[${index}].type`, "only text may stand here");
	});
}

/** What the assistant said, and what it refused. */
export function assistantContent(
	content: ItemContent,
	path: string,
): { readonly text: string; readonly refusal: string } {
	if (typeof content === "string") return { text: content, refusal: "" };
	let [text, refusal] = ["", ""];
	for (const [index, part] of content.entries()) {
		if (part.type === "refusal") refusal += checkedPart(part, `${path}[${index}]`)["refusal"] as string;
		else text += textsOf([part], path)[0];
	}
	return { text, refusal };
}

/** A tool's output: its text, and what is none, which not every upstream takes from a tool. */
export function toolContent(
	output: ItemContent,
	path: string,
): { readonly text: string; readonly media: readonly ChatPart[] } {
	if (typeof output === "string") return { text: output, media: [] };
	const parts = output.map((part, index) => chatPart(part, `${path}[${index}]`));
	return {
		text: parts
			.filter(isText)
			.map(({ text }) => text)
			.join("\n"),
		media: parts.filter((part) => !isText(part)),
	};
}

function checkedPart(part: ContentPart, path: string): ContentPart {
	const check = checkOf(CONTENT_PARTS, part.type);
	if (!check) throw invalidField(`${path}.type`, `must be one of ${Object.keys(CONTENT_PARTS).join(", ")}`);
	checkField(check, part, path);
	return part;
}

function chatPart(part: ContentPart, path: string): ChatPart {
	checkedPart(part, path);
	switch (part.type) {
		case "input_image":
			return imagePart(part, path);
		case "input_file":
			return filePart(part, path);
		case "input_audio":
			return { type: "input_audio", input_audio: part["input_audio"] as { data: string; format: string } };
		case "refusal":
			throw invalidField(`${path}.type`, "may be refusal in a message of the assistant's alone");
		default:
			return { type: "text", text: part["text"] as string };
	}
}

/** Details that a chat knows; `original` is more than it can ask for. */
const DETAILS: Readonly<Record<string, string>> = { low: "low", high: "high", original: "high" };

function imagePart({ image_url, file_id, detail }: ContentPart, path: string): ChatPart {
	if (typeof image_url !== "string") {
		if (file_id)
			throw unsupportedField(
				`${path}.file_id`,
				"no upstream takes a picture by its id in a chat; send its address or its bytes in image_url",
			);
		throw invalidField(path, "needs image_url");
	}
	const asked = typeof detail === "string" && Object.hasOwn(DETAILS, detail) ? DETAILS[detail] : undefined;
	return { type: "image_url", image_url: asked === undefined ? { url: image_url } : { url: image_url, detail: asked } };
}

function filePart({ file_data, file_id, file_url, filename }: ContentPart, path: string): ChatPart {
	// Whoever fetches nothing itself is given the bytes behind an https address.
	const data = file_data ?? file_url;
	const named = filename ? { filename: filename as string } : {};
	if (data) return { type: "file", file: { file_data: data as string, ...named } };
	if (file_id) return { type: "file", file: { file_id: file_id as string, ...named } };
	throw invalidField(path, "needs file_data, file_url or file_id");
}
