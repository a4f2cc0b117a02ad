/** A part of some bytes, for who hands it on. */

/** Bytes up to which JavaScriptCore keeps a typed array's memory in its own heap (`fastSizeLimit`). */
const SMALL = 1000;

/**
 * The bytes from `start` to before `end`: all of them as they are; of few bytes a copy, of many a view of the same memory. The first view of a
 * small array moves its bytes out of the heap, into an ArrayBuffer that has to be collected: that takes four times as long as to copy them.
 */
export function bytePart(bytes: Buffer, start: number, end: number): Buffer {
	const length = end - start;
	if (length === bytes.length) return bytes;
	if (bytes.length > SMALL) return bytes.subarray(start, end);
	const part = Buffer.allocUnsafe(length);
	bytes.copy(part, 0, start, end);
	return part;
}
