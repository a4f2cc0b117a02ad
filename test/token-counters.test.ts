/** Tokens as OpenTelemetry's conventions count them, and how they reach a collector. */
import { afterEach, describe, expect, test } from "bun:test";
import { MetricExporter } from "../src/telemetry/otel/metric-exporter.ts";
import { OTLP_JSON } from "../src/telemetry/otel/otlp-json.ts";
import { OTLP_PROTOBUF } from "../src/telemetry/otel/otlp-protobuf.ts";
import { TOKEN_COUNTERS, TokenCounters } from "../src/telemetry/otel/token-counters.ts";
import { CONVENTIONAL_COUNTERS, COUNTER_ATTRIBUTES, MODALITIES } from "./kit/genai-conventions.ts";
import { settled } from "./kit/ledger.ts";
import { sumsIn } from "./kit/otlp-collector.ts";
import { until } from "./kit/until.ts";

const USAGE = "gen_ai.client.inference.usage.";
const SOURCE = { resource: { "service.name": "router" }, scope: { name: "router", version: "1" } };
const counters = () => new TokenCounters((provider) => (provider === "ours" ? "x-ai" : undefined));
/** Sums by counter and kind of content. */
const read = ({ sums }: TokenCounters) =>
	Object.fromEntries(
		sums.map(({ counter, attributes, value }) => [
			`${counter.slice(USAGE.length)} ${attributes["gen_ai.token.modality"]}`,
			value,
		]),
	);

describe("a call that used nothing is not counted:", () => {
	test.each([
		["the cache answered", { attempts: 0, cache: "hit" }],
		["nobody was asked", { attempts: 0, status: 401, tokens: undefined }],
		["a vector was computed", { operation: "embeddings" }],
		["nothing was generated", { operation: "rerank" }],
	] as [string, object][])("%s", (_, call) => {
		const counted = counters();
		counted.callSettled(settled(call));
		expect(counted.sums).toEqual([]);
	});
});

test("a call of which nobody knows what it used counts as 0", () => {
	const counted = counters();
	counted.callSettled(settled({ tokens: undefined, status: 502 }));
	counted.callSettled(settled({ tokens: { input: 0, output: 0, uncounted: { input: 0, output: 0 } } as never }));
	expect(read(counted)).toEqual({ "input_tokens unknown": 0, "output_tokens unknown": 0 });
});

test("calls are added up by operation, provider and model", () => {
	const counted = counters();
	for (const model of ["a", "a", "b"]) counted.callSettled(settled({ model, provider: "ours" }));
	counted.callSettled(settled({ model: "a", provider: "ours", operation: "completions" }));
	const inputs = counted.sums.filter(({ counter }) => counter.endsWith("usage.input_tokens"));
	expect(inputs.map(({ attributes, value }) => [...COUNTER_ATTRIBUTES.map((name) => attributes[name]), value])).toEqual(
		[
			["chat", "x_ai", "a", "unknown", 200],
			["chat", "x_ai", "b", "unknown", 100],
			["text_completion", "x_ai", "a", "unknown", 100],
		],
	);
});

test("what a provider tells apart is told apart, and the parts are the whole", () => {
	const counted = counters();
	const tokens = {
		input: 100,
		output: 50,
		cached: 60,
		cacheWrite: 5,
		reasoning: 7,
		inputImage: 30,
		inputAudio: 10,
		outputAudio: 50,
	};
	counted.callSettled(settled({ tokens }));
	expect(read(counted)).toEqual({
		"input_tokens image": 30,
		"input_tokens audio": 10,
		"input_tokens text": 60,
		"output_tokens audio": 50,
		"output_tokens text": 0,
		"cache_read.input_tokens unknown": 60,
		"cache_write.input_tokens unknown": 5,
		"reasoning.output_tokens unknown": 7,
	});
});

test("of more models than there is room for the rest is added up", () => {
	const counted = counters();
	for (let at = 0; at < 3000; at++) counted.callSettled(settled({ model: `m${at}` }));
	const models = new Set(counted.sums.map(({ attributes }) => attributes["gen_ai.request.model"]));
	expect(models.size).toBeLessThanOrEqual(1001);
	expect(
		counted.sums
			.filter(({ counter }) => counter.endsWith("usage.input_tokens"))
			.reduce((sum, { value }) => sum + value, 0),
	).toBe(300_000);
});

