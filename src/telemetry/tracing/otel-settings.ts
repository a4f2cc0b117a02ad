/**
 * OpenTelemetry's variables (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/, `…/protocol/exporter/`), as far
 * as they are about traces. Pure. A value that is none is left out and said: telemetry keeps no router from starting.
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

/** Where spans go, and which. */
export interface OtelSettings {
	/** The whole address. */
	readonly endpoint: string;
	readonly headers: Readonly<Record<string, string>>;
	readonly protocol: OtlpProtocol;
	readonly isCompressed: boolean;
	/** How long the collector has to answer, ms. */
	readonly timeoutMs: number;
	/** What is said of this process; `service.name` only where it was set. */
	readonly resource: Readonly<Record<string, string>>;
	readonly sampling: Sampling;
	readonly batch: BatchSettings;
}

/** What the variables say. */
export interface ReadSettings {
	/** Undefined: nothing is traced. */
	readonly settings: OtelSettings | undefined;
	/** Sentences for people, which hold no secret. */
	readonly problems: readonly string[];
}

const DEFAULT_ENDPOINT = "http://localhost:4318";
/** Where a collector takes gRPC alone. */
const GRPC_PORT = "4317";
const EXPORTER = "OTEL_EXPORTER_OTLP_";
const BATCH = { queueSize: 2048, batchSize: 512, delayMs: 5_000, exportMs: 30_000 };
const TIMEOUT_MS = 10_000;
/** Longest time and largest queue that are taken: some 200 MB of spans. */
const MOST_MS = 600_000;
const MOST_SPANS = 100_000;

/** Reads them. Tracing is on where an endpoint is named, or the exporter `otlp`. */
export function readOtelSettings(env: Environment): ReadSettings {
	const read = new OtelVariables(env);
	if (!read.isOn()) return { settings: undefined, problems: read.problems };
	const endpoint = read.endpoint();
	if (endpoint === undefined) return { settings: undefined, problems: read.problems };
	const queueSize = read.count("OTEL_BSP_MAX_QUEUE_SIZE", BATCH.queueSize, MOST_SPANS);
	const settings: OtelSettings = {
		endpoint,
		headers: read.headers(),
		protocol: read.protocol(),
		isCompressed: read.isCompressed(),
		timeoutMs: read.count(read.signalName("TIMEOUT"), TIMEOUT_MS, MOST_MS),
		resource: read.resource(),
		sampling: read.sampling(),
		batch: {
			queueSize,
			batchSize: Math.min(queueSize, read.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH.batchSize, MOST_SPANS)),
			delayMs: read.count("OTEL_BSP_SCHEDULE_DELAY", BATCH.delayMs, MOST_MS),
			exportMs: read.count("OTEL_BSP_EXPORT_TIMEOUT", BATCH.exportMs, MOST_MS),
		},
	};
	read.unread();
	return { settings, problems: read.problems };
}

/** The variables, and what is wrong with them. */
class OtelVariables {
	readonly problems: string[] = [];

	constructor(private readonly env: Environment) {}

	isOn(): boolean {
		const isNamed =
			this.#text(`${EXPORTER}ENDPOINT`) !== undefined || this.#text(`${EXPORTER}TRACES_ENDPOINT`) !== undefined;
		if (this.#text("OTEL_SDK_DISABLED")?.toLowerCase() === "true") return false;
		const exporters = this.#text("OTEL_TRACES_EXPORTER")
			?.split(",")
			.map((each) => each.trim());
		if (exporters === undefined) return isNamed;
		const unknown = exporters.find((each) => each !== "otlp" && each !== "none");
		if (unknown !== undefined) this.#refuse("OTEL_TRACES_EXPORTER", unknown, "otlp and none are");
		return exporters.includes("otlp");
	}

	/** The variable of traces alone where it is set, else that of all signals. */
	signalName(name: string): string {
		const own = `${EXPORTER}TRACES_${name}`;
		return this.#text(own) === undefined ? `${EXPORTER}${name}` : own;
	}

	endpoint(): string | undefined {
		const name = this.signalName("ENDPOINT");
		const text = this.#text(name) ?? DEFAULT_ENDPOINT;
		const url = URL.parse(text);
		if (!url || !/^https?:$/.test(url.protocol)) {
			this.problems.push(`${name} is no address: nothing is traced; write http://host:4318`);
			return undefined;
		}
		if (url.port === GRPC_PORT) {
			this.problems.push(
				`${name} has the port that collectors take gRPC at (4317), which is not spoken here: HTTP is at 4318`,
			);
		}
		// Of all signals it is the address that each signal's path stands behind.
		if (name === `${EXPORTER}ENDPOINT`) url.pathname = `${url.pathname.replace(/\/$/, "")}/v1/traces`;
		return url.href;
	}

	/** `name=value` by commas, percent-encoded where they hold one. */
	headers(): Record<string, string> {
		const name = this.signalName("HEADERS");
		const read = this.#pairs(name);
		const headers: Record<string, string> = {};
		for (const [header, value] of Object.entries(read)) {
			// What a header can't hold would make each batch fail.
			if (/^[!#$%&'*+.^`|~\w-]+$/.test(header) && /^[\x20-\x7e]*$/.test(value)) headers[header.toLowerCase()] = value;
			else this.problems.push(`${name} has an entry that is no header: it is left out`);
		}
		return headers;
	}

	protocol(): OtlpProtocol {
		const name = this.signalName("PROTOCOL");
		const text = this.#text(name) ?? "http/protobuf";
		if (text === "http/protobuf" || text === "http/json") return text;
		this.#refuse(name, text, "http/protobuf (which is used) and http/json are");
		return "http/protobuf";
	}

	isCompressed(): boolean {
		const name = this.signalName("COMPRESSION");
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

	/** A whole number above 0, `most` at most. */
	count(name: string, fallback: number, most: number): number {
		const text = this.#text(name);
		if (text === undefined) return fallback;
		const value = Number(text);
		if (Number.isInteger(value) && value > 0) return Math.min(value, most);
		this.#refuse(name, text, `a whole number above 0 is; ${fallback} is used`);
		return fallback;
	}

	/** What is set and means something to others alone. */
	unread(): void {
		const instead: Readonly<Record<string, string>> = {
			CERTIFICATE: "name the authority in ca_file (ROUTER_CA_FILE)",
			CLIENT_CERTIFICATE: "certificates of clients are not shown",
			CLIENT_KEY: "certificates of clients are not shown",
		};
		for (const [suffix, what] of Object.entries(instead)) {
			const name = this.signalName(suffix);
			if (this.#text(name) !== undefined) this.problems.push(`${name} is not read: ${what}`);
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
			if (value === undefined) this.problems.push(`${name} has an entry that is not name=value: it is left out`);
			else pairs[entry.slice(0, at).trim()] = value;
		}
		return pairs;
	}

	/** An empty variable counts as unset. */
	#text(name: string): string | undefined {
		return this.env[name]?.trim() || undefined;
	}

	#refuse(name: string, value: string, known: string): void {
		this.problems.push(`${name} is ${JSON.stringify(value.slice(0, 50))}, which is not known: ${known}`);
	}
}

function decoded(text: string): string | undefined {
	try {
		return decodeURIComponent(text);
	} catch {
		return undefined;
	}
}
