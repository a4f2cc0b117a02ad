/** The headers of an upstream's answer that a client gets. */

/**
 * What stays behind: hop-by-hop headers (RFC 9110, 7.6.1), framing and encoding (the body is re-framed, and identity was asked
 * for), cookies, what speaks of the upstream's own server and origin, and the names the router fills itself.
 */
const KEPT_BACK = new Set([
	"connection",
	"keep-alive",
	"proxy-authenticate",
	"proxy-authorization",
	"proxy-connection",
	"te",
	"trailer",
	"transfer-encoding",
	"upgrade",
	"content-encoding",
	"content-length",
	"content-type",
	"set-cookie",
	"set-cookie2",
	"www-authenticate",
	"date",
	"server",
	"via",
	"vary",
	"alt-svc",
	"nel",
	"report-to",
	"strict-transport-security",
	"content-security-policy",
	"x-request-id",
	"clear-site-data",
	"refresh",
	"openai-organization",
	"anthropic-organization-id",
	"openai-project",
]);

/** The upstream's headers to pass on, but for those that hold `secret`; lower case: rate limits, timings, versions, whatever a vendor adds. */
export function answerHeaders(upstream: Headers, secret?: string): Record<string, string> {
	const headers: Record<string, string> = {};
	const hops =
		upstream
			.get("connection")
			?.toLowerCase()
			.split(/\s*,\s*/) ?? [];
	upstream.forEach((value, name) => {
		if (
			KEPT_BACK.has(name) ||
			hops.includes(name) ||
			name.startsWith("access-control-") ||
			name.startsWith("x-router-")
		)
			return;
		if (secret === undefined || !value.includes(secret)) headers[name] = value;
	});
	return headers;
}
