/** The error handler: any thrown value becomes an answer in the error shape of its client's wire. */
import { Elysia, NotFoundError } from "elysia";
import { dialectOf } from "../dialects/request-dialect.ts";
import { asRouterError, RouterError } from "../errors.ts";
import { newRequestId } from "../request-id.ts";
import type { Log } from "../telemetry/log.ts";
import { similarPaths } from "./similar-paths.ts";

/** A route as Elysia lists it: `/v1/models/:id`, `/v1/models/*`. */
export interface HttpRoute {
	readonly method: string;
	readonly path: string;
}

/** Longest path shown back to a client, in UTF-16 units. */
const LONGEST_PATH = 200;

/**
 * The error handler of a whole server: register it before everything else (a hook reaches only what comes after).
 *
 * A RouterError has its own answer. An unknown path and a wrong method are distinguished. Everything else, also Elysia's
 * own errors (no route lets it parse or check a body), is an `internal_error` with no details for the client and all of them for the
 * log, under the answer's `x-request-id`, everything. That id is the one already in `set.headers`, or a new one.
 * @param log its `logger` is read when there is something to log
 * @param routes the server's routes at the time of the call
 */
export function errors(log: Pick<Log, "logger">, routes: () => readonly HttpRoute[]) {
	return new Elysia({ name: "http/errors" }).onError({ as: "global" }, ({ error, request, path, set }) => {
		const id = String(set.headers["x-request-id"] ?? newRequestId());
		const answer = (failed: RouterError) => dialectOf(path, request.headers).error(failed, { "x-request-id": id });
		set.headers["x-request-id"] = id;
		if (error instanceof NotFoundError) {
			const methods = methodsAt(path, routes());
			if (request.method === "OPTIONS" && methods.length > 0)
				return new Response(null, { status: 204, headers: { allow: allow(methods) } });
			return answer(unrouted(request.method, path, methods, routes()));
		}
		const known = asRouterError(error);
		if (known.errorCode === "internal_error")
			log.logger.error({ id, method: request.method, path: clip(path), err: known.cause ?? known }, "internal error");
		return answer(known);
	});
}

function unrouted(method: string, path: string, methods: string[], routes: readonly HttpRoute[]): RouterError {
	const shown = clip(path);
	if (methods.length > 0)
		return new RouterError("method_not_allowed", `${method} ${shown}: this path takes ${methods.join(", ")}.`, {
			headers: { allow: allow(methods) },
		});
	const close = similarPaths(
		path,
		routes.map((route) => route.path),
	);
	const hint = close.length > 0 ? `Did you mean ${close.join(" or ")}?` : "GET /swagger lists the paths there are.";
	return new RouterError("unknown_path", `There is no ${method} ${shown}. ${hint}`);
}

function allow(methods: string[]): string {
	return [...methods, "OPTIONS"].join(", ");
}

function clip(path: string): string {
	return path.length > LONGEST_PATH ? `${path.slice(0, LONGEST_PATH)}…` : path;
}

/**
 * The methods of the routes that match `path`, sorted, or none: they distinguish a wrong method (405) from an unknown path
 * (404), which Elysia does not. GET brings HEAD with it, as Bun serves it.
 * @param path as the client sent it, without the query; a trailing slash is overlooked, as Elysia does
 */
export function methodsAt(path: string, routes: readonly HttpRoute[]): string[] {
	const wanted = segments(path);
	const methods = new Set<string>();
	for (const route of routes) if (matches(segments(route.path), wanted)) methods.add(route.method);
	if (methods.has("GET")) methods.add("HEAD");
	return [...methods].sort();
}

function segments(path: string): string[] {
	return path.replace(/^\/|\/$/g, "").split("/");
}

function matches(pattern: string[], wanted: string[]): boolean {
	const open = pattern.at(-1) === "*";
	if (open ? wanted.length < pattern.length : wanted.length !== pattern.length) return false;
	return pattern.every((part, at) => part === "*" || part.startsWith(":") || part === wanted[at]);
}
