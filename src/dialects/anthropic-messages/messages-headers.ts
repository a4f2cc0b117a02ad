/** What Anthropic's clients read in an answer's headers. */

const UNITS = ["requests", "tokens"] as const;
const COUNTS = ["limit", "remaining"] as const;

/**
 * Its headers.
 * @param id the call's
 * @param limits how its caller's limits stand, `x-ratelimit-*`
 */
export function messagesHeaders(
	id: string,
	limits: Readonly<Record<string, string>> | undefined,
): Readonly<Record<string, string>> {
	const headers: Record<string, string> = { "request-id": id };
	if (!limits) return headers;
	for (const unit of UNITS) {
		for (const count of COUNTS) {
			const value = limits[`x-ratelimit-${count}-${unit}`];
			if (value !== undefined) headers[`anthropic-ratelimit-${unit}-${count}`] = value;
		}
	}
	return headers;
}
