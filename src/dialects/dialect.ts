/**
 * What a client speaks. A dialect reads the client's request and writes all that the client reads back: whole answers, streams, errors.
 * In between everything is in OpenAI's words (`openai/`): providers give whole answers as its JSON and streams as its events.
 */
import type { RouterError } from "../errors.ts";
import type { Call, ParsedRequest } from "../openai/call.ts";
import type { Operation } from "../openai/operations.ts";
import type { ParsedBody } from "../openai/parsed-body.ts";
import type { AnswerPiece, StreamPiece } from "../openai/sse.ts";
import type { Tokens } from "../openai/usage.ts";

/** One wire. Pure: no clock, no I/O. A new one is one file of this type, and its rows in `api/routes.ts`. */
export interface Dialect {
	/** Its name where rules differ by dialect: `openai-chat`. */
	readonly id: string;
	/** Media type of whole answers. */
	readonly contentType: string;
	/** Media type of streams. */
	readonly streamContentType: string;
	/**
	 * Reads a request: what it says, as facts, and how it is put in OpenAI's words where a provider asks for that (`madeOnce`). That it is UTF-8
	 * is checked here (`utf8Text`), and by nobody before. Throws RouterError (`invalid_json`, `duplicate_key`, `body_too_large`, `invalid_value`,
	 * `unsupported_parameter`) naming the field at fault in this wire's words; its message never quotes the request. What it has let through, `body`
	 * can put in OpenAI's words.
	 * @param known the models there are, for a wire whose clients may write a name in several ways
	 * @param earlier what was found of that which `references` has named
	 */
	parse(operation: Operation, sent: Buffer, known?: KnownModels, earlier?: EarlierAnswers): ParsedRequest;
	/**
	 * What a request refers to of earlier answers, which are looked up before it is parsed; undefined where it refers to none. Absent where this
	 * wire's clients can refer to none.
	 */
	references?(sent: Buffer): AnswerReferences | undefined;
	/** Its clients send JSON under any media type, or none. */
	readonly takesAnyMediaType?: boolean;
	/** Its answers say what the request said. A stream of it is read along only by calls that sent the same bytes. */
	readonly showsRequest?: boolean;
	/**
	 * A whole answer.
	 * @param answer OpenAI's JSON, its token counts complete; UTF-8 bytes where it comes from the cache
	 * @param call the one that is answered
	 * @param costUsd what it cost, USD; undefined where nobody knows, or where the client is not to be told
	 * @param times how long it took until now
	 * @param parsed what the answer says, for reading only, where that is at hand: it need not be parsed again
	 */
	answer(
		answer: StreamPiece,
		call: DialectCall,
		costUsd: number | undefined,
		times?: CallTimes,
		parsed?: object,
	): StreamPiece;
	/**
	 * A whole answer that its upstream has given in this wire's own words, as its client gets it; absent where that is as it came.
	 * @param costUsd as for `answer`
	 */
	nativeAnswer?(answer: string, call: DialectCall, costUsd: number | undefined): string;
	/** What writes one stream. It may keep a state; a wire that needs none hands out the same one each time. */
	stream(call: DialectCall): StreamWriter;
	/**
	 * The whole answer, as OpenAI's JSON, in a complete stream of this wire, for the cache; undefined where it can't be told: then
	 * streams are not kept.
	 * @param call the one that the stream answers
	 */
	fold(call: DialectCall, stream: Uint8Array): string | undefined;
	/**
	 * The answer to a call that failed before its first byte, status and headers included.
	 * @param headers what is said of the call besides, lower-case names
	 * @param call absent where its request was not read
	 */
	error(error: RouterError, headers: Readonly<Record<string, string>>, call?: DialectCall): Response;
	/** The wire as this request's client speaks it, by its headers; absent where all speak alike. The same object for the same way. */
	forRequest?(headers: Headers): Dialect;
	/**
	 * What good answers say of a call in headers of this wire's own, besides `x-request-id` and the others that every answer has.
	 * @param id the call's
	 * @param limits how its caller's limits stand, `x-ratelimit-*`; undefined where there are none
	 */
	headers?(id: string, limits: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>>;
}

/** What a request refers to of earlier answers, by their ids. */
export interface AnswerReferences {
	/** The answer that it goes on from. */
	readonly previous?: string | undefined;
	/** Items of answers. */
	readonly items: readonly string[];
}

/** What was found of earlier answers. */
export interface EarlierAnswers {
	/** Answers are stored for later calls unless a call asks for something else. */
	readonly areStored: boolean;
	/** The conversation up to the answer that the request goes on from, in this wire's items; absent where no such answer was found. */
	readonly conversation?: readonly object[] | undefined;
	/** The stored answer that this ends with; absent where that is held for its connection alone. */
	readonly previous?: string | undefined;
	/** Items of answers by their ids. */
	readonly items?: ReadonlyMap<string, object>;
}

/** Takes an answer that its client may refer to later. */
export interface AnswerStorage {
	/** It outlives the connection: what the client is told of it. */
	readonly isLasting: boolean;
	/**
	 * Takes the answer once it is complete, in this wire's own JSON, before the client has all of it. Must not throw.
	 * @param items ids of its items, where they are not the router's: those say which answer they belong to
	 */
	save(answer: string, items?: readonly string[]): void;
}

/** What of a call the form of its answer may depend on. */
export type DialectCall = Pick<Call, "id" | "operation" | "facts" | "body" | "stream"> &
	Partial<Pick<Call, "startedAt">> & { readonly storage?: AnswerStorage | undefined };

/** Which names of models lead somewhere. */
export interface KnownModels {
	/** Where a name leads; undefined where that is nowhere. */
	find(name: string): object | undefined;
}

/** How long a call has taken, by the clock that a dialect has not. */
export interface CallTimes {
	/** Since it came in, ms. */
	readonly totalMs: number;
	/** From then until the first piece of its answer was here, ms; undefined where nobody saw that. */
	readonly firstTokenMs: number | undefined;
}

/** A body that is made when it is first asked for, and once: of a request in another wire's words. */
export function madeOnce<Made = ParsedBody>(make: () => Made): () => Made {
	let made: Made | undefined;
	return () => {
		made ??= make();
		return made;
	};
}

/** A call, and the wire that its client speaks. */
export interface ClientCall extends Call {
	readonly dialect: Dialect;
	/** The client's own bytes, of which `body` is made: the same bytes where the client speaks OpenAI. */
	readonly sent: Buffer;
	/** Where its answer is stored; absent where it is not. */
	readonly storage?: AnswerStorage | undefined;
}

/** Writes one client's stream. */
export interface StreamWriter {
	/** Sent while there is nothing to say, so that neither the client nor a proxy on the way takes the connection for dead. */
	readonly keepAlive: string;
	/** A piece of the answer, whole events of OpenAI's, or comments of the upstream's. Called for each piece: it is to cost nothing where nothing changes. */
	push(piece: AnswerPiece): StreamPiece;
	/** The answer is complete. */
	end(end: StreamEnd): string;
	/** The answer broke off: what this wire's clients don't take for a good end. */
	error(error: RouterError): string;
}

/** What only the end of a stream knows. */
export interface StreamEnd {
	readonly provider: string;
	/** What the upstream calls it. */
	readonly model: string;
	readonly agent?: string | undefined;
	/** The replica there that was asked last, where one was named. */
	readonly replica?: number | undefined;
	/** 0 where no upstream was asked. */
	readonly attempts: number;
	readonly cache?: "hit" | undefined;
	readonly tokens?: Tokens | undefined;
	/** Fields of the call that its upstream has no form for, and that were left out. */
	readonly droppedFields?: readonly string[] | undefined;
	/** The tokens are a guess, or partly. */
	readonly isEstimated?: boolean | undefined;
	/** USD; undefined where nobody knows. */
	readonly cost?: number | undefined;
	readonly times?: CallTimes | undefined;
	/** The client is told the cost in the answer's usage, too. */
	readonly tellsCost?: boolean | undefined;
	/** The last event of a stream in this wire's own words, JSON, which its upstream has sent. */
	readonly ending?: string | undefined;
	/** OpenAI's chunk that holds the usage, JSON, its counts complete; absent where the client did not ask for one. */
	readonly usageChunk?: string | undefined;
}
