/** What calls notice of a process that stops. */
import { Elysia } from "elysia";
import { RouterError } from "../errors.ts";
import type { Lifecycle } from "./lifecycle.ts";

/**
 * While the process drains, answers carry `connection: close`, so that keep-alive clients find another replica. A
 * call that still comes after listening stopped, over a connection from before, gets 503 `shutting_down`.
 */
export function gatekeeper(lifecycle: Pick<Lifecycle, "state">) {
	return new Elysia({ name: "http/gatekeeper" }).onRequest(({ set }) => {
		if (lifecycle.state === "ready" || lifecycle.state === "starting") return;
		set.headers["connection"] = "close";
		if (lifecycle.state === "draining") return;
		return new RouterError("shutting_down", "This router is stopping: call another one, or this one later.", {
			headers: { "retry-after": "5" },
		}).response();
	});
}
