/** One upstream's stream as it is read: its bytes are understood, and become what the client is sent. */
import { EventTooLarge, type SseEvent, SseSplitter } from "../openai/sse.ts";
import type { Tokens } from "../openai/usage.ts";
import { type ByteSource, type Failure, type Out, type StreamDecoder, TRUNCATED } from "../providers/provider.ts";
import type { Deadline } from "./deadline.ts";

/** What is written at once: the upstream's own bytes, or text of ours. */
export type Piece = Uint8Array | string;

/** What a reader tells. */
export interface ReaderEvents {
	/** Once: the answer has begun. */
	begun(): void;
	/** Once: the first event that carries some of the answer. */
	firstDelta(): void;
	/** A comment, before the answer has begun. */
	comment(text: string): void;
	/** Once: complete, or why not. */
	end(failure: Failure | undefined): void;
}

/** How long a finished upstream may take to close its side before the connection is given up, ms. */
const CLOSING_MS = 1000;

/**
 * Reads one stream. Whoever sends it on does so in a loop: `read`, then `take`, `finish` or `broken` give what to send; until
 * `isOver`. One await a chunk: each further one costs 0.3 µs.
 */
export class EventReader {
	readonly #splitter = new SseSplitter();
	/** Events that are no comments; counted up to the second. */
	#events = 0;
	/** The chunk at hand has some. */
	#sawData = false;
	/** The answer has begun: what came is worth sending. */
	hasBegun = false;
	isOver = false;
	/** When the first piece of the answer was here, as `performance.now()` tells. */
	firstDeltaAt: number | undefined;
	/** How it ended, where that was badly. Told by no piece. */
	failure: Failure | undefined;
	tokens: Tokens | undefined;
	/** USD. */
	cost: number | undefined;
	/** Events that were no JSON. */
	dropped = 0;

	constructor(
		private readonly body: ByteSource,
		private readonly decoder: StreamDecoder,
		private readonly deadline: Deadline,
		private readonly events: ReaderEvents,
	) {}

	/** The next bytes; see ByteSource. */
	read(): Promise<Uint8Array | undefined> {
		return this.body.read();
	}

	/** What to send for a chunk. Untouched chunks go on as the bytes they came as. */
	take(chunk: Uint8Array): Piece {
		const wasClean = this.#splitter.isClean;
		if (wasClean && this.decoder.isPlain?.(chunk)) {
			this.deadline.touch();
			return chunk;
		}
		const events = this.#splitter.push(chunk);
		const isClean = this.#splitter.isClean;
		this.#sawData = !isClean;
		const text = this.#read(events, wasClean && isClean) ?? chunk;
		// A piece of an event is a sign of life; a comment is one of the connection only.
		if (this.#sawData) this.deadline.touch();
		return text;
	}

	/** The upstream closed its side. */
	finish(): Piece {
		const text = this.#read(this.#splitter.end(), false) ?? "";
		if (!this.isOver) this.#over(this.decoder.end());
		return text;
	}

	/** Reading failed: the client left, time ran out, or the connection broke, which is no clean end whatever came before. */
	broken(cause: unknown): Piece {
		const failure = this.deadline.failure ?? TRUNCATED;
		// Bun's own words may name the address with its password; ours say what was too large.
		const reason = cause instanceof EventTooLarge ? ` (${cause.message})` : "";
		this.#over({ ...failure, message: failure.message + reason });
		return "";
	}

	/** The client reads more slowly than the upstream sends, until `taken` resolves: no silence of the upstream's. */
	async waitFor(taken: Promise<unknown>): Promise<void> {
		this.deadline.rest();
		await taken;
		this.deadline.touch();
	}

	/** An event that is no comment has come. */
	get hasEvent(): boolean {
		return this.#events > 0 || this.hasBegun;
	}

	/** How long it has given nothing of the answer, ms. */
	get quietMs(): number {
		return this.deadline.quietMs;
	}

	/** Ends it from this side: the client is gone. */
	leave(failure: Failure): void {
		this.#over(failure);
	}

	/** The text for these events; undefined where they go on as they came and `isWhole` says that they may. */
	#read(events: readonly SseEvent[], isWhole: boolean): string | undefined {
		let text = "";
		let isAsItCame = isWhole;
		for (let index = 0; index < events.length; index++) {
			const event = events[index]!;
			const out = this.decoder.push(event);
			this.#heed(out, event);
			if (isAsItCame && out.bytes === undefined && !out.failure) continue;
			if (isAsItCame) {
				isAsItCame = false;
				for (let before = 0; before < index; before++) text += events[before]!.raw;
			}
			if (out.failure) {
				this.#over(out.failure);
				return text;
			}
			if (out.done) {
				this.#over(this.decoder.end());
				return text;
			}
			text += out.bytes ?? event.raw;
		}
		return isAsItCame ? undefined : text;
	}

	#heed(out: Out, event: SseEvent): void {
		if (out.tokens) this.tokens = out.tokens;
		if (out.cost !== undefined) this.cost = out.cost;
		if (out.dropped) this.dropped++;
		if (event.data === undefined) {
			if (!this.hasBegun) this.events.comment(event.raw);
			return;
		}
		this.#sawData = true;
		if (out.delta && this.firstDeltaAt === undefined) {
			this.firstDeltaAt = performance.now();
			this.events.firstDelta();
		}
		// A first event without text says who speaks: until more comes, the call can still go elsewhere and nobody has missed a thing.
		if (!this.hasBegun && (out.delta || ++this.#events === 2)) {
			this.hasBegun = true;
			this.events.begun();
		}
	}

	#over(failure: Failure | undefined): void {
		if (this.isOver) return;
		this.isOver = true;
		this.failure = failure;
		if (failure) {
			this.deadline.abort();
			this.deadline.clear();
			this.events.end(failure);
			return;
		}
		this.events.end(undefined);
		// The last bytes of a good answer are on their way: reading them keeps the connection for the next call.
		this.deadline.within(CLOSING_MS, "end");
		const letGo = () => this.deadline.clear();
		this.body.read().then((chunk) => {
			if (chunk) this.deadline.abort();
			letGo();
		}, letGo);
	}
}
