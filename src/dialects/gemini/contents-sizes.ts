/** How much a request of Google's gives its model to read, from its own bytes: nothing is translated for it. */
import type { ParsedBody } from "../../openai/parsed-body.ts";
import type { PromptPart, PromptSizes } from "../../openai/prompt-sizes.ts";
import type { ContentsFacts } from "./contents-facts.ts";

/** What each of the fields is that a model reads, in both spellings. */
const KINDS: Readonly<Record<string, PromptPart["kind"]>> = {
	contents: "messages",
	systemInstruction: "text",
	system_instruction: "text",
	tools: "tools",
	generationConfig: "schema",
	generation_config: "schema",
};

/** A configuration without one is no prompt. */
const SCHEMA = /"response_?(?:json_?)?schema"/i;

const LOWER_N = 110;

/** The sizes of a request. @param sent as its client has sent it */
export function contentsSizes({ count, media }: Pick<ContentsFacts, "count" | "media">, sent: ParsedBody): PromptSizes {
	const parts: PromptPart[] = [];
	for (const field of sent.fields) {
		const { key, start, end } = field;
		const kind = Object.hasOwn(KINDS, key) ? KINDS[key]! : undefined;
		// Null is none.
		if (kind === undefined || sent.bytes[start] === LOWER_N) continue;
		if (kind === "schema" && !SCHEMA.test(sent.textOf(field))) continue;
		const characters = sent.lengthOf(field);
		const isWords = kind === "messages" || kind === "text";
		parts.push({ kind, characters, bytes: isWords ? end - start : characters, count: kind === "messages" ? count : 0 });
	}
	return { parts, media };
}
