/** Protobuf's wire (https://protobuf.dev/programming-guides/encoding/), as far as OTLP's traces need it. Pure. */

/** Wire types. */
const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;
/** Most bytes of a varint that a number holds exactly. */
const MOST_VARINT = 8;
/** First size of the memory, bytes: most spans fit. */
const FIRST_SIZE = 2048;

/** Writes fields, one behind the other. */
export class ProtobufWriter {
	#memory = Buffer.allocUnsafe(FIRST_SIZE);
	#end = 0;

	/** All that is written, in memory of its own. */
	bytes(): Buffer {
		return Buffer.from(this.#memory.subarray(0, this.#end));
	}

	/** A whole number that is not negative. */
	varint(field: number, value: number): void {
		this.#tag(field, VARINT);
		this.#varint(value);
	}

	fixed32(field: number, value: number): void {
		this.#tag(field, FIXED32);
		this.#reserve(4);
		this.#end = this.#memory.writeUInt32LE(value, this.#end);
	}

	fixed64(field: number, value: bigint): void {
		this.#tag(field, FIXED64);
		this.#reserve(8);
		this.#end = this.#memory.writeBigUInt64LE(value, this.#end);
	}

	double(field: number, value: number): void {
		this.#tag(field, FIXED64);
		this.#reserve(8);
		this.#end = this.#memory.writeDoubleLE(value, this.#end);
	}

	text(field: number, value: string): void {
		this.head(field, Buffer.byteLength(value));
		this.#reserve(3 * value.length);
		this.#end += this.#memory.write(value, this.#end);
	}

	/** Bytes that hexadecimal digits say. */
	hex(field: number, digits: string): void {
		this.head(field, digits.length / 2);
		this.#reserve(digits.length / 2);
		this.#end += this.#memory.write(digits, this.#end, "hex");
	}

	/** A message, whose fields `write` writes. */
	message(field: number, write: () => void): void {
		this.#tag(field, LENGTH);
		const begin = this.#end;
		// Room for the length as it mostly is: one byte.
		this.#reserve(1);
		this.#end++;
		write();
		const length = this.#end - begin - 1;
		const size = varintSize(length);
		if (size > 1) {
			this.#reserve(size - 1);
			this.#memory.copyWithin(begin + size, begin + 1, this.#end);
		}
		this.#end = begin;
		this.#varint(length);
		this.#end += length;
	}

	/** The beginning of a message, a text or bytes that others write. @param length bytes */
	head(field: number, length: number): void {
		this.#tag(field, LENGTH);
		this.#varint(length);
	}

	#tag(field: number, type: number): void {
		this.#varint(field * 8 + type);
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

const varintSize = (value: number): number => {
	let size = 1;
	for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 0x80)) size++;
	return size;
};

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
			case VARINT:
				return this.#varint();
			case FIXED64:
				return this.#take(8);
			case LENGTH:
				return this.#take(this.#varint());
			case FIXED32:
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
