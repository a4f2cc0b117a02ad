/** What every translated answer must be before its vendor's shape is looked for: a good status, JSON, an object, no error. */
import { JsonTooLarge, parseBounded, UNCHECKED_LENGTH } from "../openai/json.ts";
import type { Failure } from "./failure.ts";
import type { AnswerHeaders } from "./provider.ts";
import type { Upstream } from "./registry.ts";
import { failureOf, readError, readErrorObject } from "./upstream-error.ts";

/** An answer that is not read, since a parse would keep all others waiting. */
export function oversized(status: number, { message }: JsonTooLarge): Failure {
	return { kind: "transport", status, isOurs: true, message: `sent an answer that ${message}` };
}

/** An answer that is no JSON: half of one broke off, anything else is whole. A page is most often another address's. */
export function unreadable(status: number, body: string): Failure {
	const start = body.trimStart();
	const failure = { kind: "truncated", status, isOurs: true } as const;
	if (start === "") return { ...failure, isWhole: true, message: "sent an empty answer" };
	if (start.startsWith("<")) {
		const message = "sent a web page instead of an answer: does its base URL lead to the API?";
		return { ...failure, isWhole: true, message };
	}
	if (/^[{[]/.test(start)) return { ...failure, message: "sent an answer that broke off" };
	return { ...failure, isWhole: true, message: "sent an answer that is no JSON" };
}

/** The answer's object, or the failure that it is: a refusal, an error in a 200, an answer cut off. */
export function answerObject(
	upstream: Upstream,
	status: number,
	headers: AnswerHeaders,
	body: string,
): { readonly object: Record<string, unknown> } | Failure {
	if (status < 200 || status >= 300) return failureOf(upstream, status, readError(body, status), headers);
	let object: Record<string, unknown>;
	try {
		object = parseBounded(body, UNCHECKED_LENGTH) as Record<string, unknown>;
	} catch (cause) {
		if (cause instanceof JsonTooLarge) return oversized(status, cause);
		return unreadable(status, body);
	}
	if (typeof object !== "object" || object === null) {
		return { kind: "transport", status, isOurs: true, message: "sent an answer that is no JSON object" };
	}
	const error = object["error"] ? readErrorObject(object) : undefined;
	return error ? failureOf(upstream, error.status ?? 500, error, headers) : { object };
}
