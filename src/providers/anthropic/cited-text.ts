/** The citations of one block of text (SDK 1.14, TextCitation), as OpenAI's annotations of the words of that block. */
import { objectIn } from "../../openai/usage.ts";
import { type Annotation, annotationFor, type CitedSource, type CitedSpan } from "../annotations.ts";

/** Those of a block that takes up `span` in the answer's text. Kinds that are yet to come are passed over. */
export function blockAnnotations(citations: unknown, span: CitedSpan): Annotation[] {
	if (!Array.isArray(citations)) return [];
	return citations.flatMap((citation) => {
		const source = sourceOfCitation(objectIn(citation) ?? {});
		return (source && annotationFor(source, span)) ?? [];
	});
}

/** Fields that say where in a document the cited words stand: characters, pages, or blocks of its content. */
const LOCATIONS = [
	"start_char_index",
	"end_char_index",
	"start_page_number",
	"end_page_number",
	"start_block_index",
	"end_block_index",
] as const;

function sourceOfCitation(citation: Readonly<Record<string, unknown>>): CitedSource | undefined {
	const { type, cited_text: content, title } = citation;
	const more = Object.fromEntries(LOCATIONS.map((name) => [name, citation[name]]));
	switch (type) {
		case "web_search_result_location":
			return { url: citation["url"], title, content };
		case "search_result_location":
			return { url: citation["source"], title, index: citation["search_result_index"], content, more };
		case "char_location":
		case "page_location":
		case "content_block_location":
			return {
				title: citation["document_title"],
				fileId: citation["file_id"],
				index: citation["document_index"],
				content,
				more,
			};
		default:
			return undefined;
	}
}
