/**
 * One call on its way upstream: the caller who leads it, and all who wait for the same answer. Its races stand in design.md.
 */
import type { ClientCall, Dialect } from "../dialects/dialect.ts";
import type { Client } from "../openai/call.ts";
import type { StreamPiece } from "../openai/sse.ts";
import { MAY_TELL_COST, withoutCost, withUsage } from "../openai/usage-edits.ts";
import type { AnswerListener, CallRecord } from "../proxy/call-record.ts";
import { type CacheEntry, encodeEntry } from "./entry.ts";
import type { Ring, RingKey } from "./ring.ts";
import type { CacheUse } from "./rules.ts";
import type { Release, SecondLevel } from "./shared-store.ts";

/** Where answers are kept, and calls on their way upstream that others may join. */
export interface AnswerStore {
	readonly ring: Ring;
	readonly secondLevel: SecondLevel | undefined;
	/** By the text of their keys. */
	readonly flights: Map<string, SingleFlight>;
	/** Largest answer kept, bytes before compression. */
	readonly maxEntry: number;
}

/** A call that is led. */
export interface LedCall {
	readonly key: RingKey;
	readonly use: CacheUse;
	readonly call: ClientCall;
	readonly record: CallRecord;
}

/** How the leader's client gets its answer: others that want it in the same form may read along. */
export interface Shape {
	readonly dialect: Dialect;
	readonly stream: boolean;
	readonly showsUsage: boolean;
}

/** The form of a call's answer. */
export const shapeOf = ({ dialect, stream, body }: ClientCall): Shape => ({
	dialect,
	stream,
	showsUsage: body.stream_options?.include_usage === true,
});

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

	/** Stands for all who want the answer: gone when nobody is left. */
	readonly client: Client = this.#controller;

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

/** The same call, where it is on its way; else the lead of it; undefined where its answer may not be kept, and so not be shared. */
export function joinFlight(store: AnswerStore, led: LedCall): SingleFlight | Lead | undefined {
	const id = Buffer.from(led.key).toString("latin1");
	return store.flights.get(id) ?? (led.use.stores ? new Lead(store, led, id) : undefined);
}

/**
 * The caller whose call is made upstream. Hears its answer, hands it to all who wait, and has it kept.
 */
export class Lead implements AnswerListener {
	/** The call to make: it goes on while anybody wants its answer. */
	readonly call: ClientCall;
	/** Gives back the claim by which no other replica makes the call. */
	release: Release | undefined;
	readonly #flight: SingleFlight;
	readonly #signal: AbortSignal;
	#isOver = false;
	/** The answer came from the second level. */
	#isShared = false;

	/** @param id under which others may join; absent where none may */
	constructor(
		private readonly store: AnswerStore,
		private readonly led: LedCall,
		private readonly id: string | undefined,
	) {
		const { call } = led;
		const flight = new SingleFlight(shapeOf(call), store.maxEntry);
		const { signal } = call.client;
		this.#flight = flight;
		this.#signal = signal;
		this.call = { ...call, client: flight.client };
		if (id !== undefined) store.flights.set(id, flight);
		signal.addEventListener("abort", this.#left);
		if (signal.aborted) this.#left();
	}

	whole(body: string): void {
		this.#land(this.#entryOf(body));
	}

	sent(piece: StreamPiece, taken: number | Promise<number>): number | Promise<unknown> {
		this.#flight.origin ??= this.#origin;
		return this.#flight.send(piece, taken);
	}

	ended(broken?: Broken): void {
		const { call, record } = this.led;
		const pieces = broken || this.#flight.client.signal.aborted ? undefined : this.#flight.pieces;
		const bytes = pieces?.map((piece) => (typeof piece === "string" ? Buffer.from(piece) : piece));
		const body = bytes && call.dialect.fold(call.operation, Buffer.concat(bytes));
		this.#land(
			body === undefined ? undefined : this.#entryOf(withUsage(body, record.tokens, record.isEstimated)),
			broken,
		);
	}

	continuesWithoutClient(): boolean {
		this.#left();
		const { aborted } = this.#flight.client.signal;
		if (aborted) this.#land(undefined);
		return !aborted;
	}

	/** It came from the second level. */
	landShared(entry: CacheEntry): void {
		this.#isShared = true;
		this.#land(entry);
	}

	/** There is no answer. */
	fail(): void {
		this.#land(undefined);
	}

	/**
	 * The leader's own answer, where that is a stream. Of a client that left before its stream had begun it is read here: Bun neither reads nor
	 * cancels such a stream, and one that nobody reads would never end, neither for those who wait for it, nor for those who come later.
	 */
	streamed(answer: Response): Response {
		if (!this.#signal.aborted) return answer;
		void answer.body?.pipeTo(new WritableStream()).catch(() => undefined);
		return new Response(null, { status: 499 });
	}

	/** The leader's own client has left. */
	readonly #left = (): void => {
		this.#flight.leave();
		this.led.record.clientLeft = !this.#flight.client.signal.aborted;
	};

	/** Ends it; the first call counts. */
	#land(entry: CacheEntry | undefined, broken?: Broken): void {
		if (this.#isOver) return;
		this.#isOver = true;
		this.#flight.land(entry, broken);
		this.#signal.removeEventListener("abort", this.#left);
		void this.#keep(entry);
	}

	async #keep(entry: CacheEntry | undefined): Promise<void> {
		const { ring, secondLevel, flights, maxEntry } = this.store;
		const { key, use } = this.led;
		if (entry && use.stores && entry.body.length <= maxEntry) {
			const bytes = await encodeEntry(entry);
			ring.put(key, bytes);
			const ttlMs = entry.facts.expiresAt - Date.now();
			if (this.release) this.release({ bytes, ttlMs });
			else if (!this.#isShared) secondLevel?.put(key, bytes, ttlMs);
		} else this.release?.(undefined);
		// Only now: who comes in between finds one or the other.
		if (this.id !== undefined) flights.delete(this.id);
	}

	get #origin(): AnswerOrigin {
		const { provider, upstreamModel } = this.led.record;
		return { provider, model: upstreamModel ?? "" };
	}

	#entryOf(body: string): CacheEntry {
		const storedAt = Date.now();
		const facts = { ...this.#origin, storedAt, expiresAt: storedAt + this.led.use.ttlMs };
		return { facts, body: Buffer.from(MAY_TELL_COST.test(body) ? withoutCost(body) : body) };
	}
}
