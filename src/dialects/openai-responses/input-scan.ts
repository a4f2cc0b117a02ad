/**
 * The items of a request, looked through in its bytes: whether a chat can be made of them, and whether servers that speak Responses take them as they
 * came. Nothing is made of them. What is not found good here is for the items' own checks to judge, which know why: a scan says yes, or nothing.
 */
import { pastValue } from "../../openai/canonical-bytes.ts";
import { BAD, ObjectScan, placeAt, wordList } from "../../openai/object-scan.ts";
import type { MediaPart } from "../../openai/prompt-sizes.ts";
import { indexed, places } from "../../openai/request-scan.ts";

const ZERO = 48;
const NINE = 57;
const OPEN_BRACKET = 91;
const CLOSE_BRACKET = 93;
const UNDERSCORE = 95;
const LOWER_I = 105;
const LOWER_N = 110;
const OPEN_BRACE = 123;

/** What is known of an input of which a chat can be made without a word of refusal. No turn of it is the system's but the first ones. */
export interface PlainInput {
	/** All servers that speak Responses know all of its items, and none is sent otherwise than it came. */
	readonly isForAll: boolean;
	/** Its messages. */
	readonly messages: number;
	/** Bytes of the same as messages of a chat: of messages their words and what stands around these there; other items as they are. */
	readonly size: number;
	/** Where the words and the items among that begin and end in the text, unless all of it is ASCII. */
	readonly spans: readonly number[];
	/** Pictures in it. */
	readonly media: readonly MediaPart[];
}

/** Bytes around the words of a chat's message and its role: `{"role":"","content":""},`. */
const FRAME = 25;

const ROLES = wordList(["user", "assistant", "system", "developer"]);
const [USER, ASSISTANT] = [0, 1];
/** As a chat has them. */
const ROLE_LENGTHS = ["user", "assistant", "system", "system"].map(({ length }) => length);
const KINDS = wordList([
	"message",
	"function_call",
	"function_call_output",
	"custom_tool_call",
	"custom_tool_call_output",
	"reasoning",
]);
const [MESSAGE, CALL, RESULT, CUSTOM_CALL, CUSTOM_RESULT, REASONING] = [0, 1, 2, 3, 4, 5];
const FIELDS = wordList(
	"type role content id call_id name arguments output input namespace extra_content summary encrypted_content".split(
		" ",
	),
);
const [TYPE, ROLE, CONTENT, ID, CALL_ID, NAME, ARGUMENTS, OUTPUT, INPUT, NAMESPACE, EXTRA, SUMMARY, ENCRYPTED] = [
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
];
const PARTS = wordList(["input_text", "output_text", "refusal", "input_image"]);
const [REFUSAL, IMAGE] = [2, 3];
const DETAILS = wordList(["low"]);
const PART_FIELDS = wordList(["type", "text", "refusal", "image_url", "detail", "file_id"]);
const [PART_TYPE, PART_TEXT, PART_REFUSAL, IMAGE_URL, DETAIL, FILE_ID] = [0, 1, 2, 3, 4, 5];

/** Places of the values of an item's and a part's fields, in the order of their names; 0: there is none. */
const item = new Int32Array(13);
const part = new Int32Array(6);

/**
 * Looks through an input; undefined where it is not found good.
 * @param text the one that is indexed
 * @param start where the input stands in it
 */
export function plainInput(text: Buffer, start: number): PlainInput | undefined {
	if (indexed.text !== text) return undefined;
	const place = placeAt(start);
	const items = new ItemScan(text);
	return items.read(place) ? items : undefined;
}

/** Reads an input as `ItemReader` does. */
class ItemScan extends ObjectScan implements PlainInput {
	isForAll = true;
	messages = 0;
	// A bracket: there are no commas behind the last.
	size = 1;
	readonly spans: number[] = [];
	readonly media: MediaPart[] = [];
	/** Somebody has said something besides the system. */
	#hasSpoken = false;
	#hasMessage = false;
	/** Ids of calls that have no result yet. */
	readonly #open = new Set<string>();

	/** Whether it is good. @param input its place */
	read(input: number): boolean {
		const { text } = this;
		if (this.isText(input)) {
			// It is a message of the user's.
			this.#addMessage(input, USER);
			return true;
		}
		if (text[places[input]!] !== OPEN_BRACKET) return false;
		for (let place = input + 1; text[places[place]!] === OPEN_BRACE; place++) {
			const start = places[place]!;
			place = this.fieldsIn(place, FIELDS, item);
			if (place === BAD || !this.#isPlain(start, places[place - 1]! + 1)) return false;
			if (text[places[place]!] === CLOSE_BRACKET) return this.#hasMessage && this.#open.size === 0;
		}
		return false;
	}

	/** Whether the item that was noted is good. */
	#isPlain(start: number, end: number): boolean {
		const kind = item[TYPE] === 0 && item[ROLE] !== 0 ? MESSAGE : this.wordAt(KINDS, item[TYPE]!);
		if (kind !== MESSAGE) this.#count(start, end);
		if (item[EXTRA] !== 0 || this.#mayBeOwnId(item[ID]!) || kind > RESULT) this.isForAll = false;
		switch (kind) {
			case MESSAGE:
				return this.#isMessage();
			case CALL:
				return this.isText(item[ARGUMENTS]!) && this.#isCall();
			case CUSTOM_CALL:
				return this.isText(item[INPUT]!) && this.#isCall();
			case RESULT:
			case CUSTOM_RESULT:
				return this.#isContent(item[OUTPUT]!, IMAGE, false) && this.#isResult();
			case REASONING:
				this.#hasSpoken = true;
				return this.isTextOrNone(item[ENCRYPTED]!) && this.#isSummary(item[SUMMARY]!);
			default:
				return false;
		}
	}

	#isMessage(): boolean {
		const role = this.wordAt(ROLES, item[ROLE]!);
		if (role === -1) return false;
		this.#addMessage(item[CONTENT]!, role);
		if (role !== USER && role !== ASSISTANT)
			return !this.#hasSpoken && this.#isContent(item[CONTENT]!, undefined, true);
		this.#hasSpoken = true;
		if (role === USER) this.#hasMessage = true;
		return this.#isContent(item[CONTENT]!, role === USER ? IMAGE : REFUSAL, true);
	}

