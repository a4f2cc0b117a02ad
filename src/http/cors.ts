/** CORS: lets web pages of allowed origins call, and read the answers, errors and streams. */
import { Elysia } from "elysia";
import { allowedOrigin } from "../accounts/auth/origin.ts";
import { RouterError } from "../errors.ts";

const METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/** Answer headers a page may read. By name: `*` is not understood by Safari before 15.4. */
const EXPOSED = [
	"x-request-id",
	...["provider", "model", "agent", "attempts", "cache", "overhead-ms", "cost-usd", "explain"].map(
		(name) => `x-router-${name}`,
	),
	"retry-after",
	"retry-after-ms",
	"x-should-retry",
	...["limit", "remaining", "reset"].flatMap((what) => [`x-ratelimit-${what}-requests`, `x-ratelimit-${what}-tokens`]),
].join(", ");

/**
 * CORS for a whole server, also for routes registered later. Answers preflights itself (204; 403 `foreign_origin`
 * without CORS headers for an origin that is not allowed). No credentials are allowed: keys travel in
 * `authorization`, never in cookies.
 * @param configured origins allowed besides localhost; see {@link allowedOrigin}
 */
export function cors(configured: readonly string[]) {
	return new Elysia({ name: "http/cors" }).onRequest(({ request, set }) => {
		// Programs that are no browser send none: this lookup, 0.1 µs, is all they pay.
		const origin = request.headers.get("origin");
		if (origin === null) return;
		const allowed = allowedOrigin(origin, configured);
		if (request.method === "OPTIONS" && request.headers.has("access-control-request-method"))
			return preflight(request.headers, origin, allowed);
		set.headers.vary = "origin";
		if (!allowed) return;
		set.headers["access-control-allow-origin"] = origin;
		set.headers["access-control-expose-headers"] = EXPOSED;
	});
}

function preflight(asked: Headers, origin: string, allowed: boolean): Response {
	if (!allowed)
		return new RouterError(
			"foreign_origin",
			`Web pages of ${origin.slice(0, 200)} may not call this router: add that origin to CORS_ORIGINS.`,
		).response({ vary: "origin" });
	const headers = new Headers({
		"access-control-allow-origin": origin,
		"access-control-allow-methods": METHODS,
		// 2 h is the most that Chrome honours.
		"access-control-max-age": "7200",
		vary: "origin, access-control-request-headers, access-control-request-private-network",
	});
	const wanted = asked.get("access-control-request-headers");
	if (wanted) headers.set("access-control-allow-headers", wanted);
	// A page on the internet that calls a router in a private network is asked about separately by Chrome.
	if (asked.get("access-control-request-private-network") === "true")
		headers.set("access-control-allow-private-network", "true");
	return new Response(null, { status: 204, headers });
}
