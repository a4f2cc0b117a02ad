/** Chunks of a stream that differ in their text alone, which most do: from the second on they need not be parsed. */
import { objectIn } from "../../openai/usage.ts";

/** What has to be read where it stands in a text: the end of it, or another character than is written. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: no JSON text holds one as it is
const NOT_PLAIN = /["\\\0-\x1f]/;

/** Fields of a piece that say something besides its text. */
const MORE = [
	"reasoning_content",
	"reasoning",
	"reasoning_details",
	"refusal",
	"tool_calls",
	"annotations",
	"images",
	"extra_content",
];

/** What such chunks have around their text. */
export class TextFrame {
	#before = "";
	#after = "";

	/** The text of a chunk that is like the last one learnt but for that; undefined where it must be read. */
	textIn(data: string): string | undefined {
		const { length } = this.#before;
		if (length === 0 || data.length < length + this.#after.length) return undefined;
		if (!data.startsWith(this.#before) || !data.endsWith(this.#after)) return undefined;
		const text = data.slice(length, data.length - this.#after.length);
		return NOT_PLAIN.test(text) ? undefined : text;
	}

	/** Learns from a chunk that was read: it says a text, and nothing else that any other chunk would not say, too. */
	learn(data: string, { usage, choices }: Readonly<Record<string, unknown>>): void {
		const choice = objectIn(Array.isArray(choices) ? choices[0] : undefined);
		const delta = objectIn(choice?.["delta"]);
		const text = delta?.["content"];
		if (typeof text !== "string" || text === "" || NOT_PLAIN.test(text)) return;
		if (usage || choice!["finish_reason"] || choice!["logprobs"] || MORE.some((name) => delta![name])) return;
		for (const key of ['"content":"', '"content": "']) {
			const at = data.indexOf(`${key}${text}"`);
			if (at === -1) continue;
			// The same words may stand there twice.
			if (data.indexOf(key, at + 1) !== -1 || data.indexOf(key) !== at) return;
			this.#before = data.slice(0, at + key.length);
			this.#after = data.slice(at + key.length + text.length);
			return;
		}
	}
}
