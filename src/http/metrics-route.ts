/** `GET /metrics`, for Prometheus. */
import { Elysia } from "elysia";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Detail } from "./docs.ts";

/** The route. No key is needed: the text names models and providers, no prompt, key or user. */
export function metricsRoute(metrics: Pick<Metrics, "text" | "contentType">) {
	return new Elysia({ name: "http/metrics" }).get(
		"/metrics",
		async () =>
			new Response(await metrics.text(), {
				headers: { "content-type": metrics.contentType, "cache-control": "no-store" },
			}),
		{ detail: DETAIL },
	);
}

const DETAIL: Detail = {
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
