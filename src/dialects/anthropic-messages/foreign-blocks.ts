/** What other vendors' models have said in a conversation that goes on with Claude, and Anthropic refuses. */
import type { Block, MessagesRequest } from "./messages-schema.ts";

/** Ids that Anthropic takes. */
const ID = /^[\w-]+$/;

/** Whether there is any: thoughts without a signature, or calls with another vendor's ids (`functions.f:0`). */
export function hasForeignBlocks({ messages }: Pick<MessagesRequest, "messages">): boolean {
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
