/**
 * A model's stream on its way from upstream to client: events are read, understood and sent on as they come. A `pull` wrapper
 * over the upstream's reader, because that is the one form in Bun that keeps back-pressure and survives a client that
 * stalls and leaves (runtime traps, "Streaming out").
 */
import { DONE, type SseEvent, SseSplitter } from "../openai/sse.ts";
import type { Failure, Out, StreamDecoder } from "../providers/provider.ts";
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
}

/** How long a finished upstream may take to close its side before the connection is given up, ms. */
const CLOSING_MS = 1000;

/** One stream. Call `begin` once, then hand out `readable`. */
export class EventRelay {
	readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
	readonly #splitter = new SseSplitter();
	readonly #encoder = new TextEncoder();
	#first: Uint8Array | undefined;
	/** Set once `begin` has returned: from then on the client's status is fixed. */
	#hasBegun = false;
	#isOver = false;
	/** The failure that came before the first bytes. */
	#early: Failure | undefined;

	constructor(
		body: ReadableStream<Uint8Array>,
		private readonly decoder: StreamDecoder,
		private readonly deadline: Deadline,
		private readonly events: StreamEvents,
	) {
		this.#reader = body.getReader();
	}

	/**
	 * Waits for the first bytes that are worth sending, so that an upstream that fails before them is still an ordinary
	 * failure, with a status of its own and other targets to try.
	 */
	async begin(): Promise<Failure | undefined> {
		this.#first = await this.#next();
		this.#hasBegun = true;
		return this.#early;
	}

	/** The client's side. */
	readable(): ReadableStream<Uint8Array> {
		return new ReadableStream<Uint8Array>({
			pull: (controller) => this.#pull(controller),
			cancel: () => {
				this.deadline.abort();
				this.#over({ kind: "cancelled", message: "the client left" });
			},
		});
	}

	async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
		const bytes = this.#first ?? (await this.#next());
		this.#first = undefined;
		if (bytes) controller.enqueue(bytes);
		if (this.#isOver) controller.close();
	}

	/** The next bytes for the client; undefined when the stream is over. */
	async #next(): Promise<Uint8Array | undefined> {
		while (!this.#isOver) {
			let chunk: Uint8Array | undefined;
			let bytes: Uint8Array | undefined;
			this.deadline.touch();
			try {
				chunk = (await this.#reader.read()).value;
				bytes = chunk ? this.#take(chunk) : this.#finish();
			} catch (cause) {
				bytes = this.#broken(cause);
			}
			this.deadline.rest();
			if (bytes) return bytes;
		}
		return undefined;
	}

	/** What to send for a chunk. Untouched chunks go on as the bytes they came as. */
	#take(chunk: Uint8Array): Uint8Array | undefined {
		const wasClean = this.#splitter.isClean;
		const events = this.#splitter.push(chunk);
		const { text, isAsItCame } = this.#read(events);
		if (isAsItCame && wasClean && this.#splitter.isClean) return chunk;
		return text === "" ? undefined : this.#encoder.encode(text);
	}

	#read(events: readonly SseEvent[]): { text: string; isAsItCame: boolean } {
		let text = "";
		let isAsItCame = true;
		for (const event of events) {
			const out = this.decoder.push(event);
			this.events.out(out);
			if (out.bytes !== undefined || out.failure) isAsItCame = false;
			if (out.failure) return { text: text + this.#fail(out.failure), isAsItCame };
			if (out.done) return { text: text + this.#close(), isAsItCame };
			text += out.bytes ?? event.raw;
		}
		return { text, isAsItCame };
	}

	/** The upstream closed its side. */
	#finish(): Uint8Array | undefined {
		const { text } = this.#read(this.#splitter.end());
		return this.#encode(this.#isOver ? text : text + this.#close());
	}

	/** Reading failed: the client left, time ran out, or the connection broke. After the finish reason that costs nothing. */
	#broken(cause: unknown): Uint8Array | undefined {
		const failure = this.deadline.failure ?? this.decoder.end();
		if (!failure) return this.#encode(this.#close());
		const reason = failure.kind === "truncated" && cause instanceof Error ? ` (${cause.message})` : "";
		return this.#encode(this.#fail({ ...failure, message: failure.message + reason }));
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
		this.#reader.read().then(({ done }) => (done ? letGo() : this.deadline.abort()), letGo);
	}

	#encode(text: string): Uint8Array | undefined {
		return text === "" ? undefined : this.#encoder.encode(text);
	}
}
