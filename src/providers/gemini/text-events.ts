/**
 * Events of Gemini's that bring a text and counts, which nearly all do, found by their bytes: what stands around the text is learned of one, and the
 * others are neither decoded nor parsed, since a JSON string is the same in OpenAI's chunk. Whatever is written otherwise is left to the parser.
 */
import { bytePart } from "../../openai/byte-part.ts";
import { EventTemplate, type VariablePart } from "../../openai/event-template.ts";
import { type EventFrame, TextChunks } from "../../openai/text-chunks.ts";
import type { GenerateResponse } from "./response.ts";

const TEXT = /"text":\s*("(?:[^"\\]|\\.)*")/;
const COUNTS = '"usageMetadata"';
/** A count in them, behind its colon. */
const COUNT = /:\s*([1-9]\d{0,8}|0)(?=\s*[,}])/g;

/** Events of one stream that are learned from: where each differs from those before, none needs to be. */
const MOST_LEARNED = 16;

/** Reads the text events of one stream. */
export class TextEvents {
	#events: EventTemplate | undefined;
	#learned = 0;
	/** Bytes from a text's end to the counts; undefined where there are none. */
	#toCounts: number | undefined;
	/** The counts of the last event that was read, and what is behind them. */
	#counted: Buffer | undefined;

	/** Learns from an event that was read, where it is such a one. */
	learn(event: string, response: GenerateResponse): void {
		const text = textAlone(response);
		if (text === undefined || this.#learned === MOST_LEARNED) return;
		this.#learned++;
		const found = TEXT.exec(event);
		if (!found) return;
		const literal = found[1]!;
		if (JSON.parse(literal) !== text) return;
		const end = found.index + found[0].length - 1;
		const counts = event.indexOf(COUNTS, end);
		const fixed = [event.slice(0, end - literal.length + 2)];
		const variables: VariablePart[] = ["text"];
		let from = end;
		COUNT.lastIndex = counts;
		for (let each = counts === -1 ? null : COUNT.exec(event); each; each = COUNT.exec(event)) {
			const count = COUNT.lastIndex - each[1]!.length;
			fixed.push(event.slice(from, count));
			variables.push("number");
			from = COUNT.lastIndex;
		}
		fixed.push(event.slice(from));
		this.#events = new EventTemplate({ fixed, variables, noted: 0, escapes: "any" });
		this.#toCounts = counts === -1 ? undefined : Buffer.byteLength(event.slice(end, counts));
	}

	/**
	 * Past the text events that a chunk has from `from` on, up to the first other one; `from` where there are none.
	 * @param notes false: their texts are not asked for
	 */
	read(chunk: Buffer, from: number, notes: boolean): number {
		const events = this.#events;
		if (!events) return from;
		const end = events.read(chunk, from, notes);
		if (end > from && this.#toCounts !== undefined)
			this.#counted = bytePart(chunk, events.lastEnd + this.#toCounts, end);
		return end;
	}

	/** How many events the last `read` has found. */
	get events(): number {
		return this.#events?.events ?? 0;
	}

	/**
	 * What they say, in what it is sent in.
	 * @param from where they begin
	 * @param own the same as it came, for a client that speaks Google's wire
	 */
	written(chunk: Buffer, from: number, frame: () => EventFrame, own?: Uint8Array): TextChunks {
		const events = this.#events!;
		return new TextChunks(chunk, own ? events.spansLater(chunk, from) : events.spans, events.size, frame, own);
	}

	/** The counts of the last event that was read since this was asked, as JSON of an answer; undefined where there are none. */
	takeCounts(): string | undefined {
		const counted = this.#counted;
		this.#counted = undefined;
		return counted && `{${counted.toString()}`;
	}

	/** The texts that were read, joined, as JSON without its quotes. */
	textsIn(chunk: Buffer): Buffer {
		return this.#events?.textsIn(chunk) ?? Buffer.alloc(0);
	}
}

const hasOnly = (object: object, names: ReadonlySet<string>): boolean =>
	Object.keys(object).every((name) => names.has(name));

const RESPONSE = new Set(["candidates", "usageMetadata", "modelVersion", "responseId"]);
const CANDIDATE = new Set(["content", "index"]);
const CONTENT = new Set(["parts", "role"]);
const PART = new Set(["text"]);

/** The text of an answer's piece that brings nothing else but counts; undefined of any other. */
function textAlone(response: GenerateResponse): string | undefined {
	const [candidate, ...others] = response.candidates ?? [];
	if (!candidate || others.length > 0 || (candidate.index ?? 0) !== 0 || !hasOnly(response, RESPONSE)) return undefined;
	const { content } = candidate;
	const [part, ...more] = content?.parts ?? [];
	if (!content || !part || more.length > 0) return undefined;
	if (!hasOnly(candidate, CANDIDATE) || !hasOnly(content, CONTENT) || !hasOnly(part, PART)) return undefined;
	return part.text || undefined;
}
