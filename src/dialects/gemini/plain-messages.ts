/** A conversation of nothing but words as OpenAI's messages, written from the request's bytes: a JSON string is the same there, and no tree is made for it. */
import { BAD, ObjectScan, placeAt, wordList } from "../../openai/object-scan.ts";
import type { ParsedBody } from "../../openai/parsed-body.ts";
import { indexed, indexText, places } from "../../openai/request-scan.ts";

const OPEN_BRACKET = 91;
const CLOSE_BRACKET = 93;
const OPEN_BRACE = 123;

const CONTENT_FIELDS = wordList(["role", "parts"]);
const [ROLE, PARTS] = [0, 1];
const PART_FIELDS = wordList(["text"]);
const MODEL = wordList(["model"]);

/** Places of the values of fields, in the order of their names. */
const content = new Int32Array(2);
const part = new Int32Array(1);

/** Between two texts of one message, as JSON. */
const LINE_END = "\\n";
const NO_WORDS = '{"role":"user","content":""}';

/** The same messages as `chatMessages` makes, as JSON behind each other; undefined where a part is more than a text. @param sent that a scan has found good */
export function plainMessages(sent: ParsedBody): readonly (string | Buffer)[] | undefined {
	if (indexed.text !== sent.bytes && !indexText(sent.bytes)) return undefined;
	const messages = new PlainMessages(sent.bytes);
	const system = sent.field("systemInstruction");
	if (system && messages.add(placeAt(system.start), "system") === BAD) return undefined;
	return messages.addAll(placeAt(sent.field("contents")!.start)) ? messages.end() : undefined;
}

class PlainMessages extends ObjectScan {
	readonly #pieces: (string | Buffer)[] = [];
	/** Whose message is being written. */
	#role = "";

	/** Whether all contents of a list are written. @param list its place */
	addAll(list: number): boolean {
		const { text } = this;
		for (let place = list + 1; text[places[place]!] === OPEN_BRACE; place++) {
			place = this.add(place);
			if (place === BAD) return false;
			if (text[places[place]!] === CLOSE_BRACKET) return true;
		}
		return false;
	}

	/** Past a content, which is written; `BAD` where it is more than words. @param role in OpenAI's words; that which it names where it is left out */
	add(brace: number, role?: "system"): number {
		const past = this.fieldsIn(brace, CONTENT_FIELDS, content);
		if (past === BAD || this.hasOthers) return BAD;
		const list = content[PARTS]!;
		const isModel = role === undefined && this.wordAt(MODEL, content[ROLE]!) !== -1;
		return list === 0 || this.#addParts(list, role ?? (isModel ? "assistant" : "user")) ? past : BAD;
	}

	#addParts(list: number, role: string): boolean {
		const { text } = this;
		if (text[places[list]!] !== OPEN_BRACKET) return false;
		let place = list + 1;
		if (text[places[place]!] === CLOSE_BRACKET) return true;
		// Texts of one turn of the model are one text.
		let joint = LINE_END;
		for (; text[places[place]!] === OPEN_BRACE; place++) {
			place = this.fieldsIn(place, PART_FIELDS, part);
			if (place === BAD || this.hasOthers || !this.isText(part[0]!)) return false;
			const [start, end] = [places[part[0]!]! + 1, places[part[0]! + 1]!];
			if (end > start) {
				this.#say(role, joint, text.subarray(start, end));
				if (role === "assistant") joint = "";
			}
			if (text[places[place]!] === CLOSE_BRACKET) return true;
		}
		return false;
	}

	/** Puts a text to its speaker's message, which another one of the same goes on with. */
	#say(role: string, joint: string, words: Buffer): void {
		const pieces = this.#pieces;
		if (role !== this.#role) pieces.push(`${this.#role === "" ? "" : '"},'}{"role":"${role}","content":"`);
		else if (joint !== "") pieces.push(joint);
		this.#role = role;
		pieces.push(words);
	}

	end(): readonly (string | Buffer)[] {
		return this.#role === "" ? [NO_WORDS] : [...this.#pieces, '"}'];
	}
}
