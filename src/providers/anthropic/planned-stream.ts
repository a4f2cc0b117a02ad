/**
 * The same of a stream: its blocks are held back until it is known what becomes of them, and then reach the decoder as the events that they came
 * in. A forced tool's input is the answer from its first piece on, and goes on at once.
 */
import type { SseEvent } from "../../openai/sse.ts";
import type { Failure } from "../failure.ts";
import type { Out, StreamDecoder } from "../provider.ts";
import type { AnswerReading } from "./answer-plan.ts";
import { type AnswerBlock, type BlockEdit, callEdit, isAskedCall, plannedAnswer } from "./planned-answer.ts";
import type { MessageDecoder } from "./stream.ts";
import { type ClaudeEvent, eventIn } from "./stream-event.ts";

/** A block, with the events that it came in. */
interface HeldBlock extends AnswerBlock {
	text: string;
	input: string;
	readonly events: SseEvent[];
}

const HELD: Out = { bytes: "", held: true };
const NOTHING: Out = { bytes: "" };

/** An event as the vendor would have sent it. */
function eventOf(event: object): SseEvent {
	const data = JSON.stringify(event);
	return { raw: "", data };
}
const TEXT_START = eventOf({ type: "content_block_start", content_block: { type: "text", text: "" } });
const BLOCK_STOP = eventOf({ type: "content_block_stop" });
const textEvent = (text: string) => eventOf({ type: "content_block_delta", delta: { type: "text_delta", text } });

/** Reads one stream of such an answer. */
export class PlannedDecoder implements StreamDecoder {
	/** Text for the client that waits with the blocks. */
	#bytes = "";
	#blocks: HeldBlock[] = [];
	#open: HeldBlock | undefined;
	/** What becomes of the events of the block that is open: they wait, go on as they are, as the answer's text, or nowhere. */
	#mode: "wait" | "pass" | "answer" | "drop" = "wait";
	/** The answer is calls: all goes on as it comes. */
	#isCalls = false;
	/** The answer's text goes on as it comes. */
	#isAnswered = false;
	#hasInput = false;
	/** Something was left out or replaced: what was signed behind it can't come back. */
	#isMoved = false;
	/** Why the answer is over, as its client is told. */
	#stopReason: string | undefined;

	constructor(
		private readonly inner: MessageDecoder,
		private readonly reading: AnswerReading,
	) {}

	push(event: SseEvent): Out {
		const { data } = event;
		const read = data === undefined ? undefined : eventIn(data);
		switch (read?.type) {
			case "message_start": {
				const out = this.inner.push(event);
				this.#bytes += out.bytes ?? "";
				return { ...HELD, tokens: out.tokens };
			}
			case "ping":
				return this.#isGone ? NOTHING : HELD;
			case "content_block_start":
				return this.#start(event, read);
			case "content_block_delta":
				return this.#delta(event, read);
			case "content_block_stop":
				return this.#stop(event);
			case "message_delta":
				return this.#end(event, read);
			default:
				return this.inner.push(event);
		}
	}

	end(): Failure | undefined {
		return this.inner.end();
	}

	flush(): Out {
		return this.inner.flush();
	}

