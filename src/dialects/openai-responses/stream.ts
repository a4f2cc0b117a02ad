/** A chat's stream as the events of a response. */
import type { ErrorCode, RouterError } from "../../errors.ts";
import {
	type AnswerPiece,
	chunksOf,
	DONE,
	joinedPieces,
	KEEP_ALIVE,
	SseSplitter,
	type StreamPiece,
	textOf,
	type WritableBytes,
} from "../../openai/sse.ts";
import { NumberedChunks } from "../../openai/text-chunks.ts";
import { objectIn } from "../../openai/usage.ts";
import {
	ARGUMENTS,
	argumentsAlone,
	asBuffer,
	ContentTemplate,
	eventEnd,
	eventsAt,
	THOUGHTS,
	thoughtsAlone,
	wordsAlone,
} from "../content-template.ts";
import type { AnswerStorage, DialectCall, StreamEnd, StreamWriter } from "../dialect.ts";
import { streamSummary } from "../openai-chat.ts";
import { CompactionOutput } from "./compaction.ts";
import { ResponseIds } from "./output-items.ts";
import { ownEvent, responseIn, saveOwn } from "./own-response.ts";
import { requestIn } from "./request-facts.ts";
import {
	chatUsageText,
	type ResponseFacts,
	type ResponseStatus,
	requestText,
	responseText,
	usageOf,
} from "./response-object.ts";
import { StreamOutput } from "./stream-output.ts";
import { EVENT_END, eventHead, type OpenText } from "./streamed-message.ts";
import { UpstreamEvents } from "./upstream-events.ts";
import { endOf } from "./whole-answer.ts";

/** What a response is by now. */
type Snapshot = Pick<ResponseFacts, "output" | "error" | "reason" | "usage"> & { readonly status: ResponseStatus };

/** Writes the events of one response. Their numbers grow by one. */
export class ResponseStream implements StreamWriter {
	readonly keepAlive = `${KEEP_ALIVE}\n\n`;
	readonly #words = new ContentTemplate();
	/** The same of what the model thinks. */
	readonly #thoughts = new ContentTemplate(THOUGHTS);
	/** The same of pieces of arguments, which are those of one call. */
	readonly #arguments = new ContentTemplate(ARGUMENTS);
	#argumentsOf = 0;
	readonly #call: DialectCall;
	readonly #ids: ResponseIds;
	#output: StreamOutput | CompactionOutput;
	/** The response's id. */
	#id: string;
	/** What each snapshot says of the request. */
	#request: string | undefined;
	readonly #storage: AnswerStorage | undefined;
	#hasBegun = false;
	#createdAt = 0;
	#lastAt = 0;
	#model: string;
	#tier: string | undefined;
	#finish: unknown;
	/** The counts, where they came in a chunk. */
	#usage: unknown;
	#sequence = 0;
	/** What goes on as its upstream has sent it, and whether that is past the events that hold the response as it begins. */
	#upstream: UpstreamEvents | undefined;
	#isNamed = false;

