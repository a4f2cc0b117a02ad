/** What becomes of a stream's pieces that pass unread, in OpenAI's words. */
import { bytePart } from "../../openai/byte-part.ts";
import { doubleFrame, type EventFrame, eventFrame } from "../../openai/text-chunks.ts";
import type { ChatChunks } from "../chat-answer.ts";
import type { PassedEvents } from "../provider.ts";
import { TextDeltas } from "./text-deltas.ts";

/** The pieces of one stream. */
export class PassedDeltas {
	/** Each is made for the first piece of its kind: most streams have but one. */
	#text: TextDeltas | undefined;
	#thoughts: TextDeltas | undefined;
	#args: TextDeltas | undefined;
	/** What they are sent in, made when it is first asked for. */
	#textFrame: EventFrame | undefined;
	#thoughtFrame: EventFrame | undefined;
	readonly #textFrameOf = (): EventFrame => {
		this.#textFrame ??= eventFrame(this.chunks.textFrame());
		return this.#textFrame;
	};
	readonly #thoughtFrameOf = (): EventFrame => {
		this.#thoughtFrame ??= doubleFrame(this.chunks.reasoningFrame());
		return this.#thoughtFrame;
	};
	/** The call whose arguments come. */
	#call = -1;
	#argsFrameOf = this.#frameOfCall(-1);

	/**
	 * @param chunks writes what is sent
	 * @param isNative its client speaks Anthropic's wire, and gets what came
	 */
	constructor(
		private readonly chunks: ChatChunks,
		private readonly isNative: boolean,
	) {}

	/** The message begins: what all chunks share is another. */
	begin(): void {
		this.#textFrame = this.#thoughtFrame = undefined;
		this.#call = -1;
	}

	/** Takes pieces of text. */
	text(chunk: Buffer, from: number): PassedEvents | undefined {
		this.#text ??= new TextDeltas("text", !this.isNative);
		return this.#passed(this.#text, chunk, from, this.#textFrameOf);
	}

	/** How long the text is that was taken last: UTF-16 units, and code points. */
	get textLength(): Pick<TextDeltas, "units" | "points"> {
		return this.#text!;
	}

	/** Takes pieces of a thought. */
	thoughts(chunk: Buffer, from: number): PassedEvents | undefined {
		// What was thought is kept.
		this.#thoughts ??= new TextDeltas("thoughts");
		return this.#passed(this.#thoughts, chunk, from, this.#thoughtFrameOf);
	}

	/** What was taken of it last, as JSON without its quotes. */
	thoughtsIn(chunk: Buffer): Buffer {
		return this.#thoughts!.textsIn(chunk);
	}

	/** Takes pieces of the arguments of the nth call. */
	args(chunk: Buffer, from: number, nth: number): PassedEvents | undefined {
		if (nth !== this.#call) {
			this.#call = nth;
			this.#argsFrameOf = this.#frameOfCall(nth);
		}
		this.#args ??= new TextDeltas("arguments", !this.isNative);
		return this.#passed(this.#args, chunk, from, this.#argsFrameOf);
	}

	/** It is asked when the pieces are written: the next call may have begun by then. */
	#frameOfCall(nth: number): () => EventFrame {
		let frame: EventFrame | undefined;
		return () => {
			frame ??= eventFrame(this.chunks.argsFrame(nth));
			return frame;
		};
	}

	#passed(deltas: TextDeltas, chunk: Buffer, from: number, frame: () => EventFrame): PassedEvents | undefined {
		const length = deltas.read(chunk, from) - from;
		if (length === 0) return undefined;
		const own = this.isNative ? bytePart(chunk, from, from + length) : undefined;
		return { bytes: deltas.written(chunk, from, frame, own), length, events: deltas.events };
	}
}
