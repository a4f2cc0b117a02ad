/** One try at one target: an answer that has begun, or the failure it ended in. */
import type { Call } from "../openai/call.ts";
import { type AnswerPiece, KEEP_ALIVE } from "../openai/sse.ts";
import type { Addition, Failure } from "../providers/failure.ts";
import {
	type EncodeOptions,
	isOk,
	type MediaNeed,
	NO_INPUTS,
	type StreamDecoder,
	type Target,
	type UpstreamAnswer,
	type UpstreamRequest,
} from "../providers/provider.ts";
import type { RoutingState } from "../routing/target-state.ts";
import type { TargetFailure } from "./attempt-result.ts";
import type { CallPlan } from "./call-plan.ts";
import type { AttemptRecord, CallRecord } from "./call-record.ts";
import { Deadline } from "./deadline.ts";
import { EventReader, ownTokens, type ReaderEvents } from "./event-reader.ts";
import type { Account } from "./key-rotation.ts";
import { readJsonText } from "./net/read-body.ts";
import { transportFailure } from "./net/transport-failure.ts";
import { foldedAnswer, isEvents, isJson, isNoStream, rejoined, replayed, source } from "./other-form.ts";
import { PassedAnswer } from "./passed-answer.ts";
import { refusedAddition } from "./refused-additions.ts";
import { passedHeaders } from "./response-headers.ts";
import type { RoundPart } from "./round.ts";
import type { Late } from "./second-target.ts";
import type { AttemptListener, StartedAnswer } from "./started-answer.ts";
import { type CallTimeouts, setByCall, timeLeft } from "./timeouts.ts";

/** The call that makes an attempt. Asked only where something is not as it usually is. */
export interface AttemptOwner {
	/** It failed: what that says of its target. Asked before the attempt is closed, once. */
	failed(attempt: Attempt, failure: Failure): TargetFailure;
	/** The upstream took a key that was out of use. */
	keyAccepted(attempt: Attempt): void;
	/** It is late, and others might be asked beside it. */
	late(attempt: Attempt, late: Late): void;
}

/** What an attempt is made of. */
export interface AttemptOptions {
	readonly call: Call;
	/** Its provider is the account to use. */
	readonly target: Target;
	/** Of the call's targets. */
	readonly index: number;
	readonly account?: Account | undefined;
	readonly limits: CallTimeouts;
	readonly client: AttemptListener;
	readonly record: CallRecord;
	/** What is known of all targets. */
	readonly targets: RoutingState;
	/** What of its call's plan it needs. */
	readonly plan?: Pick<CallPlan, "work" | "alias"> | undefined;
	readonly owner: AttemptOwner;
	/** Its part in a round of several. */
	readonly part?: RoundPart | undefined;
	/** See EncodeOptions. */
	readonly counts?: boolean | undefined;
	readonly withoutAdditions?: ReadonlySet<Addition> | undefined;
	/** Reads the target's stream otherwise than as a whole answer: as the rest of one. */
	readonly read?: ((decoder: StreamDecoder) => StreamDecoder) | undefined;
	/** When it counts as late. */
	readonly late?: Late | undefined;
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
	#deadline: Deadline | undefined;
	#record: AttemptRecord | undefined;
	#sentAt = 0;
	#isLoading = false;
	#hasBegun = false;
	/** Why it was dropped before it was sent. */
	#droppedFor: string | undefined;
	/** Another target was faster. */
	#isDiscarded = false;
	/** Fields that the call is made without. */
	#dropped: UpstreamRequest["dropped"];
	/** See `extend`. */
	#extendedMs: number | undefined;
	/** Time spent waiting for the upstream, up to its answer's beginning or its failure, ms. */
	waitedMs = 0;
	/** The first piece of a streamed answer was here. */
	hasFirstToken = false;
	/** What was left of the time that its client gave the call when it was sent, ms. */
	timeLeftMs = Number.POSITIVE_INFINITY;

	constructor(readonly options: AttemptOptions) {}

