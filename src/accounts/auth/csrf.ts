/** What a router without keys demands of a call, so that no web page of another site can use it (cross-site request forgery). */
import type { Config } from "../../config/schema.ts";
import { RouterError } from "../../errors.ts";
import { allowedOrigin, loopbackHost } from "./origin.ts";

/** Why a router without keys refuses a request that a web page may have made by stealth; undefined where it does not. */
export function crossSiteRefusal(
	{ isKeyless }: { readonly isKeyless: boolean },
	request: Request,
	{ server }: Config,
): RouterError | undefined {
	if (!isKeyless || server.insecure) return undefined;
	return rejectCrossSite(request.headers, request.url, server.cors_origins);
}

/**
 * Why a call to a router without keys is refused, or undefined when it may go on.
 *
 * - `foreign_host`: the `Host` is not loopback. A page whose name was re-pointed at 127.0.0.1 (DNS rebinding) still
 *   sends its own name.
 * - `foreign_origin`: a page of an origin that is not allowed, or a cross-site load without an origin (an image, a
 *   script). Following a link here is no such load: it sends `sec-fetch-mode: navigate`, and its answer is shown to
 *   the person, not to the page.
 * @param url the request's; its host counts when there is no `Host` header
 */
export function rejectCrossSite(
	headers: Headers,
	url: string,
	corsOrigins: readonly string[],
): RouterError | undefined {
	const host = headers.get("host") ?? URL.parse(url)?.host ?? "";
	if (!loopbackHost(host))
		return new RouterError(
			"foreign_host",
			`Without keys this router answers to localhost only, and was called as ${host.slice(0, 200)}. ` +
				"Call it as localhost, or configure keys.",
		);
	const origin = headers.get("origin");
	if (origin !== null) return allowedOrigin(origin, corsOrigins) ? undefined : foreign(origin.slice(0, 200));
	const isCrossSite = headers.get("sec-fetch-site") === "cross-site" && headers.get("sec-fetch-mode") !== "navigate";
	return isCrossSite ? foreign("another site") : undefined;
}

function foreign(who: string): RouterError {
	return new RouterError(
		"foreign_origin",
		`A web page of ${who} called this router, which has no keys. Add its origin to CORS_ORIGINS, or configure keys.`,
	);
}
