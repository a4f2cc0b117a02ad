/** The name of one request, in answers (`x-request-id`), in the log and towards upstreams. */

/** `req_` and a random UUID. */
export function newRequestId(): string {
	return `req_${crypto.randomUUID()}`;
}