	#count(start: number, end: number): void {
		this.size += end - start;
		if (!indexed.isAscii) this.spans.push(start, end);
	}

	#countText(place: number): void {
		this.#count(places[place]! + 1, places[place + 1]!);
	}

	/** Counts a message, and its words unless they stand in parts. */
	#addMessage(content: number, role: number): void {
		this.messages++;
		this.size += FRAME + ROLE_LENGTHS[role]!;
		if (this.isText(content)) this.#countText(content);
	}

	#isCall(): boolean {
		const id = this.idAt(item[CALL_ID]!);
		if (id === undefined || this.#open.has(id) || !this.isFilled(item[NAME]!)) return false;
		if (item[NAMESPACE] !== 0) this.isForAll = false;
		this.#hasSpoken = true;
		this.#hasMessage = true;
		this.#open.add(id);
		return this.isTextOrNone(item[NAMESPACE]!);
	}

	#isResult(): boolean {
		const id = this.idAt(item[CALL_ID]!);
		return id !== undefined && this.#open.delete(id);
	}

	/** A text, or a list of parts that are texts, or of one other kind. @param counts what is said in the parts has not been counted */
	#isContent(place: number, other: number | undefined, counts: boolean): boolean {
		const { text } = this;
		if (this.isText(place)) return true;
		if (place === 0 || text[places[place]!] !== OPEN_BRACKET) return false;
		let at = place + 1;
		if (text[places[at]!] === CLOSE_BRACKET) return true;
		for (; text[places[at]!] === OPEN_BRACE; at++) {
			at = this.fieldsIn(at, PART_FIELDS, part);
			const said = at === BAD ? BAD : this.#saidIn(other);
			if (said === BAD) return false;
			if (counts) this.#countText(said);
			if (text[places[at]!] === CLOSE_BRACKET) return true;
		}
		return false;
	}

	/** The place of what the part that was noted says; `BAD` where it is not good. */
	#saidIn(other: number | undefined): number {
		const kind = this.wordAt(PARTS, part[PART_TYPE]!);
		if (kind === -1 || (kind >= REFUSAL && kind !== other)) return BAD;
		const said = part[kind === IMAGE ? IMAGE_URL : kind === REFUSAL ? PART_REFUSAL : PART_TEXT]!;
		if (!this.isText(said)) return BAD;
		if (kind !== IMAGE) return said;
		this.#addImage();
		return this.isTextOrNone(part[DETAIL]!) && this.isTextOrNone(part[FILE_ID]!) ? said : BAD;
	}

	#addImage(): void {
		const length = this.lengthAt(part[IMAGE_URL]!);
		const start = places[part[IMAGE_URL]!]! + 1;
		const isElsewhere = /^https?:/i.test(this.text.toString("latin1", start, start + Math.min(length, 6)));
		const isLowDetail = this.wordAt(DETAILS, part[DETAIL]!) === 0;
		this.media.push({ kind: "image", characters: isElsewhere ? 0 : length, isLowDetail, isWav: false, isText: false });
	}

	#isSummary(place: number): boolean {
		const { text } = this;
		if (place === 0 || text[places[place]!] === LOWER_N) return true;
		if (text[places[place]!] !== OPEN_BRACKET) return false;
		let at = place + 1;
		if (text[places[at]!] === CLOSE_BRACKET) return true;
		for (; text[places[at]!] === OPEN_BRACE; at++) {
			at = pastValue(text, at);
			if (text[places[at]!] === CLOSE_BRACKET) return true;
		}
		return false;
	}

	/** Whether an id may be one that the router gives (`responseOfItem`): it ends with `_`, maybe `in`, and digits. */
	#mayBeOwnId(place: number): boolean {
		const { text } = this;
		if (!this.isText(place)) return false;
		const end = places[place + 1]!;
		let at = end;
		while (text[at - 1]! >= ZERO && text[at - 1]! <= NINE) at--;
		if (at === end) return this.hasEscape(places[place]! + 1, end);
		if (text[at - 1] === LOWER_N && text[at - 2] === LOWER_I) at -= 2;
		return text[at - 1] === UNDERSCORE || this.hasEscape(places[place]! + 1, end);
	}
}
