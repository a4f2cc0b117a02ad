/** What a client has been sent of a response in its upstream's own events: read only where the response has to go on in other words, or broke off. */
import { PackedEvents } from "../../openai/packed-events.ts";
import type { StreamPiece } from "../../openai/sse.ts";
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

/** The events of one stream. */
export class UpstreamEvents {
	readonly #pieces = new PackedEvents();
	#head: Json | undefined;
	#next = 0;
	#count = 0;
	readonly #closed: string[] = [];
	readonly #open = new Map<number, OpenItem>();

	/** Takes whole events. */
	add(piece: StreamPiece): void {
		this.#pieces.add(piece);
	}

	/** All that has come; nothing may come any more. */
	read(): UpstreamResponse {
		for (const { data } of this.#pieces.read()) if (data !== undefined) this.#read(JSON.parse(data) as Json);
		const open = [...this.#open.values()].sort((a, b) => a.index - b.index);
		return { head: this.#head ?? {}, next: this.#next, closed: this.#closed, open, count: this.#count };
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
