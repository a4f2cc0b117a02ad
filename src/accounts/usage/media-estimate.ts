/** Tokens of what is no text in a prompt, told by its kind and its size: nothing is decoded. Pure. */

/** What was found so far. */
export interface MediaCount {
	/** Tokens. */
	image: number;
	audio: number;
	/** Files and films. */
	other: number;
	/** Of the text around: base64, which is no words. */
	characters: number;
}

/** A picture: from 85 (OpenAI, low detail) to 1,600 (Claude, large). Also what a file has at least, whatever it is. */
const PICTURE_TOKENS = 500;
const LOW_DETAIL_TOKENS = 85;
/** Bytes a token. Text is counted as text; of a PDF a page has some 50 KB and 1,000 tokens; of sound a second has 32 tokens at most. */
const TEXT_BYTES = 4;
const FILE_BYTES = 50;
const WAV_BYTES = 1_500;
const SOUND_BYTES = 500;
/** Kinds of part that are no text; of one that nobody knows all counts as text. */
const MEDIA = /image|audio|video|file|document/;
/** Bytes that a character of base64 stands for. */
const BASE64 = 0.75;

/** Adds what is no text in a message's content, or in an input of embeddings. */
export function mediaIn(content: unknown, found: MediaCount): void {
	if (!Array.isArray(content)) return;
	for (const part of content as Part[]) {
		if (typeof part !== "object" || part === null) continue;
		const { type } = part;
		if (typeof type !== "string" || !MEDIA.test(type)) continue;
		const inner = part[type];
		const data = dataOf(inner) ?? dataOf(part);
		const isInside = data !== undefined && !/^https?:/i.test(data);
		if (isInside) found.characters += data.length;
		const bytes = isInside ? data.length * BASE64 : 0;
		const said = typeof inner === "object" && inner !== null ? (inner as Record<string, unknown>) : part;
		if (type.includes("image")) {
			found.image += said["detail"] === "low" ? LOW_DETAIL_TOKENS : PICTURE_TOKENS;
		} else if (type.includes("audio")) {
			const isWav = said["format"] === "wav" || data?.startsWith("data:audio/wav") === true;
			found.audio += Math.max(PICTURE_TOKENS, bytes / (isWav ? WAV_BYTES : SOUND_BYTES));
		} else if (type.includes("video")) {
			found.other += Math.max(PICTURE_TOKENS, bytes / SOUND_BYTES);
		} else {
			const isText = data !== undefined && /^data:(?:text\/|application\/(?:json|xml))/i.test(data);
			found.other += Math.max(PICTURE_TOKENS, bytes / (isText ? TEXT_BYTES : FILE_BYTES));
		}
	}
}

type Part = Record<string, unknown>;

/** Where parts of all kinds keep what they hold, or its address. */
const PLACES = ["url", "data", "file_data"];

/** The text that holds it, or leads to it. */
function dataOf(value: unknown): string | undefined {
	if (typeof value === "string") return value;
	if (typeof value !== "object" || value === null) return undefined;
	for (const place of PLACES) {
		const data = (value as Record<string, unknown>)[place];
		if (typeof data === "string") return data;
	}
	return undefined;
}
