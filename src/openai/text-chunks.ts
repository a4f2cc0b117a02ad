/** Texts that stand in bytes as JSON, written into other events without a decoding: a JSON string is the same there. */
import type { WritableBytes } from "./sse.ts";

const ZERO = 0x30;
const NINE = 0x39;

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

/** What stands around a text in events that have a number, too, which grows by one from each to the next. */
export class NumberedFrame {
	/** From behind a text to before the next one, with the number that was asked for last. */
	#between: Buffer = Buffer.alloc(0);
	#number = -1;
	/** Past the number in it. */
	#numberEnd = 0;
	/** How long all of an event is but for its text and its number. */
	readonly fixed: number;
	/** How long what stands behind the text is. */
	readonly behind: number;

	/**
	 * @param before what stands before the number
	 * @param inner between the number and the text
	 * @param after behind the text
	 */
	constructor(
		private readonly before: string,
		private readonly inner: string,
		private readonly after: string,
	) {
		this.behind = Buffer.byteLength(after);
		this.fixed = Buffer.byteLength(before) + Buffer.byteLength(inner) + this.behind;
	}

	/** What stands between a text and the next one, whose event has this number. The bytes are good until it is asked again. */
	between(number: number): Buffer {
		if (number !== this.#number + 1 || !this.#count()) {
			const head = this.after + this.before + number;
			this.#between = Buffer.from(head + this.inner);
			this.#numberEnd = Buffer.byteLength(head);
		}
		this.#number = number;
		return this.#between;
	}

	/** Adds one to the number in the bytes; false where it would be longer. */
	#count(): boolean {
		const bytes = this.#between;
		for (let at = this.#numberEnd - 1; ; at--) {
			const digit = bytes[at] ?? 0;
			if (digit < ZERO || digit > NINE) return false;
			if (digit !== NINE) {
				bytes[at] = digit + 1;
				return true;
			}
			bytes[at] = ZERO;
		}
	}
}

/** How many digits so many numbers have in all, of which each is one more than that before. */
export function digitsOf(first: number, count: number): number {
	let digits = 0;
	for (let [from, left] = [first, count]; left > 0; ) {
		const width = String(from).length;
		const alike = Math.min(left, 10 ** width - from);
		digits += alike * width;
		from += alike;
		left -= alike;
	}
	return digits;
}

/** The texts of some bytes, each in an event of its own with a number. */
export class NumberedChunks implements WritableBytes {
	readonly length: number;

	/**
	 * @param bytes at hand as long as it is written
	 * @param spans where each text begins and ends in them
	 * @param size how long all texts are
	 * @param first the number of the first event
	 */
	constructor(
		private readonly bytes: Uint8Array,
		private readonly spans: Int32Array,
		size: number,
		private readonly frame: NumberedFrame,
		private readonly first: number,
	) {
		const count = spans.length / 2;
		this.length = size + count * frame.fixed + digitsOf(first, count);
	}

	writeTo(into: Uint8Array, start: number): void {
		const { bytes, spans, frame, first } = this;
		const { behind } = frame;
		let at = start;
		let between = frame.between(first);
		for (let i = 0; i < spans.length; i += 2) {
			if (i > 0) between = frame.between(first + i / 2);
			into.set(i > 0 ? between : between.subarray(behind), at);
			at += i > 0 ? between.length : between.length - behind;
			// They are short: to copy them so is faster than a call.
			for (let from = spans[i]!; from < spans[i + 1]!; from++) into[at++] = bytes[from]!;
		}
		if (spans.length > 0) into.set(between.subarray(0, behind), at);
	}
}
