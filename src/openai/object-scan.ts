/**
 * Objects in JSON, read by the places of its structure (`request-scan.ts`): where the values of their fields stand, and which words texts are. Nothing is made of them.
 */
import { pastValue } from "./canonical-bytes.ts";
import { indexed, places } from "./request-scan.ts";

const QUOTE = 34;
const BACKSLASH = 92;
const LOWER_N = 110;
const CLOSE_BRACE = 125;
const CLOSE_BRACKET = 93;

/** No place. */
export const BAD = 0;

/** Names of one object that say nothing here, of which each is compared with all others: thousands would hold up all other calls. */
const MOST_OTHERS = 8;

/** Words by their lengths, each with its place in the list. */
export type Words = readonly (readonly { readonly word: string; readonly nth: number }[] | undefined)[];

/** Words to look for. */
export function wordList(words: readonly string[]): Words {
	const byLength: { word: string; nth: number }[][] = [];
	for (const [nth, word] of words.entries()) {
		byLength[word.length] ??= [];
		byLength[word.length]!.push({ word, nth });
	}
	return byLength;
}

/** The place at or behind an offset of the indexed text. */
export function placeAt(offset: number): number {
	let [low, high] = [0, indexed.count];
	while (low < high) {
		const middle = (low + high) >> 1;
		if (places[middle]! < offset) low = middle + 1;
		else high = middle;
	}
	return low;
}

const isClosed = (last: number): boolean => last === QUOTE || last === CLOSE_BRACE || last === CLOSE_BRACKET;

/** What scans of the indexed text have in common. A place is that of a value's first character in `places`; 0: there is none. */
export class ObjectScan {
	/** Where names begin that say nothing here, of the object that was read last. */
	#others: number[] = [];

	/** @param text the one that is indexed: JSON */
	constructor(protected readonly text: Buffer) {}

	/** Whether the object that was read last has names besides those that were looked for. */
	protected get hasOthers(): boolean {
		return this.#others.length > 0;
	}

	/**
	 * Notes where the values of an object's fields stand. Past it; `BAD` where a name is written with an escape, or stands twice.
	 * @param values gets their places, in the order of the names
	 * @param notesOthers false: other names may stand there as often as they like
	 */
	protected fieldsIn(brace: number, names: Words, values: Int32Array, notesOthers = true): number {
		const { text } = this;
		values.fill(0);
		if (this.#others.length > 0) this.#others = [];
		let place = brace + 1;
		if (text[places[place]!] === CLOSE_BRACE) return place + 1;
		for (;;) {
			const start = places[place]! + 1;
			const end = places[place + 1]!;
			const name = this.wordIn(names, start, end);
			place += 3;
			if (name !== -1) {
				if (values[name] !== 0) return BAD;
				values[name] = place;
			} else if (this.hasEscape(start, end) || (notesOthers && !this.#isOther(place - 3))) return BAD;
			place = pastValue(text, place);
			if (text[places[place++]!] === CLOSE_BRACE) return place;
		}
	}

	/** Whether a name that says nothing here stands in its object for the first time: false behind a few, the rest being for `refuseRepeatedNames`. @param name its place */
	#isOther(name: number): boolean {
		const [text, start, end] = [this.text, places[name]!, places[name + 1]!];
		for (const other of this.#others) {
			const from = places[other]!;
			if (places[other + 1]! - from === end - start && text.compare(text, from, from + end - start, start, end) === 0)
				return false;
		}
		return this.#others.push(name) <= MOST_OTHERS;
	}

	protected isText(place: number): boolean {
		return place !== 0 && this.text[places[place]!] === QUOTE;
	}

	/** JSON of the value there. */
	protected textAt(place: number): string {
		const { text } = this;
		const past = pastValue(text, place);
		// Behind a number or a word only the next place is known, with blanks before it.
		return text.toString(
			"utf8",
			places[place],
			isClosed(text[places[past - 1]!]!) ? places[past - 1]! + 1 : places[past],
		);
	}

	/** Of the text there, bytes. */
	protected lengthAt(place: number): number {
		return places[place + 1]! - places[place]! - 1;
	}

	protected isFilled(place: number): boolean {
		return this.isText(place) && this.lengthAt(place) > 0;
	}

	/** What begins with this letter is null. */
	protected isTextOrNone(place: number): boolean {
		return place === 0 || this.isText(place) || this.text[places[place]!] === LOWER_N;
	}

	/** An id as it is compared with others; undefined where it is none, or written with an escape. */
	protected idAt(place: number): string | undefined {
		if (!this.isFilled(place)) return undefined;
		const start = places[place]! + 1;
		const end = places[place + 1]!;
		return this.hasEscape(start, end) ? undefined : this.text.toString("latin1", start, end);
	}

	/** Which of some words the text at a place is; -1: none of them. */
	protected wordAt(words: Words, place: number): number {
		return this.isText(place) ? this.wordIn(words, places[place]! + 1, places[place + 1]!) : -1;
	}

	protected wordIn(words: Words, start: number, end: number): number {
		const candidates = words[end - start];
		if (!candidates) return -1;
		const { text } = this;
		for (const { word, nth } of candidates) {
			let at = 0;
			while (at < word.length && text[start + at] === word.charCodeAt(at)) at++;
			if (at === word.length) return nth;
		}
		return -1;
	}

	protected hasEscape(start: number, end: number): boolean {
		for (let at = start; at < end; at++) if (this.text[at] === BACKSLASH) return true;
		return false;
	}
}
