/**
 * A model's stream on its way from upstream to client: events are read, understood and sent on as they come.
 *
 * Out through one of Bun's direct streams: 10 % less CPU an event than a `pull` wrapper. Back-pressure is the promise that its
 * `write` returns while the client doesn't read, and which resolves when the client leaves (bun-types 1.4.5,
 * ReadableStreamDirectController; `flush()` without `true`, which the runtime traps measured, keeps none).
 */
import { DONE, EventTooLarge, type SseEvent, SseSplitter } from "../openai/sse.ts";
import { type ByteSource, type Failure, type Out, type StreamDecoder, TRUNCATED } from "../providers/provider.ts";
import type { Deadline } from "./deadline.ts";

/** What a stream tells its surroundings. */
export interface StreamEvents {
	/** Each event's meaning. */
	out(out: Out): void;
	/** Once: complete, or failed after its first bytes, or left by its client (`cancelled`). */
	end(failure: Failure | undefined): void;
	/** The error event for a stream that broke after its first bytes. */
	errorEvent(failure: Failure): string;
	/** A comment with what only the end knows, put before `[DONE]`. */
	summary(): string;
	/** Once: the first event that is no comment is here. */
	firstData(): void;
	/** A piece went to the client, whose side says `taken`: returns what to wait for in its place. */
	sent?(piece: Piece, taken: number | Promise<number>): number | Promise<unknown>;
	/** The client has left: whether the stream goes on without it. */
	goesOn?(): boolean;
	/** Everything was handed out, the error event of a broken stream included. */
	closed?(): void;
}

/**
 * How long comments alone (OpenRouter's `: OPENROUTER PROCESSING`) are held back, ms: until data comes, a failure can still have a
 * status of its own. Longer, and the connection needs them.
 */
const COMMENTS_MS = 5000;
/** How long a finished upstream may take to close its side before the connection is given up, ms. */
const CLOSING_MS = 1000;

/** What is written at once: the upstream's own bytes, or text of ours. */
type Piece = Uint8Array | string;

/** One stream. Call `begin` once, then hand out `readable`. */
export class EventRelay {
	readonly #splitter = new SseSplitter();
	/** What came before `begin` returned. */
	readonly #first: Piece[] = [];
	#hasData = false;
	/** Set once `begin` has returned: from then on the client's status is fixed. */
	#hasBegun = false;
	#isOver = false;
	/** The failure that came before the first bytes. */
	#early: Failure | undefined;

	constructor(
		private readonly body: ByteSource,
		private readonly decoder: StreamDecoder,
		private readonly deadline: Deadline,
		private readonly events: StreamEvents,
	) {}

	/**
	 * Waits for the first bytes that are worth sending, so that an upstream that fails before them is still an ordinary
	 * failure, with a status of its own and other targets to try.
	 */
	async begin(): Promise<Failure | undefined> {
		const patience = performance.now() + COMMENTS_MS;
		await this.#run(
			(piece) => this.#first.push(piece),
			() => this.#hasData || performance.now() > patience,
		);
		this.#hasBegun = true;
		return this.#early;
	}

	/** The client's side. */
	readable(): ReadableStream<Uint8Array> {
		return new ReadableStream<Uint8Array>({
			type: "direct",
			pull: (sink) => this.#pump(sink),
			cancel: () => {
				if (this.events.goesOn?.()) return;
				this.deadline.abort();
				this.#over({ kind: "cancelled", message: "the client left" });
			},
		});
	}

	/** Writes until the stream is over. Never throws: writes to a client that has left are empty. */
	async #pump(sink: ReadableStreamDirectController): Promise<void> {
		const write = (piece: Piece) => {
			const taken = sink.write(piece as Piece & (string | Uint8Array<ArrayBuffer>));
			return this.events.sent?.(piece, taken) ?? taken;
		};
		for (const piece of this.#first.splice(0)) await write(piece);
		await this.#run(write, () => false);
		sink.close();
		this.events.closed?.();
	}

	/**
	 * Hands out pieces until the stream is over or `isEnough`. One loop, one await a chunk: each further one costs 0.3 µs. A
	 * promise that `take` returns says that the client reads more slowly than the upstream sends.
	 */
	async #run(take: (piece: Piece) => number | Promise<unknown>, isEnough: () => boolean): Promise<void> {
		while (!this.#isOver) {
			let piece: Piece;
			try {
				this.deadline.touch();
				const chunk = await this.body.read();
				piece = chunk ? this.#take(chunk) : this.#finish();
			} catch (cause) {
				piece = this.#broken(cause);
			}
			if (piece !== "") {
				const taken = take(piece);
				if (typeof taken !== "number") {
					this.deadline.rest();
					await taken;
				}
			}
			if (isEnough()) return;
		}
	}

	/** What to send for a chunk. Untouched chunks go on as the bytes they came as. */
	#take(chunk: Uint8Array): Piece {
		const wasClean = this.#splitter.isClean;
		if (wasClean && this.decoder.isPlain?.(chunk)) return chunk;
		const events = this.#splitter.push(chunk);
		return this.#read(events, wasClean && this.#splitter.isClean) ?? chunk;
	}

	/** The text for these events; undefined where they go on as they came and `isWhole` says that they may. */
	#read(events: readonly SseEvent[], isWhole: boolean): string | undefined {
		let text = "";
		let isAsItCame = isWhole;
		for (let index = 0; index < events.length; index++) {
			const event = events[index]!;
			const out = this.decoder.push(event);
			this.events.out(out);
			if (event.data !== undefined) this.#sawData();
			if (isAsItCame && out.bytes === undefined && !out.failure) continue;
			if (isAsItCame) {
				isAsItCame = false;
				for (let before = 0; before < index; before++) text += events[before]!.raw;
			}
			if (out.failure) return text + this.#fail(out.failure);
			if (out.done) return text + this.#close();
			text += out.bytes ?? event.raw;
		}
		return isAsItCame ? undefined : text;
	}

	#sawData(): void {
		if (this.#hasData) return;
		this.#hasData = true;
		this.events.firstData();
	}

	/** The upstream closed its side. */
	#finish(): string {
		const text = this.#read(this.#splitter.end(), false) ?? "";
		return this.#isOver ? text : text + this.#close();
	}

	/** Reading failed: the client left, time ran out, or the connection broke, which is no clean end whatever came before. */
	#broken(cause: unknown): string {
		const failure = this.deadline.failure ?? TRUNCATED;
		// Bun's own words may name the address with its password; ours say what was too large.
		const reason = cause instanceof EventTooLarge ? ` (${cause.message})` : "";
		return this.#fail({ ...failure, message: failure.message + reason });
	}

	/** The end of an answer: good if the decoder says it is complete. */
	#close(): string {
		const failure = this.decoder.end();
		if (failure) return this.#fail(failure);
		const text = this.events.summary() + DONE;
		this.#over(undefined);
		return text;
	}

	#fail(failure: Failure): string {
		this.#over(failure);
		return failure.kind === "cancelled" ? "" : this.events.errorEvent(failure);
	}

	#over(failure: Failure | undefined): void {
		if (this.#isOver) return;
		this.#isOver = true;
		if (failure) {
			this.deadline.abort();
			this.deadline.clear();
			if (this.#hasBegun) this.events.end(failure);
			else this.#early = failure;
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
