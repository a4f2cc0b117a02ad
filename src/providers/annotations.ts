/**
 * Citations of vendors that are translated, as OpenAI's `annotations`: which source stands behind which words of the answer. In
 * streams they come as `delta.annotations`, as OpenRouter sends them.
 */
import { numberIn, objectIn } from "../openai/usage.ts";

/**
 * The words that a source is cited for, in the message's `content`: Unicode code points, the end not included (as OpenAI's own answers
 * have it; its reference says "index of the last character"). 0 and 0 where the vendor names no words, as OpenRouter has it.
 */
export interface CitedSpan {
	readonly start_index: number;
	readonly end_index: number;
}

/** A source, as far as its vendor describes it. What is no text, or no count, is left out. */
export interface CitedSource {
	/** Its address; one of another kind is no URL, and its source counts as a file. */
	readonly url?: unknown;
	readonly title?: unknown;
	/** What the vendor calls the file. */
	readonly fileId?: unknown;
	/** The place among the files that were sent, or found. */
	readonly index?: unknown;
	/** The source's own words. */
	readonly content?: unknown;
	/** Further texts and counts in the vendor's words, such as `start_page_number` and `license`. */
	readonly more?: Readonly<Record<string, unknown>> | undefined;
}

/** An item of `annotations`: `url_citation` is OpenAI's, `file_citation` the one of its Responses API with the place of the words. */
export type Annotation =
	| {
			readonly type: "url_citation";
			readonly url_citation: CitedSpan & { readonly url: string; readonly title: string };
	  }
	| { readonly type: "file_citation"; readonly file_citation: CitedSpan };

/** No words are named. */
export const NOWHERE: CitedSpan = { start_index: 0, end_index: 0 };

/** The annotation; undefined where nothing says which source it is. */
export function annotationFor(source: CitedSource, span: CitedSpan): Annotation | undefined {
	const title = textIn(source.title);
	const content = textIn(source.content);
	const rest = { ...(content ? { content } : {}), ...plainFields(source.more) };
	const url = textIn(source.url);
	if (url && WEB.test(url)) {
		return { type: "url_citation", url_citation: { ...span, url, title: title ?? "", ...rest } };
	}
	const file_id = textIn(source.fileId) ?? url;
	const index = numberIn(source.index, Number.MAX_SAFE_INTEGER);
	if (title === undefined && file_id === undefined && index === undefined) return undefined;
	const named = {
		...(index === undefined ? {} : { index }),
		...(file_id === undefined ? {} : { file_id }),
		...(title === undefined ? {} : { filename: title }),
	};
	return { type: "file_citation", file_citation: { ...span, ...named, ...rest } };
}

/** Code points of a text, or of a piece of one: a pair that two pieces share counts once. */
export function codePointsIn(text: string): number {
	let count = text.length;
	// Each piece of a stream is asked about, and nearly all have none.
	if (!IN_PAIR.test(text)) return count;
	for (let at = 0; at < text.length; at++) if ((text.charCodeAt(at) & 0xfc00) === HIGH_SURROGATE) count--;
	return count;
}

/** Annotations of the rest of an answer, over the same words in the whole of it: `by` code points stand before the rest. */
export function movedAnnotations(annotations: readonly unknown[], by: number): unknown[] {
	return annotations.map((annotation) => {
		const { type, ...rest } = objectIn(annotation) ?? {};
		const cited = typeof type === "string" ? objectIn(rest[type]) : undefined;
		const { start_index: start, end_index: end } = cited ?? {};
		// No words: there is nothing to move.
		if (typeof start !== "number" || typeof end !== "number" || end === 0) return annotation;
		return { type, ...rest, [type as string]: { ...cited, start_index: start + by, end_index: end + by } };
	});
}

const HIGH_SURROGATE = 0xd800;
const IN_PAIR = /[\ud800-\udbff]/;
const WEB = /^https?:\/\//i;

const textIn = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);

function plainFields(fields: Readonly<Record<string, unknown>> = {}): Record<string, string | number> {
	const plain: Record<string, string | number> = {};
	for (const [name, value] of Object.entries(fields)) {
		if (typeof value === "string" || typeof value === "number") plain[name] = value;
	}
	return plain;
}
