/**
 * Gemini's `citationMetadata` and `groundingMetadata` (@google/genai 2.32), as OpenAI's annotations. Its places count bytes of UTF-8, and
 * in streams they come at the end, for the whole text.
 */
import { numberIn, objectIn } from "../../openai/usage.ts";
import {
	type Annotation,
	annotationFor,
	type CitedSource,
	type CitedSpan,
	codePointsIn,
	NOWHERE,
} from "../annotations.ts";

/** What of a candidate says its sources, unchecked. */
export interface SentSources {
	readonly citationMetadata?: unknown;
	readonly groundingMetadata?: unknown;
}

type Fields = Readonly<Record<string, unknown>>;

/** An answer has no more sources than that, nor a source more words. */
const MOST = 1000;

/** The sources of one candidate, as they come. */
export class Sources {
	/** By their JSON: a stream may say one again. */
	readonly #citations = new Map<string, Fields>();
	#grounding: Fields | undefined;

	/** Takes what a candidate, or a piece of one, says. */
	add({ citationMetadata, groundingMetadata }: SentSources): void {
		const cited = objectIn(citationMetadata);
		for (const citation of [...fieldsIn(cited?.["citationSources"]), ...fieldsIn(cited?.["citations"])]) {
			if (this.#citations.size < MOST) this.#citations.set(JSON.stringify(citation), citation);
		}
		const grounding = objectIn(groundingMetadata);
		// Pieces before the last may hold what was searched for alone.
		if (grounding && fieldsIn(grounding["groundingChunks"]).length > 0) this.#grounding = grounding;
	}

	/**
	 * @param text all of the answer, as it came
	 * @param said the same as its client gets it: without what stood in front
	 */
	annotations(text: string, said: string): Annotation[] {
		if (this.#citations.size === 0 && !this.#grounding) return [];
		const places = new Places(text, codePointsIn(text) - codePointsIn(said));
		const cited = [...this.#citations.values()].flatMap(({ uri: url, title, license, ...segment }) =>
			annotation({ url, title, more: { license } }, places.spanOf(segment)),
		);
		return [...cited, ...(this.#grounding ? grounded(this.#grounding, places) : [])];
	}
}

/** Those of a whole candidate. */
export function annotationsOf(candidate: SentSources, text: string, said: string): Annotation[] {
	if (!candidate.citationMetadata && !candidate.groundingMetadata) return [];
	const sources = new Sources();
	sources.add(candidate);
	return sources.annotations(text, said);
}

/** One annotation for each source of each support; sources that none names stand behind them, without words. */
function grounded(grounding: Fields, places: Places): Annotation[] {
	const sources = fieldsIn(grounding["groundingChunks"]).map(sourceOfChunk);
	const unnamed = new Set(sources.keys());
	const found: Annotation[] = [];
	for (const support of fieldsIn(grounding["groundingSupports"])) {
		const span = places.spanOf(objectIn(support["segment"]) ?? {});
		const indices = support["groundingChunkIndices"];
		for (const index of Array.isArray(indices) ? indices : []) {
			const source = sources[index];
			if (!source || found.length >= MOST) continue;
			unnamed.delete(index);
			found.push(...annotation(source, span));
		}
	}
	for (const index of unnamed) found.push(...annotation(sources[index]!, NOWHERE));
	return found;
}

const annotation = (source: CitedSource, span: CitedSpan): Annotation[] => {
	const made = annotationFor(source, span);
	return made ? [made] : [];
};

function sourceOfChunk(chunk: Fields, index: number): CitedSource {
	const web = objectIn(chunk["web"]) ?? objectIn(chunk["maps"]);
	if (web) return { url: web["uri"], title: web["title"], content: web["text"] };
	const image = objectIn(chunk["image"]);
	if (image) return { url: image["sourceUri"], title: image["title"] };
	const context = objectIn(chunk["retrievedContext"]);
	// A kind that is yet to come.
	if (!context) return {};
	const { uri, title, text, documentName, mediaId, fileSearchStore, pageNumber } = context;
	return {
		url: uri,
		title,
		fileId: documentName ?? mediaId ?? uri ?? fileSearchStore,
		index,
		content: text,
		more: { page_number: pageNumber },
	};
}

/** Finds segments in the answer's text. */
class Places {
	readonly #bytes: Buffer;
	/** Code points before each byte, and of the whole text. */
	readonly #points: Uint32Array;

	/** @param left how many code points at its beginning no client sees */
	constructor(
		text: string,
		private readonly left: number,
	) {
		this.#bytes = Buffer.from(text);
		this.#points = new Uint32Array(this.#bytes.length + 1);
		let points = 0;
		for (const [at, byte] of this.#bytes.entries()) {
			this.#points[at] = points;
			if ((byte & 0xc0) !== 0x80) points++;
		}
		this.#points[this.#bytes.length] = points;
	}

	/**
	 * Where a segment stands. Its offset is one into its part, which a stream's pieces no longer show: the words that it quotes are looked for
	 * from there on.
	 */
	spanOf({ startIndex, endIndex, text }: Fields): CitedSpan {
		const { length } = this.#bytes;
		const start = numberIn(startIndex ?? 0, length);
		const end = numberIn(endIndex, length);
		const words = typeof text === "string" && text !== "" ? Buffer.from(text) : undefined;
		if (start === undefined && !words) return NOWHERE;
		if (!words) return end === undefined || end < start! ? NOWHERE : this.#span(start!, end);
		const ahead = this.#bytes.indexOf(words, start ?? 0);
		const at = ahead === -1 ? this.#bytes.indexOf(words) : ahead;
		return at === -1 ? NOWHERE : this.#span(at, at + words.length);
	}

	#span(start: number, end: number): CitedSpan {
		const pointAt = (at: number) => Math.max(0, this.#points[Math.floor(at)]! - this.left);
		return { start_index: pointAt(start), end_index: pointAt(end) };
	}
}

const fieldsIn = (value: unknown): Fields[] =>
	Array.isArray(value) ? value.slice(0, MOST).map((each) => objectIn(each) ?? {}) : [];
