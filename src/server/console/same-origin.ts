/**
 * Whether a request that carries the console's cookie comes from the console's own page (cross-site request forgery). `SameSite=Strict` keeps
 * other sites out; to a browser another port or subdomain of the same host is no other site. As Go's `http.CrossOriginProtection` decides it.
 */
import { RouterError } from "../../errors.ts";
import { urlOf } from "../../http/request-url.ts";

/** Why it does not, `cross_site_request`; undefined where it does. */
export function crossOriginRefusal(request: Request): RouterError | undefined {
	const { headers, method } = request;
	const isReading = method === "GET" || method === "HEAD";
	// No page can set this header. Browsers leave it out over plain HTTP to another machine.
	const site = headers.get("sec-fetch-site");
	if (site !== null) return site === "same-origin" || (isReading && site === "none") ? undefined : refusal(method);
	const origin = headers.get("origin");
	if (origin === null) return isReading ? undefined : refusal(method);
	const host = headers.get("host") ?? urlOf(request).host;
	return URL.parse(origin)?.host === hostOf(origin, host) ? undefined : refusal(method);
}

/** The host without a port that is the scheme's own. */
const hostOf = (origin: string, host: string): string | undefined =>
	URL.parse(`${origin.slice(0, origin.indexOf(":"))}://${host}`)?.host;

function refusal(method: string): RouterError {
	const message = `This ${method} has the console's cookie and does not come from the console's own page.`;
	return new RouterError("cross_site_request", message);
}
