/** Health of this process alone: upstreams and Redis do not count. Calls are answered without a ledger, too. */
import { Elysia } from "elysia";
import type { Lifecycle } from "./lifecycle.ts";
import { answer, type Detail } from "./route-docs.ts";

const NO_STORE = { "cache-control": "no-store" };

/** Problems of a process that takes calls all the same: part of the process → its state. */
export type HealthNotes = Readonly<Record<string, string>>;

/**
 * `/health/live`: 200 while the process can answer. `/health/ready`: 200 while it takes new calls, 503 before it
 * listens and from the beginning of a stop. The agent also has `/health`, as vLLM does. No key is needed.
 */
export function health(role: "router" | "agent", lifecycle: Pick<Lifecycle, "state">, notes?: () => HealthNotes) {
	const live = () => Response.json({ status: "ok" }, { headers: NO_STORE });
	const ready = () => {
		// Who asks over a connection from before asks whether the address takes calls: another process does.
		const state = lifecycle.state === "replaced" ? "ready" : lifecycle.state;
		return Response.json({ status: state, ...notes?.() }, { status: state === "ready" ? 200 : 503, headers: NO_STORE });
	};
	const app = new Elysia({ name: "http/health" })
		.get("/health/live", live, { detail: LIVE })
		.get("/health/ready", ready, { detail: READY });
	return role === "agent" ? app.get("/health", live, { detail: LIVE_AGENT }) : app;
}

const LIVE: Detail = {
	tags: ["Operations"],
	summary: "Is the process up?",
	operationId: "live",
	security: [],
	responses: { 200: answer("It is.", { status: "ok" }) },
};
const LIVE_AGENT: Detail = { ...LIVE, operationId: "health" };
const READY: Detail = {
	tags: ["Operations"],
	summary: "Does it want calls?",
	description:
		"Speaks of this process alone, whatever upstreams do. A ledger that can't be written is told, though calls are taken: `stopped` (calls wait for it) or `memory` (what is new waits in memory). It is tried again every 5 s; a restart before that forgets what waits.",
	operationId: "ready",
	security: [],
	responses: {
		200: answer("It does.", { status: "ready" }),
		503: answer("It is starting or stopping.", { status: "draining" }),
	},
};
