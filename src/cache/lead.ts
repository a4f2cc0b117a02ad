/** The caller whose call is made upstream, for itself and for all who want the same answer. Its races stand in design.md. */
import type { ClientCall } from "../dialects/dialect.ts";
import type { RingKey, ValueRing } from "../memory/ring.ts";
import type { StreamPiece } from "../openai/sse.ts";
import { MAY_TELL_COST, withoutCost, withUsage } from "../openai/usage-edits.ts";
import { alwaysLeftOut } from "../providers/unsupported-fields.ts";
import type { AnswerListener } from "../proxy/call-client.ts";
import type { CallRecord } from "../proxy/call-record.ts";
import { type AnswerOrigin, answerForm, type StreamFailure } from "./answer-form.ts";
import { type CacheEntry, encodeEntry } from "./entry.ts";
import type { CacheUse } from "./rules.ts";
import type { Release, SharedStore } from "./shared-store.ts";
import { keyText, SingleFlight } from "./single-flight.ts";
import { FollowedStream } from "./thread-streams.ts";

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

/** The same call, where it is on its way; else the lead of it; undefined where its answer may not be kept, and so not be shared. */
export function joinFlight(store: AnswerStore, lead: LeadCall): SingleFlight | Lead | undefined {
	const id = keyText(lead.key);
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
	readonly flight: SingleFlight;
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
		this.flight = flight;
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
		this.flight.origin ??= this.#origin;
		return this.flight.send(piece, taken);
	}

	ended(broken?: StreamFailure): void {
		const { record } = this.lead;
		const body = broken || this.flight.client.signal.aborted ? undefined : this.#folded();
		this.#finish(
			body === undefined ? undefined : this.#entryOf(withUsage(body, record.tokens, record.isEstimated)),
			broken,
		);
	}

	/** The whole stream as one answer; undefined where it can't be told. */
	#folded(): string | undefined {
		const { call, record } = this.lead;
		const bytes = this.flight.pieces?.map((piece) => (typeof piece === "string" ? Buffer.from(piece) : piece));
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
		const { aborted } = this.flight.client.signal;
		if (aborted) this.#finish(undefined);
		return !aborted;
	}

	/** It came from the shared store. @param isHere and need not be kept */
	finishShared(entry: CacheEntry, isHere = false): void {
		this.#isShared = true;
		this.#isHere = isHere;
		this.#finish(entry);
	}

	/** How the stream of another thread comes here, where the leader's is one: those who wait follow it. */
	followed(): FollowedStream | undefined {
		return this.lead.call.stream ? new FollowedStream(this.flight) : undefined;
	}

	/** What was followed is over. @param entry its answer, where that is in the memory of all threads */
	finishFollowed(entry: CacheEntry | undefined, { failure }: FollowedStream): void {
		this.#isHere = true;
		this.#finish(entry, failure);
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
		this.flight.leave();
		this.lead.record.clientLeft = !this.flight.client.signal.aborted;
	};

	/** Ends it; the first call counts. */
	#finish(entry: CacheEntry | undefined, broken?: StreamFailure): void {
		if (this.#isOver) return;
		this.#isOver = true;
		this.flight.finish(entry, broken);
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
