/** What calls of one worker have come to, as the main thread has it from memory that both see: whatever becomes of the worker. */
import type { Ledger } from "../../accounts/usage/ledger.ts";
import type { MadeRows } from "../../accounts/usage/row-maker.ts";
import { isFrom, makeRecordQueue, QueueReader, UNIT } from "../../memory/record-queue.ts";
import { CallEventReader, type EventChunk, type EventListener, readAgain } from "../../telemetry/event-records.ts";
import type { AttemptClosed, CallSettled } from "../../telemetry/events.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Metrics } from "../../telemetry/metrics.ts";
import { takeContents } from "../../telemetry/otel/span-context.ts";
import { callsLeftUnsettled, makeUnsettledCalls } from "../../telemetry/unsettled-calls.ts";
import type { OtelSink } from "../otel.ts";

/** Room for some 2,000 calls, bytes: more wait in the worker. */
const QUEUE_BYTES = 512 * 1024;

/** Memory of one worker: what it has done, and what it is doing. */
export interface EventMemory {
	/** `telemetry/event-queue.ts`. */
	readonly events: SharedArrayBuffer;
	/** `telemetry/unsettled-calls.ts`. */
	readonly unsettled: SharedArrayBuffer;
}

/** Makes it. */
export const eventMemory = (): EventMemory => ({
	events: makeRecordQueue(QUEUE_BYTES),
	unsettled: makeUnsettledCalls(),
});

/** Who hears of calls. */
export interface EventSinks {
	readonly ledger: Pick<Ledger, "attemptClosed" | "callSettled" | "takeRows">;
	readonly metrics: Pick<Metrics, "sink">;
	readonly log: Pick<Log, "sink">;
	/** What is sent to an OpenTelemetry collector. */
	readonly otel: readonly OtelSink[];
}

/** A part of the records: those from a position on, before another one. */
interface Span {
	readonly from: number;
	readonly to: number;
}

/**
 * The calls of one worker. What is sent to a collector hears of all of them here. The ledger, metrics and the log hear of them from the worker,
 * a little later: what it had not told them when it died, and what the ledger could not take so, they hear from here.
 */
export class WorkerEvents {
	readonly #queue: QueueReader;
	readonly #reader = new CallEventReader();
	/** Undefined where nothing is sent to one. */
	readonly #collector: EventListener | undefined;
	/** Records that may still be read, as bytes: to make objects of them would cost each call more. */
	#kept: EventChunk[] = [];
	/** Before which of them the metrics have all. */
	#counted = 0;
	/** Before which of them the worker has sent all rows. */
	#sent = 0;
	/** Those whose rows are being written. */
	readonly #writing = new Set<Span>();
	/** Lines of the log that came since the metrics. */
	#lines = "";
	/** Nothing that the worker still sends counts: it has ended. */
	#hasEnded = false;

	constructor(
		private readonly memory: EventMemory,
		private readonly sinks: EventSinks,
	) {
		this.#queue = new QueueReader(memory.events);
		if (sinks.otel.length > 0) this.#collector = collectorOf(sinks.otel);
	}

	/** Takes all that is new. Whether something was. */
	read(): boolean {
		const chunk = this.#queue.take();
		if (!chunk) return false;
		this.#kept.push({ ...chunk, shared: this.#reader.shared });
		this.#reader.read(chunk, this.#collector);
		return true;
	}

	/** The worker has sent rows of calls. */
	tookRows(rows: MadeRows): void {
		if (this.#hasEnded) return;
		this.read();
		const span = { from: this.#sent, to: rows.position };
		this.#sent = rows.position;
		this.#writing.add(span);
		void this.sinks.ledger
			.takeRows(rows, () => this.#tellLedger(span))
			.then(() => {
				this.#writing.delete(span);
				this.#drop();
			});
	}

	/** The worker has sent what it has counted of all before this position, and the lines of those calls before that. */
	tookMetrics(position: number): void {
		this.read();
		this.#counted = position;
		this.#lines = "";
		this.#drop();
	}

	/** The worker has sent lines of the log. */
	tookLines(lines: string): void {
		this.#lines += lines;
	}

	/**
	 * The worker has ended: tells of all that it had not told, and of the calls that ended with it. Once.
	 * @param now `performance.now()`
	 * @param wall Unix time, ms
	 */
	end(now = performance.now(), wall = Date.now()): void {
		const { ledger } = this.sinks;
		this.read();
		this.#hasEnded = true;
		this.#tellLedger({ from: this.#sent, to: this.#queue.position });
		let lastId = "";
		const attemptClosed = (attempt: AttemptClosed) => this.#countAttempt(attempt);
		const callSettled = (call: CallSettled, at: number) => {
			lastId = call.id;
			takeContents(call.trace?.span);
			this.#countCall(call, at);
		};
		for (const chunk of this.#kept) readAgain(chunk, { attemptClosed, callSettled }, this.#counted);
		// It may have died between the two notes that a call is over.
		for (const call of callsLeftUnsettled(this.memory.unsettled, now)) {
			if (call.id === lastId) continue;
			ledger.callSettled(call, wall);
			this.#countCall(call, wall);
		}
		[this.#counted, this.#sent] = [this.#queue.position, this.#queue.position];
		this.#drop();
	}

	#tellLedger({ from, to }: Span): void {
		const { ledger } = this.sinks;
		const listener: EventListener = {
			attemptClosed: (attempt) => ledger.attemptClosed(attempt),
			callSettled(call, at) {
				// The ledger may keep it until it can be written, and each reading of a record has the contents anew.
				takeContents(call.trace?.span);
				ledger.callSettled(call, at);
			},
		};
		for (const chunk of this.#kept) readAgain(chunk, listener, from, to);
	}

	/** Lets go of what nobody will read again. */
	#drop(): void {
		this.#kept = this.#kept.filter(({ position, bytes }) => {
			const end = position + bytes.length / UNIT;
			if (isBefore(this.#counted, end) || isBefore(this.#sent, end)) return true;
			for (const { from, to } of this.#writing) if (isBefore(from, end) && isBefore(position, to)) return true;
			return false;
		});
	}

	#countAttempt(attempt: AttemptClosed): void {
		this.sinks.metrics.sink.attemptClosed(attempt);
	}

	#countCall(call: CallSettled, at: number): void {
		const { metrics, log } = this.sinks;
		if (call.shadow) {
			metrics.sink.shadowSettled?.(call);
			return;
		}
		metrics.sink.callStarted();
		metrics.sink.callSettled(call);
		if (!this.#lines.includes(call.id)) log.sink.callSettled(call, at);
	}
}

const isBefore = (position: number, other: number): boolean => !isFrom(position, other);

/** Has all of these hear of calls: of attempts without a span, and of calls that nobody counts, none does anything. */
const collectorOf = (sinks: readonly OtelSink[]): EventListener => ({
	omitsPlain: sinks.every(({ onlyTraced }) => onlyTraced) ? "all" : "attempts",
	attemptClosed(attempt) {
		for (const sink of sinks) sink.attemptClosed?.(attempt);
	},
	callSettled(call) {
		// Of copies that other models get the ledger alone is told, and metrics of their own.
		if (!call.shadow) for (const sink of sinks) sink.callSettled(call);
	},
});
