/** Files of Google's parts as parts of OpenAI's. */
import { objectIn } from "../../openai/usage.ts";
import type { GeminiPart } from "./request-schema.ts";

/** For whom a request is put into OpenAI's words. `gemini`: with all that Google alone has words for. `others`: in the words that most servers take. */
export type RequestForm = "gemini" | "others";

/** Notes what is left out: the name of a field, or the kind of a part or a tool. */
export type LeaveOut = (name: string) => void;

/** A part of a message in OpenAI's words (`openai/chat-schema.ts`). */
export type ChatPart =
	| { readonly type: "text"; readonly text: string }
	| { readonly type: "image_url"; readonly image_url: { readonly url: string } }
	| { readonly type: "input_audio"; readonly input_audio: { readonly data: string; readonly format: string } }
	| {
			readonly type: "file";
			readonly file: { readonly filename?: string; readonly file_data?: string; readonly file_id?: string };
	  };

type Media = Pick<GeminiPart, "inlineData" | "fileData">;

/** The file as a part; undefined where it is none, or has no form there, which is noted. */
export function mediaPart(
	{ inlineData, fileData }: Media,
	form: RequestForm,
	leaveOut: LeaveOut,
): ChatPart | undefined {
	if (inlineData) return inlinePart(inlineData.mimeType, inlineData.data);
	if (!fileData) return undefined;
	const { fileUri, mimeType } = fileData;
	if (form === "gemini" && liesAtGoogle(fileUri)) return { type: "file", file: { file_id: fileUri } };
	// What lies at Google only Google can read.
	if (liesAtGoogle(fileUri) || !fileUri.startsWith("https://")) {
		leaveOut("contents.fileData");
		return undefined;
	}
	if (mimeType?.startsWith("image/") ?? IMAGE.test(fileUri)) return { type: "image_url", image_url: { url: fileUri } };
	return { type: "file", file: { filename: "document.pdf", file_data: fileUri } };
}

const IMAGE = /\.(?:png|jpe?g|webp|gif|heic|heif)(?:$|\?)/i;
const GOOGLES =
	/^(?:files\/|gs:|https:\/\/(?:generativelanguage\.googleapis\.com|(?:www\.)?youtube\.com|youtu\.be)\/)/i;
const liesAtGoogle = (uri: string): boolean => GOOGLES.test(uri);

/** Sounds, in OpenAI's words. */
const FORMATS: Readonly<Record<string, string>> = {
	"audio/mpeg": "mp3",
	"audio/mp3": "mp3",
	"audio/wav": "wav",
	"audio/x-wav": "wav",
	"audio/wave": "wav",
};

function inlinePart(mimeType: string, data: string): ChatPart {
	const [type = ""] = mimeType.toLowerCase().split(";");
	const url = `data:${type};base64,${standard(data)}`;
	if (type.startsWith("image/")) return { type: "image_url", image_url: { url } };
	if (type.startsWith("audio/")) {
		return { type: "input_audio", input_audio: { data: standard(data), format: FORMATS[type] ?? type.slice(6) } };
	}
	// Few servers take files, and all take text.
	if (type.startsWith("text/") || type === "application/json") {
		return { type: "text", text: Buffer.from(data, "base64").toString() };
	}
	return { type: "file", file: { filename: type === "application/pdf" ? "document.pdf" : "document", file_data: url } };
}

/** Bytes in JSON may be in either alphabet. */
const standard = (data: string): string => data.replaceAll("-", "+").replaceAll("_", "/");

/** What code that Google ran said, in words; undefined where the part is none of it. */
export function codeText(part: GeminiPart): string | undefined {
	const code = objectIn(part["executableCode"]);
	if (code) return `\`\`\`${String(code["language"] ?? "").toLowerCase()}\n${code["code"]}\n\`\`\``;
	const result = objectIn(part["codeExecutionResult"]);
	return result ? `\`\`\`\n${result["output"] ?? result["outcome"] ?? ""}\n\`\`\`` : undefined;
}
