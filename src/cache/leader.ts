/** The caller whose call is made upstream: hands its answer to all who wait, and has it kept. */

import type { ClientCall } from "../dialects/dialect.ts";
import type { StreamPiece } from "../openai/sse.ts";
import { withoutCost, withUsage } from "../openai/usage-edits.ts";
import type { AnswerListener, CallRecord } from "../proxy/call-record.ts";
import type { CacheEntry } from "./entry.ts";
import type { Broken, SingleFlight } from "./single-flight.ts";

/** What it works with. */
export interface Led {
	readonly call: ClientCall;
	readonly settlement: CallRecord;
	readonly flight: SingleFlight;
	/** How long the answer is good, ms. */
	readonly ttlMs: number;
	/** Called once, when the call is over: with its answer, where that is complete. */
	readonly over: (entry: CacheEntry | undefined) => void;
}

/** Hears the answer of a led call. */
export class Leader implements AnswerListener {
	#isOver = false;

	constructor(private readonly led: Led) {}

	/** What the cache runs: it goes on while anybody wants the answer. */
	get call(): ClientCall {
		return { ...this.led.call, signal: this.led.flight.signal };
	}

	whole(body: string): void {
		this.land(this.#entryOf(body));
	}

	sent(piece: StreamPiece, taken: number | Promise<number>): number | Promise<unknown> {
		const { flight } = this.led;
		flight.origin ??= this.#origin;
		return flight.send(piece, taken);
	}

	ended(broken?: Broken): void {
		const { flight, call, settlement } = this.led;
		const pieces = broken || flight.signal.aborted ? undefined : flight.pieces;
		const bytes = pieces?.map((piece) => (typeof piece === "string" ? Buffer.from(piece) : piece));
		const body = bytes && call.dialect.fold(call.operation, Buffer.concat(bytes));
		this.land(
			body === undefined ? undefined : this.#entryOf(withUsage(body, settlement.tokens, settlement.isEstimated)),
			broken,
		);
	}

	continuesWithoutClient(): boolean {
		this.left();
		const { aborted } = this.led.flight.signal;
		if (aborted) this.land(undefined);
		return !aborted;
	}

	/** The leader's own client has left. */
	left = (): void => {
		const { flight, settlement } = this.led;
		flight.leave();
		settlement.clientLeft = !flight.signal.aborted;
	};

	/** Ends it; the first call counts. */
	land(entry: CacheEntry | undefined, broken?: Broken): void {
		if (this.#isOver) return;
		this.#isOver = true;
		this.led.flight.land(entry, broken);
		this.led.over(entry);
	}

	get #origin() {
		const { provider, upstreamModel } = this.led.settlement;
		return { provider, model: upstreamModel ?? "" };
	}

	#entryOf(body: string): CacheEntry {
		const storedAt = Date.now();
		const facts = { ...this.#origin, storedAt, expiresAt: storedAt + this.led.ttlMs };
		return { facts, body: Buffer.from(withoutCost(body)) };
	}
}
