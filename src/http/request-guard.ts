/**
 * The checks of a request before a route is looked up, the same for every path: refusals, and the headers that CORS and a stop add to
 * its answer.
 *
 * Bun's parser has refused by then what two servers could understand in two ways: lengths that contradict each other, odd transfer
 * encodings, bare line ends, more than 16 KB of headers (400, 431, 505, and the connection is closed). It gives a client 30 s for its
 * headers, and again for its body.
 */
import { Elysia } from "elysia";
import { allowedOrigin } from "../accounts/auth/origin.ts";
import { dialectOf } from "../dialects/request-dialect.ts";
import { RouterError } from "../errors.ts";
import type { Peers } from "./client-address.ts";
import type { Lifecycle } from "./lifecycle.ts";

/** Longest URL, characters: prompts belong in the body, where they are in no log. */
const LONGEST_URL = 8192;
const CLOSE = { headers: { connection: "close" } };
const METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/** Answer headers a page may read. By name: `*` is not understood by Safari before 15.4. */
const EXPOSED = [
	"x-request-id",
	"deprecation",
	"sunset",
	...[
		"provider",
		"model",
		"agent",
		"replica",
		"attempts",
		"cache",
		"dropped",
		"overhead-ms",
		"cost-usd",
		"energy-j",
		"explain",
		"runaway",
		"session-budget-usd",
		"session-remaining-usd",
	].map((name) => `x-router-${name}`),
	"retry-after",
	"retry-after-ms",
	"x-should-retry",
	...["limit", "remaining", "reset"].flatMap((what) => [`x-ratelimit-${what}-requests`, `x-ratelimit-${what}-tokens`]),
].join(", ");

/** What the guard says of a request: its refusal, or headers that its answer has besides its own, in lower case. */
export type GuardVerdict = Response | Readonly<Record<string, string>>;

/** The checks; undefined for a request of which there is nothing to say, which most are. */
export type RequestGuard = (request: Request, server?: Peers | null) => GuardVerdict | undefined;

/**
 * The guard of a whole server.
 *
 * - A URL that is too long (414) and a request for two hosts at once (400) are refused, and their connections closed.
 * - CORS: web pages of allowed origins may call, and read answers, errors and streams. Preflights are answered here (204; 403
 *   `foreign_origin` without CORS headers for an origin that is not allowed). No credentials are allowed: keys travel in
 *   `authorization`, never in cookies.
 * - While the process drains, or once another one has taken its place, answers carry `connection: close`, so that keep-alive clients find
 *   another replica, or that one. A call that
 *   still comes after listening stopped, over a connection from before, gets 503 `shutting_down`, which a web page can read.
 *
 * @param corsOrigins origins allowed besides localhost; see {@link allowedOrigin}
 * @param lifecycle its state is read at each request
 */
export function requestGuard(corsOrigins: readonly string[], lifecycle: Pick<Lifecycle, "state">): RequestGuard {
	return (request) => {
		const { url, headers } = request;
		if (url.length > LONGEST_URL) {
			const message = `The URL has ${url.length} characters; ${LONGEST_URL} are the most.`;
			return refused(new RouterError("url_too_long", message, CLOSE), request);
		}
		if (headers.get("host")?.includes(",")) {
			return refused(new RouterError("invalid_host", "The request names more than one Host.", CLOSE), request);
		}
		// Programs that are no browser send none.
		const origin = headers.get("origin");
		const { state } = lifecycle;
		const isServing = state === "ready" || state === "starting";
		if (origin === null && isServing) return undefined;
		const added: Record<string, string> = {};
		if (origin !== null) {
			const isAllowed = allowedOrigin(origin, corsOrigins);
			if (request.method === "OPTIONS" && headers.has("access-control-request-method")) {
				return preflight(headers, origin, isAllowed);
			}
			added["vary"] = "origin";
			if (isAllowed) {
				added["access-control-allow-origin"] = origin;
				added["access-control-expose-headers"] = EXPOSED;
			}
		}
		if (isServing) return added;
		added["connection"] = "close";
		return state === "draining" || state === "replaced" ? added : shuttingDown(request, added);
	};
}

function shuttingDown(request: Request, headers: Record<string, string>): Response {
	const message = "This router is stopping: call another one, or this one later.";
	return refused(new RouterError("shutting_down", message, { headers: { "retry-after": "5" } }), request, headers);
}

/** A refusal in the words of the client's wire. */
function refused(error: RouterError, { url, headers }: Request, more: Record<string, string> = {}): Response {
	return dialectOf(pathOf(url), headers).error(error, more);
}

const pathOf = (url: string): string => /^(?:[a-z]+:\/\/[^/?#]*)?([^?#]*)/i.exec(url)?.[1] ?? "";

/** The guard as a hook of Elysia's, for all routes that are registered later. */
export function guardHook(guard: RequestGuard) {
	return new Elysia({ name: "http/request-guard" }).onRequest(({ request, set, server }) => {
		const verdict = guard(request, server);
		if (verdict instanceof Response) return verdict;
		if (verdict) Object.assign(set.headers, verdict);
		return undefined;
	});
}

/** The guard before a handler that Bun's router calls without Elysia. The handler must not reject. */
export function guarded<Server extends Peers | null | undefined>(
	guard: RequestGuard,
	handle: (request: Request, server: Server) => Promise<Response>,
): (request: Request, server: Server) => Promise<Response> | Response {
	return (request, server) => {
		const verdict = guard(request, server);
		if (verdict === undefined) return handle(request, server);
		return verdict instanceof Response
			? verdict
			: handle(request, server).then((answer) => withHeaders(answer, verdict));
	};
}

function withHeaders(answer: Response, headers: Readonly<Record<string, string>>): Response {
	for (const name in headers) answer.headers.set(name, headers[name]!);
	return answer;
}

/** The answer to a preflight. */
function preflight(request: Headers, origin: string, isAllowed: boolean): Response {
	if (!isAllowed)
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
	const wanted = request.get("access-control-request-headers");
	if (wanted) headers.set("access-control-allow-headers", wanted);
	// For a page on the internet that calls a router in a private network Chrome asks separately.
	if (request.get("access-control-request-private-network") === "true")
		headers.set("access-control-allow-private-network", "true");
	return new Response(null, { status: 204, headers });
}
