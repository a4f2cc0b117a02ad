/** Whole answers for a client that speaks Anthropic's wire itself: they go on as they came, and OpenAI's JSON is made where somebody asks for it. */
import type { Failure } from "../failure.ts";
import { OwnAnswer } from "../passed-own.ts";
import type { Answer } from "../provider.ts";
import { type Block, isMessage, messageAnswer, messageTokens } from "./response.ts";

/**
 * The answer, or the failure that it is.
 * @param text its JSON
 * @param message that, parsed
 */
export function ownMessageAnswer(text: string, message: unknown): Answer | Failure {
	if (!isMessage(message) || !message.content || !message.stop_reason) return messageAnswer(text, message);
	const { content, usage } = message;
	// What was thought before calls is stored.
	const isStored = content.some(({ type }) => type === "tool_use");
	const facts = { saysMore: content.some(saysMore), tokens: messageTokens(usage), isStored };
	return new OwnAnswer(text, facts, () => messageAnswer(text, message) as Answer);
}

/** Blocks that OpenAI's words have a form for. */
export const SAID: ReadonlySet<string> = new Set(["text", "thinking", "redacted_thinking", "tool_use"]);

/** Whether OpenAI's words have no form for a block, or for some of it. */
const saysMore = ({ type, citations }: Block): boolean =>
	!SAID.has(type) || (Array.isArray(citations) && citations.length > 0);
