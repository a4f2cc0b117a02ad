/** Hears a call's answer to compare it: the caller's own beside whoever hears it, too, and that of a copy. */
import type { ClientCall } from "../../dialects/dialect.ts";
import type { StreamPiece } from "../../openai/sse.ts";
import type { AnswerListener } from "../../proxy/call-client.ts";

/** Bytes of answers that are held at once until they are over, of all calls of this thread. */
const MOST_HELD = 32 * 1024 * 1024;
/** Bytes of one answer: what one is longer by says nothing of the tools that it asks for. */
const LONGEST = 1024 * 1024;

/** How much is held. */
export class HeldBytes {
	#bytes = 0;

	/** Whether there was room. */
	take(bytes: number): boolean {
		if (this.#bytes + bytes > MOST_HELD) return false;
		this.#bytes += bytes;
		return true;
	}

	free(bytes: number): void {
		this.#bytes -= bytes;
	}
}

/** The listener of one call. */
export class HeardAnswer implements AnswerListener {
	/** What has come of a stream; undefined where it is too long, or there is no room for it. */
	#pieces: StreamPiece[] | undefined = [];
	#size = 0;
	#isOver = false;

	/**
	 * @param others who hears the answer beside this one
	 * @param onEnd called once at a good end, with the whole answer in OpenAI's JSON, or undefined where that can't be told
	 */
	constructor(
		private readonly call: ClientCall,
		private readonly held: HeldBytes,
		private readonly others: AnswerListener | undefined,
		private readonly onEnd: (answer: string | undefined) => void,
	) {}

	get hearsAll(): true {
		return true;
	}

	whole(body: string | undefined, isOwn?: boolean): void {
		this.others?.whole(isOwn ? undefined : body, isOwn);
		if (this.#end()) this.onEnd(body);
	}

	sent(piece: StreamPiece, taken: number | Promise<number>): number | Promise<unknown> {
		if (this.#pieces) this.#hold(piece);
		return this.others ? this.others.sent(piece, taken) : taken;
	}

	ended(broken?: { readonly status: number; readonly error: string }): void {
		this.others?.ended(broken);
		const answer = broken ? undefined : this.#folded();
		if (this.#end() && !broken) this.onEnd(answer);
	}

	continuesWithoutClient(): boolean {
		return this.others?.continuesWithoutClient() ?? false;
	}

	/** There is no answer. Safe to call behind one. */
	fail(): void {
		this.others?.fail();
		this.#end();
	}

	#hold(piece: StreamPiece): void {
		const { length } = piece;
		const hasRoom = !this.#isOver && this.#size + length <= LONGEST && this.held.take(length);
		if (!hasRoom) {
			this.#release();
			return;
		}
		this.#size += length;
		this.#pieces!.push(piece);
	}

	#folded(): string | undefined {
		const pieces = this.#pieces?.map((piece) => (typeof piece === "string" ? Buffer.from(piece) : piece));
		try {
			return pieces && this.call.dialect.fold(this.call, Buffer.concat(pieces));
		} catch {
			// Of an answer that no wire can tell nothing is compared.
			return undefined;
		}
	}

	/** Whether it was not over yet. */
	#end(): boolean {
		if (this.#isOver) return false;
		this.#isOver = true;
		this.#release();
		return true;
	}

	#release(): void {
		this.held.free(this.#size);
		this.#size = 0;
		this.#pieces = undefined;
	}
}
