/** Texts that stand in bytes as JSON, written into other events without a decoding: a JSON string is the same there. */
import type { WritableBytes } from "./sse.ts";

/** What stands around a text in the event that is sent. */
export interface EventFrame {
	readonly before: Buffer;
	/** From behind one text to before the next. */
	readonly between: Buffer;
	readonly after: Buffer;
	/** In an event in which the text stands twice, what is between the two. */
	readonly middle?: Buffer;
}

/** The frame of these two halves of an event. */
export function eventFrame([before, after]: readonly [string, string]): EventFrame {
	return { before: Buffer.from(before), between: Buffer.from(after + before), after: Buffer.from(after) };
}

/** The same of an event in which each text stands twice. */
export function doubleFrame([before, middle, after]: readonly [string, string, string]): EventFrame {
	return { ...eventFrame([before, after]), middle: Buffer.from(middle) };
}

/** The texts of some bytes, in what they are sent in. */
export class TextChunks implements WritableBytes {
	/**
	 * @param bytes at hand as long as it is written
	 * @param spans where each text begins and ends in them; at least one. Looked for late where most that are made are never written
	 * @param size how long all texts are
	 * @param frame asked where they are written: most that have an `own` never are
	 * @param own the events that they come of, for a client that speaks their wire
	 */
	constructor(
		private readonly bytes: Uint8Array,
		private spans: Int32Array | (() => Int32Array),
		private readonly size: number,
		private readonly frame: () => EventFrame,
		readonly own?: Uint8Array,
	) {}

	get #places(): Int32Array {
		if (typeof this.spans === "function") this.spans = this.spans();
		return this.spans;
	}

	get length(): number {
		const { before, after, between, middle } = this.frame();
		const count = this.#places.length / 2;
		const length = before.length + after.length + this.size + (count - 1) * between.length;
		return middle ? length + this.size + count * middle.length : length;
	}

	writeTo(into: Uint8Array, start: number): void {
		const { bytes } = this;
		const spans = this.#places;
		const { before, between, after, middle } = this.frame();
		into.set(before, start);
		let at = start + before.length;
		for (let i = 0; i < spans.length; i += 2) {
			if (i > 0) {
				into.set(between, at);
				at += between.length;
			}
			// They are short: to copy them so is faster than a call.
			for (let from = spans[i]!; from < spans[i + 1]!; from++) into[at++] = bytes[from]!;
			if (!middle) continue;
			into.set(middle, at);
			at += middle.length;
			for (let from = spans[i]!; from < spans[i + 1]!; from++) into[at++] = bytes[from]!;
		}
		into.set(after, at);
	}
}
