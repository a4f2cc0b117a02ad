/**
 * The client's side of a streamed call: one stream, whatever happens behind it. Its status is open until the answer has begun, or
 * until the client has been kept waiting for so long that it needs a sign of life; from then on a failure is an event.
 *
 * Written through one of Bun's direct streams, which take less CPU an event than a `pull` wrapper. Back-pressure is the promise that its
 * `write` returns while the client doesn't read, and which resolves when the client leaves (bun-types 1.4.5,
 * ReadableStreamDirectController; `flush()` without `true` keeps none).
 */
import type { ClientCall, StreamEnd, StreamWriter } from "../dialects/dialect.ts";
import { asRouterError, RouterError } from "../errors.ts";
import { SentRecord } from "../openai/sent-so-far.ts";
import { type AnswerPiece, chunksOf, type StreamPiece } from "../openai/sse.ts";
import { withCounts } from "../openai/usage-edits.ts";
import { errorOf, type Failure } from "../providers/failure.ts";
import type { Out, Target } from "../providers/provider.ts";
import type { CallAttempts } from "./call-attempts.ts";
import type { AnswerListener } from "./call-client.ts";
import type { CallRecord } from "./call-record.ts";
import { CLIENT_GONE } from "./deadline.ts";
import type { EventReader } from "./event-reader.ts";
import type { AttemptListener, StartedAnswer } from "./started-answer.ts";
import { forwardStream, type PieceReceiver } from "./stream-flow.ts";

/** One call's stream. */
export class ClientStream implements AttemptListener, PieceReceiver {
	// What each event needs is side by side: a stream's state has left the processor's caches by its next event.
	#sink: ReadableStreamDirectController | undefined;
	/** Puts what is sent into the client's wire. */
	readonly #writer: StreamWriter;
	/** Hears the answer, too. */
	readonly #listener: AnswerListener | undefined;
	/** What the client has been sent, kept where the answer might have to be resumed at another target. */
	#sent: SentRecord | undefined;
	/** The same; also what is kept for the trace of a call that can't be resumed. */
	#noted: SentRecord | undefined;
	/** Since when nothing of what comes is for the client, who has read that already: an earlier target sent it. */
	#silentSince: number | undefined;
	readonly #statusSent = Promise.withResolvers<undefined>();
	/** What may be written as soon as there is somewhere to write to. */
	readonly #held: StreamPiece[] = [];
	#timer: ReturnType<typeof setTimeout> | undefined;
	#attempts: CallAttempts | undefined;
	/** The stream that is being sent on, and whose it is. */
	#reader: EventReader | undefined;
	#source: Target | undefined;
	/** What a stream first broke of: how the attempts to go on ended says less. */
	#firstError: RouterError | undefined;
	/** How it ended, where that was badly. */
	#endedBy: { readonly status: number; readonly error: string } | undefined;
	/** When the client last got something, as far as no upstream sent it. */
	#lastSentAt = performance.now();
	hasSent = false;
	#hasClientLeft = false;

	/**
	 * @param keepAliveMs how long the client may hear nothing; 0: for ever
	 * @param onUnread called behind a good end of the only attempt
	 */
	constructor(
		call: ClientCall,
		private readonly record: CallRecord,
		private readonly keepAliveMs: number,
		private readonly onUnread?: () => void,
	) {
		this.#writer = call.dialect.stream(call);
		this.#listener = record.listener;
	}

