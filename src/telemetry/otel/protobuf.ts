/** Protobuf's wire (https://protobuf.dev/programming-guides/encoding/), as far as OTLP's traces need it. Pure. */

/** Wire types. */
const WIRE = { varint: 0, fixed64: 1, length: 2, fixed32: 5 } as const;
/** Most bytes of a varint that a number holds exactly. */
const MOST_VARINT = 8;
/** First size of the memory, bytes: most spans fit. */
const FIRST_SIZE = 4096;

/** ns of a ms. */
const NANOS = 1e6;
/** 4 bytes; where a time is parted, bits 0 to 19 below; and how much of the upper part's product reaches into the lower 4 bytes. */
const WORD = 2 ** 32;
const PART = 2 ** 20;
const ABOVE = WORD / PART;

/** What stands before a field. */
const tagOf = (field: number, type: number): number => field * 8 + type;

/** Bytes of a whole number. */
export function varintSize(value: number): number {
	let size = 1;
	for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 0x80)) size++;
	return size;
}

/** Writes fields, one behind the other. */
export class ProtobufWriter {
	#memory = Buffer.allocUnsafe(FIRST_SIZE);
	#end = 0;

	/** All that was written since it was last taken, in memory of its own. */
	take(): Buffer {
		const bytes = Buffer.from(this.#memory.subarray(0, this.#end));
		this.#end = 0;
		return bytes;
	}

	/** A whole number that is not negative. */
	varint(field: number, value: number): void {
		this.#varint(tagOf(field, WIRE.varint));
		this.#varint(value);
	}

	fixed32(field: number, value: number): void {
		this.#varint(tagOf(field, WIRE.fixed32));
		this.#reserve(4);
		this.#end = this.#memory.writeUInt32LE(value, this.#end);
	}

	/** A time, ms, as ns, whose digits no number holds: it is multiplied in two parts. */
	nanos(field: number, ms: number): void {
		const whole = Math.floor(ms);
		const upper = Math.floor(whole / PART) * NANOS;
		const lower = (whole % PART) * NANOS + Math.floor((ms - whole) * NANOS) + (upper % ABOVE) * PART;
		this.#varint(tagOf(field, WIRE.fixed64));
		this.#reserve(8);
		this.#end = this.#memory.writeUInt32LE(lower % WORD, this.#end);
		this.#end = this.#memory.writeUInt32LE(Math.floor(upper / ABOVE) + Math.floor(lower / WORD), this.#end);
	}

	fixed64(field: number, value: bigint): void {
		this.#varint(tagOf(field, WIRE.fixed64));
		this.#reserve(8);
		this.#end = this.#memory.writeBigUInt64LE(value, this.#end);
	}

	double(field: number, value: number): void {
		this.#varint(tagOf(field, WIRE.fixed64));
		this.#reserve(8);
		this.#end = this.#memory.writeDoubleLE(value, this.#end);
	}

	/** @param length bytes, where that is known */
	text(field: number, value: string, length = Buffer.byteLength(value)): void {
		this.head(field, length);
		this.#reserve(length);
		this.#end += this.#memory.write(value, this.#end, length);
	}

	/** Bytes that hexadecimal digits say. */
	hex(field: number, digits: string): void {
		this.head(field, digits.length / 2);
		this.#reserve(digits.length / 2);
		this.#end += this.#memory.write(digits, this.#end, "hex");
	}

	/** Bytes as they are. */
	raw(bytes: Buffer): void {
		this.#reserve(bytes.length);
		this.#memory.set(bytes, this.#end);
		this.#end += bytes.length;
	}

	/** A message begins, whose fields are written next. What it returns ends it. */
	begin(field: number): number {
		this.#varint(tagOf(field, WIRE.length));
		// Room for a length of two bytes, as most have.
		this.#reserve(2);
		this.#end += 2;
		return this.#end;
	}

	/** A message ends. */
	end(begin: number): void {
		const length = this.#end - begin;
		const size = varintSize(length);
		const head = begin - 2;
		if (size !== 2) {
			this.#reserve(size);
			this.#memory.copyWithin(head + size, begin, this.#end);
		}
		this.#end = head;
		this.#varint(length);
		this.#end = head + size + length;
	}

	/** The beginning of a message, a text or bytes that are written next. @param length bytes */
	head(field: number, length: number): void {
		this.#varint(tagOf(field, WIRE.length));
		this.#varint(length);
	}

	#varint(value: number): void {
		this.#reserve(MOST_VARINT);
		let rest = value;
		while (rest > 0x7f) {
			this.#memory[this.#end++] = (rest % 0x80) | 0x80;
			rest = Math.floor(rest / 0x80);
		}
		this.#memory[this.#end++] = rest;
	}

	#reserve(bytes: number): void {
		if (this.#end + bytes <= this.#memory.length) return;
		const memory = Buffer.allocUnsafe(Math.max(2 * this.#memory.length, this.#end + bytes));
		this.#memory.copy(memory, 0, 0, this.#end);
		this.#memory = memory;
	}
}

/** Reads fields, one after the other: whole numbers as numbers, all that has a length as bytes, and of fixed width as bytes, too. Throws where it is cut off. */
export class ProtobufReader implements Iterable<[field: number, value: number | Buffer]> {
	#at = 0;

	constructor(private readonly bytes: Buffer) {}

	*[Symbol.iterator](): Iterator<[field: number, value: number | Buffer]> {
		while (this.#at < this.bytes.length) {
			const tag = this.#varint();
			yield [Math.floor(tag / 8), this.#value(tag % 8)];
		}
	}

	#value(type: number): number | Buffer {
		switch (type) {
			case WIRE.varint:
				return this.#varint();
			case WIRE.fixed64:
				return this.#take(8);
			case WIRE.length:
				return this.#take(this.#varint());
			case WIRE.fixed32:
				return this.#take(4);
			default:
				throw new RangeError("no protobuf");
		}
	}

	#varint(): number {
		let value = 0;
		for (let size = 0; ; size++) {
			const byte = this.bytes[this.#at++];
			if (byte === undefined || size > 9) throw new RangeError("no protobuf");
			value += (byte & 0x7f) * 2 ** (7 * size);
			if (byte < 0x80) return value;
		}
	}

	#take(length: number): Buffer {
		if (this.#at + length > this.bytes.length) throw new RangeError("no protobuf");
		this.#at += length;
		return this.bytes.subarray(this.#at - length, this.#at);
	}
}
