/** Whether a call makes its model think before it answers, since its first token may then take minutes; and where in an answer it thought. */

/** A thought of an answer, and what stands before it there: characters of the text (UTF-16 units), and tool calls. */
export interface PlacedThought {
	readonly block: object;
	readonly after: { readonly text: number; readonly calls: number };
}

/**
 * The blocks of an answer, JSON each: its thoughts where they stood between its text and its tool calls.
 * @param calls JSON each
 * @param textBlock a piece of the text as a block; `isLast`: the text ends with it
 */
export function withThoughts(
	thoughts: readonly PlacedThought[],
	text: string,
	calls: readonly string[],
	textBlock: (piece: string, isLast: boolean) => string,
): string[] {
	const blocks: string[] = [];
	let written = 0;
	let called = 0;
	const goOn = (upTo: number, callsUpTo: number) => {
		const end = Math.min(upTo, text.length);
		if (end > written) blocks.push(textBlock(text.slice(written, end), end === text.length));
		written = Math.max(written, end);
		blocks.push(...calls.slice(called, callsUpTo));
		called = Math.max(called, callsUpTo);
	};
	for (const { block, after } of thoughts) {
		goOn(after.text, after.calls);
		blocks.push(JSON.stringify(block));
	}
	goOn(text.length, calls.length);
	return blocks;
}

/**
 * What a model thinks, as fields of its message. `reasoning_content` is the name that holds (DeepSeek's, which most clients read);
 * `reasoning` says the same for those that know OpenRouter's and vLLM's name alone.
 */
export const thoughtFields = (text: string) => ({ reasoning_content: text, reasoning: text });

/** Names of models that think unless told not to. */
const THINKERS = /(?:^|[/:_-])(?:o\d|gpt-5|gpt-oss|grok-[34]|qwq|magistral|r1)(?:$|[-.:@])|think|reason/i;

/** By the call's own switches, in the words of each vendor; else by the model's name. */
export function isReasoning(body: Readonly<Record<string, unknown>>, model: string): boolean {
	const { reasoning_effort: effort, reasoning, thinking, chat_template_kwargs: template } = body;
	if (typeof effort === "string") return effort !== "none" && effort !== "minimal";
	// OpenRouter
	if (isObject(reasoning)) return reasoning["enabled"] !== false && reasoning["effort"] !== "none";
	// Anthropic
	if (isObject(thinking)) return thinking["type"] !== "disabled";
	// vLLM: Qwen's and DeepSeek's switches
	const isOn = isObject(template) ? (template["enable_thinking"] ?? template["thinking"]) : undefined;
	return typeof isOn === "boolean" ? isOn : THINKERS.test(model);
}

function isObject(value: unknown): value is Record<string, unknown> {
	return typeof value === "object" && value !== null;
}
