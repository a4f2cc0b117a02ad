/** What the servers of both roles share, in the order in which it must be registered. */
import { Elysia } from "elysia";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { cors } from "./cors.ts";
import { errors } from "./error-response.ts";
import { gatekeeper } from "./gatekeeper.ts";
import { type HealthNotes, health } from "./health.ts";
import type { Lifecycle } from "./lifecycle.ts";
import { metricsRoute } from "./metrics-route.ts";
import type { PageDoor } from "./page-access.ts";
import { requestLine } from "./request-guard.ts";
import { swagger } from "./swagger.ts";

/** What differs between the roles. */
export interface HttpBaseOptions {
	readonly role: "router" | "agent";
	readonly version: string;
	/** Web origins allowed besides localhost. */
	readonly corsOrigins: readonly string[];
	readonly metrics: Pick<Metrics, "text" | "contentType">;
	readonly log: Pick<Log, "logger">;
	readonly lifecycle: Pick<Lifecycle, "state">;
	/** What `/health/ready` says besides. */
	readonly healthNotes?: (() => HealthNotes) | undefined;
	/** Why a request for metrics or Swagger is refused; undefined lets it in. */
	readonly refuse: PageDoor;
	/** Of the API's description. */
	readonly title: string;
	readonly description: string;
}

/**
 * A server with errors, CORS, draining, health, metrics and Swagger, to which the role adds its routes. Hooks reach
 * only what is registered after them, so errors come first, then CORS (a call refused while stopping must still be
 * readable by a web page).
 */
export function httpBase(options: HttpBaseOptions): Elysia {
	const { role, version, title, description, refuse } = options;
	const app = new Elysia({ name: "http" });
	const routes = () => app.routes;
	app
		.use(errors(options.log, routes))
		.use(requestLine())
		.use(cors(options.corsOrigins))
		.use(gatekeeper(options.lifecycle))
		.use(health(role, options.lifecycle, options.healthNotes))
		.use(
			new Elysia({ name: "http/open" })
				.onBeforeHandle(({ request, server }) => {
					const refusal = refuse(request, server);
					if (refusal) throw refusal;
				})
				.use(metricsRoute(options.metrics))
				.use(swagger({ title, version, description }, routes)),
		);
	return app;
}
