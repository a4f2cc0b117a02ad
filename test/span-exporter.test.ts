/** What becomes of spans whose collector is well, away, slow or refuses them. */
import { afterEach, describe, expect, test } from "bun:test";
import type { BatchSettings, OtlpTarget } from "../src/telemetry/otel/otel-settings.ts";
import type { OtlpAnswer, OtlpRequest } from "../src/telemetry/otel/otlp-client.ts";
import { SpanExporter } from "../src/telemetry/otel/span-exporter.ts";
import { type CollectedSpan, spansIn, taken } from "./kit/otlp-collector.ts";
import { tracedAttempt, tracedCall } from "./kit/spans.ts";
import { until } from "./kit/until.ts";

const ENDPOINT = "http://collector:4318/v1/traces";
type Answer = (request: OtlpRequest, signal: AbortSignal) => Promise<OtlpAnswer>;
const answers =
	(status: number, retryAfter?: number): Answer =>
	async () => ({ status, retryAfter, body: Buffer.alloc(0) });
/** As a transport whose peer does not answer: until it is given up. */
const hangs: Answer = (_, signal) =>
	new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
const isAway: Answer = async () => {
	throw new Error("can't be reached: nothing listens there (connection refused)");
};

const open: SpanExporter[] = [];
afterEach(async () => {
	for (const exporter of open.splice(0)) await exporter.close();
});

/** An exporter whose collector answers as `reply.to` says; by default it takes all. */
function exporterOf(batch: Partial<BatchSettings> = {}, more: Partial<OtlpTarget> = {}, pauses?: "skipped") {
	const seen = {
		...{ exported: 0, requests: 0, dropped: {} as Record<string, number> },
		...{ lines: [] as string[], pauses: [] as number[] },
	};
	const spans: CollectedSpan[] = [];
	const takes: Answer = async ({ headers, body }) => {
		spans.push(...spansIn(Buffer.concat(body), headers["content-type"]!));
		return {
			status: 200,
			retryAfter: undefined,
			body: Buffer.from(await taken(headers["content-type"]!).arrayBuffer()),
		};
	};
	const reply: { to: Answer } = { to: takes };
	const exporter = new SpanExporter({
		client: {
			target: {
				...{ endpoint: ENDPOINT, headers: { authorization: "Bearer secret" }, protocol: "http/protobuf" as const },
				...{ isCompressed: false, timeoutMs: 60_000, ...more },
			},
			send: (request, signal) => {
				seen.requests++;
				return reply.to(request, signal);
			},
			log: { warn: (line) => void seen.lines.push(line), info: (line) => void seen.lines.push(line) },
			shownEndpoint: ENDPOINT,
		},
		batch: { queueSize: 100, batchSize: 10, delayMs: 5, exportMs: 60_000, ...batch },
		source: { resource: { "service.name": "test" }, scope: { name: "router", version: "1" } },
		exported: (count) => {
			seen.exported += count;
		},
		dropped: (reason, count) => {
			seen.dropped[reason] = (seen.dropped[reason] ?? 0) + count;
		},
		...(pauses === "skipped" && {
			wait: async (ms: number, signal: AbortSignal) => {
				seen.pauses.push(ms);
				await Bun.sleep(0);
				return !signal.aborted;
			},
		}),
	});
	open.push(exporter);
	return { exporter, seen, spans, reply, takes };
}
const many = (exporter: SpanExporter, count: number) => {
	for (let at = 0; at < count; at++) exporter.attemptClosed(tracedAttempt());
};
const sum = (dropped: Record<string, number>) => Object.values(dropped).reduce((all, count) => all + count, 0);

