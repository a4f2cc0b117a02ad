/** OpenTelemetry's variables: what they switch on, and what is said of values that are none. */
import { describe, expect, test } from "bun:test";
import { readOtelSettings } from "../src/telemetry/otel/otel-settings.ts";

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318" };
const settingsOf = (env: Record<string, string>) => readOtelSettings({ ...ENDPOINT, ...env }).traces!;

describe("nothing is sent where", () => {
	test.each([
		["nothing says so", {}],
		["the endpoint is empty", { OTEL_EXPORTER_OTLP_ENDPOINT: "" }],
		["a share is set alone", { OTEL_TRACES_SAMPLER: "always_on" }],
		["it is disabled", { ...ENDPOINT, OTEL_SDK_DISABLED: "TRUE" }],
		["no exporter is wanted", { ...ENDPOINT, OTEL_TRACES_EXPORTER: "none", OTEL_METRICS_EXPORTER: "prometheus" }],
		["logs alone have an endpoint", { OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: "http://collector:4318/v1/logs" }],
	] as [string, Record<string, string>][])("%s", (_, env) => {
		expect(readOtelSettings(env)).toEqual({ resource: {}, traces: undefined, metrics: undefined, problems: [] });
	});

	test.each([
		[
			"another exporter is named",
			{ ...ENDPOINT, OTEL_TRACES_EXPORTER: "zipkin" },
			/OTEL_TRACES_EXPORTER is "zipkin".*otlp and none/,
		],
		[
			"the endpoint is no address",
			{ OTEL_EXPORTER_OTLP_ENDPOINT: "collector" },
			/^OTEL_EXPORTER_OTLP_ENDPOINT is no address/,
		],
		[
			"it is one of another kind",
			{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "ftp://x" },
			/^OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is no/,
		],
	] as [string, Record<string, string>, RegExp][])("%s, which is said", (_, env, problem) => {
		const { traces, problems } = readOtelSettings(env);
		expect([traces, problems.length]).toEqual([undefined, 1]);
		expect(problems[0]).toMatch(problem);
	});
});

describe("nothing is said of", () => {
	test("a delay of 0, which is taken", () => {
		const { traces, problems } = readOtelSettings({ ...ENDPOINT, OTEL_BSP_SCHEDULE_DELAY: "0" });
		expect([traces?.batch.delayMs, problems]).toEqual([0, []]);
	});

	test.each(["cumulative", "CUMULATIVE"])("sums that are %s, as they are anyway", (value) => {
		const settings = { ...ENDPOINT, OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: value };
		expect(readOtelSettings(settings).problems).toEqual([]);
	});
});

describe("a value that is none is left out, and said:", () => {
	test.each([
		["OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", /"grpc".*http\/protobuf/],
		["OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", /"zstd".*gzip/],
		["OTEL_EXPORTER_OTLP_TIMEOUT", "soon", /"soon".*10000 is used/],
		["OTEL_BSP_MAX_QUEUE_SIZE", "-1", /"-1".*2048 is used/],
		["OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0", /"0".*above 0 is; 512 is used/],
		["OTEL_BSP_SCHEDULE_DELAY", "-1", /"-1".*of 0 or more is; 5000 is used/],
		["OTEL_BSP_SCHEDULE_DELAY", "1.5", /"1.5".*5000 is used/],
		["OTEL_TRACES_SAMPLER", "jaeger_remote", /"jaeger_remote".*parentbased_traceidratio/],
		["OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem", /OTEL_EXPORTER_OTLP_CERTIFICATE is not read.*ROUTER_CA_FILE/],
		["OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317", /4317.*4318/],
	] as [string, string, RegExp][])("%s=%s", (name, value, problem) => {
		const { traces, problems } = readOtelSettings({ ...ENDPOINT, [name]: value });
		expect(problems).toHaveLength(1);
		expect(problems[0]).toMatch(problem);
		const plain = settingsOf({});
		expect({ ...traces!, endpoint: plain.endpoint }).toEqual(plain);
	});

	test("OTEL_TRACES_SAMPLER_ARG that is no share", () => {
		for (const arg of ["2", "-0.1", "10 %"]) {
			const env = { ...ENDPOINT, OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: arg };
			const { traces, problems } = readOtelSettings(env);
			expect([traces!.sampling.ratio, problems.length]).toEqual([1, 1]);
		}
	});

	test("entries of headers, of which no part is repeated", () => {
		const secret = "Bearer-secret";
		const headers = `authorization=${secret}%zz,${secret},x y=${secret},x-more=${secret}%0d%0a,good=a%3Db`;
		const { traces, problems } = readOtelSettings({ ...ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS: headers });
		expect(traces!.headers).toEqual({ good: "a=b" });
		// Each kind of mistake once.
		expect(problems).toHaveLength(2);
		expect(problems.join()).not.toContain(secret);
	});
});

