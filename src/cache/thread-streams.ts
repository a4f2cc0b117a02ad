/**
 * Streams that callers of another thread read along: the thread that makes the call sends what it has sent to its own client, a part at a time, and
 * the next one once the other has taken that. Where nobody reads along nothing is done for it.
 */
import type { StreamPiece } from "../openai/sse.ts";
import type { AnswerForm, AnswerOrigin, StreamFailure } from "./answer-form.ts";
import type { SingleFlight } from "./single-flight.ts";
import type { StreamFollower } from "./stream-follower.ts";

/** How the callers of a thread want a stream: see `AnswerForm`. */
interface SentForm {
	/** The dialect's id. */
	readonly dialect: string;
	readonly showsUsage: boolean;
	readonly request: Uint8Array | undefined;
}

/** What the thread that makes a call and one that waits for it say to each other of its stream. `id`: the text of its whole key (`keyText`). */
export type StreamMessage =
	/** To the one that makes it: callers of thread `from` would read along; have taken a part; have left. */
	| { readonly id: string; readonly from: number; readonly stream: "join"; readonly form: SentForm }
	| { readonly id: string; readonly from: number; readonly stream: "taken" | "leave" }
	/** From the one that makes it. */
	| {
			readonly id: string;
			readonly stream: "part";
			readonly origin: AnswerOrigin;
			readonly pieces: readonly StreamPiece[];
	  }
	| { readonly id: string; readonly stream: "end"; readonly failure: StreamFailure | undefined };

type Post = (thread: number, message: StreamMessage) => void;

/** One thread that reads along. */
interface Reader {
	readonly thread: number;
	/** It has taken the last part. */
	taken: () => void;
	/** It wants no more. */
	readonly leave: () => void;
}

/** The streams of one thread that others read along. */
export class SentStreams {
	/** By id of the call, and number of the thread. */
	readonly #readers = new Map<string, Reader>();

	/** @param flights calls that this thread makes, by the texts of their keys */
	constructor(
		private readonly post: Post,
		private readonly flights: ReadonlyMap<string, SingleFlight>,
	) {}

	take(message: Extract<StreamMessage, { from: number }>): void {
		if (message.stream === "join") {
			this.#join(message.id, message.from, message.form);
			return;
		}
		const reader = this.#readers.get(`${message.id}/${message.from}`);
		if (message.stream === "leave") reader?.leave();
		else reader?.taken();
	}

	/** That thread has died. */
	freed(thread: number): void {
		for (const reader of this.#readers.values()) if (reader.thread === thread) reader.leave();
	}

	#join(id: string, thread: number, { dialect, showsUsage, request }: SentForm): void {
		const name = `${id}/${thread}`;
		const flight = this.#readers.has(name) ? undefined : this.flights.get(id);
		if (flight?.form.dialect.id !== dialect) return;
		const form: AnswerForm = {
			...{ dialect: flight.form.dialect, stream: true, showsUsage },
			request: request && Buffer.from(request.buffer, request.byteOffset, request.length),
		};
		const follower = flight.follow(form);
		if (!follower) return;
		const leaveFlight = flight.join();
		let isGone = false;
		const reader: Reader = {
			thread,
			taken: () => {},
			leave: () => {
				isGone = true;
				flight.unfollow(follower);
				leaveFlight();
				// Wakes whoever waits for it.
				follower.end();
				reader.taken();
			},
		};
		this.#readers.set(name, reader);
		void this.#send(id, flight, follower, reader, () => isGone).then(() => {
			this.#readers.delete(name);
			if (isGone) return;
			flight.unfollow(follower);
			leaveFlight();
			this.post(thread, { id, stream: "end", failure: flight.failure });
		});
	}

	/** Resolves when the stream is over, or the other thread wants no more. */
	async #send(
		id: string,
		flight: SingleFlight,
		follower: StreamFollower,
		reader: Reader,
		isGone: () => boolean,
	): Promise<void> {
		for (;;) {
			const pieces = await follower.read();
			if (!pieces || isGone()) return;
			const { promise, resolve } = Promise.withResolvers<void>();
			reader.taken = resolve;
			this.post(reader.thread, { id, stream: "part", origin: flight.origin!, pieces });
			await promise;
			if (isGone()) return;
		}
	}
}

/** The stream of a call that another thread makes, as it comes to those of this thread who wait for it. */
export class FollowedStream {
	readonly #begun = Promise.withResolvers<void>();
	readonly #ended = Promise.withResolvers<void>();
	hasBegun = false;
	isOver = false;
	/** Nobody waits for it any more. */
	hasLeft = false;
	/** Called then, by `leave`; set by whoever has it come. */
	onLeft: (() => void) | undefined;
	/** What it ended with, where it broke off. */
	failure: StreamFailure | undefined;

	/** @param flight of this thread: those who wait follow it */
	constructor(private readonly flight: SingleFlight) {}

	/** Resolves with its first part. */
	get begun(): Promise<void> {
		return this.#begun.promise;
	}

	/** Resolves when no more of it comes. */
	get ended(): Promise<void> {
		return this.#ended.promise;
	}

	get form(): SentForm {
		const { dialect, showsUsage, request } = this.flight.form;
		return { dialect: dialect.id, showsUsage, request };
	}

	/** A part has come. Resolves when it is taken. */
	async take(origin: AnswerOrigin, pieces: readonly StreamPiece[]): Promise<void> {
		const { flight } = this;
		if (this.isOver) return;
		flight.origin ??= origin;
		this.hasBegun = true;
		let paced: number | Promise<unknown> = 0;
		for (const piece of pieces) paced = flight.send(piece, 0);
		this.#begun.resolve();
		await paced;
	}

	/** It is over; only the first call counts. */
	end(failure: StreamFailure | undefined): void {
		if (this.isOver) return;
		this.isOver = true;
		this.failure = failure;
		this.#ended.resolve();
	}

	/** Nobody waits for it any more: no more of it is to come. */
	leave(): void {
		this.hasLeft = true;
		this.end(undefined);
		this.onLeft?.();
	}
}
