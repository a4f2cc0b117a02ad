/**
 * Pieces of text, of thoughts, or of a call's arguments, as Claude's API writes them, found by their bytes: each needs neither a decoding nor a parse, since a JSON
 * string with none but the short escapes is the same in OpenAI's chunk.
 */
import { ASCII_END, type EventShape, EventTemplate } from "../../openai/event-template.ts";
import { type EventFrame, TextChunks } from "../../openai/text-chunks.ts";

const HEAD = 'event: content_block_delta\ndata: {"type":"content_block_delta","index":';
const HEAD_BYTES = Buffer.from(HEAD);
/** What stands behind the index, before the text, by what that is a piece of. */
const TYPES = {
	text: ',"delta":{"type":"text_delta","text":"',
	thoughts: ',"delta":{"type":"thinking_delta","thinking":"',
	arguments: ',"delta":{"type":"input_json_delta","partial_json":"',
};

/** Deltas of one block. Claude's API pads its events with blanks before the last brace. */
const shapeOf = (type: string, index: string): EventShape => ({
	fixed: [HEAD + index + type, '"}', "}\n\n"],
	variables: ["text", "blanks"],
	noted: 0,
	escapes: "canonical",
});

/** Those of all streams: what one has read is taken from it before another reads. Bounded, since upstreams choose the indexes. */
const templates = new Map<string, EventTemplate>();
const MOST_TEMPLATES = 300;

function templateOf(type: keyof typeof TYPES, index: string): EventTemplate {
	const name = type + index;
	let template = templates.get(name);
	if (!template) {
		template = new EventTemplate(shapeOf(TYPES[type], index));
		if (templates.size >= MOST_TEMPLATES) templates.clear();
		templates.set(name, template);
	}
	return template;
}

const ZERO = 0x30;
const NINE = 0x39;
/** Of UTF-8: bytes that go on with a character, and those that begin one of two UTF-16 units. */
const CONTINUED = 0xc0;
const LONGEST = 0xf0;

/** Reads the deltas of one type that a stream has. */
export class TextDeltas {
	/** The block whose deltas came last, and those. */
	#index = "0";
	#events: EventTemplate;
	/** How long the texts of the last `read` are: UTF-16 units, and code points. */
	units = 0;
	points = 0;
	#isAscii = true;

	/**
	 * @param type what their text is a piece of
	 * @param isTold their texts are told otherwise than as they came
	 */
	constructor(
		private readonly type: keyof typeof TYPES,
		private readonly isTold = true,
	) {
		this.#events = templateOf(type, this.#index);
	}

	/** How many there are. */
	get events(): number {
		return this.#events.events;
	}

	/** Past the deltas of one block that a chunk has from `from` on, up to the first other event; `from` where there are none. */
	read(chunk: Buffer, from: number): number {
		const notes = this.isTold || !this.#isAscii;
		let end = this.#events.read(chunk, from, notes);
		const index = end === from ? indexAt(chunk, from) : undefined;
		if (index !== undefined && index !== this.#index) {
			this.#index = index;
			this.#events = templateOf(this.type, index);
			end = this.#events.read(chunk, from, notes);
		}
		const { size, escapes, bits } = this.#events;
		this.units = this.points = size - escapes;
		if (bits < ASCII_END) return end;
		// Where the texts are is needed to count their characters: from now on it is noted at once.
		this.#isAscii = false;
		this.#correct(chunk, notes ? this.#events.spans : this.#events.spansLater(chunk, from)());
		return end;
	}

	/** The texts that were read, joined, as JSON without its quotes. */
	textsIn(chunk: Buffer): Buffer {
		return this.#events.textsIn(chunk);
	}

	/**
	 * The chunks that say what was read.
	 * @param from where that begins
	 * @param own the same as it came, for a client that speaks Anthropic's wire
	 */
	written(chunk: Buffer, from: number, frame: () => EventFrame, own?: Uint8Array): TextChunks {
		const events = this.#events;
		return new TextChunks(chunk, own ? events.spansLater(chunk, from) : events.spans, events.size, frame, own);
	}

	/** Counts characters of several bytes, which were counted as so many, as one. */
	#correct(chunk: Buffer, spans: Int32Array): void {
		for (let nth = 0; nth < spans.length; nth += 2) {
			for (let at = spans[nth]!; at < spans[nth + 1]!; at++) {
				const byte = chunk[at]!;
				if (byte >= LONGEST) this.units++;
				if ((byte & CONTINUED) !== ASCII_END) continue;
				this.units--;
				this.points--;
			}
		}
	}
}

/** Most digits of a block's index: a message of more blocks, or one whose upstream numbers them otherwise, is for the parser, and no template is kept for it. */
const MOST_DIGITS = 4;

/** The block that the delta which begins there is of, as it is written; undefined where none begins there, or its index is longer than that of any message. */
function indexAt(chunk: Buffer, from: number): string | undefined {
	const start = from + HEAD_BYTES.length;
	if (start > chunk.length || HEAD_BYTES.compare(chunk, from, start) !== 0) return undefined;
	let end = start;
	while (end <= start + MOST_DIGITS && chunk[end]! >= ZERO && chunk[end]! <= NINE) end++;
	if (end > start + MOST_DIGITS) return undefined;
	// JSON's numbers begin with no 0.
	const isIndex = end === start + 1 || (end > start && chunk[start] !== ZERO);
	return isIndex ? chunk.toString("latin1", start, end) : undefined;
}
