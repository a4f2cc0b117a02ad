/** Anthropic's streams (platform.claude.com, streaming), as OpenAI's: each event becomes its chunks at once. */
import { type Call, formFor } from "../../openai/call.ts";
import type { RequestBody } from "../../openai/request-fields.ts";
import type { SseEvent } from "../../openai/sse.ts";
import { objectIn, type Tokens } from "../../openai/usage.ts";
import { codePointsIn } from "../annotations.ts";
import { ChatChunks, chatUsage, now, reportedTier } from "../chat-answer.ts";
import { type Failure, NO_CHOICE, TRUNCATED } from "../failure.ts";
import { answerNames, UnnamedText } from "../message-marks.ts";
import type { Out, PassedEvents, StreamDecoder } from "../provider.ts";
import type { Upstream } from "../registry.ts";
import { failureOf, readErrorObject } from "../upstream-error.ts";
import { blockAnnotations } from "./cited-text.ts";
import { PassedDeltas } from "./passed-deltas.ts";
import {
	type AnthropicUsage,
	type Block,
	type ClaudeMessage,
	matchedStop,
	messageTokens,
	stopFinish,
	storedThinking,
} from "./response.ts";
import { type ClaudeEvent, type Delta, eventIn } from "./stream-event.ts";
import { detailsOf, type Thought } from "./thinking.ts";

const NOTHING: Out = { bytes: "" };
const NONE = { type: "" };
/** Events that may come first. */
const BEFORE = new Set(["message_start", "ping", "error"]);

/** Of thinking, what came of it; of text, where it begins in code points, and its citations; of a call, whether arguments came. */
interface OpenBlock {
	readonly block: Block;
	thinking: string;
	/** What came of it behind that, unread, as JSON without its quotes. */
	unread: Buffer[];
	signature: string;
	readonly start: number;
	citations: unknown[] | undefined;
	hasInput: boolean;
}

/** Reads one stream. */
export class MessageDecoder implements StreamDecoder {
	readonly #upstream: Upstream;
	readonly #call: Call;
	readonly #thoughts: Thought[] = [];
	readonly #ids: string[] = [];
	/** The block that is being sent. */
	#current: OpenBlock | undefined;
	#textLength = 0;
	/** The same in code points. */
	#textPoints = 0;
	#usage: AnthropicUsage = {};
	/** The answer's tokens have been said. */
	#isCounted = false;
	/** Why the answer is over. Said before its end: more counts may come behind it. */
	#ending: Delta | undefined;

	/** Its text, where that may begin with a name. */
	readonly #unnamed: UnnamedText | undefined;
	/** Pieces from the second on, which pass unread. */
	#passed: PassedDeltas | undefined;
	/** How long it was as it came. */
	#came = 0;

	/**
	 * @param chunks writes what it sends
	 * @param isNative its client speaks Anthropic's wire, too: thoughts go on signed as soon as they are whole
	 */
	constructor(
		upstream: Upstream,
		call: Call,
		readonly chunks = new ChatChunks(now()),
		private readonly isNative = false,
	) {
		this.#upstream = upstream;
		this.#call = call;
		const names = isNative ? [] : answerNames(formFor(call, "anthropic").body().value["messages"]);
		if (names.length > 0) this.#unnamed = new UnnamedText(names);
	}

	push({ data }: SseEvent): Out {
		return data === undefined ? NOTHING : this.read(eventIn(data));
	}

