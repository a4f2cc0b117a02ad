/**
 * OpenTelemetry's variables (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/, `…/protocol/exporter/`), as far
 * as they are about traces and metrics. Pure. A value that is none is left out and said: telemetry keeps no router from starting.
 */
import type { Environment } from "../../config/interpolate.ts";
import { DEFAULT_SAMPLING, SAMPLERS, type Sampling } from "./sampler.ts";

/** How spans are written. */
export type OtlpProtocol = "http/protobuf" | "http/json";

/** How spans wait and are sent. */
export interface BatchSettings {
	/** Spans that may wait; what comes on top is dropped. */
	readonly queueSize: number;
	/** Spans that are sent at once, at most. */
	readonly batchSize: number;
	/** How long a span waits for others, ms. */
	readonly delayMs: number;
	/** How long a batch is tried, ms. */
	readonly exportMs: number;
}

/** Where a signal goes. */
export interface OtlpTarget {
	/** The whole address. */
	readonly endpoint: string;
	readonly headers: Readonly<Record<string, string>>;
	readonly protocol: OtlpProtocol;
	readonly isCompressed: boolean;
	/** How long the collector has to answer, ms. */
	readonly timeoutMs: number;
}

/** Where spans go, and which. */
export interface TraceSettings extends OtlpTarget {
	readonly sampling: Sampling;
	readonly batch: BatchSettings;
}

/** Where metrics go, and how often, ms. */
export interface MetricSettings extends OtlpTarget {
	readonly intervalMs: number;
}

/** What is sent. */
export interface OtelSettings {
	/** What is said of this process; `service.name` only where it was set. */
	readonly resource: Readonly<Record<string, string>>;
	/** Undefined: nothing is traced. */
	readonly traces: TraceSettings | undefined;
	/** Undefined: no metric is sent. */
	readonly metrics: MetricSettings | undefined;
}

/** What the variables say. */
export interface ReadSettings extends OtelSettings {
	/** Sentences for people, which hold no secret. */
	readonly problems: readonly string[];
}

const DEFAULT_ENDPOINT = "http://localhost:4318";
/** Where a collector takes gRPC alone. */
const GRPC_PORT = "4317";
const EXPORTER = "OTEL_EXPORTER_OTLP_";
const BATCH = { queueSize: 2048, batchSize: 512, delayMs: 5_000, exportMs: 30_000 };
const TIMEOUT_MS = 10_000;
const INTERVAL_MS = 60_000;
/** Longest time and largest queue that are taken: some 200 MB of spans. */
const MOST_MS = 600_000;
const MOST_SPANS = 100_000;

/** What `OTEL_METRICS_EXPORTER` may name that is none of this: `/metrics` is there in any case. */
const OTHER_EXPORTERS: Readonly<Record<Signal, readonly string[]>> = { TRACES: [], METRICS: ["prometheus"] };
const PATHS: Readonly<Record<Signal, string>> = { TRACES: "/v1/traces", METRICS: "/v1/metrics" };

type Signal = "TRACES" | "METRICS";

/** Reads them. A signal is sent where an endpoint is named for it or for all, or the exporter `otlp`. */
export function readOtelSettings(env: Environment): ReadSettings {
	const problems = new Set<string>();
	const [traces, metrics] = [new OtelVariables(env, "TRACES", problems), new OtelVariables(env, "METRICS", problems)];
	const traced = traces.target();
	const measured = metrics.target();
	return {
		resource: traced || measured ? traces.resource() : {},
		traces: traced && { ...traced, sampling: traces.sampling(), batch: traces.batch() },
		metrics: measured && {
			...measured,
			intervalMs: metrics.count("OTEL_METRIC_EXPORT_INTERVAL", INTERVAL_MS, MOST_MS),
		},
		problems: [...problems],
	};
}

/** Values of variables that are not read by which nothing would change. */
const DONE_ANYWAY: Readonly<Record<string, string>> = { TEMPORALITY_PREFERENCE: "cumulative" };

/** The variables of one signal, and what is wrong with them. */
class OtelVariables {
	constructor(
		private readonly env: Environment,
		private readonly signal: Signal,
		private readonly problems: Set<string>,
	) {}

	/** Undefined: the signal is not sent. */
	target(): OtlpTarget | undefined {
		if (!this.#isOn()) return undefined;
		const endpoint = this.#endpoint();
		if (endpoint === undefined) return undefined;
		this.#sayUnread();
		return {
			endpoint,
			headers: this.#headers(),
			protocol: this.#protocol(),
			isCompressed: this.#isCompressed(),
			timeoutMs: this.count(this.#name("TIMEOUT"), TIMEOUT_MS, MOST_MS),
		};
	}

	batch(): BatchSettings {
		const queueSize = this.count("OTEL_BSP_MAX_QUEUE_SIZE", BATCH.queueSize, MOST_SPANS);
		return {
			queueSize,
			batchSize: Math.min(queueSize, this.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH.batchSize, MOST_SPANS)),
			delayMs: this.count("OTEL_BSP_SCHEDULE_DELAY", BATCH.delayMs, MOST_MS, 0),
			exportMs: this.count("OTEL_BSP_EXPORT_TIMEOUT", BATCH.exportMs, MOST_MS),
		};
	}

	#isOn(): boolean {
		const isNamed = this.#text(this.#name("ENDPOINT")) !== undefined;
		if (this.#text("OTEL_SDK_DISABLED")?.toLowerCase() === "true") return false;
		const name = `OTEL_${this.signal}_EXPORTER`;
		const exporters = this.#text(name)
			?.split(",")
			.map((each) => each.trim());
		if (exporters === undefined) return isNamed;
		const known = ["otlp", "none", ...OTHER_EXPORTERS[this.signal]];
		const unknown = exporters.find((each) => !known.includes(each));
		if (unknown !== undefined) this.#refuse(name, unknown, "otlp and none are");
		return exporters.includes("otlp");
	}

	/** The variable of this signal alone where it is set, else that of all. */
	#name(name: string): string {
		const own = `${EXPORTER}${this.signal}_${name}`;
		return this.#text(own) === undefined ? `${EXPORTER}${name}` : own;
	}

