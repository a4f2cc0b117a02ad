/** Sends a stream on as it is read: from its upstream's bytes to what its client is written. */
import type { AnswerPiece } from "../openai/sse.ts";
import type { ByteTaker } from "../providers/provider.ts";
import type { EventReader } from "./event-reader.ts";

/** Who is sent a stream. No function with the pieces' own variables: each event would have to fetch that and those from memory, too. */
export interface PieceReceiver {
	/** Writes a piece, "" where nothing came of what was read. Returns what to wait for before the next one. Throws where the client can't be told it. */
	send(piece: AnswerPiece): number | Promise<unknown>;
}

/** Sends all that comes of a stream, up to its end. Rejects with what `send` throws. */
export async function forwardStream(reader: EventReader, receiver: PieceReceiver): Promise<void> {
	const flow = new StreamFlow(reader, receiver);
	while (!reader.isOver) await (reader.body.flow ? flow.run() : flow.step());
}

/**
 * What arrives is written in the same call that has read it, as long as the client takes it: a promise for each piece, and the continuation
 * behind it, cost as much as the piece's own reading.
 */
class StreamFlow implements ByteTaker {
	#resolve!: (next: Promise<void> | undefined) => void;
	#reject!: (thrown: unknown) => void;

	constructor(
		private readonly reader: EventReader,
		private readonly receiver: PieceReceiver,
	) {}

	/** Sends what comes until the client must be waited for, and has been; or to the end. */
	run(): Promise<void> {
		return new Promise((resolve, reject) => {
			this.#resolve = resolve as (next: Promise<void> | undefined) => void;
			this.#reject = reject;
			this.reader.body.flow!(this);
		});
	}

	/** Sends one piece of a stream of which each must be asked for. */
	async step(): Promise<void> {
		const { reader } = this;
		let piece: AnswerPiece;
		try {
			const chunk = await reader.read();
			piece = chunk ? reader.take(chunk) : reader.finish();
		} catch (cause) {
			piece = reader.broken(cause);
		}
		const taken = this.receiver.send(piece);
		if (typeof taken !== "number") await reader.waitFor(taken);
	}

	take(bytes: Uint8Array): boolean {
		const { reader } = this;
		try {
			const taken = this.receiver.send(this.#pieceOf(bytes));
			if (typeof taken === "number" && !reader.isOver) return true;
			this.#resolve(typeof taken === "number" ? undefined : reader.waitFor(taken));
		} catch (thrown) {
			this.#reject(thrown);
		}
		return false;
	}

	ended(end: { readonly reason: unknown } | null): void {
		const { reader } = this;
		try {
			const taken = this.receiver.send(end ? reader.broken(end.reason) : this.#last());
			this.#resolve(typeof taken === "number" ? undefined : reader.waitFor(taken));
		} catch (thrown) {
			this.#reject(thrown);
		}
	}

	#pieceOf(bytes: Uint8Array): AnswerPiece {
		try {
			return this.reader.take(bytes);
		} catch (cause) {
			return this.reader.broken(cause);
		}
	}

	#last(): AnswerPiece {
		try {
			return this.reader.finish();
		} catch (cause) {
			return this.reader.broken(cause);
		}
	}
}
