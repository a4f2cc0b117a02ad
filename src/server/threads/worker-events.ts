/** What calls of one worker have come to, as the main thread has it from memory that both see: whatever becomes of the worker. */
import type { Ledger } from "../../accounts/usage/ledger.ts";
import { isFrom, makeRecordQueue, QueueReader, UNIT } from "../../memory/record-queue.ts";
import { CallEventReader, type EventChunk, readAgain } from "../../telemetry/event-records.ts";
import type { AttemptClosed, CallSettled } from "../../telemetry/events.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Metrics } from "../../telemetry/metrics.ts";
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
	readonly ledger: Pick<Ledger, "attemptClosed" | "callSettled">;
	readonly metrics: Pick<Metrics, "sink">;
	readonly log: Pick<Log, "sink">;
	/** What is sent to an OpenTelemetry collector. */
	readonly otel: readonly OtelSink[];
}

/**
 * The calls of one worker. The ledger hears of all of them here, and so does what is sent to a collector. Metrics and the log hear of them from the worker, a little later: what it
 * had not told them when it died they hear from here.
 */
export class WorkerEvents {
	readonly #queue: QueueReader;
	readonly #reader = new CallEventReader();
	/** What came since the worker last sent its metrics, as bytes: to keep so many objects would cost each call more. */
	#kept: EventChunk[] = [];
	/** Which of it the metrics last had. */
	#counted = 0;
	/** Lines of the log that came since. */
	#lines = "";
	#lastId = "";

	constructor(
		private readonly memory: EventMemory,
		private readonly sinks: EventSinks,
	) {
		this.#queue = new QueueReader(memory.events);
	}

	/** Tells the ledger all that is new. Whether something was. */
	read(): boolean {
		const chunk = this.#queue.take();
		if (!chunk) return false;
		const { ledger, otel } = this.sinks;
		this.#kept.push({ ...chunk, shared: this.#reader.shared });
		this.#reader.read(chunk, {
			attemptClosed: (attempt) => {
				ledger.attemptClosed(attempt);
				for (const sink of otel) sink.attemptClosed?.(attempt);
			},
			callSettled: (call, at) => {
				this.#lastId = call.id;
				ledger.callSettled(call, at);
				if (!call.shadow) for (const sink of otel) sink.callSettled(call);
			},
		});
		return true;
	}

	/** The worker has sent what it has counted of all before this position, and the lines of those calls before that. */
	tookMetrics(position: number): void {
		this.read();
		this.#counted = position;
		this.#kept = this.#kept.filter(({ position: begin, bytes }) => !isFrom(position, begin + bytes.length / UNIT));
		this.#lines = "";
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
		// It may have died between the two notes that a call is over.
		const left = callsLeftUnsettled(this.memory.unsettled, now).filter(({ id }) => id !== this.#lastId);
		const attemptClosed = (attempt: AttemptClosed) => this.#countAttempt(attempt);
		const callSettled = (call: CallSettled, at: number) => this.#countCall(call, at);
		for (const chunk of this.#kept) readAgain(chunk, { attemptClosed, callSettled }, this.#counted);
		for (const call of left) {
			ledger.callSettled(call, wall);
			this.#countCall(call, wall);
		}
		this.#kept = [];
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
