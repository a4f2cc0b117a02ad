/** Errors in Google's words (google.rpc.Status). */
import type { RouterError } from "../../errors.ts";

/** By HTTP status; what is not named here is `INTERNAL` from 500 on, and below that `INVALID_ARGUMENT`. */
const STATUSES: Readonly<Record<number, string>> = {
	401: "UNAUTHENTICATED",
	402: "RESOURCE_EXHAUSTED",
	403: "PERMISSION_DENIED",
	404: "NOT_FOUND",
	405: "UNIMPLEMENTED",
	409: "ABORTED",
	429: "RESOURCE_EXHAUSTED",
	499: "CANCELLED",
	502: "UNAVAILABLE",
	503: "UNAVAILABLE",
	504: "DEADLINE_EXCEEDED",
};

/** `error` of an answer, or of a stream's last event. */
export interface GeminiError {
	/** The HTTP status. */
	readonly code: number;
	readonly message: string;
	readonly status: string;
	readonly details: readonly object[];
}

const TYPES = "type.googleapis.com/google.rpc.";

/** The error. Its details name the router's own code (`ErrorInfo`), the field at fault (`BadRequest`), and when to call again (`RetryInfo`). */
export function errorObject(error: RouterError, request?: string): GeminiError {
	const { status: code, errorCode, message, body, headers } = error;
	const { param } = body.error;
	const seconds = Number(headers["retry-after"]);
	const status = STATUSES[code] ?? (code >= 500 ? "INTERNAL" : "INVALID_ARGUMENT");
	return {
		code,
		message,
		status,
		details: [
			{ "@type": `${TYPES}ErrorInfo`, reason: errorCode.toUpperCase(), domain: "router" },
			...(param === null || code !== 400
				? []
				: [{ "@type": `${TYPES}BadRequest`, fieldViolations: [{ field: param, description: message }] }]),
			...(seconds > 0 ? [{ "@type": `${TYPES}RetryInfo`, retryDelay: `${seconds}s` }] : []),
			...(request === undefined ? [] : [{ "@type": `${TYPES}RequestInfo`, requestId: request }]),
		],
	};
}

/** The same as JSON, as it stands in an answer or in a stream. */
export const errorText = (error: RouterError, request?: string): string =>
	JSON.stringify({ error: errorObject(error, request) });

/**
 * The whole answer, with the headers of the error.
 * @param isList the client reads a list, as streams without `alt=sse` are one
 */
export function errorResponse(error: RouterError, headers: Readonly<Record<string, string>>, isList = false): Response {
	const { status, headers: all } = error.response(headers);
	const body = errorText(error, headers["x-request-id"]);
	return new Response(isList ? `[${body}]` : body, { status, headers: all });
}