	/** Something of it has been sent. */
	get #isGone(): boolean {
		return this.#isCalls || this.#isAnswered || this.#stopReason !== undefined;
	}

	#start(event: SseEvent, { content_block: block }: ClaudeEvent): Out {
		const { reading } = this;
		const type = block?.type ?? "";
		this.#mode = "wait";
		if (type === "tool_use" && block?.name === reading.tool) {
			if (this.#isGone) this.#mode = "drop";
			else if (!reading.isChecked) {
				this.#mode = "answer";
				this.#isAnswered = true;
				this.#hasInput = false;
				const thoughts = this.#thoughts();
				this.#isMoved = true;
				return this.#sent([...thoughts, TEXT_START]);
			}
		} else if (this.#isCalls) this.#mode = callEdit(reading, { type, name: block?.name }) === "keep" ? "pass" : "drop";
		else if (this.#isAnswered) this.#mode = type === "thinking" ? "pass" : "drop";
		else if (type === "tool_use" && isAskedCall(reading, block?.name)) {
			this.#isCalls = true;
			this.#mode = "pass";
			return this.#sent([...this.#played(this.#blocks.map((held) => callEdit(reading, held))), event]);
		}
		// Thoughts before an answer that goes on at once do so, too.
		else if (!reading.isChecked && this.#blocks.length === 0 && type !== "text" && type !== "tool_use")
			this.#mode = "pass";
		if (this.#mode === "pass" && this.#isMoved && type === "redacted_thinking") this.#mode = "drop";
		if (this.#mode === "pass") return this.#sent([event]);
		if (this.#mode === "drop") {
			this.#isMoved = true;
			return NOTHING;
		}
		this.#open = { type, name: block?.name, text: block?.text ?? "", input: "", events: [event] };
		this.#blocks.push(this.#open);
		return HELD;
	}

	#delta(event: SseEvent, { delta }: ClaudeEvent): Out {
		switch (this.#mode) {
			case "pass":
				return this.#isMoved && delta?.type === "signature_delta" ? NOTHING : this.inner.push(event);
			case "drop":
				return NOTHING;
			case "answer": {
				const text = delta?.partial_json;
				if (!text) return NOTHING;
				this.#hasInput = true;
				return this.inner.push(textEvent(text));
			}
			default: {
				const open = this.#open;
				if (!open) return HELD;
				open.text += delta?.text ?? "";
				open.input += delta?.partial_json ?? "";
				open.events.push(event);
				return HELD;
			}
		}
	}

	#stop(event: SseEvent): Out {
		switch (this.#mode) {
			case "pass":
				return this.inner.push(event);
			case "drop":
				return NOTHING;
			case "answer":
				// An object without fields comes in no delta.
				return this.#sent(this.#hasInput ? [BLOCK_STOP] : [textEvent("{}"), BLOCK_STOP]);
			default:
				this.#open?.events.push(event);
				this.#open = undefined;
				return HELD;
		}
	}

	/** Its reason ends the answer: what was held back goes on, or the answer can't be used. */
	#end(event: SseEvent, read: ClaudeEvent): Out {
		const reason = read.delta?.stop_reason;
		if (!reason || this.#stopReason !== undefined || this.#isCalls) return this.#ended(event, read);
		if (this.#isAnswered) {
			this.#stopReason = reason === "tool_use" ? "end_turn" : reason;
			return this.#ended(event, read);
		}
		const blocks = this.#blocks.map(({ input, ...held }) => ({ ...held, input: input === "" ? "{}" : input }));
		const planned = plannedAnswer(blocks, reason, this.reading);
		if ("kind" in planned) return { bytes: "", failure: planned, tokens: this.#ended(event, read).tokens };
		this.#stopReason = planned.stopReason;
		const out = this.#sent(this.#played(planned.edits));
		const end = this.#ended(event, read);
		return { ...out, ...end, delta: true, bytes: (out.bytes ?? "") + (end.bytes ?? "") };
	}

	#ended(event: SseEvent, read: ClaudeEvent): Out {
		if (!read.delta?.stop_reason || this.#stopReason === undefined) return this.inner.push(event);
		return this.inner.push(eventOf({ ...read, delta: { ...read.delta, stop_reason: this.#stopReason } }));
	}

	/** What the thoughts before an answer came in; what else stands there is left out with it. */
	#thoughts(): SseEvent[] {
		return this.#played(this.#blocks.map(({ type }) => (type === "text" || type === "tool_use" ? "drop" : "keep")));
	}

	/** The events of the blocks that were held back, as it became of them. */
	#played(edits: readonly BlockEdit[]): SseEvent[] {
		const events = this.#blocks.flatMap(({ type, events: own }, index) => {
			const edit = edits[index]!;
			if (edit === "keep") return this.#isMoved ? unsignedEvents(type, own) : own;
			this.#isMoved = true;
			return edit === "drop" ? [] : [TEXT_START, textEvent(edit.text), BLOCK_STOP];
		});
		this.#blocks = [];
		return events;
	}

	/** What the decoder makes of these, with what waited for it. */
	#sent(events: readonly SseEvent[]): Out {
		let bytes = this.#bytes;
		this.#bytes = "";
		let delta = false;
		for (const event of events) {
			const out = this.inner.push(event);
			bytes += out.bytes ?? "";
			delta ||= out.delta === true;
			if (out.failure) return { ...out, bytes };
		}
		return { bytes, delta };
	}
}

/** What was signed behind something that is no longer there can't come back. */
function unsignedEvents(type: string, events: readonly SseEvent[]): SseEvent[] {
	if (type === "redacted_thinking") return [];
	return events.filter(({ data = "" }) => !data.includes('"signature_delta"'));
}
