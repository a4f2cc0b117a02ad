/**
 * One call on its way upstream: the caller who leads it, and all who wait for the same answer. Its races stand in design.md.
 */
import type { ClientCall, Dialect } from "../dialects/dialect.ts";
import type { RingKey, ValueRing } from "../memory/ring.ts";
import type { Client } from "../openai/call.ts";
import type { StreamPiece } from "../openai/sse.ts";
import { MAY_TELL_COST, withoutCost, withUsage } from "../openai/usage-edits.ts";
import { alwaysLeftOut } from "../providers/unsupported-fields.ts";
import type { AnswerListener } from "../proxy/call-client.ts";
import type { CallRecord } from "../proxy/call-record.ts";
import { type CacheEntry, encodeEntry } from "./entry.ts";
import type { CacheUse } from "./rules.ts";
import type { Release, SharedStore } from "./shared-store.ts";
import { StreamFollower } from "./stream-follower.ts";

/** Where answers are kept, and calls on their way upstream that others may join. */
export interface AnswerStore {
	readonly ring: ValueRing;
	readonly sharedStore: SharedStore | undefined;
	/** By the text of their keys. */
	readonly flights: Map<string, SingleFlight>;
	/** Largest answer kept, bytes before compression. */
	readonly maxEntry: number;
}

/** A call to be made upstream. */
export interface LeadCall {
	readonly key: RingKey;
	readonly use: CacheUse;
	readonly call: ClientCall;
	readonly record: CallRecord;
}

/** How the leader's client gets its answer: others that want it in the same form may follow it. */
export interface AnswerForm {
	readonly dialect: Dialect;
	readonly stream: boolean;
	readonly showsUsage: boolean;
	/** What its client sent, where its answer says what that was. */
	readonly request: Buffer | undefined;
}

/** The form of a call's answer. */
export const answerForm = ({ id, dialect, stream, facts, sent, storage }: ClientCall): AnswerForm => ({
	dialect,
	stream,
	showsUsage: facts.showsUsage,
	// What is stored has an id of its caller's own: nobody else may read it along.
	request: dialect.showsRequest && stream ? (storage ? Buffer.from(id) : sent) : undefined,
});

/** What a stream that broke after its first bytes ended with. */
export interface StreamFailure {
	readonly status: number;
	readonly error: string;
}

/** The answer's origin, known once it begins. */
export interface AnswerOrigin {
	readonly provider: string;
	readonly model: string;
	/** Fields of the call that it was made without. */
	readonly dropped?: readonly string[] | undefined;
}

/** One such call. Made by the first caller, who leads it. */
export class SingleFlight {
	readonly #controller = new AbortController();
	readonly #result = Promise.withResolvers<CacheEntry | undefined>();
	readonly #started = Promise.withResolvers<void>();
	readonly #followers = new Set<StreamFollower>();
	/** What was sent so far, while that may be read from its beginning. */
	#pieces: StreamPiece[] | undefined = [];
	#size = 0;
	#waiters = 1;
	#isOver = false;
	/** Woken when somebody joins, reads on or leaves. */
	#waiting: (() => void) | undefined;
	origin: AnswerOrigin | undefined;
	failure: StreamFailure | undefined;

	/** @param limit bytes of a stream that are kept for those who come later */
	constructor(
		readonly form: AnswerForm,
		private readonly limit: number,
	) {}

	/** Stands for all who want the answer: gone when nobody is left. */
	readonly client: Client = this.#controller;

	/** Resolves when it is over: with the answer, or with undefined where there is none that may be handed on. */
	get result(): Promise<CacheEntry | undefined> {
		return this.#result.promise;
	}

	/** Resolves with the first piece of a stream, or when it is over. */
	get started(): Promise<void> {
		return this.#started.promise;
	}

	/** What was sent, whole; undefined where it has outgrown the limit. */
	get pieces(): readonly StreamPiece[] | undefined {
		return this.#pieces;
	}

