/** Tracing of a role, put together: what the environment says, whose spans they are, and how they reach their collector. */
import { hostname } from "node:os";
import type { Environment } from "../config/interpolate.ts";
import type { Config } from "../config/schema.ts";
import { withoutSecrets } from "../providers/registry.ts";
import { proxyFromEnvironment } from "../proxy/net/environment-proxy.ts";
import { readText } from "../proxy/net/read-body.ts";
import { httpTransport, readCa } from "../proxy/net/transport.ts";
import { transportFailure } from "../proxy/net/transport-failure.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { Tracer } from "../telemetry/tracing/call-trace.ts";
import { type OtelSettings, readOtelSettings } from "../telemetry/tracing/otel-settings.ts";
import { SpanExporter, type SpanExporterOptions } from "../telemetry/tracing/span-exporter.ts";
import { VERSION } from "../version.ts";

/** What a process traces its calls with. */
export interface Tracing {
	/** Of the thread that answers calls. */
	readonly tracer: Tracer;
	/** Hears of all of them. */
	readonly spans: SpanExporter;
}

/** Longest answer of a collector that is read, bytes: it says what it refused, if anything. */
const MAX_ANSWER = 64 * 1024;
const DEFAULT_SERVICE = { router: "router", agent: "router-agent" } as const;

/**
 * Undefined where nothing is traced. Opens nothing: the first batch does.
 * @throws {StartError} where `ca_file` can't be read
 */
export function createTracing(
	role: "router" | "agent",
	config: Pick<Config, "ca_file">,
	env: Environment,
	{ log, metrics }: { readonly log: Pick<Log, "logger">; readonly metrics: Pick<Metrics, "spans"> },
): Tracing | undefined {
	const { settings } = readOtelSettings(env);
	if (!settings) return undefined;
	const resource = {
		"service.name": DEFAULT_SERVICE[role],
		"service.version": VERSION,
		"service.instance.id": crypto.randomUUID(),
		"host.name": hostname(),
		...settings.resource,
	};
	const spans = new SpanExporter({
		settings,
		source: { resource, scope: { name: "router", version: VERSION } },
		send: sender(config, env),
		exported: (count) => metrics.spans.exported(count),
		dropped: (reason, count) => metrics.spans.dropped(reason, count),
		log: { warn: (sentence) => log.logger.warn(sentence), info: (sentence) => log.logger.info(sentence) },
		shownEndpoint: withoutSecrets(settings.endpoint),
	});
	return { tracer: new Tracer(settings.sampling), spans };
}

/** Of a worker thread: the main thread sends what its calls come to. Undefined where nothing is traced. */
export function workerTracer(env: Environment): Tracer | undefined {
	const { settings } = readOtelSettings(env);
	return settings && new Tracer(settings.sampling);
}

/** Lines for people: where spans go, and what of the variables is not as it should be. None where nothing is said of traces. */
export function tracingLines(env: Environment): string[] {
	const { settings, problems } = readOtelSettings(env);
	return [...(settings ? [`${withoutSecrets(settings.endpoint)}, ${shareOf(settings)}`] : []), ...problems];
}

function shareOf({ sampling: { ratio, isParentBased }, protocol }: OtelSettings): string {
	const share = `${Number((100 * ratio).toPrecision(4))} % of traces${isParentBased ? " that no caller has decided on" : ""}`;
	return `${share}, ${protocol}`;
}

/** How batches are sent. */
function sender({ ca_file }: Pick<Config, "ca_file">, env: Environment): SpanExporterOptions["send"] {
	const transport = httpTransport({ ca: readCa(ca_file), proxyFor: proxyFromEnvironment(env) });
	return async ({ url, headers, body }, signal) => {
		const sent = { "user-agent": `router/${VERSION}`, accept: "*/*", "accept-encoding": "identity", ...headers };
		let hasAnswer = false;
		try {
			const answer = await transport.send({ url, headers: sent, body }, signal);
			hasAnswer = true;
			const text = await readText(answer, MAX_ANSWER);
			const retryAfter = Number(answer.headers.get("retry-after") ?? Number.NaN);
			return {
				status: answer.status,
				retryAfter: retryAfter >= 0 ? retryAfter : undefined,
				body: Buffer.from(text),
			};
		} catch (thrown) {
			throw new Error(transportFailure(thrown, hasAnswer).message);
		}
	};
}