	constructor(call: DialectCall) {
		const request = requestIn(call);
		this.#call = call;
		this.#ids = new ResponseIds(call.id);
		this.#id = this.#ids.response;
		this.#storage = call.storage;
		this.#model = request.body.model;
		const event = (type: string, fields: string) => this.#event(type, fields);
		this.#output = request.isCompaction
			? new CompactionOutput(this.#ids, event)
			: new StreamOutput(request, this.#ids, event);
	}

	push(sent: AnswerPiece): StreamPiece {
		const piece = chunksOf(sent);
		if (isOwn(piece, this.#upstream !== undefined)) return this.#pass(piece);
		const before = this.#takeOver();
		return typeof piece === "string" ? before + this.#written(piece) : this.#rewritten(before, asBuffer(piece));
	}

	/** Whole events in their bytes: words, thoughts, and pieces of arguments, are not read. */
	#rewritten(before: string, bytes: Buffer): StreamPiece {
		const parts: (string | WritableBytes)[] = [before];
		for (let at = 0; at < bytes.length; ) {
			const output = this.#output;
			let past = this.#tell(parts, bytes, at, this.#words, output.openWords);
			if (past === at) past = this.#tell(parts, bytes, at, this.#thoughts, output.openThoughts);
			if (past === at) past = this.#tell(parts, bytes, at, this.#arguments, output.openArguments(this.#argumentsOf));
			if (past === at) {
				past = eventEnd(bytes, at);
				parts.push(this.#written(textOf(bytes.subarray(at, past))));
			}
			at = past;
		}
		return joinedPieces("", parts);
	}

	/** Adds the events of what a template finds from there on, for the item that takes it. Past it; `at` where that is nothing. */
	#tell(
		parts: (string | WritableBytes)[],
		bytes: Buffer,
		at: number,
		template: ContentTemplate,
		item: OpenText | undefined,
	): number {
		const read = item && template.read(bytes, at);
		if (!read) return at;
		const { end, spans, size, literal } = read;
		item.take(literal);
		parts.push(new NumberedChunks(bytes, spans, size, item.frame, this.#sequence));
		this.#sequence += spans.length / 2;
		return end;
	}

	#written(sent: string): string {
		let text = "";
		for (let at = 0; at < sent.length; ) {
			if (this.#words.matches(sent, at)) {
				text += this.#output.say(this.#words.literal);
				at = this.#words.end;
			} else if (this.#thoughts.matches(sent, at)) {
				text += this.#output.sayThoughts(this.#thoughts.literal);
				at = this.#thoughts.end;
			} else if (this.#arguments.matches(sent, at)) {
				text += this.#output.sayArguments(this.#argumentsOf, this.#arguments.literal);
				at = this.#arguments.end;
			} else {
				const { events, end } = eventsAt(sent, at);
				for (const { data, raw } of events) text += data === undefined ? raw : this.#read(data, raw);
				at = end;
			}
		}
		return text;
	}

	/** Events in this wire's own words. The first ones hold the response: where the router stores it they name it as the router does. */
	#pass(piece: StreamPiece): StreamPiece {
		this.#upstream ??= new UpstreamEvents();
		const sent = this.#storage && !this.#isNamed ? this.#named(piece) : piece;
		this.#upstream.add(sent);
		return sent;
	}

	#named(piece: StreamPiece): StreamPiece {
		const splitter = new SseSplitter();
		splitter.add(typeof piece === "string" ? Buffer.from(piece) : piece);
		let text = "";
		let { at } = splitter;
		for (let event = splitter.next(); event; event = splitter.next()) {
			const { data, raw, name = "" } = event;
			this.#isNamed = data !== undefined && !BEGINNING.test(name);
			if (this.#isNamed) break;
			text += data === undefined ? raw : eventText(ownEvent(data, this.#call));
			({ at } = splitter);
		}
		return joinedPieces(text, this.#isNamed ? [splitter.bytes.subarray(at)] : []);
	}

	/** Goes on, in its own words, with the response that an upstream has told in its own. */
	#takeOver(): string {
		if (!this.#upstream) return "";
		const { head, next, ...soFar } = this.#upstream.read();
		this.#upstream = undefined;
		this.#hasBegun = true;
		const { id, created_at: created, model, service_tier: tier } = head;
		if (typeof id === "string") this.#id = id;
		if (typeof created === "number") this.#createdAt = created;
		if (typeof model === "string") this.#model = model;
		if (typeof tier === "string") this.#tier = tier;
		this.#sequence = next;
		return this.#output instanceof StreamOutput ? this.#output.goOnFrom(soFar) : "";
	}

	end(end: StreamEnd): string {
		if (this.#upstream && end.ending !== undefined) return this.#passEnding(end.ending, end);
		const takenOver = this.#takeOver();
		const { status, reason } = endOf(this.#finish);
		const begun = this.#begin();
		const usage = usageText(end, this.#usage);
		const closed = this.#output.end(status);
		const response = this.#response({ status, reason, usage, output: this.#output.items });
		this.#storage?.save(response);
		const last = this.#event(`response.${status}`, `"response":${response}`);
		// Before the last event, at which some clients stop to read.
		return takenOver + begun + closed + streamSummary(end) + last + DONE;
	}

	#passEnding(sent: string, end: StreamEnd): string {
		const cost = end.tellsCost ? end.cost : undefined;
		const ending = this.#storage || cost !== undefined ? ownEvent(sent, this.#call, cost) : sent;
		if (this.#storage) saveOwn(responseIn(ending), this.#call);
		return streamSummary(end) + eventText(ending) + DONE;
	}

	error(error: RouterError): string {
		const takenOver = this.#takeOver();
		const failed = { status: "failed", error: failureOf(error), output: this.#output.soFar() } as const;
		return takenOver + this.#begin() + this.#snapshot("response.failed", failed) + DONE;
	}

	/** The events of a chunk. @param event the text of its event */
	#read(data: string, event: string): string {
		const chunk = data === "[DONE]" ? undefined : chunkIn(data);
		if (!chunk) return "";
		this.#learn(event, chunk);
		const { created, model, service_tier: tier, usage, choices } = chunk;
		if (typeof created === "number") {
			this.#lastAt = Math.floor(created);
			if (!this.#hasBegun) this.#createdAt = this.#lastAt;
		}
		if (typeof model === "string" && model !== "" && !this.#hasBegun) this.#model = model;
		if (typeof tier === "string") this.#tier = tier;
		if (usage) this.#usage = usage;
		const choice = objectIn(Array.isArray(choices) ? choices[0] : undefined);
		const begun = this.#begin();
		if (!choice) return begun;
		this.#finish = choice["finish_reason"] ?? this.#finish;
		const delta = objectIn(choice["delta"]);
		return delta ? begun + this.#output.push(delta, choice["logprobs"]) : begun;
	}

	/** Learns from a chunk that brings nothing but words, thoughts, or arguments of a call. */
	#learn(event: string, { usage, choices }: Readonly<Record<string, unknown>>): void {
		if (usage || !Array.isArray(choices) || choices.length !== 1 || objectIn(choices[0])?.["logprobs"]) return;
		const words = wordsAlone(choices[0]);
		if (words) this.#words.learn(event, words);
		if (words !== undefined) return;
		const thoughts = thoughtsAlone(choices[0]);
		if (thoughts) this.#thoughts.learn(event, thoughts);
		if (thoughts !== undefined) return;
		const piece = argumentsAlone(choices[0]);
		if (piece?.args && this.#arguments.learn(event, piece.args)) this.#argumentsOf = piece.index;
	}

	#begin(): string {
		if (this.#hasBegun) return "";
		this.#hasBegun = true;
		// No chunk has told it: the call failed before.
		this.#createdAt ||= this.#ids.createdAt;
		const facts = { status: "in_progress", output: [] } as const;
		return this.#snapshot("response.created", facts) + this.#snapshot("response.in_progress", facts);
	}

	/** An event that holds the response as it is by now. */
	#snapshot(type: string, facts: Snapshot): string {
		return this.#event(type, `"response":${this.#response(facts)}`);
	}

	#response(facts: Snapshot): string {
		this.#request ??= requestText(requestIn(this.#call), this.#storage);
		return responseText(
			{
				id: this.#id,
				createdAt: this.#createdAt,
				completedAt: facts.status === "completed" ? this.#lastAt : undefined,
				model: this.#model,
				serviceTier: this.#tier,
				...facts,
			},
			this.#request,
		);
	}

	/** @param fields JSON, without the braces around it */
	#event(type: string, fields: string): string {
		return `${eventHead(type)}${this.#sequence++},${fields}${EVENT_END}`;
	}
}

const EVENT = "event: ";
const [COLON, LETTER_E] = [0x3a, 0x65];

/** Whether a piece is in this wire's own words. @param isSoFar what came before it is: comments alone say nothing of that */
function isOwn(piece: StreamPiece, isSoFar: boolean): boolean {
	const first = typeof piece === "string" ? piece.charCodeAt(0) : piece[0];
	if (first !== COLON) return first === LETTER_E;
	const [line] = /^(?!:).+/m.exec(textOf(piece)) ?? [];
	return line === undefined ? isSoFar : line.startsWith(EVENT);
}

/** The names of events that say of a response no more than that there will be one. */
const BEGINNING = /^response\.(?:created|in_progress|queued)$/;
/** How nearly all events begin. */
const TYPED = /^\{"type":"([\w.]+)"/;

/** An event of its JSON. */
function eventText(json: string): string {
	const type: unknown = TYPED.exec(json)?.[1] ?? JSON.parse(json).type;
	return `${EVENT}${type}\ndata: ${json}\n\n`;
}

/**
 * What a response that failed says of it, by the router's code. Codex stops at `context_length_exceeded`, `insufficient_quota` and
 * `invalid_prompt`, and makes the call again at all others; `server_error` is what OpenAI calls whatever broke.
 */
const FAILURES: { readonly [code in ErrorCode]?: string } = {
	context_length_exceeded: "context_length_exceeded",
	insufficient_quota: "insufficient_quota",
	rate_limit_exceeded: "rate_limit_exceeded",
	model_busy: "rate_limit_exceeded",
	upstream_overloaded: "server_is_overloaded",
	invalid_value: "invalid_prompt",
	unsupported_parameter: "invalid_prompt",
	upstream_refused: "invalid_prompt",
	content_filter: "invalid_prompt",
	poisonous_request: "invalid_prompt",
	runaway_stopped: "invalid_prompt",
};

function failureOf({ errorCode, message }: RouterError) {
	return { code: FAILURES[errorCode] ?? "server_error", message };
}

/** The counts of the call; of an answer from the cache, those that came with it. */
function usageText({ tokens, isEstimated = false, tellsCost, cost }: StreamEnd, sent: unknown): string | undefined {
	if (!tokens) return chatUsageText(sent, undefined);
	return usageOf(tokens, isEstimated, tellsCost ? cost : undefined);
}

function chunkIn(data: string): Readonly<Record<string, unknown>> | undefined {
	try {
		return objectIn(JSON.parse(data));
	} catch {
		return undefined;
	}
}
