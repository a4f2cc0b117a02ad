/** One call on its way through the router. */
import { RouterError } from "../errors.ts";
import type { ResponsesSupport } from "../vendors.ts";
import type { CallFacts } from "./call-facts.ts";
import type { JsonTooLarge } from "./json.ts";
import type { Operation } from "./operations.ts";
import type { ParsedBody } from "./parsed-body.ts";

/** A request as its dialect has read it. */
export interface ParsedRequest {
	/** What routing, limits, rules and timeouts read of it. */
	readonly facts: CallFacts;
	/** The client wants its answer as a stream, and the operation can stream. */
	readonly stream: boolean;
	/**
	 * The request in OpenAI's words, made at the first call and the same object at each: asked for by `providers/`, and by what makes another
	 * request of it (resume), but by nothing before them.
	 */
	body(): ParsedBody;
	/** Names what `body` has no form for, and is left out there; absent where it says all that the client did. */
	readonly leftOut?: (() => readonly string[]) | undefined;
	/** The answer is to go on with the words of its last message, which is the assistant's. */
	readonly prefills?: boolean | undefined;
	/** The model is not to think before it answers, which no field of OpenAI's says to all servers. */
	readonly isThoughtless?: boolean | undefined;
	/** What is asked for, where that is another operation than its route's. */
	readonly operation?: Operation;
	/** The answer to a request that asks its model nothing, and has it loaded at most: no upstream is called. In the client's wire. */
	readonly unasked?: ((call: Call) => string) | undefined;
	/** The same request with what one vendor alone has a form for, where the client's wire has such. */
	readonly native?: NativeRequest | undefined;
	/** The request as its client has sent it, where that speaks OpenAI's Responses. */
	readonly responses?: ResponsesForm | undefined;
}

/** A request of OpenAI's Responses, for servers that speak this themselves. */
export interface ResponsesForm {
	/** It asks for tools that its upstream is to run (`web_search`), where that can. */
	readonly asksForTools: boolean;
	/**
	 * The client's own words for a model of that name, not to be stored there; undefined where it holds what such a server would refuse, or leave
	 * out where a chat would have it.
	 * @param asksReasoning what the model thinks is to be asked for in its encrypted form where the client has not
	 * @param withoutThoughts what was thought before is left out
	 */
	own(
		model: string,
		support: ResponsesSupport,
		asksReasoning: boolean,
		withoutThoughts?: boolean,
	): OwnRequest | undefined;
}

/** A client's words. */
export interface OwnRequest {
	/** JSON, in pieces. */
	readonly body: readonly Buffer[];
	/** Encrypted thoughts stand in it. */
	readonly hasThoughts: boolean;
	/** The encrypted form of what the model thinks was added to what it asks for. */
	readonly hasAddedReasoning: boolean;
}

/** A vendor with a wire of its own. */
export type NativeVendor = "anthropic" | "gemini";

/** A request with what its vendor alone has a form for. */
export interface NativeRequest extends Pick<ParsedRequest, "body" | "leftOut"> {
	/** Whose form it is. */
	readonly vendor: NativeVendor;
	/** The same in words that a server takes which passes calls on to the vendor, with cache markers and signed thoughts; absent where the wire has none. */
	marked?(): ParsedBody;
	/**
	 * The client's own words, for a model of this name, where the client's wire is the vendor's; undefined where the vendor would refuse what others have
	 * said in them. The same each time.
	 */
	own(model: string): string | readonly Buffer[] | undefined;
}

/** The request in this vendor's form; undefined where its client's wire has none of it. */
export const nativeFor = (
	{ native }: Pick<ParsedRequest, "native">,
	vendor: NativeVendor,
): NativeRequest | undefined => (native?.vendor === vendor ? native : undefined);

/** What the client has asked for, with what this vendor alone has a form for where its wire has such. */
export const formFor = (
	call: Pick<ParsedRequest, "native" | "body" | "leftOut">,
	vendor: NativeVendor,
): Pick<ParsedRequest, "body" | "leftOut"> => nativeFor(call, vendor) ?? call;

/** The body of a request that is read while it is sent. One reader, one `read` at a time. */
export interface BodyStream {
	/** Bytes; undefined where nobody knows. */
	readonly length: number | undefined;
	/** The next bytes, never none; undefined at the end. Rejects where its client has broken it off, or with the RouterError that refuses it. */
	read(): Promise<Uint8Array | undefined>;
}

/** A request that is passed on as it is. */
export interface PassedRequest {
	readonly method: "POST" | "GET" | "DELETE";
	/** Behind an upstream's base URL, with its query; absent: the operation's own. */
	readonly path?: string | undefined;
	/** Media type of its body; undefined where it has none. */
	readonly contentType: string | undefined;
	/** Its answer won't say what it has used. */
	readonly isUncounted?: boolean;
	/** Nothing is paid for it: it only asks what is kept, or brings it. */
	readonly isFree?: boolean;
	/** Its body has been sent in part, and is no longer all there: no other attempt can be made. */
	readonly isSpent: boolean;
	/** Its body, for a model of this name; undefined where it has none. Text goes as it is, and a stream can be read once. */
	body(model: string): string | readonly Buffer[] | BodyStream | undefined;
}

/** Whose call it is: the signal is aborted when the client leaves. Read late, since Bun makes a request's only then. */
export interface Client {
	readonly signal: AbortSignal;
}

/** A checked call. */
export interface Call extends ParsedRequest {
	/** `req_…`, unique; the ledger's key and `x-request-id`. */
	readonly id: string;
	readonly operation: Operation;
	/** The client's headers. */
	readonly headers: Headers;
	/** The routers it came through, this one last, comma separated. */
	readonly hops: string;
	/** Whose call it is. */
	readonly client: Client;
	/** Name of the key it came with. */
	readonly key?: string | undefined;
	/** What no other key ever has, though it had the same name. */
	readonly keyId?: string | undefined;
	/** `performance.now()` when the call came in, ms. */
	readonly startedAt: number;
	/** `x-router-timeout-ms`, where the client sent one. */
	readonly timeoutMs?: number | undefined;
	/** Its own limits on silence, where the client set some, ms. */
	readonly limits?: { readonly first_token?: number | undefined; readonly stall?: number | undefined } | undefined;
	/** What its client speaks; absent where nobody does (tests). */
	readonly dialect?: { readonly id: string } | undefined;
	/** What is sent in the place of `body`, of operations that are passed on. */
	readonly passed?: PassedRequest | undefined;
	/** Its priority in queues: higher ones go first; absent counts as 0. */
	readonly priority?: number | undefined;
}

/** The refusal of a body beyond the bounds. */
export function tooLarge({ bound, message }: JsonTooLarge): RouterError {
	return new RouterError(bound === "parts" ? "body_too_large" : "invalid_value", `The body ${message}.`);
}
