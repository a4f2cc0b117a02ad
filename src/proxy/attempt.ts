/** One try at one target: an answer that has begun, or the failure it ended in. */
import type { Call } from "../openai/call.ts";
import { KEEP_ALIVE, type StreamPiece } from "../openai/sse.ts";
import {
	type Addition,
	type Answer,
	type EncodeOptions,
	type Failure,
	isFailure,
	isOk,
	NO_INPUTS,
	type RequestInputs,
	type StoredThinking,
	type StreamDecoder,
	type Target,
	type UpstreamAnswer,
	type UpstreamRequest,
} from "../providers/provider.ts";
import { answerHeaders } from "./answer-headers.ts";
import type { OpenRecord } from "./call-record.ts";
import { Deadline } from "./deadline.ts";
import { EventReader } from "./event-reader.ts";
import { readJsonText } from "./net/read-body.ts";
import { transportFailure } from "./net/transport-failure.ts";
import { foldedAnswer, isEvents, isNoStream, played, rejoined, source } from "./other-form.ts";
import { refusedAddition } from "./refused-additions.ts";
import { guardedDecoder } from "./safe-decoder.ts";
import type { Late } from "./second-target.ts";
import type { CallTimeouts } from "./timeouts.ts";

/** An answer that has begun. */
export interface StartedAnswer {
	/** Its provider is the account that was used. */
	readonly target: Target;
	readonly head: UpstreamAnswer;
	/** The whole of it, unless it is a stream. */
	readonly answer?: Answer;
	/** The stream, and what of it has come and is not sent yet. The attempt lasts until the reader is over. */
	readonly reader?: EventReader;
	readonly first: StreamPiece[];
}

/** Who waits for a stream to begin. */
export interface AttemptListener {
	/** Bytes have left, so that comments may, too. */
	readonly hasLeft: boolean;
	/** Comments of the upstream's that were held back long enough, or need not be. */
	comments(pieces: readonly StreamPiece[]): void;
}

/** What an attempt is made of. */
export interface AttemptOptions {
	readonly call: Call;
	/** Its provider is the account to use. */
	readonly target: Target;
	readonly limits: CallTimeouts;
	readonly waiting: AttemptListener;
	/** Tells that the attempt has begun; what it returns hears the rest of it. */
	readonly record: () => OpenRecord;
	/** The upstream has taken the key, or failed before it could. */
	readonly onKey: (failure: Failure | undefined) => void;
	/** See Wishes. */
	readonly counts?: boolean | undefined;
	readonly without?: ReadonlySet<Addition> | undefined;
	/** Reads the target's stream otherwise than as a whole answer: as the rest of one. */
	readonly read?: ((decoder: StreamDecoder) => StreamDecoder) | undefined;
	/** When it counts as late, and who hears of that. */
	readonly late?: Late | undefined;
	readonly onLate?: ((late: Late) => void) | undefined;
}

/**
 * How long comments alone (OpenRouter's `: OPENROUTER PROCESSING`) are held back, ms: until data comes, a failure can still have a
 * status of its own. Longer, and the connection needs them.
 */
const COMMENTS_MS = 5000;

/** How long the counts and the end of an answer that is complete are waited for, ms: its client has all else. */
const FINISHED_MS = 5000;

/** One that stays late is looked at again so often in the time that it had for itself. */
const LOOKS = 10;

/** One try. `open` it once. */
export class Attempt {
	readonly #deadline: Deadline;
	#record: OpenRecord | undefined;
	#sentAt = 0;
	#isLoading = false;
	#hasBegun = false;
	/** Nobody is to hear of it any more. */
	#isMute = false;
	/** See `extend`. */
	#extendedMs: number | undefined;
	/** Time spent waiting for the upstream, up to its answer's beginning or its failure, ms. */
	waitedMs = 0;

	constructor(private readonly options: AttemptOptions) {
		this.#deadline = new Deadline(options.call);
	}

