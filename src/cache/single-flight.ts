/**
 * One call on its way upstream, and all who wait for the same answer. Its races stand in design.md.
 */
import type { Dialect } from "../dialects/dialect.ts";
import type { StreamPiece } from "../openai/sse.ts";
import type { CacheEntry } from "./entry.ts";

/** How the leader's client gets its answer: others that want it in the same form may read along. */
export interface Shape {
	readonly dialect: Dialect;
	readonly stream: boolean;
	readonly showsUsage: boolean;
}

/** What a stream that broke after its first bytes ended with. */
export interface Broken {
	readonly status: number;
	readonly error: string;
}

/** The answer's origin, known once it begins. */
export interface AnswerOrigin {
	readonly provider: string;
	readonly model: string;
}

/** One flight. Made by the first caller, who leads it; it is over once it has landed. */
export class SingleFlight {
	readonly #controller = new AbortController();
	readonly #result = Promise.withResolvers<CacheEntry | undefined>();
	readonly #begun = Promise.withResolvers<void>();
	readonly #tails = new Set<Tail>();
	/** What was sent so far, while that may be read from its beginning. */
	#pieces: StreamPiece[] | undefined = [];
	#size = 0;
	#present = 1;
	#isOver = false;
	/** Woken when somebody joins, reads on or leaves. */
	#waiting: (() => void) | undefined;
	origin: AnswerOrigin | undefined;
	broken: Broken | undefined;

	/** @param limit bytes of a stream that are kept for those who come later */
	constructor(
		readonly shape: Shape,
		private readonly limit: number,
	) {}

	/** Aborted when nobody is left who wants the answer. */
	get signal(): AbortSignal {
		return this.#controller.signal;
	}

	/** Resolves when it has landed: with the answer, or with undefined where there is none that may be handed on. */
	get result(): Promise<CacheEntry | undefined> {
		return this.#result.promise;
	}

	/** Resolves with the first piece of a stream, or when it has landed. */
	get begun(): Promise<void> {
		return this.#begun.promise;
	}

	/** What was sent, whole; undefined where it has outgrown the limit. */
	get pieces(): readonly StreamPiece[] | undefined {
		return this.#pieces;
	}

	/** Somebody waits for the answer. Returns how to leave; safe to call twice. */
	enter(): () => void {
		this.#present++;
		return this.#leaving();
	}

	/** How the leader leaves. */
	readonly leave = this.#leaving();

	/** The stream from its beginning; undefined where that is no longer kept, or the form is another one. */
	tail({ dialect, stream, showsUsage }: Shape): Tail | undefined {
		const { shape } = this;
		const isSame = stream && shape.stream && dialect === shape.dialect && showsUsage === shape.showsUsage;
		if (!isSame || !this.#pieces || this.#isOver) return undefined;
		const tail = new Tail(this.#pieces, () => this.#wake());
		this.#tails.add(tail);
		this.#wake();
		return tail;
	}

	/**
	 * The leader's stream sends a piece; `taken` is what its client's side says of it. Returns what to wait for before the next: the
	 * slowest of those who read along, once it is a whole limit behind; the leader's own client only if nobody else reads.
	 */
	send(piece: StreamPiece, taken: number | Promise<number>): number | Promise<unknown> {
		this.#begun.resolve();
		this.#size += piece.length;
		if (this.#size > this.limit) this.#pieces = undefined;
		this.#pieces?.push(piece);
		for (const tail of this.#tails) tail.push(piece);
		if (this.#isReadAlong && !this.#isFarBehind) return 0;
		if (!this.#isReadAlong && typeof taken === "number") return taken;
		return this.#paced(taken);
	}

	/** It is over. Only the first call counts. */
	land(entry: CacheEntry | undefined, broken?: Broken): void {
		if (this.#isOver) return;
		this.#isOver = true;
		this.broken = broken;
		for (const tail of this.#tails) tail.end();
		this.#result.resolve(entry);
		this.#begun.resolve();
	}

	/** Stops reading along. */
	drop(tail: Tail): void {
		this.#tails.delete(tail);
		this.#wake();
	}

	get #isReadAlong(): boolean {
		return this.#tails.size > 0;
	}

	get #isFarBehind(): boolean {
		return [...this.#tails].some(({ backlog }) => backlog > this.limit);
	}

	async #paced(taken: number | Promise<number>): Promise<void> {
		let isTaken = typeof taken === "number";
		void Promise.resolve(taken).then(() => {
			isTaken = true;
			this.#wake();
		});
		while (this.#isReadAlong ? this.#isFarBehind : !isTaken) {
			await new Promise<void>((resolve) => {
				this.#waiting = resolve;
			});
		}
	}

	#wake(): void {
		this.#waiting?.();
		this.#waiting = undefined;
	}

	#leaving(): () => void {
		let isHere = true;
		return () => {
			if (!isHere) return;
			isHere = false;
			this.#present--;
			if (this.#present === 0 && !this.#isOver) this.#controller.abort();
		};
	}
}

/** One who reads a stream along: from its beginning, at its own pace. */
export class Tail {
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
