/** What the pipeline asks of an upstream: wire to wire, with no message model in between. */
import type { UnsupportedPolicy } from "../config/upstream-schema.ts";
import type { BodyStream, Call } from "../openai/call.ts";
import type { Operation } from "../openai/operations.ts";
import type { SseEvent, WritableBytes } from "../openai/sse.ts";
import type { Tokens } from "../openai/usage.ts";
import type { Continuation } from "../vendors.ts";
import type { Addition, Failure } from "./failure.ts";
import type { ModelPage } from "./listed-model.ts";
import type { Lifecycles } from "./model-lifecycle.ts";
import type { AccountCache } from "./prompt-cache.ts";

/** One HTTP request, ready to send: a POST where it has a body, else a GET, unless it says otherwise. */
export interface UpstreamRequest {
	readonly url: string;
	readonly method?: "DELETE";
	readonly headers: Record<string, string>;
	/** JSON: text, or its UTF-8 in pieces. What is passed on may be anything, and may be read while it is sent. */
	readonly body?: string | readonly Buffer[] | BodyStream;
	/** An event stream is asked for. */
	readonly stream?: boolean;
	/** What of the body the router has added of its own accord: an upstream that refuses one of these is asked without it. */
	readonly added?: readonly Addition[] | undefined;
	/** Top-level fields of the call that it is made without, since the upstream has no form for them; absent where there are none. */
	readonly dropped?: readonly string[] | undefined;
}

/** How a call is put, besides by what it says itself. */
export interface EncodeOptions {
	/** Its answer may have to go on elsewhere: how many tokens there were is asked for with each chunk, where the upstream can say it. */
	readonly countsChunks?: boolean | undefined;
	/** Additions that the target refuses. */
	readonly omit?: ReadonlySet<Addition> | undefined;
	/** What `models:` says about fields that the target has no form for. */
	readonly unsupported?: UnsupportedPolicy | undefined;
}

/** How a request reaches an upstream: over HTTP, or inside this process. */
export interface Transport {
	/**
	 * Resolves with the answer's head. Rejects when none came; with the signal's reason once that is aborted.
	 * @param connectMs how long the connection may take; where it is left out, as long as the transport thinks right
	 */
	send(request: UpstreamRequest, signal: CancelSignal, connectMs?: number): Promise<UpstreamAnswer>;
}

/**
 * Says that a request is given up. Every AbortSignal is one; an attempt's deadline is one that costs less, and makes an AbortSignal only for
 * what takes nothing else.
 */
export interface CancelSignal {
	readonly aborted: boolean;
	/** What is thrown where it is aborted. */
	readonly reason: unknown;
	throwIfAborted(): void;
	addEventListener(type: "abort", listener: CancelListener, options?: { once?: boolean }): void;
	removeEventListener(type: "abort", listener: CancelListener): void;
	/** The request is on its way: its deadline begins anew. Absent where there is none. */
	rearm?(): void;
	/** The same as an AbortSignal; absent where it is one itself. */
	readonly signal?: AbortSignal;
}

/** Called once, when the signal is aborted. */
export type CancelListener = (() => void) | { handleEvent(): void };

/** An upstream's answer: the head, and a body that comes as it is read. Given up by the request's signal. */
export interface UpstreamAnswer {
	readonly status: number;
	readonly headers: AnswerHeaders;
	readonly body: ByteSource;
	/**
	 * All of it as text, instead of reads: there where all of it has come, or its length is known and one read of it is cheaper. Rejects as
	 * `read` does, also where it is shorter than that.
	 */
	readonly whole?: { text(): string | Promise<string> } | undefined;
}

/** The headers of an answer, as far as they are read: a web `Headers`, or what takes less to make. */
export interface AnswerHeaders {
	/** The value of a name in any case, several joined by `, `; null where there is none. */
	get(name: string): string | null;
	has(name: string): boolean;
	/** Names are lower case, and each comes once, but for `set-cookie`. */
	forEach(callback: (value: string, name: string) => void): void;
	[Symbol.iterator](): Iterator<[name: string, value: string]>;
}

