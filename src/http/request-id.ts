/** The name of one request, in answers (`x-request-id`), in the log and towards upstreams. */

/** `req_` and a UUID of version 7: they ascend with time, so that the ledger's newest rows are together (random ones cost 60 µs each). */
export function newRequestId(): string {
	return `req_${Bun.randomUUIDv7()}`;
}
