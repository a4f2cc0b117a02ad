/** Anthropic's streams (platform.claude.com, streaming), as OpenAI's: each event becomes its chunks at once. */
import { type Static, Type } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import type { Call } from "../../openai/call.ts";
import { parseBounded } from "../../openai/json.ts";
import { open, optional } from "../../openai/shapes.ts";
import type { SseEvent } from "../../openai/sse.ts";
import { objectIn, type Tokens } from "../../openai/usage.ts";
import { ChatChunks, now } from "../chat-chunks.ts";
import { chatUsage } from "../chat-usage.ts";
import { type Failure, NO_CHOICE, type Out, type StreamDecoder, TRUNCATED } from "../provider.ts";
import type { Upstream } from "../registry.ts";
import { failureOf, readErrorObject } from "../upstream-error.ts";
import {
	type AnthropicUsage,
	type Block,
	BlockSchema,
	type ClaudeMessage,
	finishOf,
	keepsOf,
	MessageSchema,
	StopSchema,
	usageTokens,
} from "./response.ts";
import { detailsOf, type Thought } from "./thinking.ts";

const text = optional(Type.String());

const DeltaSchema = Type.Object(
	{ type: text, text, thinking: text, signature: text, partial_json: text, ...StopSchema.properties },
	open,
);
type Delta = Static<typeof DeltaSchema>;

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
type Event = Static<typeof EventSchema>;
const EVENT = TypeCompiler.Compile(EventSchema);

const NOTHING: Out = { bytes: "" };
const NONE = { type: "" };
/** Events that may come first. */
const BEFORE = new Set(["message_start", "ping", "error"]);

/** Reads one stream. */
export function messageDecoder(upstream: Upstream, call: Call): StreamDecoder {
	const chunks = new ChatChunks(now());
	const thoughts: Thought[] = [];
	const ids: string[] = [];
	/** The block that is being sent: of thinking, what came of it; of a call, whether arguments came. */
	let current: { block: Block; thinking: string; signature: string; hasInput: boolean } | undefined;
	let textLength = 0;
	let usage: AnthropicUsage = {};
	/** The answer's tokens have been said. */
	let isCounted = false;
	/** Why the answer is over. Said before its end: more counts may come behind it. */
	let ending: Delta | undefined;

	function push({ data }: SseEvent): Out {
		if (data === undefined) return NOTHING;
		const event = parse(data);
		// What comes before its message belongs to none.
		if (!event || !(chunks.hasBegun || BEFORE.has(event.type) || event.error)) return { bytes: "", dropped: true };
		switch (event.type) {
			case "content_block_delta":
				return delta(event.delta ?? NONE);
			case "content_block_start":
				return start(event.content_block ?? NONE);
			case "content_block_stop":
				return stop();
			case "message_start":
				return begin(event.message ?? {});
			case "message_delta":
				return count(event);
			case "message_stop":
				return { bytes: "", done: true };
			case "error":
				return { bytes: "", failure: failed(event) };
			default:
				// `ping`, and kinds that are yet to come.
				return event.error ? { bytes: "", failure: failed(event) } : NOTHING;
		}
	}

	function begin(message: ClaudeMessage): Out {
		chunks.begin(message.id ?? "", message.model ?? "");
		usage = objectIn(message.usage) ?? {};
		return { bytes: chunks.role(), tokens: tokens() };
	}

	function start(block: Block): Out {
		current = { block, thinking: block.thinking ?? "", signature: block.signature ?? "", hasInput: false };
		if (block.type === "tool_use") {
			ids.push(block.id ?? "");
			return { bytes: chunks.call(ids.length - 1, block.id ?? "", block.name ?? "", ""), delta: true };
		}
		if (block.type === "text" && block.text) return said(block.text);
		if (block.type === "thinking" && block.thinking) return { bytes: chunks.reasoning(block.thinking), delta: true };
		return NOTHING;
	}

	function delta({ type, text, thinking, signature, partial_json }: Delta): Out {
		if (type === "text_delta" && text) return said(text);
		if (type === "input_json_delta" && partial_json) {
			if (current) current.hasInput = true;
			return { bytes: chunks.args(ids.length - 1, partial_json), delta: true };
		}
		if (type === "thinking_delta" && thinking) {
			if (current) current.thinking += thinking;
			return { bytes: chunks.reasoning(thinking), delta: true };
		}
		if (type === "signature_delta" && current) current.signature += signature ?? "";
		return NOTHING;
	}

	function said(text: string): Out {
		textLength += text.length;
		return { bytes: chunks.text(text), delta: true };
	}

	function stop(): Out {
		const ended = current;
		current = undefined;
		if (!ended) return NOTHING;
		const after = { text: textLength, calls: ids.length };
		const { block, thinking, signature, hasInput } = ended;
		// One cut off has no signature, and can't come back.
		if (block.type === "thinking" && signature)
			thoughts.push({ block: { type: "thinking", thinking, signature }, after });
		if (block.type === "redacted_thinking") {
			thoughts.push({ block: { type: "redacted_thinking", data: block.data ?? "" }, after });
		}
		// A call without arguments has none in any delta; OpenAI's has an empty object.
		if (block.type === "tool_use" && !hasInput) return { bytes: chunks.args(ids.length - 1, "{}"), delta: true };
		return NOTHING;
	}

	function count({ delta, usage: more }: Event): Out {
		// Its counts stand for the whole answer; those it leaves out were said at the beginning.
		const counts = objectIn(more) ?? {};
		usage = { ...usage, ...Object.fromEntries(Object.entries(counts).filter(([, value]) => value !== null)) };
		if (typeof counts["output_tokens"] !== "undefined") isCounted = true;
		if (delta?.stop_reason) ending = delta;
		return { bytes: "", finish: ending !== undefined, tokens: tokens() };
	}

	/** What was counted so far; at the answer's beginning its end is not, whatever is said then. */
	function tokens(): Tokens {
		return usageTokens(isCounted || !ending ? usage : { ...usage, output_tokens: undefined });
	}

	function rest(): Out {
		const counted = tokens();
		const reason = finishOf(ending?.stop_reason);
		const refusal = reason === "content_filter" ? ending?.stop_details?.explanation : undefined;
		let bytes = "";
		if (thoughts.length > 0) bytes += chunks.delta(JSON.stringify({ reasoning_details: detailsOf(thoughts) }));
		if (refusal) bytes += chunks.delta(JSON.stringify({ refusal }));
		bytes += chunks.finish(reason);
		const told = call.body.stream_options?.include_usage === true ? chunks.usage(chatUsage(counted)) : undefined;
		return { bytes, usage: told, tokens: counted, keeps: keepsOf(thoughts, ids) };
	}

	function failed(event: Event): Failure {
		const error = readErrorObject({ error: event.error ?? event }) ?? { isOurs: true, message: "failed" };
		return failureOf(upstream, error.status ?? 500, error);
	}

	return { push, end: () => (ending ? undefined : chunks.hasBegun ? TRUNCATED : NO_CHOICE), rest };
}

function parse(data: string): Event | undefined {
	try {
		const event = parseBounded(data);
		return EVENT.Check(event) ? event : undefined;
	} catch {
		return undefined;
	}
}
