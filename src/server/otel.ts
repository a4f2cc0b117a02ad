/** OpenTelemetry of a role, put together: what the environment says, whose spans and metrics they are, and how they reach their collector. */
import { hostname } from "node:os";
import type { StoredKey } from "../accounts/auth/key-store.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Config } from "../config/schema.ts";
import { withoutSecrets } from "../providers/registry.ts";
import { proxyFromEnvironment } from "../proxy/net/environment-proxy.ts";
import { readBytes } from "../proxy/net/read-body.ts";
import { httpTransport, readCa } from "../proxy/net/transport.ts";
import { transportFailure } from "../proxy/net/transport-failure.ts";
import type { AttemptClosed, CallSettled } from "../telemetry/events.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { Tracer } from "../telemetry/otel/call-trace.ts";
import { MetricExporter } from "../telemetry/otel/metric-exporter.ts";
import { type OtlpTarget, readOtelSettings, type TraceSettings } from "../telemetry/otel/otel-settings.ts";
import type { OtlpClientOptions } from "../telemetry/otel/otlp-client.ts";
import { SpanExporter } from "../telemetry/otel/span-exporter.ts";
import { TokenCounters } from "../telemetry/otel/token-counters.ts";
import { VENDORS } from "../vendors.ts";
import { VERSION } from "../version.ts";
import type { RolePlan } from "./role-plan.ts";

/** What a process sends of its calls. */
export interface OtelExport {
	/** Of the thread that answers calls; undefined where nothing is traced. */
	readonly tracer: Tracer | undefined;
	/** Hear of all calls of the process. */
	readonly sinks: readonly OtelSink[];
	/** Begins to send what comes again and again. Returns how to end all: what waits is sent, as far as a collector takes it in a moment. */
	open(): () => Promise<void>;
}

/** Hears of calls, and sends something of them. */
export interface OtelSink {
	/** It does nothing with calls that have no span. */
	readonly onlyTraced?: boolean;
	/** Need not hear of one that has no span. */
	attemptClosed?(attempt: AttemptClosed): void;
	callSettled(call: CallSettled): void;
}

/** Where it says what becomes of that. */
interface OtelReports {
	readonly log: Pick<Log, "logger">;
	readonly metrics: Pick<Metrics, "spans">;
}

/** Longest answer of a collector that is read, bytes: it says what it refused, if anything. */
const MAX_ANSWER = 64 * 1024;
const DEFAULT_SERVICE = { router: "router", agent: "router-agent" } as const;
const SCOPE = { name: "router", version: VERSION };

/**
 * Undefined where nothing is sent. Opens nothing.
 * @throws {StartError} where `ca_file` can't be read
 */
export function createOtel(
	{ role, config, env, upstreams }: Pick<RolePlan, "role" | "config" | "env" | "upstreams">,
	{ log, metrics }: OtelReports,
): OtelExport | undefined {
	const { traces, metrics: measured, resource: named } = readOtelSettings(env);
	if (!traces && !measured) return undefined;
	const own = { "service.name": DEFAULT_SERVICE[role], "service.version": VERSION };
	const host = { "service.instance.id": crypto.randomUUID(), "host.name": hostname() };
	const source = { resource: { ...own, ...host, ...named }, scope: SCOPE };
	const send = sender(config, env);
	const { logger } = log;
	const said = { warn: (sentence: string) => logger.warn(sentence), info: (sentence: string) => logger.info(sentence) };
	const client = (target: OtlpTarget) => ({ target, send, log: said, shownEndpoint: withoutSecrets(target.endpoint) });
	const spans =
		traces &&
		new SpanExporter({
			client: client(traces),
			batch: traces.batch,
			source,
			exported: (count) => metrics.spans.exported(count),
			dropped: (reason, count) => metrics.spans.dropped(reason, count),
		});
	const vendors = new Map(upstreams.map(({ name, row }) => [name, row.priceId]));
	const counters = measured && new TokenCounters((name) => vendors.get(name) ?? vendorNamed(name));
	return {
		tracer: traces && new Tracer(traces.sampling),
		sinks: [spans, counters].filter((each) => each !== undefined),
		open() {
			const { intervalMs } = measured ?? {};
			const sending =
				counters && new MetricExporter({ client: client(measured), source, counters, intervalMs: intervalMs! });
			return async () => void (await Promise.all([spans?.close(), sending?.close()]));
		},
	};
}

/** Of a worker thread: the main thread sends what its calls come to. Undefined where nothing is traced. */
export function workerTracer(env: Environment): Tracer | undefined {
	const { traces } = readOtelSettings(env);
	return traces && new Tracer(traces.sampling);
}

/** Names of the keys whose calls' contents are sent: those of the configuration, then those that were made. */
export const tracedKeys = ({ keys }: Pick<Config, "keys">, made: readonly StoredKey[] = []): readonly string[] => [
	...keys.filter(({ trace_contents }) => trace_contents).map(({ name }) => name),
	...made.filter(({ tracesContents, revokedAt }) => tracesContents && revokedAt === undefined).map(({ name }) => name),
];

/**
 * Lines for people, each behind a word: where traces and metrics go, and what of the variables is not as it should be. None where nothing is said of them.
 * @param traced see `tracedKeys`
 */
export function otelLines(
	env: Environment,
	traced: readonly string[],
): readonly (readonly [word: string, text: string])[] {
	const { traces, metrics, problems } = readOtelSettings(env);
	return [
		...(traces ? ([["traces", `${withoutSecrets(traces.endpoint)}, ${shareOf(traces)}`]] as const) : []),
		...(traces && traced.length > 0
			? ([
					["contents", `prompts and answers of the keys ${traced.join(", ")} go to the collector (trace_contents)`],
				] as const)
			: []),
		...(metrics
			? ([["metrics", `${withoutSecrets(metrics.endpoint)}, every ${metrics.intervalMs / 1000} s`]] as const)
			: []),
		...problems.map((problem) => ["OTEL", problem] as const),
	];
}

function shareOf({ sampling: { ratio, isParentBased }, protocol }: TraceSettings): string {
	const share = `${Number((100 * ratio).toPrecision(4))} % of traces${isParentBased ? " that no caller has decided on" : ""}`;
	return `${share}, ${protocol}`;
}

/** The vendor that the router knows by this name without any configuration, as price lists call it. */
const vendorNamed = (name: string): string | undefined =>
	Object.hasOwn(VENDORS, name) ? VENDORS[name as keyof typeof VENDORS].priceId : undefined;

/** How a collector is asked. */
function sender({ ca_file }: Pick<Config, "ca_file">, env: Environment): OtlpClientOptions["send"] {
	const transport = httpTransport({ ca: readCa(ca_file), proxyFor: proxyFromEnvironment(env) });
	return async ({ url, headers, body }, signal) => {
		const sent = { "user-agent": `router/${VERSION}`, accept: "*/*", "accept-encoding": "identity", ...headers };
		let hasAnswer = false;
		try {
			const answer = await transport.send({ url, headers: sent, body }, signal);
			hasAnswer = true;
			const read = await readBytes(answer, MAX_ANSWER);
			// Empty, or a date: it says no number.
			const retryAfter = /^\d+$/.exec(answer.headers.get("retry-after")?.trim() ?? "")?.[0];
			return {
				status: answer.status,
				retryAfter: retryAfter === undefined ? undefined : Number(retryAfter),
				body: read,
			};
		} catch (thrown) {
			throw new Error(transportFailure(thrown, hasAnswer).message);
		}
	};
}
