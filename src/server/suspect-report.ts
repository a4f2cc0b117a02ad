/** What is said of engines that die, and of the calls that they die of. */
import type { SuspectEvent } from "../proxy/suspect-step.ts";
import type { Log } from "../telemetry/log.ts";
import type { RoutingMetrics } from "../telemetry/routing-metrics.ts";

/** Deaths of engines and what comes of them, in the log and the metrics. Which request it was, never what it said. */
export function reportSuspect(
	event: SuspectEvent,
	{ logger }: Pick<Log, "logger">,
	metrics: Pick<RoutingMetrics, "engineDied" | "refusedPoisonous">,
): void {
	switch (event.what) {
		case "died":
			metrics.engineDied(event.target);
			logger.warn({ target: event.target, id: event.call }, "An engine died.");
			return;
		case "convicted": {
			const { target, calls, forMs } = event;
			const fields = { target, ids: calls, refused_s: Math.round(forMs / 1000) };
			logger.warn(fields, `An engine died of one call twice: it is refused${forMs > 0 ? " from now on" : ""}.`);
			return;
		}
		case "refused":
			metrics.refusedPoisonous();
			logger.info({ id: event.call, ids: event.calls }, "A call was refused that an engine died of twice.");
	}
}