test("names and attributes are the conventions'", () => {
	expect(Object.keys(TOKEN_COUNTERS)).toEqual(CONVENTIONAL_COUNTERS);
	const counted = counters();
	counted.callSettled(settled({ tokens: { input: 9, output: 4, inputImage: 3, outputAudio: 1 } }));
	for (const { attributes } of counted.sums) {
		expect(Object.keys(attributes)).toEqual(COUNTER_ATTRIBUTES);
		expect(MODALITIES).toContain(attributes["gen_ai.token.modality"]!);
	}
});

describe.each([
	["http/json", OTLP_JSON],
	["http/protobuf", OTLP_PROTOBUF],
] as const)("in %s", (_, encoding) => {
	test("sums are cumulative, and of any size", () => {
		const counted = counters();
		for (let at = 0; at < 5; at++) counted.callSettled(settled({ tokens: { input: 1_000_000_000, output: 3 } }));
		const times = { startMs: 1_790_000_000_000, endMs: 1_790_000_060_000.5 };
		const sums = sumsIn(Buffer.concat(encoding.metrics(counted.sums, times, SOURCE)), encoding.contentType);
		expect(sums.map(({ name, value, unit, isCumulative }) => [name, value, unit, isCumulative])).toEqual([
			[`${USAGE}input_tokens`, 5_000_000_000, "{token}", true],
			[`${USAGE}output_tokens`, 15, "{token}", true],
		]);
		expect([sums[0]!.start, sums[0]!.time, sums[0]!.service]).toEqual([
			...[1_790_000_000_000_000_000n, 1_790_000_060_000_500_000n, "router"],
		]);
	});

	test("sums without one are a request, too", () => {
		const body = Buffer.concat(encoding.metrics([], { startMs: 1, endMs: 2 }, SOURCE));
		expect(sumsIn(body, encoding.contentType)).toEqual([]);
	});
});

describe("the exporter", () => {
	const open: MetricExporter[] = [];
	afterEach(async () => {
		for (const exporter of open.splice(0)) await exporter.close();
	});
	function exporter(answer: () => number, intervalMs = 5) {
		const seen = { lines: [] as string[], values: [] as number[], requests: 0 };
		const counted = counters();
		const target = { endpoint: "http://c/v1/metrics", headers: {}, isCompressed: false, timeoutMs: 60_000 };
		const made = new MetricExporter({
			client: {
				target: { ...target, protocol: "http/json" },
				send: async ({ body, headers }) => {
					seen.requests++;
					const status = answer();
					if (status === 200) seen.values.push(sumsIn(Buffer.concat(body), headers["content-type"]!)[0]!.value);
					return { status, retryAfter: undefined, body: Buffer.alloc(0) };
				},
				log: { warn: (line) => void seen.lines.push(line), info: (line) => void seen.lines.push(line) },
				shownEndpoint: "http://c/v1/metrics",
			},
			...{ source: SOURCE, counters: counted, intervalMs },
		});
		open.push(made);
		return { made, seen, counted };
	}

	test("goes on where the collector is away, says so once, and once when it is back, with all sums", async () => {
		let status = 404;
		const { seen, counted } = exporter(() => status);
		counted.callSettled(settled());
		await until(() => seen.requests >= 3, "three tries");
		counted.callSettled(settled());
		status = 200;
		await until(() => seen.values.includes(200), "all sums");
		expect(seen.lines).toEqual([
			"metrics can't be sent: http://c/v1/metrics answers 404. Their sums are sent when it is back",
			"http://c/v1/metrics takes metrics again",
		]);
	});

	test("sends nothing before there is something, and the last sums at the end", async () => {
		const { made, seen, counted } = exporter(() => 200, 600_000);
		counted.callSettled(settled());
		await made.close();
		expect(seen.values).toEqual([100]);
		const none = exporter(() => 200, 600_000);
		await none.made.close();
		expect(none.seen.requests).toBe(0);
	});
});