/** Whether the status says that all went well. */
export function isOk({ status }: Pick<UpstreamAnswer, "status">): boolean {
	return status >= 200 && status < 300;
}

/** Bytes on their way. One reader, one `read` at a time. */
export interface ByteSource {
	/** The next bytes, never none; undefined at a clean end. Rejects where the connection broke or the signal was aborted. */
	read(): Promise<Uint8Array | undefined>;
	/**
	 * Hands on what has come, and what comes from now on, at once and without a promise for each piece, until a `take` says false or `read` is
	 * called. Absent where each piece must be asked for.
	 */
	flow?(taker: ByteTaker): void;
}

/** Gets bytes as they come. None of its methods may throw. */
export interface ByteTaker {
	/** Returns whether more is wanted now. */
	take(bytes: Uint8Array): boolean;
	/** Once, unless a `take` has said false: there will be no more. `null`: a clean end; else for this reason. Also within the `take` that ends the call. */
	ended(end: { readonly reason: unknown } | null): void;
}

/** One deployment of a model: where a call can run. The id is stable across reloads: state is keyed by it. */
export interface Target {
	/** `provider/model`. */
	readonly id: string;
	readonly provider: Provider;
	/** What the upstream calls the model. */
	readonly model: string;
	/** The name that reaches it here, where that is not the id: `local/model` for a model of several agents. */
	readonly name?: string | undefined;
	/** The agent it runs on. */
	readonly agent?: string | undefined;
	/** The one of the model's replicas there that is to take the call; undefined: whichever takes it. */
	readonly replica?: number | undefined;
	/** Of a replica: the id that all of the model's replicas at its agent have in common, by which people name them. */
	readonly deployment?: string | undefined;
	/** Of the time in which calls of this router run there, the part that is theirs, 0 to 1; absent: all of it. */
	readonly timeShare?: number | undefined;
}

/** Something an encoder needs that is not in the call: the proxy gets it before. */
export type MediaNeed =
	/** The bytes behind an https address, for an upstream that fetches none itself. `param` names the field it stands in. */
	| { readonly kind: "media"; readonly url: string; readonly param: string }
	/** What this upstream sent with that tool call, to be put back (see {@link StoredThinking}). */
	| { readonly kind: "thinking"; readonly id: string };

/** A file's content. */
export interface Media {
	readonly type: string;
	/** Base64. */
	readonly data: string;
}

/** What was fetched for an encoder's needs. */
export interface RequestInputs {
	/** There for every `media` that was needed: one that can't be got refuses the call. */
	media(url: string): Media | undefined;
	/** Undefined where nothing is stored for that id, or no longer. */
	thinking(id: string): string | undefined;
}

/** Something of an answer that must come back with the conversation, though its client may drop what it does not know. */
export interface StoredThinking {
	/** The tool call's id. */
	readonly id: string;
	readonly value: string;
}

/** Fetches what encoders need and stores what answers bring. Stored values belong to the caller's key: no other key gets them back. */
export interface RequestInputStore {
	/** Throws RouterError `invalid_value` naming the field whose address gives nothing that can be sent. */
	get(call: Call, needs: readonly MediaNeed[], signal: AbortSignal): Promise<RequestInputs>;
	store(call: Call, thinking: readonly StoredThinking[]): void;
	/** Something of this upstream's answers has been stored since the start. Each call looks at it. */
	readonly hasStored: boolean;
}

/** Nothing was needed. */
export const NO_INPUTS: RequestInputs = { media: () => undefined, thinking: () => undefined };

