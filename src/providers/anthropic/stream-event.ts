/** Events of Anthropic's streams (platform.claude.com, streaming), as far as they are read. */
import { type Static, Type } from "@sinclair/typebox";
import { LazyCheck } from "../../lazy-check.ts";
import { parseBounded } from "../../openai/json.ts";
import { open, optional } from "../../openai/request-fields.ts";
import { BlockSchema, MessageSchema, StopSchema } from "./response.ts";

const text = optional(Type.String());

const DeltaSchema = Type.Object(
	{
		type: text,
		text,
		thinking: text,
		signature: text,
		partial_json: text,
		citation: Type.Optional(Type.Unknown()),
		...StopSchema.properties,
	},
	open,
);
/** A piece of a block, or how the message ended. */
export type Delta = Static<typeof DeltaSchema>;

/** What is read of an event. */
const EventSchema = Type.Object(
	{
		type: Type.String(),
		message: Type.Optional(MessageSchema),
		content_block: Type.Optional(BlockSchema),
		delta: Type.Optional(DeltaSchema),
		usage: Type.Optional(Type.Unknown()),
		error: Type.Optional(Type.Unknown()),
	},
	open,
);
/** What is read of an event. */
export type ClaudeEvent = Static<typeof EventSchema>;
const EVENT = new LazyCheck(EventSchema);

/** Events that all streams have in the same words, such as where a block begins and ends: each is read once. Bounded, since upstreams write them. */
const known = new Map<string, ClaudeEvent>();
const MOST_KNOWN = 100;
/** Longest of them, UTF-16 units. */
const LONGEST_KNOWN = 100;
/** What is new in each stream has an id, tells counts, or is a piece of the answer. */
const ALIKE = /^\{"type":"(?:content_block_stop|message_stop|ping)"|^\{"type":"content_block_start",.*"text":""/;

/** Reads an event; undefined where it is none. For reading only: other streams may have the same. */
export function eventIn(data: string): ClaudeEvent | undefined {
	const isAlike = data.length <= LONGEST_KNOWN && ALIKE.test(data);
	const before = isAlike ? known.get(data) : undefined;
	if (before) return before;
	try {
		const event = parseBounded(data);
		if (!EVENT.Check(event)) return undefined;
		if (isAlike) {
			if (known.size >= MOST_KNOWN) known.clear();
			known.set(data, event);
		}
		return event;
	} catch {
		return undefined;
	}
}
