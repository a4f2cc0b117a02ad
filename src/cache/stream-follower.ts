/** A caller that gets the stream of another one's call, too. */
import type { StreamPiece } from "../openai/sse.ts";

/** One who reads a stream along: from its beginning, at its own pace. */
export class StreamFollower {
	readonly #queue: StreamPiece[];
	#backlog = 0;
	#isOver = false;
	#waiting: (() => void) | undefined;

	constructor(
		pieces: readonly StreamPiece[],
		private readonly onRead: () => void,
	) {
		this.#queue = [...pieces];
		for (const { length } of pieces) this.#backlog += length;
	}

	/** Not read yet, bytes. */
	get backlog(): number {
		return this.#backlog;
	}

	push(piece: StreamPiece): void {
		this.#queue.push(piece);
		this.#backlog += piece.length;
		this.#waiting?.();
	}

	end(): void {
		this.#isOver = true;
		this.#waiting?.();
	}

	/** All that is there; undefined at the end. One reader, one read at a time. */
	async read(): Promise<readonly StreamPiece[] | undefined> {
		while (this.#queue.length === 0) {
			if (this.#isOver) return undefined;
			await new Promise<void>((resolve) => {
				this.#waiting = resolve;
			});
		}
		this.#backlog = 0;
		const pieces = this.#queue.splice(0);
		this.onRead();
		return pieces;
	}
}
