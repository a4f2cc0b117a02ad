/** What the servers of both roles share, in the order in which it must be registered. */
import { Elysia } from "elysia";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { errors } from "./error-response.ts";
import { type HealthNotes, health } from "./health.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { SignedInPageAccess } from "./page-access.ts";
import { guardHook, type RequestGuard } from "./request-guard.ts";
import type { Detail } from "./route-docs.ts";
import { swagger } from "./swagger.ts";

/** What differs between the roles. */
export interface HttpBaseOptions {
	readonly role: "router" | "agent";
	readonly version: string;
	/** Looks at each request before its route is looked up. */
	readonly guard: RequestGuard;
	readonly metrics: Pick<Metrics, "text" | "contentType">;
	readonly log: Pick<Log, "logger">;
	readonly lifecycle: Pick<Lifecycle, "state">;
	/** Problems that `/health/ready` adds to its answer. */
	readonly healthNotes?: (() => HealthNotes) | undefined;
	/** Why a request for metrics or Swagger is refused; undefined lets it in. */
	readonly refuse: SignedInPageAccess;
	/** URLs begin with `https://`. */
	readonly isTls: boolean;
	/** Of the API's description. */
	readonly title: string;
	readonly description: string;
}

/**
 * A server with errors, CORS, draining, health, metrics and Swagger, to which the role adds its routes. Hooks reach
 * only what is registered after them, so errors come first, then the guard.
 */
export function httpBase(options: HttpBaseOptions): Elysia {
	const { role, version, title, description, refuse } = options;
	// A path is looked for from the 11th letter of a URL on, where hosts of three letters end behind "https://"; else from the 7th, behind "http://".
	const app = new Elysia({ name: "http", handler: { standardHostname: options.isTls } });
	const routes = () => app.routes;
	app
		.use(errors(options.log, routes))
		.use(guardHook(options.guard))
		.use(health(role, options.lifecycle, options.healthNotes))
		.use(
			new Elysia({ name: "http/open" })
				.onBeforeHandle(async ({ request, server }) => {
					const refusal = await refuse(request, server);
					if (refusal) throw refusal;
				})
				.use(metricsRoute(options.metrics))
				.use(swagger({ title, version, description }, routes)),
		);
	return app;
}

/** `GET /metrics`. No key is needed: the text names models and providers, no prompt, key or user. */
function metricsRoute(metrics: Pick<Metrics, "text" | "contentType">) {
	return new Elysia({ name: "http/metrics" }).get(
		"/metrics",
		async () =>
			new Response(await metrics.text(), {
				headers: { "content-type": metrics.contentType, "cache-control": "no-store" },
			}),
		{ detail: METRICS },
	);
}

const METRICS: Detail = {
	tags: ["Operations"],
	summary: "Metrics for Prometheus",
	operationId: "metrics",
	security: [],
	responses: {
		200: {
			description: "The Prometheus text format.",
			content: {
				"text/plain": {
					schema: { type: "string" },
					example: 'router_requests_total{model="dummy",provider="dummy",status="200"} 1',
				},
			},
		},
	},
};
