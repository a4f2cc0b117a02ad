/** Pieces of a stream for a client that speaks their upstream's wire: what lies behind each other as it came goes on as one. */
import { inChunks, isPiece, joinedPieces, type NativeEvent, type NativePiece, type StreamPiece } from "./sse.ts";

/**
 * A piece as a wire writes it that has words for events as their upstream has written them, too; each in its place.
 * @param write events in OpenAI's words
 * @param writeOwn the others: events of text, or the one that is given parsed, too; undefined where OpenAI's words are to be written
 */
export function writtenPiece(
	{ parts }: NativePiece,
	write: (piece: StreamPiece) => StreamPiece,
	writeOwn: (own: Uint8Array, event?: NativeEvent["event"]) => StreamPiece | undefined,
): StreamPiece {
	const written: StreamPiece[] = [];
	// What lies behind each other goes on as one row: its first piece, and how long it is.
	let row: Uint8Array | undefined;
	let length = 0;
	for (const part of parts) {
		const own = isPiece(part) || !part.own ? undefined : writeOwn(part.own, "event" in part ? part.event : undefined);
		const chunks = own === undefined ? joinedPieces("", [inChunks(part)]) : "";
		const piece = own ?? (chunks.length === 0 ? "" : write(chunks));
		const goesOn = row && typeof piece !== "string" && row.byteOffset + length === piece.byteOffset;
		if (goesOn && row!.buffer === (piece as Uint8Array).buffer) length += piece.length;
		else if (piece.length > 0) {
			if (row) written.push(rowOf(row, length));
			row = typeof piece === "string" ? undefined : piece;
			length = piece.length;
			if (typeof piece === "string") written.push(piece);
		}
	}
	if (row) written.push(rowOf(row, length));
	return joinedPieces("", written);
}

const rowOf = (first: Uint8Array, length: number): Uint8Array =>
	length === first.length ? first : Buffer.from(first.buffer, first.byteOffset, length);
