/**
 * What clients of Anthropic's Messages API may send (SDK 1.14, MessageCreateParams and its beta). Every level lets unknown fields through, and
 * blocks and tools of unknown types: clients send beta fields unasked, and what has no form elsewhere is left out, not refused.
 */
import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { LazyCheck } from "../../lazy-check.ts";
import { open, optional } from "../../openai/request-fields.ts";

const object = <T extends Record<string, TSchema>>(properties: T) => Type.Object(properties, open);
const number = optional(Type.Number());
const text = Type.String();

/** A block, before its type has been looked at. */
const AnyBlock = object({ type: Type.String() });
const content = Type.Union([Type.String(), Type.Array(AnyBlock)], {
	expects: "Input should be a valid string or a list of content blocks",
});
const ROLES = ["user", "assistant", "system"] as const;

const message = object({
	role: Type.Union(
		ROLES.map((role) => Type.Literal(role)),
		{ expects: "Input should be 'user' or 'assistant'" },
	),
	content,
});

const tool = object({
	type: optional(Type.String()),
	name: Type.Optional(Type.String({ minLength: 1 })),
	description: optional(Type.String()),
	input_schema: optional(Type.Object({}, open)),
	strict: optional(Type.Boolean()),
});

/** What a call and a count of tokens have in common. */
const common = {
	model: Type.String({ minLength: 1, maxLength: 512, examples: ["dummy"] }),
	messages: Type.Array(message, { minItems: 1, examples: [[{ role: "user", content: "hi" }]] }),
	system: optional(
		Type.Union([Type.String(), Type.Array(AnyBlock)], {
			expects: "Input should be a valid string or a list of text blocks",
		}),
	),
	tools: optional(Type.Array(tool)),
	tool_choice: optional(object({ type: Type.String(), disable_parallel_tool_use: optional(Type.Boolean()) })),
	thinking: optional(object({ type: Type.String(), budget_tokens: optional(Type.Integer({ minimum: 0 })) })),
	output_config: optional(
		object({ effort: optional(Type.String()), format: optional(object({ type: Type.String() })) }),
	),
	output_format: optional(object({ type: Type.String() })),
};

/** `POST /v1/messages`. */
export const MessagesRequest = object({
	...common,
	max_tokens: Type.Integer({ minimum: 0, maximum: 2_147_483_647, examples: [1024] }),
	stream: optional(Type.Boolean()),
	temperature: number,
	top_p: number,
	top_k: optional(Type.Integer()),
	stop_sequences: optional(Type.Array(Type.String())),
	metadata: optional(object({ user_id: optional(Type.String()) })),
	service_tier: optional(Type.String()),
});
/** `POST /v1/messages`. */
export type MessagesRequest = Static<typeof MessagesRequest>;

/** `POST /v1/messages/count_tokens`: the same without what is of no prompt. */
export const CountRequest = object(common);

/** A block of a message; what is read of it depends on its type. */
export type Block = Static<typeof AnyBlock> & Readonly<Record<string, unknown>>;
/** A tool. */
export type MessagesTool = Static<typeof tool> & Readonly<Record<string, unknown>>;

const source = object({ type: Type.String() });

/** What blocks must have, by their type; those of other types may be anything. */
export const BLOCKS: Readonly<Record<string, LazyCheck>> = {
	text: new LazyCheck(object({ text })),
	image: new LazyCheck(object({ source })),
	document: new LazyCheck(object({ source, title: optional(text), context: optional(text) })),
	search_result: new LazyCheck(object({ source: text, title: text, content: Type.Array(AnyBlock) })),
	tool_use: new LazyCheck(object({ id: text, name: text, input: Type.Object({}, open) })),
	tool_result: new LazyCheck(
		object({ tool_use_id: text, content: optional(content), is_error: optional(Type.Boolean()) }),
	),
	thinking: new LazyCheck(object({ thinking: text, signature: optional(text) })),
	redacted_thinking: new LazyCheck(object({ data: text })),
};

/** What sources must have, by their type. */
export const SOURCES: Readonly<Record<string, LazyCheck>> = {
	base64: new LazyCheck(object({ media_type: text, data: text })),
	url: new LazyCheck(object({ url: text })),
	text: new LazyCheck(object({ data: text })),
	file: new LazyCheck(object({ file_id: text })),
	content: new LazyCheck(object({ content })),
};

/** Whole requests. */
export const REQUESTS = {
	messages: new LazyCheck(MessagesRequest),
	count: new LazyCheck(CountRequest),
} as const;
