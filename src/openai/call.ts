/** One call on its way through the router. */
import type { TSchema } from "@sinclair/typebox";
import { type TypeCheck, TypeCompiler } from "@sinclair/typebox/compiler";
import { RouterError } from "../errors.ts";
import { type Field, JsonTooLarge, type ParsedText, parseWithFields } from "./json.ts";
import { OPERATIONS, type Operation } from "./operations.ts";
import type { RequestBody } from "./request-fields.ts";
import { describe } from "./validation.ts";

/** A request's text as it was read: OpenAI's, or what another dialect made of its own. */
export interface ParsedRequest {
	/** JSON: what upstreams that speak OpenAI get. A client of OpenAI's own wire has sent these very bytes. */
	readonly raw: string;
	/** The parse of `raw`, for reading only. */
	readonly body: RequestBody;
	/** Where the top-level fields stand in `raw`. */
	readonly fields: readonly Field[];
	readonly stream: boolean;
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
	/** Its priority in queues: higher ones go first; absent counts as 0. */
	readonly priority?: number | undefined;
}

const CHECKS = Object.fromEntries(
	Object.entries(OPERATIONS).map(([operation, { request }]) => [operation, TypeCompiler.Compile(request)]),
) as Record<Operation, TypeCheck<TSchema>>;

/**
 * Reads a request's text. Throws `invalid_json`, `duplicate_key` (two parsers could disagree about which one counts)
 * `body_too_large` (more fields than a parse should see), or `invalid_value` with the path of the first field at fault; messages never quote the body.
 */
export function parseRequest(operation: Operation, raw: string): ParsedRequest {
	let parsed: ParsedText;
	try {
		parsed = parseWithFields(raw);
	} catch (cause) {
		if (cause instanceof JsonTooLarge) throw tooLarge(cause);
		throw new RouterError("invalid_json", `The body is no valid JSON: ${reasonOf(cause)}.`);
	}
	const { value: body, fields, repeated } = parsed;
	if (typeof body !== "object" || body === null || Array.isArray(body)) {
		throw new RouterError("invalid_value", 'The body must be a JSON object, such as {"model": …}.');
	}
	if (repeated !== undefined) {
		throw new RouterError("duplicate_key", `The field "${repeated.slice(0, 64)}" stands twice; send it once.`, {
			param: repeated.slice(0, 64),
		});
	}
	const check = CHECKS[operation];
	if (!check.Check(body)) {
		const error = check.Errors(body).First();
		const { param, message } = error ? describe(error) : { param: undefined, message: "A field has a wrong type." };
		throw new RouterError("invalid_value", message, { param });
	}
	const checked = body as RequestBody;
	return { raw, body: checked, fields, stream: checked.stream === true && OPERATIONS[operation].canStream };
}

/** The refusal of a body beyond the bounds. */
export function tooLarge({ bound, message }: JsonTooLarge): RouterError {
	return new RouterError(bound === "parts" ? "body_too_large" : "invalid_value", `The body ${message}.`);
}

/** The parser's reason without what it quotes: that is the client's text. */
function reasonOf(error: unknown): string {
	const message = error instanceof SyntaxError ? error.message : "it is nested too deeply";
	return message.replace(/^JSON Parse error: /, "").replace(/\s*(["'`]).{2,}\1/s, "");
}