/** An upstream's whole, successful answer. */
export interface Answer {
	/** JSON text for the client; where there is an `own`, maybe made when it is read. */
	readonly body: string;
	/** What that says, parsed, for reading only; absent where nobody has parsed just this text. */
	readonly parsed?: object | undefined;
	readonly thinking?: readonly StoredThinking[] | undefined;
	readonly tokens?: Tokens | undefined;
	/** USD. */
	readonly cost?: number | undefined;
	/** The answer as it came, where that is for a client that speaks the upstream's wire itself. */
	readonly own?: string | undefined;
	/** It says more than `body` does: who is answered with that alone would miss something. */
	readonly ownSaysMore?: boolean | undefined;
}

/** What one event of a stream meant, and what to send on for it. */
export interface Out {
	/** Text to send; undefined sends the event as it came, "" sends nothing. */
	readonly bytes?: string | undefined;
	/** The same, beside an `own`, made where somebody asks for it before the next event is read: mostly nobody does. */
	readonly lazyBytes?: (() => string) | undefined;
	/**
	 * What came says the same to a client that speaks the upstream's wire, and may go on in the place of `bytes`: `true` where these are the event itself, else the
	 * event, parsed, of which they are OpenAI's words. Of `flush`, what the stream ended with.
	 */
	readonly own?: Readonly<Record<string, unknown>> | true | undefined;
	/** It carried some of the answer: text, reasoning, a tool call. */
	readonly delta?: boolean;
	/** It may have, and nothing is sent until that is known: the call can still go elsewhere. */
	readonly held?: boolean;
	/** It carried a finish reason: `end` may say from now on that the answer is complete. False: the one before was none. */
	readonly finish?: boolean | undefined;
	readonly tokens?: Tokens | undefined;
	/**
	 * Of `flush`, where the client asked for the usage: the chunk that holds it, as JSON. What its upstream has not counted the pipeline
	 * puts into it.
	 */
	readonly usage?: string | undefined;
	/** Of `flush`, where the client speaks the upstream's wire: the last event of the stream, JSON. */
	readonly ending?: string | undefined;
	/** USD. */
	readonly cost?: number | undefined;
	readonly failure?: Failure | undefined;
	readonly thinking?: readonly StoredThinking[] | undefined;
	/** It was no JSON: nothing is sent for it, it is counted. */
	readonly dropped?: boolean;
	/** It was `[DONE]`; the pipeline writes its own. */
	readonly done?: boolean;
}

/** Tokens of an answer that is under way, as its upstream counts them. */
export interface CountedTokens {
	readonly input: number;
	readonly output: number;
	/** Those of `output` that stand before the white space at the end of the answer so far. */
	readonly trimmed: number;
	/** Those of `output` that are reasoning, where it tells them apart. */
	readonly reasoning?: number | undefined;
}

/** Events that need no reading. */
export interface PassedEvents {
	/**
	 * What to send on for them, maybe in the chunk's own memory, or written from that as long as it is at hand; absent where they go on as they
	 * came.
	 */
	readonly bytes?: Uint8Array | WritableBytes | undefined;
	/** How many bytes of the chunk they took. */
	readonly length: number;
	/** How many of them carry some of the answer. */
	readonly events: number;
	/** How many bytes those took that carry none; absent: 0. */
	readonly beside?: number;
}

/** Reads one stream. */
export interface StreamDecoder {
	push(event: SseEvent): Out;
	/**
	 * Takes the whole events of a chunk, from the one that begins at `from` on, that carry text and nothing else of weight; undefined where
	 * the first must be read.
	 */
	passThrough?(chunk: Buffer, from: number): PassedEvents | undefined;
	/** Tokens as the last events that `passThrough` took have counted them; undefined where they count none, or were asked for them before. */
	passedTokens?(): Tokens | undefined;
	/** Tokens of the answer so far; undefined where its upstream does not count them with each chunk. */
	countedTokens?(): CountedTokens | undefined;
	/** The upstream closed: undefined when the answer was complete. */
	end(): Failure | undefined;
	/** After a good `end`: what is left to send. */
	flush?(): Out;
}

/** Deadlines towards an upstream, ms. */
export interface UpstreamTimeouts {
	readonly total: number;
	readonly first_token: number;
	readonly stall: number;
	readonly connect: number;
}

