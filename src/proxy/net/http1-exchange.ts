/** One request's answer, as it comes over its connection. */
import type { ByteSource, ByteTaker, CancelSignal, UpstreamAnswer } from "../../providers/provider.ts";
import { decodedAnswer } from "./content-coding.ts";
import type { HeadReader } from "./http1-head.ts";
import { AnswerParser } from "./http1-parser.ts";

/** Unread bytes of an answer from which on its upstream is held back by TCP, and those at which it may go on. */
const HIGH_WATER = 256 * 1024;
const LOW_WATER = 64 * 1024;

/** A connection that ended where none should; `code` as Node's sockets name it. */
export class ConnectionLost extends Error {
	constructor(readonly code: string) {
		super("the connection was lost");
	}
}

/** The tunnel broke that the connection went through: nothing is said of the server behind it. */
export class TunnelLost extends ConnectionLost {
	constructor() {
		super("ECONNRESET");
	}
}

/** What an exchange asks of the connection that it goes over. */
interface Carrier {
	/** Holds the upstream back, or lets it go on. */
	hold(isHeld: boolean): void;
	/** The exchange has ended: what becomes of the connection. */
	release(isReusable: boolean): void;
}

/** One request's answer on its way. */
export class Exchange implements ByteSource {
	readonly #parser: AnswerParser;
	/** Gets each piece at once. */
	#taker: ByteTaker | undefined;
	readonly head: Promise<UpstreamAnswer>;
	#resolve!: (answer: UpstreamAnswer) => void;
	#reject!: (reason: unknown) => void;
	/** What has come of the body and was not read yet; none where all of it came at once. */
	#pieces: Buffer[] | undefined;
	#size = 0;
	#isHeld = false;
	/** Why there will be no more bytes; `null` where the answer is complete. */
	#end: { readonly reason: unknown } | null | undefined;
	#waiting: { resolve(bytes: Uint8Array | undefined): void; reject(reason: unknown): void } | undefined;

	constructor(
		private readonly connection: Carrier,
		private readonly signal: CancelSignal,
		heads: HeadReader,
	) {
		this.#parser = new AnswerParser(heads);
		this.head = new Promise((resolve, reject) => {
			this.#resolve = resolve;
			this.#reject = reject;
		});
		signal.addEventListener("abort", this);
	}

	get hasHead(): boolean {
		return this.#parser.head !== undefined;
	}

	read(): Promise<Uint8Array | undefined> {
		this.#taker = undefined;
		const piece = this.#next();
		if (piece) return Promise.resolve(piece);
		if (this.#end === null) return Promise.resolve(undefined);
		if (this.#end) return Promise.reject(this.#end.reason);
		return new Promise((resolve, reject) => {
			this.#waiting = { resolve, reject };
		});
	}

	flow(taker: ByteTaker): void {
		// To read on may bring more at once, which follows what waits: only then is it taken as it comes.
		for (let piece = this.#next(); piece; piece = this.#next()) if (!taker.take(piece)) return;
		if (this.#end === undefined) this.#taker = taker;
		else taker.ended(this.#end);
	}

	/** The first of the pieces that were not read yet. */
	#next(): Buffer | undefined {
		const piece = this.#pieces?.shift();
		if (!piece) return undefined;
		this.#size -= piece.length;
		if (this.#isHeld && this.#size < LOW_WATER) this.#hold(false);
		return piece;
	}

	received(bytes: Buffer): void {
		const parser = this.#parser;
		const { hasHead } = this;
		let isWhole = false;
		try {
			parser.push(bytes);
			if (!hasHead && parser.head) {
				const { status, headers } = parser.head;
				// Mostly all of it is here: then there is nothing to wait for, and no queue to go through.
				isWhole = parser.isDone;
				const whole = isWhole ? new CompleteBody(parser.bytes, parser.start, parser.end) : undefined;
				const coding = headers.get("content-encoding");
				const answer = { status, headers, body: whole ?? this, whole };
				this.#resolve(coding === null ? answer : decodedAnswer(answer, coding));
			}
		} catch (error) {
			this.#close({ reason: error });
			return;
		}
		const piece = isWhole ? undefined : parser.piece;
		if (piece) this.#take(piece);
		if (parser.isDone) this.#close(null);
	}

	/** The connection is gone; `isClean`: the upstream closed it in good order. */
	lost(isClean: boolean, error?: Error): void {
		const isComplete = isClean && this.#parser.close();
		this.#close(isComplete ? null : { reason: error instanceof TunnelLost ? error : new ConnectionLost("ECONNRESET") });
	}

	/** A piece of its request leaves: its upstream can't answer before all of it is there, and its client may be slow. */
	sends(): void {
		this.signal.rearm?.();
	}

	/** Its request can't be sent to its end. An answer that has begun says more, and goes on. */
	fail(reason: unknown): void {
		if (!this.hasHead) this.#close({ reason });
	}

	/** It is given up. */
	handleEvent(): void {
		this.#pieces = undefined;
		this.#close({ reason: this.signal.reason });
	}

	#take(piece: Buffer): void {
		const taker = this.#taker;
		if (taker) {
			if (!taker.take(piece) && this.#taker === taker) this.#taker = undefined;
			return;
		}
		const waiting = this.#waiting;
		if (waiting) {
			this.#waiting = undefined;
			waiting.resolve(piece);
			return;
		}
		this.#pieces ??= [];
		this.#pieces.push(piece);
		this.#size += piece.length;
		if (!this.#isHeld && this.#size > HIGH_WATER) this.#hold(true);
	}

	#hold(isHeld: boolean): void {
		this.#isHeld = isHeld;
		this.connection.hold(isHeld);
	}

	#close(end: { readonly reason: unknown } | null): void {
		if (this.#end !== undefined) return;
		this.#end = end;
		this.signal.removeEventListener("abort", this);
		const waiting = this.#waiting;
		this.#waiting = undefined;
		const taker = this.#taker;
		this.#taker = undefined;
		if (end) {
			this.#reject(end.reason);
			waiting?.reject(end.reason);
		} else waiting?.resolve(undefined);
		taker?.ended(end);
		if (this.#isHeld) this.#hold(false);
		this.connection.release(end === null && this.#parser.isReusable);
	}
}

/** The body of an answer that came all at once. */
class CompleteBody implements ByteSource {
	constructor(
		private readonly bytes: Buffer,
		private start: number,
		private readonly end: number,
	) {}

	read(): Promise<Uint8Array | undefined> {
		const { bytes, start, end } = this;
		this.start = end;
		return Promise.resolve(start < end ? bytes.subarray(start, end) : undefined);
	}

	text(): string {
		const { bytes, start, end } = this;
		const hasMark = bytes[start] === 0xef && bytes[start + 1] === 0xbb && bytes[start + 2] === 0xbf;
		return bytes.toString("utf8", hasMark ? start + 3 : start, end);
	}
}