	/**
	 * Throws RouterError where the call can't be put into the target's words (no key, a field it has no form for), before the
	 * attempt has begun; and whatever a fault of the router's own code throws. The attempt is closed in every case but one: a stream
	 * closes it at its end.
	 */
	async open(): Promise<StartedAnswer | Failure> {
		const { call, target, limits, record } = this.options;
		const request = await this.#encode();
		this.#record = record();
		const leftMs = timeLeft(call);
		const limit = Math.min(this.#extendedMs ?? (call.stream ? limits.firstTokenMs : limits.totalMs), leftMs);
		this.#deadline.within(limit, call.stream ? "first token" : "answer", limit, setByCall(call, limit, leftMs));
		this.#sentAt = performance.now();
		if (this.options.late) this.watch(this.options.late);
		let status: number | undefined;
		try {
			const reached = await this.#reach(request);
			status = reached.status;
			if ("kind" in reached) return this.#failed(reached, status);
			const { answer: head, text } = reached;
			if (text === undefined) return refusedBy(await this.#stream(head), request);
			if (call.stream && isOk(head)) return refusedBy(await this.#noStream(head, text), request);
			const isOther = isOk(head) && isEvents(text);
			const read = isOther
				? foldedAnswer(target.provider, call, text)
				: target.provider.decode(head.status, head.headers, text, call);
			if (isFailure(read)) {
				const headers = answerHeaders(head.headers, target.provider.secret);
				return refusedBy(this.#failed({ ...read, headers }, status), request);
			}
			this.#arrived();
			this.options.onKey(undefined);
			this.#deadline.clear();
			this.#keep(read.keeps);
			this.#record.closed({ status, tokens: read.tokens, cost: read.cost });
			return { target, head, answer: read, first: [] };
		} catch (thrown) {
			this.#failed({ kind: "internal", message: "the router failed" }, status);
			throw thrown;
		}
	}

	/** Ends it, since nobody wants its answer any more: `why` says it of the attempt. Its failure is `cancelled`. */
	drop(why: string): void {
		this.#deadline.drop(why);
	}

	get #wishes(): EncodeOptions | undefined {
		const { counts, without } = this.options;
		return without ? { counts, without } : counts ? COUNTS : undefined;
	}

	/** Has it told when it counts as late, from its sending; at once where it does already. */
	watch(late: Late): void {
		this.#deadline.late(late.ms - (performance.now() - this.#sentAt), () => this.options.onLate?.(late));
	}

	/** Has it told once more, some time later. */
	watchOn(late: Late): void {
		this.#deadline.late(late.ms / LOOKS, () => this.options.onLate?.(late));
	}

	/** Another target's answer is used: nothing of this one reaches the client. */
	mute(): void {
		this.#isMute = true;
	}

	/** While it waits for its answer to begin, it may wait so long from its sending, ms. */
	extend(limitMs: number): void {
		this.#extendedMs = limitMs;
		if (this.#hasBegun || this.#sentAt === 0) return;
		const { call } = this.options;
		const left = Math.min(limitMs - (performance.now() - this.#sentAt), timeLeft(call));
		this.#deadline.within(Math.max(1, left), call.stream ? "first token" : "answer", limitMs);
	}

	/** The call in the target's words. Where that takes more than the call itself, it is waited for. */
	#encode(): UpstreamRequest | Promise<UpstreamRequest> {
		const { call, target } = this.options;
		const { provider } = target;
		try {
			const needs = provider.needs?.(call, target) ?? [];
			if (needs.length === 0 || !provider.supplies) return provider.encode(call, target, NO_INPUTS, this.#wishes);
			return this.#supplied(provider.supplies.get(call, needs, call.signal));
		} catch (thrown) {
			this.#deadline.clear();
			throw thrown;
		}
	}

	async #supplied(coming: Promise<RequestInputs>): Promise<UpstreamRequest> {
		const { call, target } = this.options;
		const askedAt = performance.now();
		try {
			const got = await coming;
			return target.provider.encode(call, target, got, this.#wishes);
		} catch (thrown) {
			this.#deadline.clear();
			throw thrown;
		} finally {
			this.waitedMs += performance.now() - askedAt;
		}
	}

	/** Sends the request and takes what comes of it from the network: the head; the text, too, unless that is a stream to relay. */
	async #reach(
		request: UpstreamRequest,
	): Promise<{ answer: UpstreamAnswer; text: string | undefined; status: number } | Failure> {
		const { call, target, limits } = this.options;
		let answer: UpstreamAnswer | undefined;
		try {
			answer = await target.provider.transport.send(request, this.#deadline.signal, limits.connectMs);
			const isStream = call.stream && isOk(answer) && !isJson(answer);
			if (isStream) return { answer, text: undefined, status: answer.status };
			const text = await readJsonText(answer, this.#deadline);
			// What broke behind a complete answer was this side of it.
			const left = this.#deadline.signal.aborted ? this.#deadline.failure : undefined;
			return left?.kind === "cancelled" ? { ...left, status: answer.status } : { answer, text, status: answer.status };
		} catch (thrown) {
			const failure = this.#deadline.failure ?? transportFailure(thrown, answer !== undefined);
			return { ...failure, status: answer?.status };
		}
	}

	/** What a streamed call got in the place of a stream: one JSON is played as one, and events are read under whatever name they come. */
	async #noStream(head: UpstreamAnswer, text: string): Promise<StartedAnswer | Failure> {
		const { call, target } = this.options;
		if (isEvents(text)) return this.#stream({ ...head, body: source([Buffer.from(text)]) });
		const read = target.provider.decode(head.status, head.headers, text, call);
		if (isFailure(read)) return this.#failed({ ...read, status: head.status }, head.status);
		const { body, decoder } = played(call, read);
		return this.#stream({ ...head, body }, decoder);
	}

	/** A streamed answer, once it has begun: until then its failure is an ordinary one, with other targets to try. */
	async #stream(head: UpstreamAnswer, decoder?: StreamDecoder): Promise<StartedAnswer | Failure> {
		const { call, target, limits, waiting, onKey, read = (inner) => inner } = this.options;
		const deadline = this.#deadline;
		const inner = decoder ?? target.provider.decoder(call);
		const reader = new EventReader(head.body, guardedDecoder(read(inner)), deadline, {
			begun: () => {
				this.#hasBegun = true;
				onKey(undefined);
				deadline.silence(reader.firstDeltaAt === undefined ? limits.thinkMs : limits.stallMs);
			},
			// Of the rest of an answer, the first new piece may come behind all that was sent before: that says nothing of other calls.
			firstDelta: () => {
				if (reader.hasBegun && !reader.isFinished) deadline.silence(limits.stallMs);
				this.#record?.firstToken(!this.#isLoading && this.options.read === undefined);
			},
			finished: (is, mayGoOn) => {
				deadline.silence(is && !mayGoOn ? Math.min(limits.stallMs, FINISHED_MS) : limits.stallMs);
			},
			comment: (text) => this.#heard(text),
			keeps: (keeps) => this.#keep(keeps),
			end: (failure) => {
				if (failure || !reader.hasBegun) onKey(failure);
				this.#record?.closed({ status: head.status, failure, tokens: reader.tokens, cost: reader.cost });
			},
		});
		const first: StreamPiece[] = [];
		// From the sending, so that two relays in a row hold no longer than one.
		const patience = this.#sentAt + COMMENTS_MS;
		let isFirst = true;
		while (!reader.isOver && !reader.hasBegun) {
			let piece: StreamPiece = "";
			let other: string | undefined;
			try {
				const chunk = await reader.read();
				if (isFirst && chunk && isNoStream(chunk)) other = await readJsonText(rejoined(head, chunk), deadline);
				else piece = chunk ? reader.take(chunk) : reader.finish();
				isFirst = false;
			} catch (cause) {
				piece = reader.broken(cause);
			}
			// This reader has seen nothing of it.
			if (other !== undefined) return this.#noStream(head, other);
			if (piece !== "") first.push(piece);
			const isHeld = !waiting.hasLeft && performance.now() <= patience;
			if (reader.isOver || reader.hasBegun || reader.hasEvent || isHeld || first.length === 0) continue;
			const comments = first.splice(0);
			if (!this.#isMute) waiting.comments(comments);
		}
		this.#arrived();
		return reader.failure ?? { target, head, reader, first };
	}

	/** A model that is being loaded is not a slow one: its agent says how far it is. */
	#heard(comment: string): void {
		if (!this.options.target.provider.reportsLoading || comment.startsWith(KEEP_ALIVE)) return;
		this.#isLoading = true;
		this.#deadline.rearm();
	}

	/** What later calls will need. */
	#keep(keeps: readonly StoredThinking[] | undefined): void {
		if (keeps?.length) this.options.target.provider.supplies?.keep(this.options.call, keeps);
	}

	#arrived(): void {
		this.waitedMs += performance.now() - this.#sentAt;
	}

	#failed(failure: Failure, status: number | undefined): Failure {
		this.#arrived();
		this.#deadline.abort();
		this.#deadline.clear();
		this.options.onKey(failure);
		this.#record?.closed({ status, failure });
		return failure;
	}
}

const COUNTS: EncodeOptions = { counts: true };

/** Said where the call's own header has set a limit: no setting of the router's would raise that. */
function setByCall({ stream, limits }: Call, limitMs: number, leftMs: number): string {
	if (stream && limits?.first_token === limitMs) return ", as the call's x-router-first-token-ms says";
	return limitMs === leftMs ? ", as the call's x-router-timeout-ms says" : "";
}

/** What is left of the time that the client gave its call, ms; Infinity where it gave none. At least 1. */
export function timeLeft({ timeoutMs, startedAt }: Call): number {
	return timeoutMs === undefined ? Number.POSITIVE_INFINITY : Math.max(1, timeoutMs - (performance.now() - startedAt));
}

/** The failure, with what of the router's own it is about. */
function refusedBy(result: StartedAnswer | Failure, { added }: UpstreamRequest): StartedAnswer | Failure {
	const refused = added?.length && "kind" in result ? refusedAddition(result, added) : undefined;
	return refused ? { ...(result as Failure), refused } : result;
}

/** Media types are the same in any case (RFC 9110, 8.3.1). */
function isJson({ headers }: UpstreamAnswer): boolean {
	return headers.get("content-type")?.toLowerCase().startsWith("application/json") ?? false;
}
