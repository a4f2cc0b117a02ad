/** What a client has been sent of a response in its upstream's own events: read only where the response has to go on in other words, or broke off. */
import { SseSplitter, type StreamPiece } from "../../openai/sse.ts";
import { objectIn } from "../../openai/usage.ts";

type Json = Readonly<Record<string, unknown>>;

/** An item that is not closed. */
export interface OpenItem {
	/** As it was opened. */
	readonly item: Json;
	readonly index: number;
	/** Its words, its words of refusal, its arguments or its summary, so far. */
	text: string;
	refusal: string;
	args: string;
	summary: string;
	/** A part for words was opened in it. */
	hasText: boolean;
}

/** A response as far as it has come. */
export interface UpstreamResponse {
	/** The response that its first event holds. */
	readonly head: Json;
	/** The number of its next event. */
	readonly next: number;
	/** Items that are closed, JSON, by their places. */
	readonly closed: readonly string[];
	readonly open: readonly OpenItem[];
	/** Items that were opened. */
	readonly count: number;
}

/** Pieces are read when there are so many bytes of them. */
const FOLD_AT = 64 * 1024;

/** The events of one stream. */
export class UpstreamEvents {
	#pieces: StreamPiece[] = [];
	#size = 0;
	readonly #splitter = new SseSplitter();
	#head: Json | undefined;
	#next = 0;
	#count = 0;
	readonly #closed: string[] = [];
	readonly #open = new Map<number, OpenItem>();

	/** Takes whole events. */
	add(piece: StreamPiece): void {
		this.#pieces.push(piece);
		this.#size += piece.length;
		if (this.#size > FOLD_AT) this.#fold();
	}

	/** All that has come; nothing may come any more. */
	read(): UpstreamResponse {
		this.#fold();
		const open = [...this.#open.values()].sort((a, b) => a.index - b.index);
		return { head: this.#head ?? {}, next: this.#next, closed: this.#closed, open, count: this.#count };
	}

	#fold(): void {
		const pieces = this.#pieces;
		this.#pieces = [];
		this.#size = 0;
		for (const piece of pieces) {
			const bytes = typeof piece === "string" ? Buffer.from(piece) : piece;
			for (const { data } of this.#splitter.push(bytes)) if (data !== undefined) this.#read(JSON.parse(data) as Json);
		}
	}

	#read(event: Json): void {
		const { type, sequence_number: nth, output_index: at, item, delta, response } = event;
		this.#next = (typeof nth === "number" ? nth : this.#next) + 1;
		this.#head ??= objectIn(response);
		const index = typeof at === "number" ? at : 0;
		const said = typeof delta === "string" ? delta : "";
		const open = this.#open.get(index);
		switch (type) {
			case "response.output_item.added":
				this.#count = Math.max(this.#count, index + 1);
				this.#open.set(index, {
					...{ item: objectIn(item) ?? {}, index },
					...{ text: "", refusal: "", args: "", summary: "", hasText: false },
				});
				return;
			case "response.output_item.done":
				this.#count = Math.max(this.#count, index + 1);
				this.#open.delete(index);
				this.#closed[index] = JSON.stringify(item);
				return;
			case "response.content_part.added":
				if (open && objectIn(event["part"])?.["type"] === "output_text") open.hasText = true;
				return;
			case "response.output_text.delta":
				if (open) open.text += said;
				return;
			case "response.refusal.delta":
				if (open) open.refusal += said;
				return;
			case "response.function_call_arguments.delta":
				if (open) open.args += said;
				return;
			case "response.reasoning_summary_text.delta":
				if (open) open.summary += said;
		}
	}
}