/** Some of them. */
export type SomeTimeouts = { readonly [name in keyof UpstreamTimeouts]?: number | undefined };

/** How a wire counts the tokens of a call that is not made. */
export interface TokenCounter {
	/** The question; undefined where this call's tokens can't be asked for. `request`: for the call, as `encode` makes it. */
	request(request: UpstreamRequest): UpstreamRequest | undefined;
	/** The count in the answer, parsed; undefined where there is none. */
	read(answer: unknown): number | undefined;
}

/** One configured upstream. */
export interface Provider {
	/** Its name in the configuration. */
	readonly name: string;
	/** The vendor's id in the list prices; absent where those have none of it. */
	readonly priceId?: string | undefined;
	/** The variable or setting that holds its key; named in errors. */
	readonly keySetting: string;
	readonly transport: Transport;
	/** Its key, which no header of an answer may hand on. */
	readonly secret?: string | undefined;
	/** Its prompt cache, as the vendor documents it; absent where there is none that calls are kept at. */
	readonly promptCache?: AccountCache | undefined;
	/** The same upstream with each of its further keys. */
	readonly otherAccounts?: readonly Provider[] | undefined;
	/** Deadlines towards it, and those of them that were set for it alone. */
	readonly timeouts: UpstreamTimeouts;
	readonly ownTimeouts?: SomeTimeouts | undefined;
	/** What its settings say about fields of a call that it has no form for. */
	readonly unsupported?: UnsupportedPolicy | undefined;
	/** Its comments before the first event say how far the loading of a model is. */
	readonly reportsLoading?: boolean | undefined;
	/** Its answers name the replica that gave them. */
	readonly namesReplica?: boolean | undefined;
	/** It runs tools itself (`web_search`) where a call of Responses asks for them. */
	readonly runsTools?: boolean | undefined;
	/** What its list last said of models that retire; set by who asks for that. Undefined where it has not been asked, or says of none. */
	lifecycles?: Lifecycles | undefined;
	/** Fields of a call may lead it to another model than it names; a key restricted to some models may not send them. */
	readonly routesModels: boolean;
	/** It may be an inference server of the user's own, or stand before some, which fields of a call can steer or stop: see `engineField` of a call's facts. */
	readonly mayBeEngine?: boolean | undefined;
	/** What it can be asked for; absent: everything. */
	readonly operations?: readonly Operation[] | undefined;
	/** What `encode` needs; absent where it never needs anything. Pure; throws as `encode` does. */
	needs?(call: Call, target: Target): readonly MediaNeed[];
	/** There where there are `needs`. */
	readonly inputStore?: RequestInputStore | undefined;
	/** Pure. Throws RouterError: `unsupported_parameter` naming the field, `provider_key_missing` naming the variable. */
	encode(call: Call, target: Target, inputs?: RequestInputs, options?: EncodeOptions): UpstreamRequest;
	/** How it goes on with an answer that another began; `replay` where it does not say. */
	continuation?(target: Target): Continuation;
	/** Reads a whole answer; a 200 may carry an error, and may be cut off. */
	decode(status: number, headers: AnswerHeaders, body: string, call: Call, target: Target): Answer | Failure;
	/** One per stream. */
	decoder(call: Call, target: Target): StreamDecoder;
	/** How it counts the tokens of a call that is not made; absent where it can't. */
	readonly counter?: TokenCounter | undefined;
	/** Asks how its engine is; there where it may be a vLLM of the user's own: 200 where it serves, 503 where its engine is dead. */
	healthRequest?(): UpstreamRequest | undefined;
	/** Asks for the models its key can use, or for the page behind `after`; undefined where it can't be asked. */
	listRequest(after?: string): UpstreamRequest | undefined;
	/** Reads the answer to that, parsed; undefined where it is no list. */
	readList(body: unknown): ModelPage | undefined;
}

/** Tells the two results of `decode` apart. */
export function isFailure(result: Answer | Failure): result is Failure {
	return "kind" in result;
}
