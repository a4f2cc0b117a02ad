/** Events of a stream that are read only where it breaks, which few do: to pack them takes a fraction of the time that to read them does. */
import { joinedPieces, type SseEvent, SseSplitter, type StreamPiece } from "./sse.ts";

/** Pieces are packed when there are so many bytes of them: 1,000 streams then hold 64 MB at most, and a tenth or so of what was before. */
const PACK_AT = 64 * 1024;
/** Events of one stream are so much alike that more effort gains nothing. */
const LEVEL = { level: 1 };

/** Takes events and gives them back. */
export class PackedEvents {
	#packed: Uint8Array[] = [];
	#pieces: StreamPiece[] = [];
	#size = 0;

	/** Takes whole events. */
	add(piece: StreamPiece): void {
		this.#pieces.push(piece);
		this.#size += piece.length;
		if (this.#size <= PACK_AT) return;
		this.#packed.push(Bun.zstdCompressSync(bytesOf(joinedPieces("", this.#pieces)), LEVEL));
		this.#pieces = [];
		this.#size = 0;
	}

	/** All that were taken since it was called last. */
	read(): SseEvent[] {
		const packed = this.#packed;
		const pieces = this.#pieces;
		this.#packed = [];
		this.#pieces = [];
		this.#size = 0;
		const splitter = new SseSplitter();
		return [
			...packed.flatMap((each) => splitter.push(Bun.zstdDecompressSync(each))),
			...pieces.flatMap((each) => splitter.push(bytesOf(each))),
		];
	}
}

const bytesOf = (piece: StreamPiece): Uint8Array => (typeof piece === "string" ? Buffer.from(piece) : piece);
