/**
 * Claude's thinking on its way through an OpenAI conversation. The API refuses a conversation whose signed thinking was changed or
 * moved (platform.claude.com, preserved thinking), so each block goes out with its position in the message, as `reasoning_details`
 * (OpenRouter's field and format names), and comes back from the client or from what was stored for the tool call's id.
 */
import { type Static, Type } from "@sinclair/typebox";
import { LazyCheck } from "../../lazy-check.ts";

/** A block of thinking, as Anthropic sends it. */
export type ThinkingBlock =
	| { readonly type: "thinking"; readonly thinking: string; readonly signature: string }
	| { readonly type: "redacted_thinking"; readonly data: string };

/** One, with what of the message stands before it: text in UTF-16 units, and calls. */
export interface Thought {
	readonly block: ThinkingBlock;
	readonly after: { readonly text: number; readonly calls: number };
}

const FORMAT = "anthropic-claude-v1";

const position = {
	format: Type.Literal(FORMAT),
	after: Type.Optional(
		Type.Object(
			{ text: Type.Integer({ minimum: 0 }), calls: Type.Integer({ minimum: 0 }) },
			{ additionalProperties: true },
		),
	),
};
const Detail = Type.Union([
	Type.Object(
		{
			type: Type.Literal("reasoning.text"),
			text: Type.Optional(Type.Union([Type.String(), Type.Null()])),
			signature: Type.String(),
			...position,
		},
		{ additionalProperties: true },
	),
	Type.Object(
		{ type: Type.Literal("reasoning.encrypted"), data: Type.String(), ...position },
		{ additionalProperties: true },
	),
]);
const DETAIL = new LazyCheck(Detail);

/** The thoughts as the message's `reasoning_details`. */
export function detailsOf(thoughts: readonly Thought[]): Record<string, unknown>[] {
	return thoughts.map(({ block, after }, index) =>
		block.type === "thinking"
			? { type: "reasoning.text", text: block.thinking, signature: block.signature, format: FORMAT, index, after }
			: { type: "reasoning.encrypted", data: block.data, format: FORMAT, index, after },
	);
}

/** The thoughts in a message's `reasoning_details`. Those of other vendors, and what a client has bent, are passed over. */
export function thoughtsIn(details: unknown): Thought[] {
	if (!Array.isArray(details)) return [];
	return details.filter((each): each is Static<typeof Detail> => DETAIL.Check(each)).map(thoughtOf);
}

function thoughtOf(detail: Static<typeof Detail>): Thought {
	const after = detail.after ?? { text: 0, calls: 0 };
	if (detail.type === "reasoning.encrypted") return { block: { type: "redacted_thinking", data: detail.data }, after };
	return { block: { type: "thinking", thinking: detail.text ?? "", signature: detail.signature }, after };
}

/** A block of an answer in which something before it was left out or changed: what was signed behind that can't come back. */
export function unsigned<B extends { readonly type: string }>(block: B): B | { type: "text"; text: string } {
	if (block.type === "redacted_thinking") return { type: "text", text: "" };
	return block.type === "thinking" ? { ...block, signature: null } : block;
}
