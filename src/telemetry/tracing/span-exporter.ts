/**
 * Sends spans to a collector. On a call's way its events are put into a list and nothing else; spans are made of them when a batch is sent, some
 * at a time, between calls. What waits is bounded, whatever the collector does.
 */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { AttemptClosed, CallSettled, Sink } from "../events.ts";
import { attemptSpan, callSpans, type Span } from "./call-spans.ts";
import type { OtelSettings } from "./otel-settings.ts";
import type { OtlpEncoding, SpanSource } from "./otlp.ts";
import { OTLP_JSON } from "./otlp-json.ts";
import { OTLP_PROTOBUF } from "./otlp-protobuf.ts";

/** A request to the collector. */
export interface OtlpRequest {
	readonly url: string;
	readonly headers: Record<string, string>;
	readonly body: readonly Buffer[];
}

/** What the collector answered. */
export interface OtlpAnswer {
	readonly status: number;
	/** `retry-after`, s; undefined where it does not say a number. */
	readonly retryAfter: number | undefined;
	readonly body: Buffer;
}

/** Why spans were not taken: there was no room for them, the collector refused them, or it could not be reached in time. */
export type DropReason = "full" | "refused" | "unreachable";

/** What it works with. */
export interface SpanExporterOptions {
	readonly settings: Pick<OtelSettings, "endpoint" | "headers" | "protocol" | "isCompressed" | "timeoutMs" | "batch">;
	readonly source: SpanSource;
	/** Rejects with an error whose message says why there was no answer, as a predicate: `can't be reached: …`. */
	readonly send: (request: OtlpRequest, signal: AbortSignal) => Promise<OtlpAnswer>;
	readonly exported: (spans: number) => void;
	readonly dropped: (reason: DropReason, spans: number) => void;
	/** For people, once when the collector begins to fail, and once when it is back. */
	readonly log: { warn(sentence: string): void; info(sentence: string): void };
	/** The endpoint as people may see it. */
	readonly shownEndpoint: string;
}

/** What spans are made of. */
type Waiting = { readonly call: CallSettled } | { readonly attempt: AttemptClosed };

/** Statuses after which the same may be sent again (OTLP, "Retryable Response Codes"). */
const PASSING = new Set([429, 502, 503, 504]);
/** Pauses between tries, ms: the first, and the longest; each is twice the one before, and up to a third longer by chance. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 10_000;
/** Calls and attempts whose spans are written between two other things that the thread does. */
const SLICE = 64;
/** Longest that the end waits for a collector, ms: there is 5 s for all that a process has to end. */
const CLOSING_MS = 2_000;

const compress = promisify(gzip);

/** Takes settled calls and closed attempts, and sends their spans. */
export class SpanExporter implements Pick<Sink, "attemptClosed" | "callSettled"> {
	#waiting: Waiting[] = [];
	/** How many spans they are. */
	#spans = 0;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#sending: Promise<void> | undefined;
	readonly #encoding: OtlpEncoding;
	/** Dropped since the collector began to fail; undefined: it is well. */
	#droppedMeanwhile: number | undefined;
	/** What was refused of a batch has been said. */
	#hasSaidRejected = false;
	#isClosing = false;
	/** Aborted: the process ends. */
	readonly #end = new AbortController();

	constructor(private readonly options: SpanExporterOptions) {
		this.#encoding = options.settings.protocol === "http/json" ? OTLP_JSON : OTLP_PROTOBUF;
	}

	/** Spans that wait to be sent. */
	get waiting(): number {
		return this.#spans;
	}

	attemptClosed(attempt: AttemptClosed): void {
		if (attempt.span) this.#add({ attempt }, 1);
	}

	callSettled(call: CallSettled): void {
		const span = call.trace?.span;
		if (span) this.#add({ call }, 1 + span.steps.length);
	}

