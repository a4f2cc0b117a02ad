/**
 * A conversation, looked through in its bytes: that it is what its schema asks for, and what is known of it before anything is made of it. What is not
 * found good here, or is spelt or written as few write it, is for the parse to judge: a scan says yes, or nothing.
 */
import { isAscii } from "node:buffer";
import { BAD, ObjectScan, placeAt, wordList } from "../../openai/object-scan.ts";
import type { MediaPart } from "../../openai/prompt-sizes.ts";
import { indexed, places } from "../../openai/request-scan.ts";
import { carriesDetails } from "../../openai/thought-details.ts";
import { type ContentsFacts, type SentCall, sentMedia } from "./contents-facts.ts";

const OPEN_BRACKET = 91;
const BACKSLASH = 92;
const CLOSE_BRACKET = 93;
const LOWER_F = 102;
const LOWER_T = 116;
const OPEN_BRACE = 123;

/** Empty is the user's, as none is. */
const ROLES = wordList(["user", "model", "function", "tool", ""]);
const MODEL = 1;
const CONTENT_FIELDS = wordList(["role", "parts"]);
const [ROLE, PARTS] = [0, 1];
const PART_FIELDS = wordList(
	"text thought thoughtSignature inlineData fileData functionCall functionResponse".split(" "),
);
const [TEXT, THOUGHT, SIGNATURE, INLINE, FILE, CALL, RESULT] = [0, 1, 2, 3, 4, 5, 6];
const INLINE_FIELDS = wordList(["mimeType", "data", "displayName"]);
const FILE_FIELDS = wordList(["mimeType", "fileUri", "displayName"]);
const [MIME_TYPE, DATA, DISPLAY_NAME] = [0, 1, 2];
const URI = DATA;
const CALL_FIELDS = wordList(["id", "name", "args", "response"]);
const [ID, NAME, ARGS, RESPONSE] = [0, 1, 2, 3];

/** Places of the values of fields, in the order of their names: of a content, of a part, and of what stands in that. */
const content = new Int32Array(2);
const part = new Int32Array(7);
const inner = new Int32Array(4);

/** Most characters of a signature that are looked at. */
const SIGNATURE_START = 16;

/**
 * Looks through contents; undefined where they are not found good.
 * @param text the one that is indexed
 * @param start where they stand in it
 */
export function scannedContents(text: Buffer, start: number): ContentsFacts | undefined {
	if (indexed.text !== text) return undefined;
	const scan = new ContentsScan(text);
	return scan.readList(placeAt(start)) ? scan : undefined;
}

/** Whether the value that stands there is a content of nothing but words. */
export function isPlainContent(text: Buffer, start: number): boolean {
	if (indexed.text !== text) return false;
	const scan = new ContentsScan(text);
	return scan.readContent(placeAt(start), true) !== BAD && scan.media.length === 0 && scan.calls.length === 0;
}

class ContentsScan extends ObjectScan implements ContentsFacts {
	count = 0;
	readonly media: MediaPart[] = [];
	readonly calls: SentCall[] = [];
	carriesDetails = false;
	hasUnsignedCalls = false;
	endsWithModel = false;

	/** Whether a list of contents is good. @param list its place */
	readList(list: number): boolean {
		const { text } = this;
		if (text[places[list]!] !== OPEN_BRACKET) return false;
		for (let place = list + 1; text[places[place]!] === OPEN_BRACE; place++) {
			place = this.readContent(place);
			if (place === BAD) return false;
			this.count++;
			if (text[places[place]!] === CLOSE_BRACKET) return true;
		}
		return false;
	}

	/** Past a content; `BAD` where it is not good. @param takesAnyRole it is no turn of the conversation */
	readContent(brace: number, takesAnyRole = false): number {
		if (this.text[places[brace]!] !== OPEN_BRACE) return BAD;
		const past = this.fieldsIn(brace, CONTENT_FIELDS, content);
		if (past === BAD || this.hasOthers) return BAD;
		const role = content[ROLE] === 0 ? 0 : this.wordAt(ROLES, content[ROLE]!);
		if (takesAnyRole ? !this.isTextOrNone(content[ROLE]!) : role === -1) return BAD;
		const isModel = role === MODEL;
		this.endsWithModel = isModel;
		return content[PARTS] === 0 || this.#areParts(content[PARTS]!, isModel) ? past : BAD;
	}

