/** A client's call as the house sees it. */
import type { ClientCall } from "../dialects/dialect.ts";
import type { Call, ParsedRequest } from "../openai/call.ts";

/** What is known of it besides its text. */
export type Arrival = Pick<
	ClientCall,
	"id" | "operation" | "dialect" | "hops" | "startedAt" | "timeoutMs" | "limits" | "priority"
> & {
	readonly key: string | undefined;
	readonly keyId: string | undefined;
};

/** A class for one reason: the signal is made when it is asked for, and a getter in an object literal costs each call 1 µs. */
export class IncomingCall implements ClientCall {
	readonly dialect: ClientCall["dialect"];
	readonly id: string;
	readonly operation: Call["operation"];
	readonly raw: string;
	readonly body: Call["body"];
	readonly fields: Call["fields"];
	readonly stream: boolean;
	readonly headers: Headers;
	readonly hops: string;
	readonly startedAt: number;
	readonly timeoutMs: number | undefined;
	readonly limits: Call["limits"];
	readonly priority: number | undefined;
	readonly key: string | undefined;
	readonly keyId: string | undefined;
	readonly #request: Request;

	constructor(request: Request, parsed: ParsedRequest, arrival: Arrival) {
		this.#request = request;
		this.headers = request.headers;
		this.raw = parsed.raw;
		this.body = parsed.body;
		this.fields = parsed.fields;
		this.stream = parsed.stream;
		this.id = arrival.id;
		this.operation = arrival.operation;
		this.dialect = arrival.dialect;
		this.hops = arrival.hops;
		this.startedAt = arrival.startedAt;
		this.timeoutMs = arrival.timeoutMs;
		this.limits = arrival.limits;
		this.priority = arrival.priority;
		this.key = arrival.key;
		this.keyId = arrival.keyId;
	}

	/** Aborted when the client leaves. A cached answer needs none. */
	get signal(): AbortSignal {
		return this.#request.signal;
	}
}
