/** One upstream's stream as it is read: its bytes are understood, and become what the client is sent. */
import { bytePart } from "../openai/byte-part.ts";
import {
	type AnswerPiece,
	answerPiece,
	EventTooLarge,
	NativeEvent,
	type PiecePart,
	type SseEvent,
	SseSplitter,
	spokenLength,
	unmarked,
} from "../openai/sse.ts";
import type { Tokens } from "../openai/usage.ts";
import { type Failure, TRUNCATED } from "../providers/failure.ts";
import type { ByteSource, CountedTokens, Out, StoredThinking, StreamDecoder } from "../providers/provider.ts";
import type { Deadline } from "./deadline.ts";
import { bytesOf, outOf, passedBy, restOf, whyIncomplete } from "./decoder-faults.ts";
import { TunnelLost } from "./net/http1-exchange.ts";
import { transportFailure } from "./net/transport-failure.ts";

/** What a reader reports. */
export interface ReaderEvents {
	/** Once: the answer has begun. */
	begun(): void;
	/** Once: pieces of the answer come, and are held back. */
	held(): void;
	/** Once: the first event that carries some of the answer. */
	firstDelta(): void;
	/**
	 * The answer is complete, and only its end is to come, or counts of tokens; or it is not, after all. Behind `begun`. `mayContinue`: its
	 * finish reason came with a piece of it, and so may the next, which then takes it back.
	 */
	finished(isFinished: boolean, mayContinue: boolean): void;
	/** A comment, before the answer has begun. */
	comment(text: string): void;
	/** What later calls will need. */
	keeps(keeps: readonly StoredThinking[]): void;
	/** Once: complete, or why not. */
	end(failure: Failure | undefined): void;
}

/** Of what stands in no event that could be sent. */
const NOTHING = Buffer.alloc(0);
/** Whether clients can read it as it came: no field of it was left out, but for its name. */
const isAsItCame = ({ isMended, isNamed }: SseEvent): boolean => isNamed === true || !isMended;

/** How long it is as it came. */
const lengthOf = ({ raw, name, isNamed }: SseEvent): number =>
	spokenLength(raw) + (isNamed ? "event: \n".length + name!.length : 0);

/** How long a finished upstream may take to close its side before the connection is given up, ms. */
const CLOSING_MS = 1000;

/** Reads one stream. Whoever sends it on reads `body`, and `take`, `finish` or `broken` give what to send for that; until `isOver`. */
export class EventReader {
	// What each event needs is side by side: a stream's state has left the processor's caches by its next event.
	readonly #splitter = new SseSplitter();
	readonly #decoder: StreamDecoder;
	readonly #deadline: Deadline;
	/** The chunk at hand has events that are no comments. */
	#sawData = false;
	/** So many bytes at the beginning of the chunk at hand go on untouched. */
	#untouched = 0;
	/** What is sent behind these; undefined where nothing that came was altered or left out. */
	#rest: PiecePart[] | undefined;
	/** Some of that is there as it came, too. */
	#isNative = false;
	/** The answer has begun: what came is worth sending. */
	hasBegun = false;
	isOver = false;
	/** All of the answer has come: whatever breaks now is no loss but of its counts. */
	isFinished = false;
	/** Events that carried some of the answer, how long they were in all, and the shortest: UTF-16 units or bytes. */
	#deltas = 0;
	#deltaLength = 0;
	#shortest = Number.POSITIVE_INFINITY;
	/** Events that are no comments; counted up to the second. */
	#events = 0;
	/** Pieces have come that are held back, and those are sent on once the answer has begun. */
	#isHeld = false;
	#holds = false;
	/** When the first piece of the answer was here, on `performance.now()`'s clock. */
	firstDeltaAt: number | undefined;
	/** How it ended, where that was badly. Told by no piece. */
	failure: Failure | undefined;
	#tokens: Tokens | undefined;
	/** USD. */
	cost: number | undefined;
	/** What the decoder gave at the end of a good answer: usage and last event for the client among it. */
	last: Out | undefined;
	/** Events that were no JSON. */
	dropped = 0;

	constructor(
		readonly body: ByteSource,
		decoder: StreamDecoder,
		deadline: Deadline,
		private readonly events: ReaderEvents,
	) {
		this.#decoder = decoder;
		this.#deadline = deadline;
	}

	/** The next bytes; see ByteSource. */
	read(): Promise<Uint8Array | undefined> {
		return this.body.read();
	}