	/** Somebody waits for the answer. Returns how to leave; safe to call twice. */
	join(): () => void {
		this.#waiters++;
		return this.#leaving();
	}

	/** How the leader leaves. */
	readonly leave = this.#leaving();

	/** The stream from its beginning; undefined where that is no longer kept, or the form is another one. */
	follow({ dialect, stream, showsUsage, request }: AnswerForm): StreamFollower | undefined {
		const { form } = this;
		const isSame = stream && form.stream && dialect === form.dialect && showsUsage === form.showsUsage;
		if (request && !form.request?.equals(request)) return undefined;
		if (!isSame || !this.#pieces || this.#isOver) return undefined;
		const follower = new StreamFollower(this.#pieces, () => this.#wake());
		this.#followers.add(follower);
		this.#wake();
		return follower;
	}

	/**
	 * The leader's stream sends a piece; `taken` is what its client's side says of it. Returns what to wait for before the next: the
	 * slowest of those who follow it, once it is a whole limit behind; the leader's own client only if nobody else reads.
	 */
	send(piece: StreamPiece, taken: number | Promise<number>): number | Promise<unknown> {
		this.#started.resolve();
		this.#size += piece.length;
		if (this.#size > this.limit) this.#pieces = undefined;
		this.#pieces?.push(piece);
		for (const follower of this.#followers) follower.push(piece);
		if (this.#hasFollowers && !this.#isFollowerFarBehind) return 0;
		if (!this.#hasFollowers && typeof taken === "number") return taken;
		return this.#paced(taken);
	}

	/** It is over. Only the first call counts. */
	finish(entry: CacheEntry | undefined, broken?: StreamFailure): void {
		if (this.#isOver) return;
		this.#isOver = true;
		this.failure = broken;
		for (const follower of this.#followers) follower.end();
		this.#result.resolve(entry);
		this.#started.resolve();
	}

	/** Stops reading along. */
	unfollow(follower: StreamFollower): void {
		this.#followers.delete(follower);
		this.#wake();
	}

	get #hasFollowers(): boolean {
		return this.#followers.size > 0;
	}

	get #isFollowerFarBehind(): boolean {
		return [...this.#followers].some(({ backlog }) => backlog > this.limit);
	}

	async #paced(taken: number | Promise<number>): Promise<void> {
		let isTaken = typeof taken === "number";
		void Promise.resolve(taken).then(() => {
			isTaken = true;
			this.#wake();
		});
		while (this.#hasFollowers ? this.#isFollowerFarBehind : !isTaken) {
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
			this.#waiters--;
			if (this.#waiters === 0 && !this.#isOver) this.#controller.abort();
		};
	}
}

/** The same call, where it is on its way; else the lead of it; undefined where its answer may not be kept, and so not be shared. */
export function joinFlight(store: AnswerStore, lead: LeadCall): SingleFlight | Lead | undefined {
	const id = Buffer.from(lead.key).toString("latin1");
	return store.flights.get(id) ?? (lead.use.stores ? new Lead(store, lead, id) : undefined);
}

/**
 * The caller whose call is made upstream. Hears its answer, hands it to all who wait, and has it kept.
 */
export class Lead implements AnswerListener {
	/** The call to make: it goes on while anybody wants its answer. */
	readonly call: ClientCall;
	/** Gives back the claim by which no other thread and no other replica makes the call. */
	release: Release | undefined;
	readonly #flight: SingleFlight;
	readonly #signal: AbortSignal;
	#isOver = false;
	/** The answer came from the shared store. */
	#isShared = false;
	/** It is in this process's memory. */
	#isHere = false;

	/** @param id under which others may join; absent where none may */
	constructor(
		private readonly store: AnswerStore,
		private readonly lead: LeadCall,
		private readonly id: string | undefined,
	) {
		const { call } = lead;
		const flight = new SingleFlight(answerForm(call), store.maxEntry);
		const { signal } = call.client;
		this.#flight = flight;
		this.#signal = signal;
		this.call = { ...call, client: flight.client };
		if (id !== undefined) store.flights.set(id, flight);
		signal.addEventListener("abort", this.#onClientLeft);
		if (signal.aborted) this.#onClientLeft();
	}

	whole(body: string | undefined): void {
		this.#finish(body === undefined ? undefined : this.#entryOf(body));
	}

	sent(piece: StreamPiece, taken: number | Promise<number>): number | Promise<unknown> {
		this.#flight.origin ??= this.#origin;
		return this.#flight.send(piece, taken);
	}

	ended(broken?: StreamFailure): void {
		const { record } = this.lead;
		const body = broken || this.#flight.client.signal.aborted ? undefined : this.#folded();
		this.#finish(
			body === undefined ? undefined : this.#entryOf(withUsage(body, record.tokens, record.isEstimated)),
			broken,
		);
	}

	/** The whole stream as one answer; undefined where it can't be told. */
	#folded(): string | undefined {
		const { call, record } = this.lead;
		const bytes = this.#flight.pieces?.map((piece) => (typeof piece === "string" ? Buffer.from(piece) : piece));
		try {
			return bytes && call.dialect.fold(call, Buffer.concat(bytes));
		} catch (fault) {
			// Others wait for the answer, and would wait for ever.
			record.onFault?.(record.id, fault);
			return undefined;
		}
	}

	continuesWithoutClient(): boolean {
		this.#onClientLeft();
		const { aborted } = this.#flight.client.signal;
		if (aborted) this.#finish(undefined);
		return !aborted;
	}

	/** It came from the shared store. @param isHere and need not be kept */
	finishShared(entry: CacheEntry, isHere = false): void {
		this.#isShared = true;
		this.#isHere = isHere;
		this.#finish(entry);
	}

	/** There is no answer. */
	fail(): void {
		this.#finish(undefined);
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
	readonly #onClientLeft = (): void => {
		this.#flight.leave();
		this.lead.record.clientLeft = !this.#flight.client.signal.aborted;
	};

	/** Ends it; the first call counts. */
	#finish(entry: CacheEntry | undefined, broken?: StreamFailure): void {
		if (this.#isOver) return;
		this.#isOver = true;
		this.#flight.finish(entry, broken);
		this.#signal.removeEventListener("abort", this.#onClientLeft);
		void this.#keep(entry);
	}

	async #keep(entry: CacheEntry | undefined): Promise<void> {
		const { ring, sharedStore, flights, maxEntry } = this.store;
		const { key, use } = this.lead;
		if (entry && use.stores && !this.#isHere && entry.body.length <= maxEntry) {
			const bytes = await encodeEntry(entry);
			ring.put(key, bytes);
			const ttlMs = entry.facts.expiresAt - Date.now();
			if (this.release) this.release({ bytes, ttlMs });
			else if (!this.#isShared) sharedStore?.put(key, bytes, ttlMs);
		} else this.release?.(undefined);
		// Only now: who comes in between finds one or the other.
		if (this.id !== undefined) flights.delete(this.id);
	}

	get #origin(): AnswerOrigin {
		const { call, record } = this.lead;
		const { provider, upstreamModel, droppedFields } = record;
		const origin = { provider, model: upstreamModel ?? "" };
		if (!droppedFields) return origin;
		// What its own dialect has left out is no matter of the answer's.
		const leftOut = alwaysLeftOut(call);
		const dropped = leftOut ? droppedFields.filter((field) => !leftOut.includes(field)) : droppedFields;
		return dropped.length > 0 ? { ...origin, dropped } : origin;
	}

	#entryOf(body: string): CacheEntry {
		const storedAt = Date.now();
		const facts = { ...this.#origin, storedAt, expiresAt: storedAt + this.lead.use.ttlMs };
		return { facts, body: Buffer.from(MAY_TELL_COST.test(body) ? withoutCost(body) : body) };
	}
}
