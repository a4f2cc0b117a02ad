/**
 * Sends spans to a collector. On a call's way its events are put into a list and nothing else; spans are made of them when a batch is sent, some
 * at a time, between calls. What waits is bounded, whatever the collector does.
 */
import type { AttemptClosed, CallSettled, Sink } from "../events.ts";
import { attemptSpan, callSpans, type Span } from "./call-spans.ts";
import type { BatchSettings } from "./otel-settings.ts";
import type { OtlpSource } from "./otlp.ts";
import { OtlpClient, type OtlpClientOptions } from "./otlp-client.ts";
import { type SpanContents, takeContents } from "./span-context.ts";

/** Why spans were not taken: there was no room for them, the collector refused them, or it could not be reached in time. */
export type DropReason = "full" | "refused" | "unreachable";

/** What it works with. */
export interface SpanExporterOptions {
	readonly batch: BatchSettings;
	readonly client: Omit<OtlpClientOptions, "what" | "consequence">;
	readonly source: OtlpSource;
	readonly exported: (spans: number) => void;
	readonly dropped: (reason: DropReason, spans: number) => void;
	/** Whether so many ms went by without the signal. */
	readonly wait?: typeof waited;
}

/** What spans are made of. */
type Waiting =
	| { readonly call: CallSettled; readonly contents?: SpanContents | undefined }
	| { readonly attempt: AttemptClosed };

/** Contents that wait, UTF-16 units: spans wait without theirs where there are more. */
const MOST_CONTENTS = 4 * 1024 * 1024;

/**
 * Pauses between tries, ms: the first, and the longest; each is twice the one before, and up to a third longer by chance. A collector may ask
 * for longer ones, not for shorter ones.
 */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 10_000;
/** The longest that a timer takes, ms: a longer one would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** Calls and attempts whose spans are written between two other things that the thread does. */
const SLICE = 64;
/** Longest that the end waits for a collector, ms: there is 5 s for all that a process has to end. */
const CLOSING_MS = 2_000;

/** Takes settled calls and closed attempts, and sends their spans. */
export class SpanExporter implements Pick<Sink, "attemptClosed" | "callSettled"> {
	/** Calls and attempts without a span need not be told to it. */
	readonly onlyTraced = true;
	#waiting: Waiting[] = [];
	/** How many spans they are. */
	#spans = 0;
	/** UTF-16 units of what their calls ask and are answered. */
	#contents = 0;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#sending: Promise<void> | undefined;
	readonly #client: OtlpClient;
	#isClosing = false;
	/** That spans could not be written has been said. */
	#hasSaidDefect = false;
	/** Aborted: the process ends. */
	readonly #end = new AbortController();

	constructor(private readonly options: SpanExporterOptions) {
		const { queueSize } = options.batch;
		const consequence = (mayPass: boolean) =>
			mayPass
				? `It is tried again; ${queueSize} spans wait at most, others are dropped`
				: "These are dropped; those that come are tried";
		this.#client = new OtlpClient({ ...options.client, what: "spans", consequence });
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
		if (!span) return;
		const contents = takeContents(span);
		this.#add(contents ? { call, contents: this.#bounded(contents) } : { call }, 1 + span.steps.length);
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

	#bounded(contents: SpanContents): SpanContents {
		return this.#contents + lengthOf(contents) > MOST_CONTENTS ? { isCut: true } : contents;
	}

	#add(what: Waiting, spans: number): void {
		const { queueSize, batchSize, delayMs } = this.options.batch;
		if (this.#spans + spans > queueSize) {
			this.#drop("full", spans);
			return;
		}
		this.#waiting.push(what);
		this.#contents += sizeOf(what);
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
				this.#timer ??= setTimeout(() => void this.#begin(), this.options.batch.delayMs);
			}
		});
		return this.#sending;
	}

	/** Full batches one after the other; at the end all that is left. */
	async #sendAll(): Promise<void> {
		// Behind the call that brings a batch about.
		await pause();
		const { batchSize } = this.options.batch;
		do {
			const spans = await this.#written(batchSize);
			await this.#deliver(spans).catch((thrown) => this.#lose(spans.length, thrown));
		} while (this.#spans >= batchSize || (this.#isClosing && this.#spans > 0));
	}

	/** The next spans, written. */
	async #written(most: number): Promise<Buffer[]> {
		const written: Buffer[] = [];
		for (let taken = 1; this.#waiting.length > 0; taken++) {
			const count = countOf(this.#waiting[0]!);
			if (written.length > 0 && written.length + count > most) break;
			const what = this.#waiting.shift()!;
			this.#spans -= count;
			this.#contents -= sizeOf(what);
			try {
				written.push(...spansOf(what).map((span) => this.#client.encoding.span(span)));
			} catch (thrown) {
				this.#lose(count, thrown);
			}
			if (taken % SLICE === 0) await pause();
		}
		return written;
	}

	/** Has the collector take a batch, within the time that there is for it. */
	async #deliver(spans: readonly Buffer[]): Promise<void> {
		if (spans.length === 0) return;
		if (this.#end.signal.aborted) return this.#drop("unreachable", spans.length);
		const { batch, source, exported, wait = waited } = this.options;
		const body = await this.#client.bodyOf(this.#client.encoding.traces(spans, source));
		const late = AbortSignal.timeout(batch.exportMs);
		const deadline = { signal: late, ms: batch.exportMs };
		const end = AbortSignal.any([late, this.#end.signal]);
		for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
			const tried = await this.#client.post(body, this.#end.signal, deadline);
			if ("rejected" in tried) {
				// A collector may say what it likes.
				const rejected = Math.min(Math.max(tried.rejected, 0), spans.length);
				exported(spans.length - rejected);
				if (rejected > 0) this.#drop("refused", rejected);
				return;
			}
			if (!tried.mayPass) return this.#drop("refused", spans.length);
			const waitMs = Math.max(pauseMs * (1 + Math.random() / 3), tried.retryAfterMs ?? 0);
			if (!(await wait(Math.min(waitMs, LONGEST_TIMER_MS), end))) return this.#drop("unreachable", spans.length);
		}
	}

	/** Spans that this process could not make or send, which must not be the end of all that come. */
	#lose(spans: number, thrown: unknown): void {
		this.#drop("refused", spans);
		if (this.#hasSaidDefect) return;
		this.#hasSaidDefect = true;
		this.options.client.log.warn(`spans could not be written, and are dropped: ${(thrown as Error).message}`);
	}

	#drop(reason: DropReason, spans: number): void {
		this.options.dropped(reason, spans);
		this.#client.dropped(spans);
	}
}

const countOf = (what: Waiting): number => ("call" in what ? 1 + what.call.trace!.span!.steps.length : 1);

const lengthOf = ({ input = "", output = "" }: SpanContents): number => input.length + output.length;
const sizeOf = (what: Waiting): number => ("call" in what && what.contents ? lengthOf(what.contents) : 0);

const spansOf = (what: Waiting): Span[] =>
	"call" in what
		? callSpans(what.call, what.call.trace!.span!, what.contents)
		: [attemptSpan(what.attempt, what.attempt.span!)];

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