	#areParts(list: number, isModel: boolean): boolean {
		const { text } = this;
		if (text[places[list]!] !== OPEN_BRACKET) return false;
		let place = list + 1;
		if (text[places[place]!] === CLOSE_BRACKET) return true;
		let isFirstCall = isModel;
		for (let nth = 0; text[places[place]!] === OPEN_BRACE; place++, nth++) {
			place = this.fieldsIn(place, PART_FIELDS, part);
			if (place === BAD || this.hasOthers || !this.#isPart(nth, isModel, isFirstCall)) return false;
			if (part[CALL] !== 0) isFirstCall = false;
			if (text[places[place]!] === CLOSE_BRACKET) return true;
		}
		return false;
	}

	/** Whether the part that was noted is good. */
	#isPart(nth: number, isModel: boolean, isFirstCall: boolean): boolean {
		const [signature, thought] = [part[SIGNATURE]!, part[THOUGHT]!];
		if (part[TEXT] !== 0 && !this.isText(part[TEXT]!)) return false;
		if (thought !== 0 && !this.#isFlag(thought)) return false;
		if (signature !== 0 && !this.#isSignature(signature)) return false;
		// What stands in a part is noted in the place of the one before.
		if (part[INLINE] !== 0 && (part[FILE] !== 0 || !this.#isInline(part[INLINE]!))) return false;
		if (part[FILE] !== 0 && !this.#isFile(part[FILE]!)) return false;
		const kind = isModel ? "call" : "quoted";
		if (part[CALL] !== 0 && !this.#addCall(part[CALL]!, nth, kind, RESPONSE)) return false;
		if (part[CALL] !== 0 && isFirstCall && !this.isFilled(signature)) this.hasUnsignedCalls = true;
		return part[RESULT] === 0 || this.#addCall(part[RESULT]!, nth, isModel ? undefined : "result", ARGS);
	}

	#isFlag(place: number): boolean {
		const first = this.text[places[place]!];
		return first === LOWER_T || first === LOWER_F;
	}

	#isSignature(place: number): boolean {
		if (!this.isText(place)) return false;
		const start = places[place]! + 1;
		const end = Math.min(places[place + 1]!, start + SIGNATURE_START);
		// Written so, it may be any.
		if (this.hasEscape(start, end)) return false;
		if (carriesDetails(this.text.toString("latin1", start, end))) this.carriesDetails = true;
		return true;
	}

	#isInline(brace: number): boolean {
		if (!this.#areFields(brace, INLINE_FIELDS) || !this.isFilled(inner[MIME_TYPE]!) || !this.#isBase64(inner[DATA]!))
			return false;
		return this.#addMedia(this.lengthAt(inner[DATA]!));
	}

	#isFile(brace: number): boolean {
		if (!this.#areFields(brace, FILE_FIELDS) || !this.isFilled(inner[URI]!)) return false;
		return this.#addMedia(0);
	}

	#addMedia(characters: number): boolean {
		const type = inner[MIME_TYPE]!;
		const mimeType = type === 0 ? "" : this.#plainText(type);
		if (mimeType === undefined || !this.isTextOrNone(inner[DISPLAY_NAME]!)) return false;
		this.media.push(sentMedia(mimeType, characters));
		return true;
	}

	/** Of base64 each byte is a character; the characters of what is none are for the parse to count. */
	#isBase64(place: number): boolean {
		if (!this.isText(place)) return false;
		const data = this.text.subarray(places[place]! + 1, places[place + 1]!);
		return isAscii(data) && !data.includes(BACKSLASH);
	}

	/** @param kind undefined where it counts as nothing; @param absent the one of the fields that it may not have */
	#addCall(brace: number, nth: number, kind: SentCall["kind"] | undefined, absent: number): boolean {
		if (!this.#areFields(brace, CALL_FIELDS) || inner[absent] !== 0) return false;
		const given = inner[absent === ARGS ? RESPONSE : ARGS]!;
		if (given !== 0 && this.text[places[given]!] !== OPEN_BRACE) return false;
		const name = this.isFilled(inner[NAME]!) ? this.#plainText(inner[NAME]!) : undefined;
		const id = inner[ID] === 0 ? "" : this.#plainText(inner[ID]!);
		if (name === undefined || id === undefined) return false;
		if (kind) this.calls.push({ content: this.count, part: nth, id: id || undefined, name, kind });
		return true;
	}

	/** Notes where the values of an inner object's fields stand. False where it has others. */
	#areFields(brace: number, names: typeof CALL_FIELDS): boolean {
		if (this.text[places[brace]!] !== OPEN_BRACE) return false;
		return this.fieldsIn(brace, names, inner) !== BAD && !this.hasOthers;
	}

	/** The text at a place; undefined where there is none, or one with an escape. */
	#plainText(place: number): string | undefined {
		if (!this.isText(place)) return undefined;
		const [start, end] = [places[place]! + 1, places[place + 1]!];
		return this.hasEscape(start, end) ? undefined : this.text.toString("utf8", start, end);
	}
}