	/** What to send for a chunk. What goes on untouched stays the bytes that it came as. */
	take(chunk: Uint8Array): AnswerPiece {
		const splitter = this.#splitter;
		const deltas = this.#deltas;
		// A byte order mark is good only at the very beginning.
		splitter.add(splitter.isClean && !this.hasBegun ? unmarked(chunk) : chunk);
		this.#sawData = false;
		this.#untouched = 0;
		this.#rest = undefined;
		this.#isNative = false;
		while (!this.isOver) {
			this.#pass();
			const { at } = splitter;
			const event = splitter.next();
			if (!event) break;
			this.#read(event, at);
		}
		// A piece of an event is a sign of life; a comment is one of the connection only.
		if (this.isFinished ? this.#deltas > deltas : this.#sawData || !splitter.isClean) this.#deadline.touch();
		return this.#taken();
	}

	/** The upstream closed its side. */
	finish(): AnswerPiece {
		return this.#last(this.#splitter.end());
	}

	/** Reading failed: the client left, time ran out, or the connection broke, which is a clean end only of an answer that is complete. */
	broken(cause: unknown): AnswerPiece {
		// It broke off because it was over: what is being read has yet to be sent.
		if (this.isOver) return "";
		const failure = this.#deadline.failure ?? (cause instanceof TunnelLost ? transportFailure(cause, true) : TRUNCATED);
		if (this.isFinished && failure.kind !== "cancelled") return this.#last([]);
		// Bun's own words may name the address with its password; ours say what was too large.
		const reason = cause instanceof EventTooLarge ? ` (${cause.message})` : "";
		this.#over({ ...failure, message: failure.message + reason });
		return "";
	}

	/** The client reads more slowly than the upstream sends, until `taken` resolves: no silence of the upstream's. */
	async waitFor(taken: Promise<unknown>): Promise<void> {
		this.#deadline.stopWaiting();
		await taken;
		this.#deadline.touch();
	}

	/** An event that is no comment has come. */
	get hasEvent(): boolean {
		return this.#events > 0 || this.#holds || this.hasBegun;
	}

	/** What the upstream has counted: of the whole answer, or of as much of it as has come, where it counts with each chunk. */
	get tokens(): Tokens | undefined {
		this.#tokens = this.#decoder.passedTokens?.() ?? this.#tokens;
		const counted = this.counted;
		if (!counted || (this.#tokens && this.#tokens.output >= counted.output)) return this.#tokens;
		return { ...this.#tokens, input: counted.input, output: counted.output };
	}

	/** Tokens of the answer as far as it has come; undefined where its upstream does not count with each chunk. */
	get counted(): CountedTokens | undefined {
		return this.#decoder.countedTokens?.();
	}

	/** How long it has given nothing of the answer, ms. */
	get silentMs(): number {
		return this.#deadline.silentMs;
	}

	/**
	 * Tokens of the answer so far, where nobody has counted them: vLLM and OpenAI send one an event, others several; what is longer
	 * than the shortest event is text, four characters a token.
	 */
	get guess(): number {
		if (this.#deltas === 0) return 0;
		return Math.max(this.#deltas, Math.ceil((this.#deltaLength - this.#deltas * (this.#shortest - 2)) / 4));
	}

	/** Ends it from this side: the client is gone. */
	leave(failure: Failure): void {
		this.#over(failure);
	}

	/** Sends on the events at hand that need no reading. */
	#pass(): void {
		const splitter = this.#splitter;
		const passed = passedBy(this.#decoder, splitter.bytes, splitter.at);
		if (!passed) return;
		const { bytes, length, events, beside = 0 } = passed;
		splitter.at += length;
		this.#sawData = true;
		this.#deltas += events;
		const isNative = bytes !== undefined && "own" in bytes && bytes.own !== undefined;
		this.#deltaLength += (isNative ? length : (bytes?.length ?? length)) - beside;
		if (bytes) {
			if (isNative) this.#isNative = true;
			this.#add(bytes);
		} else this.#goOn(splitter.at - length);
	}

	/** Sends on what has just been read, from there on, as it came. */
	#goOn(from: number): void {
		const { bytes, at } = this.#splitter;
		if (this.#rest) this.#add(bytePart(bytes, from, at));
		else this.#untouched = at;
	}

	/** @param from where it begins among the bytes at hand; undefined where it is not whole there */
	#read(event: SseEvent, from?: number): void {
		const out = outOf(this.#decoder, event);
		this.#apply(out, event);
		if (out.failure && !this.isFinished) this.#over(out.failure);
		else if (out.failure || out.done) this.#end();
		else if (out.own && from !== undefined && isAsItCame(event) && this.#splitter.isFaithful) {
			if (out.own === true) this.#goOn(from);
			else this.#addNative(out, bytePart(this.#splitter.bytes, from, this.#splitter.at));
		} else {
			const bytes = bytesOf(out);
			const goesOn = bytes === undefined && !this.#rest && !event.isMended && this.#splitter.isFaithful;
			if (goesOn) this.#untouched = this.#splitter.at;
			else this.#add(bytes ?? event.raw);
		}
	}

	/** Sends on something that does not lie behind the untouched bytes where these came. */
	#add(part: PiecePart): void {
		this.#rest ??= [];
		if (part !== "") this.#rest.push(part);
	}

	/** Sends on an event of which there are two forms. */
	#addNative({ own, bytes = "", lazyBytes }: Out, sent: Uint8Array = NOTHING): void {
		this.#isNative = true;
		this.#add(new NativeEvent(sent, own as NativeEvent["event"], lazyBytes ?? bytes));
	}

	/** All that is sent on of a chunk. */
	#taken(): AnswerPiece {
		const before = this.#splitter.before(this.#untouched);
		return this.#rest ? answerPiece(before, this.#rest, this.#isNative) : before;
	}

	/** The end of what has come, behind these events. */
	#last(events: readonly SseEvent[]): AnswerPiece {
		this.#untouched = 0;
		this.#isNative = false;
		this.#rest = [];
		for (const event of events) this.#read(event);
		if (!this.isOver) this.#end();
		return this.#taken();
	}

	/** The end of an answer: good if the decoder says it is complete. What it has kept back until then comes now. */
	#end(): void {
		const failure = whyIncomplete(this.#decoder);
		const rest = failure ? undefined : restOf(this.#decoder);
		if (rest) this.#learn(rest);
		this.last = rest;
		this.#over(failure ?? rest?.failure);
		if (!rest || rest.failure) return;
		if (typeof rest.own === "object") this.#addNative(rest);
		else this.#add(rest.bytes ?? "");
	}

	#learn(out: Out): void {
		// A later count that is none does not replace what was counted.
		if (out.tokens && !(out.tokens.uncounted && this.#tokens && !this.#tokens.uncounted)) this.#tokens = out.tokens;
		if (out.cost !== undefined) this.cost = out.cost;
		if (out.thinking?.length) this.events.keeps(out.thinking);
		if (out.dropped) this.dropped++;
	}

	#apply(out: Out, event: SseEvent): void {
		this.#learn(out);
		if (event.data === undefined) {
			if (!this.hasBegun && event.raw !== "") this.events.comment(event.raw);
			return;
		}
		this.#sawData = true;
		if (out.delta) {
			const length = out.own ? lengthOf(event) : spokenLength(out.bytes ?? event.raw);
			this.#deltas++;
			this.#deltaLength += length;
			if (length < this.#shortest) this.#shortest = length;
		}
		if (out.delta && this.firstDeltaAt === undefined) {
			this.firstDeltaAt = performance.now();
			this.events.firstDelta();
		}
		// A first event without text says who speaks: until more comes, the call can still go elsewhere and nobody has missed a thing.
		if (!this.hasBegun && (out.delta || (!out.held && ++this.#events === 2))) {
			this.hasBegun = true;
			this.events.begun();
		}
		if (out.held && out.bytes !== "") this.#holds = true;
		if (out.held && !this.#isHeld) {
			this.#isHeld = true;
			this.events.held();
		}
		if (out.finish !== undefined && out.finish !== this.isFinished) this.#finishes(out.finish, out.delta === true);
	}

	#finishes(isFinished: boolean, hasDelta: boolean): void {
		// Of several choices others may still be on their way.
		if (isFinished && whyIncomplete(this.#decoder) !== undefined) return;
		this.isFinished = isFinished;
		if (!this.hasBegun) {
			this.hasBegun = true;
			this.events.begun();
		}
		this.events.finished(isFinished, hasDelta);
	}

	#over(failure: Failure | undefined): void {
		if (this.isOver) return;
		this.isOver = true;
		this.failure = failure;
		if (failure) {
			this.#deadline.abort();
			this.#deadline.clear();
			this.events.end(failure);
			return;
		}
		this.events.end(undefined);
		// The last bytes of a good answer are on their way: reading them keeps the connection for the next call.
		this.#deadline.within(CLOSING_MS, "end");
		const letGo = () => this.#deadline.clear();
		this.body.read().then((chunk) => {
			if (chunk) this.#deadline.abort();
			letGo();
		}, letGo);
	}
}

/** What the upstream has counted of its own stream so far, where it counts with each chunk. */
export function ownTokens(decoder: StreamDecoder): Tokens | undefined {
	const counted = decoder.countedTokens?.();
	return counted && { input: counted.input, output: counted.output };
}