	/** Sends all that waits, as far as the collector takes it in 2 s. What is left is lost with the process, and counted. */
	async close(): Promise<void> {
		this.#isClosing = true;
		const timer = setTimeout(() => this.#end.abort(), CLOSING_MS);
		await this.#sending;
		await this.#begin();
		clearTimeout(timer);
		this.#end.abort();
		clearTimeout(this.#timer);
	}

	#add(what: Waiting, spans: number): void {
		const { queueSize, batchSize, delayMs } = this.options.settings.batch;
		if (this.#spans + spans > queueSize) {
			this.#drop("full", spans);
			return;
		}
		this.#waiting.push(what);
		this.#spans += spans;
		if (this.#sending) return;
		if (this.#spans >= batchSize) void this.#begin();
		else this.#timer ??= setTimeout(() => void this.#begin(), delayMs);
	}

	/** Sends what waits. Never rejects. */
	#begin(): Promise<void> {
		clearTimeout(this.#timer);
		this.#timer = undefined;
		this.#sending ??= this.#sendAll().finally(() => {
			this.#sending = undefined;
			if (this.#spans > 0 && !this.#end.signal.aborted) {
				this.#timer ??= setTimeout(() => void this.#begin(), this.options.settings.batch.delayMs);
			}
		});
		return this.#sending;
	}

	/** Full batches one after the other; at the end all that is left. */
	async #sendAll(): Promise<void> {
		// Behind the call that brings a batch about.
		await pause();
		const { batchSize } = this.options.settings.batch;
		do await this.#deliver(await this.#written(batchSize));
		while (this.#spans >= batchSize || (this.#isClosing && this.#spans > 0));
	}

	/** The next spans, written. */
	async #written(most: number): Promise<Buffer[]> {
		const written: Buffer[] = [];
		for (let taken = 1; this.#waiting.length > 0; taken++) {
			const count = countOf(this.#waiting[0]!);
			if (written.length > 0 && written.length + count > most) break;
			const what = this.#waiting.shift()!;
			this.#spans -= count;
			const spans = spansOf(what);
			for (const span of spans) written.push(this.#encoding.span(span));
			if (taken % SLICE === 0) await pause();
		}
		return written;
	}

	/** Has the collector take a batch, within the time that there is for it. */
	async #deliver(spans: readonly Buffer[]): Promise<void> {
		if (spans.length === 0) return;
		if (this.#end.signal.aborted) return this.#drop("unreachable", spans.length);
		const { settings, exported } = this.options;
		const plain = this.#encoding.request(spans, this.options.source);
		const body = settings.isCompressed ? [await compress(Buffer.concat(plain))] : plain;
		const signal = AbortSignal.any([AbortSignal.timeout(settings.batch.exportMs), this.#end.signal]);
		for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
			const tried = await this.#try(body, signal);
			if ("rejected" in tried) {
				exported(spans.length - tried.rejected);
				if (tried.rejected > 0) this.#drop("refused", tried.rejected);
				this.#isBack();
				return;
			}
			this.#fails(tried.why);
			if (!tried.mayPass) return this.#drop("refused", spans.length);
			const waitMs = tried.retryAfterMs ?? pauseMs * (1 + Math.random() / 3);
			if (!(await waited(waitMs, signal))) return this.#drop("unreachable", spans.length);
		}
	}

	async #try(body: readonly Buffer[], signal: AbortSignal): Promise<Tried> {
		const { settings, send } = this.options;
		const { endpoint, headers, isCompressed, timeoutMs } = settings;
		const own = { "content-type": this.#encoding.contentType, ...(isCompressed && { "content-encoding": "gzip" }) };
		const answering = AbortSignal.any([AbortSignal.timeout(timeoutMs), signal]);
		try {
			const {
				status,
				retryAfter,
				body: answer,
			} = await send({ url: endpoint, headers: { ...headers, ...own }, body }, answering);
			if (status >= 200 && status < 300) return this.#taken(answer);
			const retryAfterMs = retryAfter === undefined ? undefined : retryAfter * 1000;
			return { why: `answers ${status}`, mayPass: PASSING.has(status), retryAfterMs };
		} catch (thrown) {
			const why = answering.aborted ? `has not answered within ${timeoutMs} ms` : (thrown as Error).message;
			return { why, mayPass: true };
		}
	}

	/** The collector has taken the batch, or most of it. */
	#taken(answer: Buffer): Tried {
		try {
			const { spans, message } = this.#encoding.rejected(answer);
			if (spans > 0 && message !== "" && !this.#hasSaidRejected) {
				this.#hasSaidRejected = true;
				this.options.log.warn(`${this.options.shownEndpoint} refuses some spans: ${message.slice(0, LONGEST_REASON)}`);
			}
			return { rejected: spans };
		} catch {
			// Some answer 200 with words of their own.
			return { rejected: 0 };
		}
	}

	#drop(reason: DropReason, spans: number): void {
		this.options.dropped(reason, spans);
		if (this.#droppedMeanwhile !== undefined) this.#droppedMeanwhile += spans;
	}

	#fails(why: string): void {
		if (this.#droppedMeanwhile !== undefined || this.#end.signal.aborted) return;
		this.#droppedMeanwhile = 0;
		const { shownEndpoint, settings, log } = this.options;
		const { queueSize } = settings.batch;
		log.warn(
			`spans can't be sent: ${shownEndpoint} ${why}. It is tried again; ${queueSize} spans wait at most, others are dropped`,
		);
	}

	#isBack(): void {
		if (this.#droppedMeanwhile === undefined) return;
		const { shownEndpoint, log } = this.options;
		log.info(`${shownEndpoint} takes spans again; ${this.#droppedMeanwhile} were dropped meanwhile`);
		this.#droppedMeanwhile = undefined;
	}
}

/** What became of one try. */
type Tried =
	| { readonly rejected: number }
	| { readonly why: string; readonly mayPass: boolean; readonly retryAfterMs?: number | undefined };

const LONGEST_REASON = 200;

const countOf = (what: Waiting): number => ("call" in what ? 1 + what.call.trace!.span!.steps.length : 1);

const spansOf = (what: Waiting): Span[] =>
	"call" in what ? callSpans(what.call, what.call.trace!.span!) : [attemptSpan(what.attempt, what.attempt.span!)];

/** Lets everything else have its turn. */
const pause = (): Promise<void> => new Promise((done) => setImmediate(done));

/** Whether so many ms went by without the signal. */
function waited(ms: number, signal: AbortSignal): Promise<boolean> {
	const { promise, resolve } = Promise.withResolvers<boolean>();
	const timer = setTimeout(() => resolve(true), ms);
	const end = () => {
		clearTimeout(timer);
		resolve(false);
	};
	if (signal.aborted) end();
	signal.addEventListener("abort", end, { once: true });
	return promise.finally(() => signal.removeEventListener("abort", end));
}
