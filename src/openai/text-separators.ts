/** What stands between the texts of a stream's events that are alike but for these, and for numbers of as many digits: each is compared at once. */

/** So few bytes are compared one by one sooner than by a call. */
const SHORT = 12;

const ZERO = 0x30;
const NINE = 0x39;

/** What must stand between two texts. */
export class Separator {
	/** Its bytes; in the places of its numbers those that were there last. */
	private readonly bytes: Buffer;
	/** Where each of its numbers begins and ends; undefined where it has none. */
	private readonly numbers: number[] | undefined;
	readonly length: number;

	/**
	 * @param parts what is always the same
	 * @param widths digits of the numbers between them
	 */
	constructor(parts: readonly Buffer[], widths: readonly number[]) {
		const [first] = parts as [Buffer];
		let size = first.length;
		for (let at = 0; at < widths.length; at++) size += widths[at]! + parts[at + 1]!.length;
		this.length = size;
		if (widths.length === 0) {
			this.bytes = first;
			return;
		}
		this.bytes = Buffer.allocUnsafe(size);
		this.numbers = [];
		let end = first.copy(this.bytes);
		for (let at = 0; at < widths.length; at++) {
			const start = end;
			end += widths[at]!;
			this.numbers.push(start, end);
			end += parts[at + 1]!.copy(this.bytes, end);
		}
	}

	/** Past it, where it stands at `at`; -1 where it does not. */
	endIn(chunk: Uint8Array, at: number): number {
		const end = at + this.length;
		if (end > chunk.length || (this.numbers && !this.takeNumbers(chunk, at, this.numbers))) return -1;
		const { bytes } = this;
		if (bytes.length > SHORT) return bytes.compare(chunk, at, end) === 0 ? end : -1;
		for (let nth = 0; nth < bytes.length; nth++) if (chunk[at + nth] !== bytes[nth]) return -1;
		return end;
	}

	/** Takes the numbers that stand there for its own; false where there is none in one of the places. */
	private takeNumbers(chunk: Uint8Array, at: number, numbers: readonly number[]): boolean {
		const { bytes } = this;
		for (let nth = 0; nth < numbers.length; nth += 2) {
			const from = numbers[nth]!;
			const to = numbers[nth + 1]!;
			// JSON's numbers begin with no 0.
			if (chunk[at + from] === ZERO && to - from > 1) return false;
			for (let place = from; place < to; place++) {
				const byte = chunk[at + place]!;
				if (byte < ZERO || byte > NINE) return false;
				bytes[place] = byte;
			}
		}
		return true;
	}
}

/** All of an event's. */
export interface Separators {
	/** Before its first text. */
	readonly first: Separator;
	/** Between its texts. */
	readonly inner: readonly Separator[];
	/** Behind its last text. */
	readonly last: Separator;
	/** From there to before the first text of the next event. */
	readonly between: Separator;
}

/**
 * Those of events of one shape.
 * @param parts what is always the same
 * @param widths digits of the number between two of them; 0: a text or blanks stand there, of which there are some
 */
export function separatorsOf(parts: readonly Buffer[], widths: readonly number[]): Separators {
	const all: { parts: Buffer[]; widths: number[] }[] = [{ parts: [parts[0]!], widths: [] }];
	for (const [at, width] of widths.entries()) {
		const part = parts[at + 1]!;
		if (width === 0) all.push({ parts: [part], widths: [] });
		else {
			const { parts: before, widths: numbers } = all.at(-1)!;
			before.push(part);
			numbers.push(width);
		}
	}
	const [first, ...rest] = all;
	const last = rest.pop()!;
	const [{ parts: before, widths: numbers }, { parts: behind, widths: numbersBehind }] = [first!, last];
	const seam = Buffer.concat([behind.at(-1)!, before[0]!]);
	const between = new Separator([...behind.slice(0, -1), seam, ...before.slice(1)], [...numbersBehind, ...numbers]);
	const made = (each: (typeof all)[number]) => new Separator(each.parts, each.widths);
	return { first: made(first!), inner: rest.map(made), last: made(last), between };
}
