/** One place where whatever was thrown becomes an answer in OpenAI's error shape. */
import { Elysia, NotFoundError } from "elysia";
import { asRouterError, RouterError } from "../errors.ts";
import type { Log } from "../telemetry/log.ts";
import { nearPaths } from "./near-path.ts";
import { newRequestId } from "./request-id.ts";
import { type HttpRoute, methodsAt } from "./route-match.ts";

/** Longest path shown back to a client, in UTF-16 units. */
const LONGEST_PATH = 200;

/**
 * The error handler of a whole server: register it before everything else (a hook reaches only what comes after).
 *
 * A RouterError answers as it says. An unknown path and a wrong method are told apart. Everything else, also Elysia's
 * own errors (no route lets it parse or check a body), is an `internal_error` that tells the client nothing and the
 * log, under the answer's `x-request-id`, everything. That header is the one already in `set.headers`, or a new one.
 * @param log asked for its logger when there is something to log
 * @param routes the server's routes at the time of the call
 */
export function errors(log: Pick<Log, "logger">, routes: () => readonly HttpRoute[]) {
	return new Elysia({ name: "http/errors" }).onError({ as: "global" }, ({ error, request, path, set }) => {
		const id = String(set.headers["x-request-id"] ?? newRequestId());
		set.headers["x-request-id"] = id;
		if (error instanceof NotFoundError) {
			const methods = methodsAt(path, routes());
			if (request.method === "OPTIONS" && methods.length > 0)
				return new Response(null, { status: 204, headers: { allow: allow(methods) } });
			return unrouted(request.method, path, methods, routes()).response();
		}
		const known = asRouterError(error);
		if (known.errorCode === "internal_error")
			log.logger.error({ id, method: request.method, path: clip(path), err: known.cause ?? known }, "internal error");
		return known.response();
	});
}

function unrouted(method: string, path: string, methods: string[], routes: readonly HttpRoute[]): RouterError {
	const shown = clip(path);
	if (methods.length > 0)
		return new RouterError("method_not_allowed", `${method} ${shown}: this path takes ${methods.join(", ")}.`, {
			headers: { allow: allow(methods) },
		});
	const close = nearPaths(
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
