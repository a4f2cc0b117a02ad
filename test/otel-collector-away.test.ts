/** A router whose collector is away, or hangs: its calls are answered, and what waits is bounded. And what a stop leaves. */
import { afterEach, expect, test } from "bun:test";
import { type OtlpCollector, startOtlpCollector } from "./kit/otlp-collector.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { tracedBy, traceOf } from "./kit/traced-router.ts";
import { until } from "./kit/until.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

async function start(env: Record<string, string>, workers = 1): Promise<RunningRouter> {
	const router = await startRouter({ env, config: { server: { workers, drain: "0s" } } });
	stops.push(() => router.stop());
	return router;
}
function collectorAt(port = 0): OtlpCollector {
	const collector = startOtlpCollector(port);
	stops.push(() => collector.stop());
	return collector;
}
async function call(router: RunningRouter): Promise<Response> {
	const answer = await fetch(`${router.url}/v1/chat/completions`, {
		method: "POST",
		headers: { "content-type": "application/json" },
		body: JSON.stringify({ model: "dummy", messages: [{ role: "user", content: "hi" }] }),
	});
	await answer.text();
	return answer;
}
const linesWith = (router: RunningRouter, pattern: RegExp) =>
	router
		.output()
		.split("\n")
		.filter((line) => pattern.test(line));

test("calls are answered while it is away, it is told of once, and gets what comes when it is back", async () => {
	const { origin, stop } = startOtlpCollector();
	await stop();
	const small = { OTEL_BSP_MAX_QUEUE_SIZE: "50", OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "10", OTEL_BSP_EXPORT_TIMEOUT: "100" };
	const router = await start({ ...tracedBy({ origin }), ...small });
	const answers = await Promise.all(Array.from({ length: 200 }, () => call(router)));
	expect(answers.every(({ status }) => status === 200)).toBe(true);
	await until(async () => (await router.metric("router_spans_dropped_total", { reason: "full" })) > 0, "a full queue");
	await until(
		async () => (await router.metric("router_spans_dropped_total", { reason: "unreachable" })) > 0,
		"a batch given up",
	);
	await router.printed(/spans can't be sent: .*connection refused/);
	const collector = collectorAt(Number(new URL(origin).port));
	// A batch that is being tried, or given up, is not this call's.
	await until(async () => {
		await call(router);
		return collector.spans.length > 0;
	}, "spans");
	await router.printed(/takes spans again; \d+ were dropped meanwhile/);
	expect([linesWith(router, /spans can't be sent/).length, linesWith(router, /takes spans again/).length]).toEqual([
		1, 1,
	]);
	await traceOf(collector, (await call(router)).headers.get("x-request-id")!, 1);
});

test("calls are answered while it hangs", async () => {
	const collector = collectorAt();
	const hanging = Promise.withResolvers<Response>();
	collector.answer = () => hanging.promise;
	stops.push(() => hanging.resolve(new Response("")));
	const router = await start({
		...tracedBy(collector),
		OTEL_EXPORTER_OTLP_TIMEOUT: "200",
		OTEL_BSP_MAX_QUEUE_SIZE: "20",
	});
	for (let at = 0; at < 50; at++) expect((await call(router)).status).toBe(200);
	await router.printed(/spans can't be sent: .* has not answered within 200 ms/);
	expect(await router.metric("router_spans_dropped_total", { reason: "full" })).toBeGreaterThan(0);
});

test.each([1, 2])("a router with %i workers that is told to stop sends what it has", async (workers) => {
	const collector = collectorAt();
	const never = { OTEL_BSP_SCHEDULE_DELAY: "600000", OTEL_METRIC_EXPORT_INTERVAL: "600000" };
	const router = await start({ ...tracedBy(collector), ...never }, workers);
	const ids: string[] = [];
	for (let at = 0; at < 20; at++) ids.push((await call(router)).headers.get("x-request-id")!);
	expect(collector.requests).toEqual([]);
	process.kill(router.pid, "SIGTERM");
	for (const id of ids) await traceOf(collector, id, 1);
	await until(() => collector.sums.has("router"), "metrics");
});
