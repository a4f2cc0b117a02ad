/** Counts what the containers of one generation of a model do with their calls, while a canary is compared with the others. */
import type { ByteSource, CancelSignal, UpstreamAnswer, UpstreamRequest } from "../../providers/provider.ts";
import { steadyTime } from "../../steady-time.ts";
import type { CallCounts, LogMoments } from "./canary-analysis.ts";

/** Most refused requests that are told apart; further ones count once each. */
const MOST_REFUSED = 10_000;
/** Fewest tokens of an answer whose speed is taken. */
const FEWEST_TOKENS = 8;
/** Longest end of a chunk that is kept, bytes: the field that is looked for may be cut there. */
const KEPT = 64;
const TOKENS = /"completion_tokens"\s*:\s*(\d+)/g;
/** An event: comments of a stream that waits begin with a colon. */
const EVENT = /^data:/m;
const ERROR_EVENT = /^data:\s*\{\s*"error"/m;

/** Times as they come, ms. */
class Moments implements LogMoments {
	count = 0;
	sum = 0;
	squares = 0;

	add(ms: number): void {
		const log = Math.log(Math.max(ms, 0.01));
		this.count++;
		this.sum += log;
		this.squares += log * log;
	}
}

/** The counts of one generation. */
export class CallCounter implements CallCounts {
	calls = 0;
	errors = 0;
	readonly firstToken = new Moments();
	readonly tokenTime = new Moments();
	/** Of refused requests: a client that repeats its mistake is one. */
	readonly #refused = new Set<bigint>();

	get refused(): number {
		return this.#refused.size;
	}

	/** A call begins. */
	begin({ body, stream = false }: Pick<UpstreamRequest, "body" | "stream">, now = steadyTime()): CountedCall {
		return new CountedCall(this, body, stream, now);
	}

	/** A request was refused. A stream of bytes is told from no other. */
	refuse(body: UpstreamRequest["body"]): void {
		if (this.#refused.size >= MOST_REFUSED) return;
		const text = typeof body === "string" ? body : Array.isArray(body) ? Buffer.concat(body) : "";
		this.#refused.add(BigInt(Bun.hash(text)));
	}
}

/** One call in one container. */
export class CountedCall {
	#isOver = false;
	#firstAt = 0;
	#tokens = 0;
	#rest = "";
	readonly #decoder = new TextDecoder();

	constructor(
		private readonly counter: CallCounter,
		private readonly body: UpstreamRequest["body"],
		private readonly isStream: boolean,
		private readonly startedAt: number,
	) {}

	/** It failed: its connection was refused or broke, or its stream says so. */
	failed(): void {
		if (this.#isOver) return;
		this.#isOver = true;
		this.counter.calls++;
		this.counter.errors++;
	}

	/** Its client left. */
	givenUp(): void {
		this.#isOver = true;
	}

	/** The answer, which is counted as it is read. */
	answered(answer: UpstreamAnswer, signal: CancelSignal): UpstreamAnswer {
		const { status, body, whole } = answer;
		// Full, or about to be: that is no fault.
		if (status === 429 || status === 503) this.givenUp();
		else if (status >= 500) this.failed();
		else if (status >= 400) this.#refused();
		if (this.#isOver) return answer;
		const source: ByteSource = { read: () => this.#read(body, signal) };
		const text = async () => {
			try {
				const all = await whole!.text();
				this.#took(all, steadyTime());
				this.#ended(steadyTime());
				return all;
			} catch (thrown) {
				this.#broke(signal);
				throw thrown;
			}
		};
		return { ...answer, body: source, whole: whole && { text } };
	}

	async #read(body: ByteSource, signal: CancelSignal): Promise<Uint8Array | undefined> {
		try {
			const chunk = await body.read();
			const now = steadyTime();
			if (!chunk) this.#ended(now);
			else if (!this.#isOver) this.#took(this.#decoder.decode(chunk, { stream: true }), now);
			return chunk;
		} catch (thrown) {
			this.#broke(signal);
			throw thrown;
		}
	}

	#took(chunk: string, now: number): void {
		const text = this.#rest + chunk;
		this.#rest = text.slice(-KEPT);
		if (this.#firstAt === 0 && (!this.isStream || EVENT.test(chunk))) this.#firstAt = now;
		if (this.isStream && ERROR_EVENT.test(chunk)) this.failed();
		for (const [, count] of text.matchAll(TOKENS)) this.#tokens = Number(count);
	}

	#ended(now: number): void {
		if (this.#isOver) return;
		this.#isOver = true;
		const { counter, isStream, startedAt } = this;
		counter.calls++;
		if (isStream && this.#firstAt > 0) counter.firstToken.add(this.#firstAt - startedAt);
		if (this.#tokens < FEWEST_TOKENS) return;
		const from = isStream ? this.#firstAt : startedAt;
		counter.tokenTime.add((now - from) / this.#tokens);
	}

	#refused(): void {
		this.#isOver = true;
		this.counter.calls++;
		this.counter.refuse(this.body);
	}

	#broke(signal: CancelSignal): void {
		if (signal.aborted) this.givenUp();
		else this.failed();
	}
}