	/**
	 * Resolves when the status is known: with an answer that has begun, or undefined where the client could not wait for one. Throws
	 * what `attempts.open` throws before that.
	 */
	async begin(
		attempts: CallAttempts,
	): Promise<{ opened: StartedAnswer | undefined; body: ReadableStream<Uint8Array> }> {
		this.#attempts = attempts;
		this.#watchSilence(this.keepAliveMs);
		const opening = attempts.open();
		try {
			const opened = await Promise.race([opening, this.#statusSent.promise]);
			if (!opened) opening.catch((thrown) => this.#fail(asRouterError(thrown)));
			this.hasSent = true;
			return { opened, body: this.#readable(opened ?? opening) };
		} catch (thrown) {
			clearTimeout(this.#timer);
			throw thrown;
		}
	}

	/** Comments of an upstream whose answer has not begun. */
	comments(pieces: readonly AnswerPiece[]): void {
		for (const piece of pieces) this.#sendNow(this.#writer.push(piece));
	}

	#readable(opening: StartedAnswer | Promise<StartedAnswer>): ReadableStream<Uint8Array> {
		if (!(opening instanceof Promise)) {
			this.#reader = opening.reader;
			this.#source = opening.target;
		}
		return new ReadableStream<Uint8Array>({
			type: "direct",
			pull: (sink) => this.#pump(sink, opening),
			cancel: () => this.#leave(),
		});
	}

	/** Writes until the stream is over. Never throws: writes to a client that has left are empty. */
	async #pump(sink: ReadableStreamDirectController, opening: StartedAnswer | Promise<StartedAnswer>): Promise<void> {
		this.#sink = sink;
		for (const piece of this.#held.splice(0)) await this.#write(sink, piece);
		try {
			let opened: StartedAnswer | undefined = opening instanceof Promise ? await opening : opening;
			while (opened) opened = await this.#forward(sink, opened);
		} catch (thrown) {
			const error = asRouterError(thrown);
			// What its client's wire can't say may have broken a stream that still runs.
			this.#reader?.leave(UNTOLD);
			this.#fail(error);
			if (error.errorCode !== "cancelled") await this.#write(sink, this.#writer.error(error));
		}
		this.#close(sink);
		this.#listener?.ended(this.#endedBy);
	}

	#close(sink: ReadableStreamDirectController): void {
		if (!this.#sink) return;
		clearTimeout(this.#timer);
		this.#sink = undefined;
		sink.close();
	}

	/** Sends a stream on to its end. What it returns goes on where this one broke. */
	async #forward(sink: ReadableStreamDirectController, opened: StartedAnswer): Promise<StartedAnswer | undefined> {
		this.record.droppedFields ??= opened.dropped;
		const reader = opened.reader!;
		const writer = this.#writer;
		this.#reader = reader;
		this.#source = opened.target;
		// It left in the moment in which this attempt was no longer running, and not yet being read.
		if (this.#hasClientLeft) reader.leave(CLIENT_GONE);
		if (this.#attempts?.canResume(opened.target)) this.#sent ??= this.record.kept?.streamed ?? new SentRecord();
		this.#noted = this.#sent ?? this.record.kept?.streamed;
		this.record.firstTokenAt ??= reader.firstDeltaAt;
		for (const piece of opened.first.splice(0)) {
			this.#noted?.add(chunksOf(piece));
			const taken = this.#write(sink, writer.push(piece));
			if (typeof taken !== "number") await reader.waitFor(taken);
		}
		await forwardStream(reader, this);
		return this.#end(sink, reader, opened);
	}

	/** A piece of the stream that is being sent on. */
	send(piece: AnswerPiece): number | Promise<unknown> {
		if (piece === "") {
			this.#silentSince ??= performance.now();
			return 0;
		}
		this.#silentSince = undefined;
		this.#noted?.add(chunksOf(piece));
		return this.#write(this.#sink!, this.#writer.push(piece));
	}

	/** A stream is over. */
	async #end(
		sink: ReadableStreamDirectController,
		reader: EventReader,
		opened: StartedAnswer,
	): Promise<StartedAnswer | undefined> {
		const { failure } = reader;
		const { target } = opened;
		this.record.dropped += reader.dropped;
		if (!failure) {
			this.#bill(target, reader, true);
			this.record.settle(200);
			const taken = this.#write(sink, this.#writer.end(streamEnd(target, reader.last ?? {}, this.record)));
			// At once: where other streams are written to in between, what ends the body takes a message of its own.
			if (typeof taken === "number") this.#close(sink);
			else await taken;
			if (this.record.attempts === 1) this.onUnread?.();
			return undefined;
		}
		if (failure.kind === "cancelled") {
			this.#bill(target, reader, false);
			this.#fail(new RouterError("cancelled", CLIENT_GONE.message));
			return undefined;
		}
		this.#firstError ??= errorOf(failure, target);
		const soFar = this.#sent?.soFar();
		const step = soFar && this.record.trace?.begin("resume");
		const next = soFar && (await this.#attempts?.resume(opened, failure, soFar));
		if (step) this.record.trace!.end(step);
		if (next) return next;
		throw this.#firstError;
	}

	/** The client is gone. */
	#leave(): void {
		// Others want the answer: it goes on, and what is written to this client is lost.
		if (this.#listener?.continuesWithoutClient()) return;
		this.#hasClientLeft = true;
		clearTimeout(this.#timer);
		this.#attempts?.leave();
		const reader = this.#reader;
		// Before there is one, the attempts' end settles the call.
		if (!reader) return;
		// What broke before, and was to go on elsewhere, has been the router's own since.
		if (!reader.failure || reader.failure.kind === "cancelled") this.#bill(this.#source!, reader, false);
		reader.leave(CLIENT_GONE);
		this.#fail(new RouterError("cancelled", CLIENT_GONE.message));
	}

	/** Returns what to wait for before the next piece. */
	#write(sink: ReadableStreamDirectController, piece: StreamPiece): number | Promise<unknown> {
		const taken = write(sink, piece);
		return this.#listener?.sent(piece, taken) ?? taken;
	}

	/** What an attempt that failed has cost is not its caller's. */
	#bill(target: Target, reader: EventReader, isWhole: boolean): void {
		const { tokens, cost } = reader;
		this.record.bill(target, tokens, cost, () => reader.guess, isWhole || reader.counted !== undefined);
		this.record.isCutShort = !isWhole;
	}

	/** Called twice where both the attempts and the stream report it. */
	#fail(error: RouterError): void {
		// Also where the call has settled: a fault may come with the last words of a complete answer.
		const { record } = this;
		if (!this.#endedBy && error.errorCode === "internal_error") record.onFault?.(record.id, error.cause ?? error);
		this.#endedBy ??= { status: error.status, error: error.errorCode };
		this.record.settle(error.status, error.errorCode);
	}

	/** Says something before the answer has begun; from then on the status is 200. */
	#sendNow(piece: StreamPiece): void {
		this.#lastSentAt = performance.now();
		// A client that doesn't read needs no comment.
		if (this.#sink) void this.#write(this.#sink, piece);
		else this.#held.push(piece);
		this.hasSent = true;
		this.#statusSent.resolve(undefined);
	}

	/** Looks after so many ms whether the client has heard nothing for too long. One timer a stream, set anew only when it fires. */
	#watchSilence(ms: number): void {
		if (this.keepAliveMs === 0) return;
		this.#timer = setTimeout(() => {
			const now = performance.now();
			const repeatedMs = now - (this.#silentSince ?? now);
			const upstreamSilentMs = this.#reader ? Math.max(this.#reader.silentMs, repeatedMs) : Number.POSITIVE_INFINITY;
			const silentMs = Math.min(now - this.#lastSentAt, upstreamSilentMs);
			if (silentMs < this.keepAliveMs) return this.#watchSilence(Math.max(1, this.keepAliveMs - silentMs));
			this.#sendNow(this.#writer.keepAlive);
			this.#watchSilence(this.keepAliveMs);
		}, ms);
	}
}

/** Ends a stream that can't be told any further. */
const UNTOLD: Failure = { ...CLIENT_GONE, message: "the rest of its answer has no form for the client" };

function write(sink: ReadableStreamDirectController, piece: StreamPiece): number | Promise<number> {
	return sink.write(piece as StreamPiece & (string | Uint8Array<ArrayBuffer>));
}

/** What only the end of a stream knows. What its upstream has not counted is estimated in the usage, too. */
function streamEnd({ provider, model, agent, replica }: Target, { usage, ending }: Out, record: CallRecord): StreamEnd {
	const { attempts, droppedFields, tokens, isEstimated, costUsd: cost, tellsCost } = record;
	const usageChunk = usage !== undefined && isEstimated && tokens ? withCounts(usage, tokens, true) : usage;
	const counts = { tokens, isEstimated, cost, times: record, tellsCost, usageChunk, ending };
	return { provider: provider.name, model, agent, replica, attempts, droppedFields, ...counts };
}