test("what calls ask and are answered is taken out of what others hear of them, and bounded while it waits", async () => {
	const { exporter, spans } = exporterOf({ queueSize: 2_000, batchSize: 2_000, delayMs: 60_000 });
	const contents = { input: "x".repeat(8_192), output: "y".repeat(8_192), isCut: false };
	const calls = Array.from({ length: 300 }, () => tracedCall({}, { contents: { ...contents } }));
	for (const call of calls) exporter.callSettled(call);
	expect(calls.every(({ trace }) => trace!.span!.contents === undefined)).toBe(true);
	await exporter.close();
	const whole = spans.filter(({ attributes }) => attributes["gen_ai.output.messages"] === contents.output);
	expect([spans.length, whole.length]).toEqual([300, 256]);
	expect(spans.filter(({ attributes }) => attributes["router.contents.cut"] === true).length).toBe(44);
	// What was sent makes room.
	exporter.callSettled(tracedCall({}, { contents: { ...contents } }));
	expect(exporter.waiting).toBe(1);
});

describe("a collector that", () => {
	test("is away costs no more than the room that there is, is told of once, and once when it is back", async () => {
		const { exporter, seen, reply, takes, spans } = exporterOf({ exportMs: 30 });
		reply.to = isAway;
		many(exporter, 5_000);
		expect(exporter.waiting).toBeLessThanOrEqual(100);
		await until(() => (seen.dropped["unreachable"] ?? 0) > 0, "a batch that is given up");
		expect(seen.lines).toEqual([
			`spans can't be sent: ${ENDPOINT} can't be reached: nothing listens there (connection refused). It is tried again; 100 spans wait at most, others are dropped`,
		]);
		reply.to = takes;
		many(exporter, 1);
		await until(() => spans.length > 0 && exporter.waiting === 0, "the rest");
		const lost = sum(seen.dropped);
		expect(seen.exported + lost + exporter.waiting).toBe(5_001);
		expect(seen.lines[1]).toMatch(/ takes spans again; \d+ were dropped meanwhile$/);
		expect(seen.lines).toHaveLength(2);
	});

	test("hangs is given up, and keeps nobody waiting meanwhile", async () => {
		const { exporter, seen, reply } = exporterOf({ exportMs: 50 }, { timeoutMs: 20 });
		reply.to = hangs;
		many(exporter, 10);
		await until(() => seen.dropped["unreachable"] === 10, "the end of the batch");
		expect(seen.lines[0]).toContain("has not answered within 20 ms");
	});

	test("hangs is told of where the time for a batch ends first", async () => {
		const { exporter, seen, reply } = exporterOf({ exportMs: 20 });
		reply.to = hangs;
		many(exporter, 10);
		await until(() => seen.dropped["unreachable"] === 10, "the end of the batch");
		expect(seen.lines).toEqual([expect.stringContaining("has not answered within 20 ms")]);
	});

	test.each([400, 401, 404, 413, 500])("answers %d is not asked the same again", async (status) => {
		const { exporter, seen, reply } = exporterOf();
		reply.to = answers(status);
		many(exporter, 10);
		await until(() => seen.dropped["refused"] === 10, "the end of the batch");
		expect([seen.requests, seen.lines.length]).toEqual([1, 1]);
		expect(seen.lines[0]).toEndWith(`answers ${status}. These are dropped; those that come are tried`);
	});

	test.each([
		[429, 0, 1_000],
		[502, undefined, 1_000],
		[503, 7, 7_000],
		[504, 1e12, 2 ** 31 - 1],
	])(
		"answers %d with Retry-After %p is asked again, and not sooner than it would be without",
		async (status, after, ms) => {
			const { exporter, seen, reply, takes } = exporterOf({}, {}, "skipped");
			reply.to = (request, signal) => {
				reply.to = takes;
				return answers(status, after)(request, signal);
			};
			many(exporter, 10);
			await until(() => seen.exported === 10, "the second try");
			expect([seen.requests, seen.dropped]).toEqual([2, {}]);
			expect(seen.pauses).toEqual([expect.any(Number)]);
			expect(seen.pauses[0]).toBeWithin(ms, ms * 1.4);
		},
	);

	test.each([
		[1_000, { exported: 0, dropped: { refused: 10 } }],
		[-5, { exported: 10, dropped: {} }],
	])("says that it refused %d of ten is believed as far as that can be", async (rejected, said) => {
		const { exporter, seen, reply } = exporterOf({}, { protocol: "http/json" });
		const body = Buffer.from(JSON.stringify({ partialSuccess: { rejectedSpans: rejected, errorMessage: "so" } }));
		reply.to = async () => ({ status: 200, retryAfter: undefined, body });
		many(exporter, 10);
		await until(() => seen.requests === 1 && seen.exported + sum(seen.dropped) === 10, "the batch");
		expect(seen).toMatchObject(said);
	});

	test("takes some of a batch has said what it refused", async () => {
		const { exporter, seen, reply } = exporterOf();
		reply.to = async ({ headers }) => ({
			status: 200,
			retryAfter: undefined,
			body: Buffer.from(await taken(headers["content-type"]!, 3, "too old").arrayBuffer()),
		});
		many(exporter, 20);
		await until(() => seen.exported === 14, "both batches");
		expect([seen.dropped, seen.lines]).toEqual([{ refused: 6 }, [`${ENDPOINT} refuses some spans: too old`]]);
	});

	test("answers 200 in words of its own has taken all", async () => {
		const { exporter, seen, reply } = exporterOf();
		reply.to = async () => ({ status: 202, retryAfter: undefined, body: Buffer.from("queued") });
		many(exporter, 10);
		await until(() => seen.exported === 10, "the batch");
		expect(seen.lines).toEqual([]);
	});
});

