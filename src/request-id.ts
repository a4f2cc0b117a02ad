/** How a request is known: to its client, in the log, to upstreams and in the ledger. */

/**
 * The id of a new request, in answers (`x-request-id`), in the log and towards upstreams: `req_` and a UUID of version 7. Those ascend
 * with time, so that the newest rows of the ledger lie together.
 */
export function newRequestId(): string {
	return `req_${Bun.randomUUIDv7()}`;
}
