/** What a call that is traced costs beside one that is not, µs of CPU, all threads: `bun test/bench/otel-cost.ts`. */
import { type TracedAttempt, Tracer } from "../../src/telemetry/otel/call-trace.ts";
import type { OtlpProtocol } from "../../src/telemetry/otel/otel-settings.ts";
import { SpanExporter } from "../../src/telemetry/otel/span-exporter.ts";
import { settled } from "../kit/ledger.ts";

const CALLS = 40_000;
const ROUTE = "/v1/chat/completions";
const request = new Request(`http://localhost${ROUTE}`, {
	method: "POST",
	headers: { "content-type": "application/json", authorization: "Bearer key-of-the-client" },
});
const HEADERS = { "content-type": "application/json", accept: "application/json", "x-request-id": "req_1" };
const target = { model: "gpt-5-mini", provider: { priceId: "openai" } };
const call = settled();
const closed = { callId: call.id, number: 1, provider: "openai", target: "openai/gpt-5-mini", status: 200, ms: 12.5 };

/** An exporter whose collector takes all at once. */
const exporter = (protocol: OtlpProtocol) =>
	new SpanExporter({
		client: {
			target: { endpoint: "", headers: {}, protocol, isCompressed: false, timeoutMs: 10_000 },
			send: async () => ({ status: 200, retryAfter: undefined, body: Buffer.alloc(0) }),
			log: { warn: console.warn, info: console.warn },
			shownEndpoint: "",
		},
		batch: { queueSize: 100_000, batchSize: 512, delayMs: 50, exportMs: 30_000 },
		source: { resource: { "service.name": "router" }, scope: { name: "router", version: "1" } },
		exported: () => {},
		dropped: (reason, count) => console.warn(`${count} spans were dropped: ${reason}`),
	});

/** Calls of one attempt each; without a ratio none is traced. */
async function run(calls: number, ratio: number | undefined, protocol: OtlpProtocol): Promise<number> {
	const tracer = ratio === undefined ? undefined : new Tracer({ isParentBased: true, ratio });
	const spans = exporter(protocol);
	const began = process.cpuUsage();
	for (let at = 0; at < calls; at++) {
		const trace = tracer?.begin(request, ROUTE, performance.now());
		const attempt: TracedAttempt = { url: `http://10.0.0.1:8000${ROUTE}`, headers: { ...HEADERS } };
		const span = trace?.attempt(attempt, call, target, false);
		spans.attemptClosed({ ...closed, tokens: call.tokens, span });
		spans.callSettled({ ...call, trace: trace?.settled() });
		// Between calls, as they come.
		if (at % 250 === 249) await new Promise((done) => setImmediate(done));
	}
	// Its end has no more time than a process has: on a busy machine spans would be dropped then.
	while (spans.waiting > 0) await Bun.sleep(5);
	await spans.close();
	const { user, system } = process.cpuUsage(began);
	return (user + system) / calls;
}

const cases = [
	["nothing is sampled", 0, "http/protobuf"],
	["10 %, protobuf", 0.1, "http/protobuf"],
	["10 %, JSON", 0.1, "http/json"],
	["all, protobuf", 1, "http/protobuf"],
	["all, JSON", 1, "http/json"],
] as const;
for (const [, ratio, protocol] of cases) await run(CALLS / 4, ratio, protocol);
await run(CALLS / 4, undefined, "http/json");
const untraced = await run(CALLS, undefined, "http/json");
for (const [name, ratio, protocol] of cases) {
	const cost = await run(CALLS, ratio, protocol);
	console.log(`${name.padEnd(20)} ${(cost - untraced).toFixed(2)} µs a call`);
}
