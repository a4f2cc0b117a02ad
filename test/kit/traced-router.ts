/** A router that is traced, and how its traces are read. */
import type { CollectedSpan, OtlpCollector } from "./otlp-collector.ts";

/** Its variables: all traces, and metrics, soon. */
export const tracedBy = ({ origin }: Pick<OtlpCollector, "origin">): Record<string, string> => ({
	OTEL_EXPORTER_OTLP_ENDPOINT: origin,
	OTEL_BSP_SCHEDULE_DELAY: "20",
	OTEL_METRIC_EXPORT_INTERVAL: "200",
});

/** OTLP's kinds. */
export const INTERNAL = 1;
export const SERVER = 2;
export const CLIENT = 3;

/** Waits until the trace of a call is whole: its own span, and so many besides. Those in the order of their beginning, the call's first. */
export async function traceOf(
	collector: OtlpCollector,
	callId: string,
	count: number,
): Promise<{ readonly call: CollectedSpan; readonly rest: readonly CollectedSpan[] }> {
	const isCalls = (span: CollectedSpan) => span.kind === SERVER && span.attributes["router.call.id"] === callId;
	const inTrace = (spans: readonly CollectedSpan[]) => {
		const call = spans.find(isCalls);
		return spans.filter(({ traceId, spanId }) => traceId === call?.traceId && spanId !== call.spanId);
	};
	const spans = await collector.have(
		(all) => all.some(isCalls) && inTrace(all).length >= count,
		`${count} spans beside that of ${callId}`,
	);
	const rest = inTrace(spans).sort((one, other) => Number(one.start - other.start));
	if (rest.length !== count) throw new Error(`${rest.length} spans, not ${count}: ${rest.map(({ name }) => name)}`);
	return { call: spans.find(isCalls)!, rest };
}