describe("at the end of the process", () => {
	test("what waits is sent", async () => {
		const { exporter, seen, spans } = exporterOf({ delayMs: 600_000, batchSize: 50 });
		many(exporter, 25);
		exporter.callSettled(tracedCall());
		await exporter.close();
		expect([seen.exported, spans.length, exporter.waiting]).toEqual([26, 26, 0]);
	});

	test("a collector that hangs is not waited for, and what is lost is counted", async () => {
		const { exporter, seen, reply } = exporterOf({ delayMs: 600_000, batchSize: 50 });
		reply.to = hangs;
		many(exporter, 60);
		await exporter.close();
		expect([seen.exported, seen.dropped, exporter.waiting]).toEqual([0, { unreachable: 60 }, 0]);
	});
});

test("spans that can't be written are dropped and told of, and those behind them are sent", async () => {
	const { exporter, seen } = exporterOf({ batchSize: 2 });
	const { span, ...rest } = tracedAttempt();
	const broken = new Proxy(span!, {
		get() {
			throw new Error("a defect");
		},
	});
	exporter.attemptClosed({ ...rest, span: broken });
	many(exporter, 3);
	await until(() => seen.exported === 3, "the others");
	expect(seen.dropped).toEqual({ refused: 1 });
	expect(seen.lines).toEqual(["spans could not be written, and are dropped: a defect"]);
});

test("spans wait for others, and go in batches that are no larger than wanted", async () => {
	const sizes: number[] = [];
	const { exporter, seen, reply, takes, spans } = exporterOf({ delayMs: 600_000, batchSize: 10 });
	reply.to = async (request, signal) => {
		const before = spans.length;
		const answer = await takes(request, signal);
		sizes.push(spans.length - before);
		return answer;
	};
	many(exporter, 9);
	expect(seen.requests).toBe(0);
	many(exporter, 16);
	await until(() => seen.exported === 20, "two batches");
	expect([sizes, exporter.waiting]).toEqual([[10, 10], 5]);
});

test("events of traces that are not sent are none of its business", async () => {
	const { exporter } = exporterOf();
	const { trace } = tracedCall();
	exporter.attemptClosed({ ...tracedAttempt(), span: undefined });
	exporter.callSettled({ ...tracedCall(), trace: { traceId: trace!.traceId } });
	exporter.callSettled({ ...tracedCall(), trace: undefined });
	expect(exporter.waiting).toBe(0);
});

test("a step of a call is a span of its own, and counts as one", async () => {
	const { exporter, seen, spans } = exporterOf({ delayMs: 600_000 });
	const step = { name: "queue", spanId: "00f067aa0ba902b7", startedAt: 1_790_000_000_000, ms: 5 } as const;
	exporter.callSettled(tracedCall({}, { steps: [step] }));
	expect(exporter.waiting).toBe(2);
	await exporter.close();
	expect([seen.exported, spans.map(({ name }) => name)]).toEqual([2, ["POST /v1/chat/completions", "queue"]]);
});