	/** Undefined until it is sent. */
	get record(): AttemptRecord | undefined {
		return this.#record;
	}

	/**
	 * Throws RouterError where the call can't be put into the target's words (no key, a field it has no form for), before the
	 * attempt has begun; and whatever a fault of the router's own code throws. The attempt is closed in every case but one: a stream
	 * closes it at its end.
	 */
	async open(): Promise<StartedAnswer | Failure> {
		const { call, target, limits, record, account, part, late, counts, withoutAdditions, plan } = this.options;
		const { provider } = target;
		const options =
			withoutAdditions || plan?.alias?.unsupported ? optionsOf(this.options) : counts ? COUNTS : undefined;
		const needs = provider.inputStore && provider.needs?.(call, target);
		const request = needs?.length
			? await this.#supplied(needs, options)
			: provider.encode(call, target, NO_INPUTS, options);
		this.#dropped = request.dropped;
		this.#sentAt = performance.now();
		if (call.timeoutMs !== undefined) this.timeLeftMs = timeLeft(call);
		const limitMs = Math.min(this.#extendedMs ?? (call.stream ? limits.firstTokenMs : limits.totalMs), this.timeLeftMs);
		const deadline = new Deadline(call.client, record);
		this.#deadline = deadline;
		const isOwnLimit = call.limits !== undefined || call.timeoutMs !== undefined;
		const by = isOwnLimit ? setByCall(call, limitMs, this.timeLeftMs) : "";
		deadline.within(limitMs, call.stream ? "first token" : "answer", limitMs, by);
		if (this.#droppedFor !== undefined) deadline.drop(this.#droppedFor);
		const isSecond = part !== undefined && part.position > 0;
		const attempt = record.openAttempt(target, this.options.targets, call.stream, plan?.work, isSecond, request);
		this.#record = attempt;
		if (late) this.watch(late);
		let answer: UpstreamAnswer | undefined;
		let text: string | undefined;
		try {
			try {
				answer = await provider.transport.send(request, deadline, limits.connectMs);
				if (call.passed && isOk(answer)) return this.#passed(answer);
				const isStream = call.stream && isOk(answer) && !isJson(answer);
				// Nothing to wait for where all of it is here.
				const read = isStream ? undefined : (answer.whole?.text() ?? readJsonText(answer, deadline));
				text = typeof read === "string" ? read : await read;
			} catch (thrown) {
				const failure = deadline.failure ?? transportFailure(thrown, answer !== undefined);
				return this.#failed({ ...failure, status: answer?.status }, answer?.status);
			}
			const { status, headers } = answer;
			if (text === undefined) return refusedBy(await this.#stream(answer), request);
			// What broke behind a complete answer was this side of it.
			const ended = deadline.aborted ? deadline.failure : undefined;
			if (ended?.kind === "cancelled") return this.#failed({ ...ended, status }, status);
			if (call.stream && isOk(answer)) return refusedBy(await this.#noStream(answer, text), request);
			const isOther = text[0] !== "{" && isOk(answer) && isEvents(text);
			const read = isOther ? foldedAnswer(target, call, text) : provider.decode(status, headers, text, call, target);
			if ("kind" in read) {
				const refusal = { ...read, headers: passedHeaders(headers, provider.secret) };
				return refusedBy(this.#failed(refusal, status), request);
			}
			this.waitedMs += performance.now() - this.#sentAt;
			if (account?.isProbe) this.options.owner.keyAccepted(this);
			deadline.clear();
			if (read.thinking?.length) provider.inputStore?.store(call, read.thinking);
			record.closeAttempt(attempt, { status, tokens: read.tokens, cost: read.cost, isUnused: part?.isUnused });
			return { target, head: answer, answer: read, first: [], dropped: this.#dropped };
		} catch (thrown) {
			this.#failed({ kind: "internal", message: "the router failed" }, answer?.status);
			throw thrown;
		}
	}

	/** Ends it, since nobody wants its answer any more: `why` says it of the attempt. Its failure is `cancelled`. */
	drop(why: string): void {
		if (this.#deadline) this.#deadline.drop(why);
		else this.#droppedFor = why;
	}

	/** Reports to its owner when it counts as late, from its sending; at once where it does already. */
	watch(late: Late): void {
		this.#deadline?.late(late.ms - (performance.now() - this.#sentAt), () => this.options.owner.late(this, late));
	}

	/** Reports that once more, some time later. */
	watchOn(late: Late): void {
		this.#deadline?.late(late.ms / LOOKS, () => this.options.owner.late(this, late));
	}

	/** Another target's answer is used: nothing of this one reaches the client. */
	discard(): void {
		this.#isDiscarded = true;
	}

	/** While it waits for its answer to begin, it may wait so long from its sending, ms. */
	extend(limitMs: number): void {
		this.#extendedMs = limitMs;
		if (this.#hasBegun || !this.#deadline) return;
		const { call } = this.options;
		const left = Math.min(limitMs - (performance.now() - this.#sentAt), timeLeft(call));
		this.#deadline.within(Math.max(1, left), call.stream ? "first token" : "answer", limitMs);
	}

	/** The call in the target's words, where that takes more than the call itself: it is waited for. */
	async #supplied(needs: readonly MediaNeed[], options: EncodeOptions | undefined): Promise<UpstreamRequest> {
		const { call, target, record } = this.options;
		const askedAt = performance.now();
		record.liftIdleTimeout();
		try {
			const inputs = await target.provider.inputStore!.get(call, needs, call.client.signal);
			return target.provider.encode(call, target, inputs, options);
		} finally {
			this.waitedMs += performance.now() - askedAt;
		}
	}

	/** What a streamed call got in the place of a stream: one JSON is played as one, and events are read under whatever name they come. */
	async #noStream(head: UpstreamAnswer, text: string): Promise<StartedAnswer | Failure> {
		const { call, target } = this.options;
		if (isEvents(text)) return this.#stream({ ...head, body: source([Buffer.from(text)]) });
		const read = target.provider.decode(head.status, head.headers, text, call, target);
		if ("kind" in read) return this.#failed({ ...read, status: head.status }, head.status);
		const { body, decoder } = replayed(call, read);
		return this.#stream({ ...head, body }, decoder);
	}

	/** A streamed answer, once it has begun: until then its failure is an ordinary one, with other targets to try. */
	async #stream(head: UpstreamAnswer, own?: StreamDecoder): Promise<StartedAnswer | Failure> {
		const { call, target, client, read } = this.options;
		const deadline = this.#deadline!;
		const decoder = own ?? target.provider.decoder(call, target);
		const events = this.#events(head, () => reader, decoder);
		const reader: EventReader = new EventReader(head.body, read ? read(decoder) : decoder, deadline, events);
		const first: AnswerPiece[] = [];
		// From the sending, so that two relays in a row hold no longer than one.
		const heldUntil = this.#sentAt + COMMENTS_MS;
		let isFirst = true;
		while (!reader.isOver && !reader.hasBegun) {
			let piece: AnswerPiece = "";
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
			const isHeld = !client.hasSent && performance.now() <= heldUntil;
			if (reader.isOver || reader.hasBegun || reader.hasEvent || isHeld || first.length === 0) continue;
			const comments = first.splice(0);
			if (!this.#isDiscarded) client.comments(comments);
		}
		this.waitedMs += performance.now() - this.#sentAt;
		return reader.failure ?? { target, head, reader, first, dropped: this.#dropped };
	}

	/** What becomes of the attempt while its stream is read. */
	#events(head: UpstreamAnswer, readerOf: () => EventReader, decoder: StreamDecoder): ReaderEvents {
		const { call, target, limits, record, account, part, owner, read } = this.options;
		const { provider } = target;
		const deadline = this.#deadline!;
		return {
			begun: () => {
				this.#hasBegun = true;
				if (account?.isProbe) owner.keyAccepted(this);
				deadline.silence(readerOf().firstDeltaAt === undefined ? limits.thinkMs : limits.stallMs);
			},
			held: () => deadline.silence(limits.thinkMs),
			// Of the rest of an answer, the first new piece may come behind all that was sent before: that says nothing of other calls.
			firstDelta: () => {
				const reader = readerOf();
				if (reader.hasBegun && !reader.isFinished) deadline.silence(limits.stallMs);
				this.hasFirstToken = true;
				this.#record?.state.firstToken(!this.#isLoading && read === undefined);
			},
			finished: (is, mayContinue) => {
				deadline.silence(is && !mayContinue ? Math.min(limits.stallMs, FINISHED_MS) : limits.stallMs);
			},
			// A model that is being loaded is not a slow one: its agent says how far it is.
			comment: (text) => {
				if (!provider.reportsLoading || text.startsWith(KEEP_ALIVE)) return;
				this.#isLoading = true;
				deadline.rearm();
			},
			keeps: (keeps) => provider.inputStore?.store(call, keeps),
			end: (failure) => {
				const reader = readerOf();
				const { hasBegun, cost, firstDeltaAt: firstTokenAt } = reader;
				// Of the rest of an answer its reader counts the whole.
				const tokens = read && failure ? ownTokens(decoder) : reader.tokens;
				if (!failure && !hasBegun && account?.isProbe) owner.keyAccepted(this);
				const end = { status: head.status, failure: failure?.kind, tokens, cost, isUnused: part?.isUnused };
				const health = failure && this.#record?.isOpen ? owner.failed(this, failure) : undefined;
				// What a client that leaves has got is billed to it.
				const isBilled = !failure || (failure.kind === "cancelled" && hasBegun && !part?.isUnused);
				const hasAnswer = hasBegun || firstTokenAt !== undefined || tokens !== undefined || cost !== undefined;
				const unbilled = !isBilled && hasAnswer ? reader.guess : undefined;
				const isOtherForm = !read && failure?.isOtherForm;
				record.closeAttempt(this.#record!, { ...end, unbilled, target: health, isOtherForm, firstTokenAt });
			},
		};
	}

	/** What is passed on, whatever it is: the attempt ends with it. */
	#passed(head: UpstreamAnswer): StartedAnswer {
		const { target, limits, record, account, owner } = this.options;
		this.waitedMs += performance.now() - this.#sentAt;
		if (account?.isProbe) owner.keyAccepted(this);
		const passed = new PassedAnswer(head, this.#deadline!, limits, (end, failure) => {
			record.closeAttempt(this.#record!, { ...end, target: failure && owner.failed(this, failure) });
		});
		return { target, head, passed, first: [] };
	}

	#failed(failure: Failure, status: number | undefined): Failure {
		const { record, part, owner } = this.options;
		const attempt = this.#record!;
		this.waitedMs += performance.now() - this.#sentAt;
		this.#deadline?.abort();
		this.#deadline?.clear();
		if (attempt.isOpen) {
			const { kind, tokens, cost, isOtherForm } = failure;
			const isCut = kind === "truncated" && !failure.isWhole && status !== undefined && status < 300;
			const unbilled = tokens || cost !== undefined || isCut ? 0 : undefined;
			const end = { status, failure: kind, tokens, cost, isUnused: part?.isUnused, unbilled, isOtherForm };
			record.closeAttempt(attempt, { ...end, target: owner.failed(this, failure) });
		}
		return failure;
	}
}

const COUNTS: EncodeOptions = { countsChunks: true };

/** How a call is put that is not put as most are. */
function optionsOf({ counts, withoutAdditions, plan }: AttemptOptions): EncodeOptions {
	return { countsChunks: counts, omit: withoutAdditions, unsupported: plan?.alias?.unsupported };
}

/** The failure, with what of the router's own it is about. */
function refusedBy(result: StartedAnswer | Failure, { added }: UpstreamRequest): StartedAnswer | Failure {
	const refused = added?.length && "kind" in result ? refusedAddition(result, added) : undefined;
	return refused ? { ...(result as Failure), refused } : result;
}
