/**
 * The usage in an answer of any length and kind, read while it passes: it stands at the beginning (vLLM's scores) or at the end (pictures, events
 * of a stream), so the first and the last few KB are all that is held.
 */
import { numberIn, objectIn, readUsage, type Tokens } from "./usage.ts";

/** Bytes held of either end. */
const END_BYTES = 8 * 1024;
/** Longest sound that is believed, s: a month. */
const MOST_SECONDS = 31 * 86_400;

/** What an answer says of what it used. */
export interface PassedUsage {
	readonly tokens?: Tokens | undefined;
	/** USD. */
	readonly cost?: number | undefined;
	/** Length of the sound that was read. */
	readonly seconds?: number | undefined;
}

/** Both ends of an answer. */
export class AnswerEnds {
	#first = "";
	#last = "";

	push(chunk: Uint8Array): void {
		// Names and numbers are ASCII; whatever else is cut in two does not matter.
		const text = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
		const room = END_BYTES - this.#first.length;
		if (room > 0) this.#first += text.toString("latin1", 0, room);
		const added = text.length > END_BYTES ? text.toString("latin1", text.length - END_BYTES) : text.toString("latin1");
		this.#last = (this.#last + added).slice(-END_BYTES);
	}

	/** What it says; the last word counts. Nothing of what is no text. */
	usage(): PassedUsage {
		const usage = objectAfter(this.#last, "usage") ?? objectAfter(this.#first, "usage");
		const { tokens, cost } = readUsage(usage?.["type"] === "duration" ? undefined : usage);
		const seconds =
			numberIn(usage?.["seconds"], MOST_SECONDS) ??
			numberAfter(this.#first, "duration") ??
			numberAfter(this.#last, "duration");
		return { tokens, cost, seconds };
	}
}

/** The last object that stands behind a name; undefined where there is none, or not all of it. */
function objectAfter(text: string, name: string): Readonly<Record<string, unknown>> | undefined {
	for (let at = text.lastIndexOf(`"${name}"`); at !== -1; at = at === 0 ? -1 : text.lastIndexOf(`"${name}"`, at - 1)) {
		const start = /^\s*:\s*\{/.exec(text.slice(at + name.length + 2, at + name.length + 34));
		if (!start) continue;
		const from = at + name.length + 2 + start[0].length - 1;
		const found = objectAt(text, from);
		if (found) return found;
	}
	return undefined;
}

/** Usage is no deeper than a list in an object in it, and holds no text with braces: the brace that ends it is found by trying. */
function objectAt(text: string, from: number): Readonly<Record<string, unknown>> | undefined {
	let depth = 0;
	for (let at = from; at < text.length; at++) {
		if (text[at] === "{") depth++;
		else if (text[at] === "}" && --depth === 0) {
			try {
				return objectIn(JSON.parse(text.slice(from, at + 1)));
			} catch {
				return undefined;
			}
		}
	}
	return undefined;
}

function numberAfter(text: string, name: string): number | undefined {
	const found = new RegExp(`"${name}"\\s*:\\s*"?(\\d{1,9}(?:\\.\\d{1,12})?)[",}\\s]`).exec(text);
	return found ? numberIn(Number(found[1]), MOST_SECONDS) : undefined;
}
