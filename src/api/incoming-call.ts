/** A client's call as the router sees it: what its headers say, and later its body. */
import type { Caller } from "../accounts/auth/keys.ts";
import type { ClientCall, Dialect } from "../dialects/dialect.ts";
import { RouterError } from "../errors.ts";
import type { Client, ParsedRequest } from "../openai/call.ts";
import type { Operation } from "../openai/operations.ts";
import { HOPS } from "../providers/request-headers.ts";

/** Routers a call may pass through. */
const MAX_HOPS = 8;
const NOTHING = Buffer.alloc(0);
/** Longest name of an end user that is kept, characters. */
export const MAX_USER = 128;

/** What is known of a call; its last fields once its body is here. */
export class IncomingCall implements ClientCall {
	readonly id: string;
	readonly headers: Headers;
	readonly hops: string;
	readonly startedAt: number;
	readonly timeoutMs: number | undefined;
	readonly limits: ClientCall["limits"];
	readonly priority: number | undefined;
	readonly key: string | undefined;
	readonly keyId: string | undefined;
	operation: Operation;
	readonly dialect: Dialect;
	/** The end user it is made for, where a header says so. */
	readonly user: string | undefined;
	/** Filled in once the body has come and was read. */
	sent: Buffer = NOTHING;
	facts!: ClientCall["facts"];
	body!: ClientCall["body"];
	stream = false;
	leftOut: ClientCall["leftOut"];
	storage: ClientCall["storage"];
	responses: ClientCall["responses"];
	native: ClientCall["native"];
	prefills: ClientCall["prefills"];
	isThoughtless: ClientCall["isThoughtless"];
	unasked: ClientCall["unasked"];
	/** The request: its signal is aborted when the client leaves. */
	readonly client: Client;

	/**
	 * Throws `loop_detected`, and `invalid_value` naming a header.
	 * @param instance this server among routers
	 * @param userHeaders headers that may name the end user, the first one first
	 */
	constructor(
		request: Request,
		{ id, startedAt }: Pick<ClientCall, "id" | "startedAt">,
		{ operation, dialect }: Pick<ClientCall, "operation" | "dialect">,
		caller: Caller | undefined,
		instance: string,
		userHeaders: readonly string[],
	) {
		const { headers } = request;
		this.client = request;
		this.id = id;
		this.operation = operation;
		this.dialect = dialect;
		this.startedAt = startedAt;
		this.headers = headers;
		this.hops = hopsWith(instance, headers);
		this.timeoutMs = msIn(headers, "x-router-timeout-ms");
		this.limits = limitsIn(headers);
		this.priority = priorityIn(headers, caller?.priority ?? 0);
		this.key = caller?.name;
		this.keyId = caller?.id;
		let user: string | undefined;
		// By index: over a frozen list, which the configuration's are, an iteration is never compiled.
		for (let at = 0; at < userHeaders.length; at++) user ||= headers.get(userHeaders[at]!)?.slice(0, MAX_USER);
		this.user = user || undefined;
	}

	/** Its body has come, and its dialect has read it. By name: calls of every wire are objects of one form then, which compiled code counts on. */
	read(parsed: ParsedRequest, sent: Buffer): this {
		this.sent = sent;
		this.facts = parsed.facts;
		this.body = parsed.body;
		this.stream = parsed.stream;
		this.leftOut = parsed.leftOut;
		this.responses = parsed.responses;
		this.native = parsed.native;
		this.prefills = parsed.prefills;
		this.isThoughtless = parsed.isThoughtless;
		this.unasked = parsed.unasked;
		if (parsed.operation) this.operation = parsed.operation;
		return this;
	}
}

/** The routers a call has come through, this one last. Throws `loop_detected`. */
function hopsWith(instance: string, headers: Headers): string {
	const through = headers.get(HOPS);
	if (through === null) return instance;
	const passed = through.split(",").map((hop) => hop.trim());
	if (!passed.includes(instance) && passed.length < MAX_HOPS) return [...passed, instance].join(",");
	throw new RouterError("loop_detected", "This call has come back to the router: a base URL of one leads to another.");
}

/** A header that holds ms. Throws `invalid_value`. */
function msIn(headers: Headers, name: string): number | undefined {
	const value = headers.get(name);
	if (value === null) return undefined;
	const ms = /^\d{1,8}$/.test(value) ? Number(value) : 0;
	if (ms > 0 && ms <= 86_400_000) return ms;
	throw new RouterError("invalid_value", `${name} must be a whole number of milliseconds, 1 to 86400000.`, {
		param: name,
	});
}

/** The call's own limits on its upstream's silence. Throws `invalid_value`. */
function limitsIn(headers: Headers): ClientCall["limits"] {
	const first_token = msIn(headers, "x-router-first-token-ms");
	const stall = msIn(headers, "x-router-stall-ms");
	return first_token === undefined && stall === undefined ? undefined : { first_token, stall };
}

/** The key's place in a line, or a lower one where the call asks for that. Throws `invalid_value`. */
function priorityIn(headers: Headers, ofKey: number): number {
	const value = headers.get("x-router-priority");
	if (value === null) return ofKey;
	if (/^-?\d{1,3}$/.test(value) && Math.abs(Number(value)) <= 100) return Math.min(Number(value), ofKey);
	throw new RouterError("invalid_value", "x-router-priority must be a whole number, -100 to 100.", {
		param: "x-router-priority",
	});
}