describe("the endpoint", () => {
	test.each([
		["http://collector:4318", "http://collector:4318/v1/traces"],
		["http://collector:4318/", "http://collector:4318/v1/traces"],
		["https://collector/otlp", "https://collector/otlp/v1/traces"],
		["https://collector/otlp?tenant=a", "https://collector/otlp/v1/traces?tenant=a"],
	])("of all signals, %s, has the path of traces behind it", (endpoint, url) => {
		expect(settingsOf({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }).endpoint).toBe(url);
	});

	test("of traces alone is taken as it is, and before that of all", () => {
		const env = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://other:9/in" };
		expect(settingsOf(env).endpoint).toBe("http://other:9/in");
	});

	test("is this machine where an exporter alone is named", () => {
		const { traces, metrics } = readOtelSettings({ OTEL_TRACES_EXPORTER: "otlp" });
		expect([traces?.endpoint, metrics]).toEqual(["http://localhost:4318/v1/traces", undefined]);
	});
});

test("all that can be set is read, that of traces alone before that of all signals", () => {
	expect(
		settingsOf({
			OTEL_EXPORTER_OTLP_HEADERS: "Authorization=Bearer%20abc, X-Tenant = one",
			OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf",
			OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "http/json",
			OTEL_EXPORTER_OTLP_COMPRESSION: "gzip",
			OTEL_EXPORTER_OTLP_TIMEOUT: "3000",
			OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
			OTEL_TRACES_SAMPLER_ARG: "0.1",
			OTEL_BSP_MAX_QUEUE_SIZE: "100",
			OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "200",
			OTEL_BSP_SCHEDULE_DELAY: "1000",
			OTEL_BSP_EXPORT_TIMEOUT: "2000",
		}),
	).toEqual({
		endpoint: "http://collector:4318/v1/traces",
		headers: { authorization: "Bearer abc", "x-tenant": "one" },
		protocol: "http/json",
		isCompressed: true,
		timeoutMs: 3000,
		sampling: { isParentBased: true, ratio: 0.1 },
		batch: { queueSize: 100, batchSize: 100, delayMs: 1000, exportMs: 2000 },
	});
});

test("who it is has the name of its variable, whatever else is said", () => {
	const env = {
		OTEL_SERVICE_NAME: "gateway",
		OTEL_RESOURCE_ATTRIBUTES: "service.name=other,deployment.environment.name=a%2Cb",
	};
	const { resource } = readOtelSettings({ ...ENDPOINT, ...env });
	expect(resource).toEqual({ "service.name": "gateway", "deployment.environment.name": "a,b" });
});

describe("metrics", () => {
	test("go to the endpoint of all signals, each minute", () => {
		const { metrics } = readOtelSettings({ ...ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS: "a=b" });
		expect(metrics).toMatchObject({
			...{ endpoint: "http://collector:4318/v1/metrics", headers: { a: "b" }, protocol: "http/protobuf" },
			intervalMs: 60_000,
		});
	});

	test("have variables of their own", () => {
		const env = {
			OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: "http://other/in",
			OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: "http/json",
			OTEL_METRIC_EXPORT_INTERVAL: "500",
		};
		const { traces, metrics } = readOtelSettings(env);
		expect([traces, metrics!.endpoint, metrics!.protocol, metrics!.intervalMs]).toEqual([
			...[undefined, "http://other/in", "http/json", 500],
		]);
	});

	test("and traces say what is wrong with a variable of both once", () => {
		const { problems } = readOtelSettings({ ...ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" });
		expect(problems).toHaveLength(1);
	});
});