	/** What an event means; undefined: what came is none. */
	read(event: ClaudeEvent | undefined): Out {
		// What comes before its message belongs to none.
		if (!event || !(this.chunks.hasBegun || BEFORE.has(event.type) || event.error)) return { bytes: "", dropped: true };
		switch (event.type) {
			case "content_block_delta":
				return this.#delta(event.delta ?? NONE);
			case "content_block_start":
				return this.#start(event.content_block ?? NONE);
			case "content_block_stop":
				return this.#stop();
			case "message_start":
				return this.#begin(event.message ?? {});
			case "message_delta":
				return this.#count(event);
			case "message_stop":
				return { bytes: "", done: true };
			case "error":
				return { bytes: "", failure: this.#failed(event) };
			default:
				// `ping`, and kinds that are yet to come.
				return event.error ? { bytes: "", failure: this.#failed(event) } : NOTHING;
		}
	}

	passThrough(chunk: Buffer, from: number): PassedEvents | undefined {
		// None comes behind the end.
		if (this.#ending) return undefined;
		this.#passed ??= new PassedDeltas(this.chunks, this.isNative);
		const current = this.#current;
		const type = current?.block.type;
		// The first piece says that there are some.
		if (type === "tool_use")
			return current!.hasInput ? this.#passed.args(chunk, from, this.#ids.length - 1) : undefined;
		if (type === "thinking") {
			const thoughts = current!.thinking === "" ? undefined : this.#passed.thoughts(chunk, from);
			if (thoughts) current!.unread.push(this.#passed.thoughtsIn(chunk));
			return thoughts;
		}
		// The first piece begins the answer, and a name may stand before it.
		if (this.#textLength === 0 || this.#unnamed) return undefined;
		const text = this.#passed.text(chunk, from);
		if (!text) return undefined;
		const { units, points } = this.#passed.textLength;
		this.#textLength += units;
		this.#textPoints += points;
		return text;
	}

	#begin(message: ClaudeMessage): Out {
		this.#passed?.begin();
		this.#usage = objectIn(message.usage) ?? {};
		this.chunks.begin(message.id ?? "", message.model ?? "", reportedTier(this.#usage.service_tier));
		return { ...this.#written(() => this.chunks.role()), tokens: this.#tokens() };
	}

	#start(block: Block): Out {
		this.#current = {
			block,
			thinking: block.thinking ?? "",
			unread: [],
			signature: block.signature ?? "",
			start: this.#textPoints,
			citations: Array.isArray(block.citations) ? [...block.citations] : undefined,
			hasInput: false,
		};
		if (block.type === "tool_use") {
			const held = this.#held();
			this.#ids.push(block.id ?? "");
			const call = this.chunks.call(this.#ids.length - 1, block.id ?? "", block.name ?? "", "");
			return { bytes: held + call, delta: true };
		}
		if (block.type === "text" && block.text) return this.#text(block.text);
		if (block.type === "thinking" && block.thinking)
			return { bytes: this.chunks.reasoning(block.thinking), delta: true };
		return NOTHING;
	}

	#delta({ type, text, thinking, signature, partial_json, citation }: Delta): Out {
		if (type === "text_delta" && text) return this.#text(text);
		if (type === "input_json_delta" && partial_json) {
			if (this.#current) this.#current.hasInput = true;
			return { bytes: this.chunks.args(this.#ids.length - 1, partial_json), delta: true };
		}
		if (type === "thinking_delta" && thinking) {
			if (this.#current) this.#current.thinking = thinkingIn(this.#current) + thinking;
			return { bytes: this.chunks.reasoning(thinking), delta: true };
		}
		if (!this.#current) return NOTHING;
		if (type === "signature_delta") this.#current.signature += signature ?? "";
		if (type === "citations_delta") {
			this.#current.citations ??= [];
			this.#current.citations.push(citation);
		}
		return NOTHING;
	}

	#text(text: string): Out {
		if (!this.#unnamed) return this.#said(text);
		this.#came += text.length;
		const said = this.#unnamed.push(text);
		return said === "" ? NOTHING : this.#said(said);
	}

	/** Text that might have been a name, once it is none. */
	#held(): string {
		const held = this.#unnamed?.end();
		return held ? (this.#said(held).bytes ?? "") : "";
	}

	#said(text: string): Out {
		this.#textLength += text.length;
		this.#textPoints += codePointsIn(text);
		return { ...this.#written(() => this.chunks.text(text)), delta: true };
	}

	/** Of what goes on as it came chunks are made where somebody asks for them. */
	#written(make: () => string): Pick<Out, "bytes" | "lazyBytes"> {
		return this.isNative ? { lazyBytes: make } : { bytes: make() };
	}

	#stop(): Out {
		const ended = this.#current;
		this.#current = undefined;
		if (!ended) return NOTHING;
		const after = { text: this.#textLength, calls: this.#ids.length };
		const before = this.#thoughts.length;
		const { block, signature, hasInput, citations } = ended;
		if (citations) return this.#cited(ended);
		// One cut off has no signature, and one behind a name that was left out no good one: they can't come back.
		const isMoved = this.#unnamed !== undefined && this.#came !== this.#textLength;
		if (block.type === "thinking" && signature && !isMoved)
			this.#thoughts.push({ block: { type: "thinking", thinking: thinkingIn(ended), signature }, after });
		if (block.type === "redacted_thinking" && !isMoved) {
			this.#thoughts.push({ block: { type: "redacted_thinking", data: block.data ?? "" }, after });
		}
		// A call without arguments has none in any delta; OpenAI's has an empty object.
		if (block.type === "tool_use" && !hasInput)
			return { bytes: this.chunks.args(this.#ids.length - 1, "{}"), delta: true };
		return this.isNative && this.#thoughts.length > before ? { bytes: this.#signed(before) } : NOTHING;
	}

	/** The thoughts from the nth on, signed. */
	#signed(from: number): string {
		return this.chunks.delta(JSON.stringify({ reasoning_details: detailsOf(this.#thoughts).slice(from) }));
	}

	/** The citations of a block, of which some come before its words: they go out once those are all there. */
	#cited({ citations, start }: OpenBlock): Out {
		const annotations = blockAnnotations(citations, { start_index: start, end_index: this.#textPoints });
		return annotations.length > 0 ? { bytes: this.chunks.delta(JSON.stringify({ annotations })) } : NOTHING;
	}

	#count({ delta, usage: more }: ClaudeEvent): Out {
		// Its counts stand for the whole answer; those it leaves out were said at the beginning.
		const counts = objectIn(more) ?? {};
		const usage: Record<string, unknown> = { ...this.#usage };
		for (const name in counts) if (counts[name] !== null) usage[name] = counts[name];
		this.#usage = usage;
		if (typeof counts["output_tokens"] !== "undefined") this.#isCounted = true;
		if (delta?.stop_reason) this.#ending = delta;
		return { bytes: "", finish: this.#ending !== undefined, tokens: this.#tokens() };
	}

	/** What was counted so far; at the answer's beginning its end is not, whatever is said then. */
	#tokens(): Tokens {
		return messageTokens(this.#isCounted || !this.#ending ? this.#usage : { ...this.#usage, output_tokens: undefined });
	}

	flush(): Out {
		const counted = this.#tokens();
		const reason = stopFinish(this.#ending?.stop_reason);
		const refusal = reason === "content_filter" ? this.#ending?.stop_details?.explanation : undefined;
		const before = this.#held() + (this.#thoughts.length > 0 && !this.isNative ? this.#signed(0) : "");
		const written = this.#written(() => {
			const refused = refusal ? this.chunks.delta(JSON.stringify({ refusal })) : "";
			return before + refused + this.chunks.finish(reason, 0, matchedStop(this.#ending ?? {}));
		});
		// Where it has none of OpenAI's words, they are not made for this.
		const options = this.isNative ? undefined : this.#call.body().at("stream_options");
		const isAsked = (options as RequestBody["stream_options"])?.include_usage === true;
		const usage = isAsked ? this.chunks.usage(chatUsage(counted)) : undefined;
		return { ...written, usage, tokens: counted, thinking: storedThinking(this.#thoughts, this.#ids) };
	}

	#failed(event: ClaudeEvent): Failure {
		const error = readErrorObject({ error: event.error ?? event }) ?? { isOurs: true, message: "failed" };
		return failureOf(this.#upstream, error.status ?? 500, error);
	}

	end(): Failure | undefined {
		if (this.#ending) return undefined;
		return this.chunks.hasBegun ? TRUNCATED : NO_CHOICE;
	}
}

/** All of a block's thinking so far. */
function thinkingIn(block: OpenBlock): string {
	if (block.unread.length === 0) return block.thinking;
	block.thinking += JSON.parse(`"${Buffer.concat(block.unread)}"`) as string;
	block.unread = [];
	return block.thinking;
}
