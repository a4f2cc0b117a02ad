/** What is known of a conversation before anything is made of it: read of its parse here, and of its bytes by `contents-scan.ts`. */
import type { MediaPart } from "../../openai/prompt-sizes.ts";
import { carriesDetails } from "../../openai/thought-details.ts";
import type { GeminiPart, GenerateRequest } from "./request-schema.ts";

/** A call of a function, or what one has come to. */
export interface SentCall {
	/** Which of the contents it stands in, and which part of that it is. */
	readonly content: number;
	readonly part: number;
	readonly id: string | undefined;
	readonly name: string;
	/** `call`: the model's. `result`: one of those. `quoted`: a call in words of the user's, which nobody answers. */
	readonly kind: "call" | "result" | "quoted";
}

/** The conversation of one request. */
export interface ContentsFacts {
	/** Its contents. */
	readonly count: number;
	/** What is no text in it. */
	readonly media: readonly MediaPart[];
	readonly calls: readonly SentCall[];
	/** What another vendor has signed stands in the place of a signature. */
	readonly carriesDetails: boolean;
	/** Of calls that the model has made together the first is not signed. */
	readonly hasUnsignedCalls: boolean;
	/** The last words are the model's: it is to go on with them. */
	readonly endsWithModel: boolean;
}

/** The same of contents that were checked. */
export function contentsFacts(contents: GenerateRequest["contents"]): ContentsFacts {
	const media: MediaPart[] = [];
	const calls: SentCall[] = [];
	let [carries, hasUnsignedCalls] = [false, false];
	for (const [content, { role, parts }] of contents.entries()) {
		const isModel = role === "model";
		let isFirst = isModel;
		for (const [at, part] of ((parts ?? []) as readonly GeminiPart[]).entries()) {
			const { functionCall, functionResponse, thoughtSignature } = part;
			addMedia(part, media);
			for (const inner of functionResponse?.parts ?? []) addMedia(inner, media);
			carries ||= carriesDetails(thoughtSignature);
			if (functionCall) {
				const { id, name } = functionCall;
				calls.push({ content, part: at, id: id || undefined, name, kind: isModel ? "call" : "quoted" });
				if (isFirst && !thoughtSignature) hasUnsignedCalls = true;
				isFirst = false;
			}
			if (functionResponse && !isModel) {
				const { id, name } = functionResponse;
				calls.push({ content, part: at, id: id || undefined, name, kind: "result" });
			}
		}
	}
	const endsWithModel = contents.at(-1)?.role === "model";
	return { count: contents.length, media, calls, carriesDetails: carries, hasUnsignedCalls, endsWithModel };
}

function addMedia({ inlineData, fileData }: Pick<GeminiPart, "inlineData" | "fileData">, media: MediaPart[]): void {
	if (!inlineData && !fileData) return;
	media.push(sentMedia(inlineData?.mimeType ?? fileData?.mimeType ?? "", inlineData?.data.length ?? 0));
}

/** A part that is no text. @param characters of it that stand in the request itself, UTF-16 units */
export function sentMedia(mimeType: string, characters: number): MediaPart {
	const type = mimeType.toLowerCase();
	return {
		kind: kindOf(type),
		characters,
		isLowDetail: false,
		isWav: /^audio\/(?:x-)?wave?/.test(type),
		isText: /^(?:text\/|application\/(?:json|xml))/.test(type),
	};
}

function kindOf(type: string): MediaPart["kind"] {
	if (type.startsWith("image/")) return "image";
	if (type.startsWith("audio/")) return "audio";
	return type.startsWith("video/") ? "video" : "file";
}
