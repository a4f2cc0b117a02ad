/** What keeps a request from going to Claude as it came. */
import { isRoutingField } from "../../openai/model-routing.ts";
import { carriesDetails } from "../../openai/thought-details.ts";
import { isCustom } from "./messages-request.ts";
import type { Block, MessagesRequest, MessagesTool } from "./messages-schema.ts";

/** Ids that Anthropic takes. */
const ID = /^[\w-]+$/;

/** Whether another vendor's model has spoken in it: thoughts without a signature of Claude's, or calls with ids that Anthropic refuses (`functions.f:0`). */
export function hasForeignBlocks({ messages }: MessagesRequest): boolean {
	return messages.some(({ content }) => typeof content !== "string" && (content as readonly Block[]).some(isForeign));
}

/**
 * Whether it would reach models that nobody has looked at its key for: by `fallbacks`, by a field that gateways before Claude read so, or by a tool
 * that asks another model (`advisor_20260301`).
 */
export function namesOtherModels(request: MessagesRequest): boolean {
	// With fewer objects than `Object.entries` makes of each request.
	for (const name in request) {
		if (isRoutingField(name) && (request as Record<string, unknown>)[name] !== null) return true;
	}
	return ((request.tools ?? []) as MessagesTool[]).some((tool) => !isCustom(tool) && tool["model"] !== undefined);
}

function isForeign({ type, signature, data, id, tool_use_id: of }: Block): boolean {
	switch (type) {
		case "thinking":
			return typeof signature !== "string" || signature === "" || carriesDetails(signature);
		case "redacted_thinking":
			return carriesDetails(data);
		case "tool_use":
			return typeof id !== "string" || !ID.test(id);
		case "tool_result":
			return typeof of !== "string" || !ID.test(of);
		default:
			return false;
	}
}
