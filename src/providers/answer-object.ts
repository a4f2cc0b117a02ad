/** What every translated answer must be before its vendor's shape is looked for: a good status, JSON, an object, no error. */
import { JsonTooLarge, parseBounded } from "../openai/json.ts";
import type { Failure } from "./provider.ts";
import type { Upstream } from "./registry.ts";
import { failureOf, readError, readErrorObject } from "./upstream-error.ts";

/** An answer that is not read, since a parse would keep all others waiting. */
export function oversized(status: number, { message }: JsonTooLarge): Failure {
	return { kind: "transport", status, isOurs: true, message: `sent an answer that ${message}` };
}

/** The answer's object, or the failure that it is: a refusal, an error in a 200, an answer cut off. */
export function answerObject(
	upstream: Upstream,
	status: number,
	headers: Headers,
	body: string,
): { readonly object: Record<string, unknown> } | Failure {
	if (status < 200 || status >= 300) return failureOf(upstream, status, readError(body, status), headers);
	let object: Record<string, unknown>;
	try {
		object = parseBounded(body) as Record<string, unknown>;
	} catch (cause) {
		if (cause instanceof JsonTooLarge) return oversized(status, cause);
		return { kind: "truncated", status, isOurs: true, message: "sent an answer that broke off or is no JSON" };
	}
	if (typeof object !== "object" || object === null) {
		return { kind: "transport", status, isOurs: true, message: "sent an answer that is no JSON object" };
	}
	const error = object["error"] ? readErrorObject(object) : undefined;
	return error ? failureOf(upstream, error.status ?? 500, error, headers) : { object };
}