	#endpoint(): string | undefined {
		const name = this.#name("ENDPOINT");
		const text = this.#text(name) ?? DEFAULT_ENDPOINT;
		const url = URL.parse(text);
		if (!url || !/^https?:$/.test(url.protocol)) {
			this.problems.add(`${name} is no address: nothing is sent there; write http://host:4318`);
			return undefined;
		}
		if (url.port === GRPC_PORT) {
			this.problems.add(
				`${name} has the port that collectors take gRPC at (4317), which is not spoken here: HTTP is at 4318`,
			);
		}
		// Of all signals it is the address that each signal's path stands behind.
		if (name === `${EXPORTER}ENDPOINT`) url.pathname = `${url.pathname.replace(/\/$/, "")}${PATHS[this.signal]}`;
		return url.href;
	}

	/** `name=value` by commas, percent-encoded where they hold one. */
	#headers(): Record<string, string> {
		const name = this.#name("HEADERS");
		const read = this.#pairs(name);
		const headers: Record<string, string> = {};
		for (const [header, value] of Object.entries(read)) {
			// What a header can't hold would make each batch fail.
			if (/^[!#$%&'*+.^`|~\w-]+$/.test(header) && /^[\x20-\x7e]*$/.test(value)) headers[header.toLowerCase()] = value;
			else this.problems.add(`${name} has an entry that is no header: it is left out`);
		}
		return headers;
	}

	#protocol(): OtlpProtocol {
		const name = this.#name("PROTOCOL");
		const text = this.#text(name) ?? "http/protobuf";
		if (text === "http/protobuf" || text === "http/json") return text;
		this.#refuse(name, text, "http/protobuf (which is used) and http/json are");
		return "http/protobuf";
	}

	#isCompressed(): boolean {
		const name = this.#name("COMPRESSION");
		const text = this.#text(name) ?? "none";
		if (text !== "gzip" && text !== "none") this.#refuse(name, text, "gzip and none are");
		return text === "gzip";
	}

	resource(): Record<string, string> {
		const name = this.#text("OTEL_SERVICE_NAME");
		return { ...this.#pairs("OTEL_RESOURCE_ATTRIBUTES"), ...(name === undefined ? {} : { "service.name": name }) };
	}

	sampling(): Sampling {
		const name = this.#text("OTEL_TRACES_SAMPLER");
		if (name === undefined) return DEFAULT_SAMPLING;
		const sampler = Object.hasOwn(SAMPLERS, name) ? SAMPLERS[name] : undefined;
		if (!sampler) {
			this.#refuse("OTEL_TRACES_SAMPLER", name, `${Object.keys(SAMPLERS).join(", ")} are`);
			return DEFAULT_SAMPLING;
		}
		return { isParentBased: sampler.isParentBased, ratio: sampler.ratio ?? this.#ratio() };
	}

	/** A whole number, `least` at least, `most` at most. */
	count(name: string, fallback: number, most: number, least = 1): number {
		const text = this.#text(name);
		if (text === undefined) return fallback;
		const value = Number(text);
		if (Number.isInteger(value) && value >= least) return Math.min(value, most);
		this.#refuse(name, text, `a whole number ${least > 0 ? "above 0" : "of 0 or more"} is; ${fallback} is used`);
		return fallback;
	}

	/** What is set and means something to others alone. */
	#sayUnread(): void {
		const instead: Readonly<Record<string, string>> = {
			CERTIFICATE: "name the authority in ca_file (ROUTER_CA_FILE)",
			CLIENT_CERTIFICATE: "certificates of clients are not shown",
			CLIENT_KEY: "certificates of clients are not shown",
			TEMPORALITY_PREFERENCE: "sums since the start are sent (cumulative)",
		};
		for (const [suffix, what] of Object.entries(instead)) {
			const name = this.#name(suffix);
			const text = this.#text(name)?.toLowerCase();
			if (text !== undefined && text !== DONE_ANYWAY[suffix]) this.problems.add(`${name} is not read: ${what}`);
		}
	}

	#ratio(): number {
		const text = this.#text("OTEL_TRACES_SAMPLER_ARG");
		if (text === undefined) return 1;
		const value = Number(text);
		if (value >= 0 && value <= 1) return value;
		this.#refuse("OTEL_TRACES_SAMPLER_ARG", text, "a number from 0 to 1 is; 1 is used");
		return 1;
	}

	/** Of what can't be read nothing is repeated: it may be a secret. */
	#pairs(name: string): Record<string, string> {
		const pairs: Record<string, string> = {};
		for (const entry of (this.#text(name) ?? "").split(",")) {
			if (entry.trim() === "") continue;
			const at = entry.indexOf("=");
			const value = at < 1 ? undefined : decoded(entry.slice(at + 1).trim());
			if (value === undefined) this.problems.add(`${name} has an entry that is not name=value: it is left out`);
			else pairs[entry.slice(0, at).trim()] = value;
		}
		return pairs;
	}

	/** An empty variable counts as unset. */
	#text(name: string): string | undefined {
		return this.env[name]?.trim() || undefined;
	}

	#refuse(name: string, value: string, known: string): void {
		this.problems.add(`${name} is ${JSON.stringify(value.slice(0, 50))}, which is not known: ${known}`);
	}
}

function decoded(text: string): string | undefined {
	try {
		return decodeURIComponent(text);
	} catch {
		return undefined;
	}
}
