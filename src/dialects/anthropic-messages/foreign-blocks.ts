/** What other vendors' models have said in a conversation that goes on with Claude, and Anthropic refuses. */
import type { Block, MessagesRequest } from "./messages-schema.ts";

/** Ids that Anthropic takes. */
const ID = /^[\w-]+$/;

/**
 * Whether a request can't be sent as it came: thoughts without a signature, or calls with another vendor's ids (`functions.f:0`) in it; or `fallbacks`, by which
 * it would reach models that nobody has looked at its key for.
 */
export function hasForeignBlocks(request: MessagesRequest): boolean {
	const { messages, fallbacks } = request as MessagesRequest & { fallbacks?: unknown };
	if (fallbacks != null) return true;
	return messages.some(({ content }) => typeof content !== "string" && (content as readonly Block[]).some(isForeign));
}

function isForeign({ type, signature, id, tool_use_id: of }: Block): boolean {
	switch (type) {
		case "thinking":
			return typeof signature !== "string" || signature === "";
		case "tool_use":
			return typeof id !== "string" || !ID.test(id);
		case "tool_result":
			return typeof of !== "string" || !ID.test(of);
		default:
			return false;
	}
}
