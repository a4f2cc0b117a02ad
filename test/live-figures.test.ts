/** The console's figures: rates between two readings of what was counted, times from a histogram's buckets, the newest for who reads slowly. */
import { describe, expect, test } from "bun:test";
import { LiveFeed } from "../src/server/console/live-feed.ts";
import { sampleOf, totalsOf } from "../src/server/console/live-figures.ts";
import { LiveStreams } from "../src/server/console/live-streams.ts";
import type { CallSettled } from "../src/telemetry/events.ts";
import type { MetricValues } from "../src/telemetry/merged-metrics.ts";
import { createMetrics } from "../src/telemetry/metrics.ts";

const call = (more: Partial<CallSettled>): CallSettled => ({
	id: "req_1",
	operation: "chat",
	stream: false,
	model: "a",
	provider: "p",
	status: 200,
	attempts: 1,
	ms: 100,
	...more,
});
const values = async (metrics: ReturnType<typeof createMetrics>): Promise<MetricValues> =>
	JSON.parse(JSON.stringify(await metrics.values())) as MetricValues;

describe("figures", () => {
	test("are zero where nothing was counted", async () => {
		const totals = totalsOf([await values(createMetrics("router"))], 0);
		expect(sampleOf({ ...totals, time: 1_000 }, totals, totals, 7)).toEqual({
			at: 7,
			calls: 0,
			errors: 0,
			statuses: {},
			failures: {},
			tokens: { input: 0, output: 0 },
			usd: 0,
			firstToken: null,
			inFlight: 0,
			waiting: 0,
			models: [],
		});
	});

	test("are what came between two readings, a second's, of all threads", async () => {
		const threads = [createMetrics("router"), createMetrics("router")];
		const read = async (time: number) => totalsOf(await Promise.all(threads.map(values)), time);
		const [one, other] = threads as [(typeof threads)[0], (typeof threads)[0]];
		one.sink.callSettled(call({}));
		const before = await read(0);
		one.sink.callStarted();
		one.sink.callSettled(call({ tokens: { input: 100, output: 10 }, cost: 0.5 }));
		other.sink.callSettled(call({ status: 429 }));
		other.sink.callSettled(call({ status: 499, model: "b" }));
		other.sink.callStarted();
		other.sink.attemptClosed({ callId: "req_1", provider: "p", target: "t", ms: 1, failure: "timeout" });
		const sample = sampleOf(await read(2_000), before, before, 0);
		expect(sample).toMatchObject({
			calls: 1.5,
			errors: 0.5,
			statuses: { "429": 0.5 },
			failures: { timeout: 0.5 },
			tokens: { input: 50, output: 5 },
			usd: 0.25,
			inFlight: 1,
		});
		expect(sample.models.map(({ model, calls, errors }) => [model, calls, errors])).toEqual([
			["a", 1, 0.5],
			["b", 0.5, 0],
		]);
	});

	test("times to the first token lie where Prometheus would see them in the same buckets", async () => {
		const metrics = createMetrics("router");
		const before = totalsOf([await values(metrics)], 0);
		// 10 of 25 to 50 ms, 10 of 0.1 to 0.25 s.
		for (let at = 0; at < 10; at++) metrics.sink.callSettled(call({ firstTokenMs: 30 }));
		for (let at = 0; at < 10; at++) metrics.sink.callSettled(call({ firstTokenMs: 200, model: "b" }));
		const { firstToken, models } = sampleOf(totalsOf([await values(metrics)], 1_000), before, before, 0);
		expect(firstToken!.p50).toBeCloseTo(50, 6);
		expect(firstToken!.p95).toBeCloseTo(100 + 150 * 0.9, 6);
		expect(models.find(({ model }) => model === "a")!.firstToken!.p50).toBeCloseTo(37.5, 6);
	});

	test("above the last bound a time is that bound", async () => {
		const metrics = createMetrics("router");
		const before = totalsOf([await values(metrics)], 0);
		metrics.sink.callSettled(call({ firstTokenMs: 900_000 }));
		const { firstToken } = sampleOf(totalsOf([await values(metrics)], 1_000), before, before, 0);
		expect(firstToken).toEqual({ p50: 600_000, p95: 600_000 });
	});

	test("what a worker thread took with it is no negative rate", async () => {
		const metrics = createMetrics("router");
		metrics.sink.callSettled(call({}));
		const before = totalsOf([await values(metrics)], 0);
		const sample = sampleOf(totalsOf([], 1_000), before, before, 0);
		expect([sample.calls, sample.errors]).toEqual([0, 0]);
	});

	test("twenty models are named, the busiest", async () => {
		const metrics = createMetrics("router");
		const before = totalsOf([await values(metrics)], 0);
		for (let model = 0; model < 30; model++) {
			for (let at = 0; at <= model; at++) metrics.sink.callSettled(call({ model: `m${model}` }));
		}
		const { models } = sampleOf(totalsOf([await values(metrics)], 1_000), before, before, 0);
		expect(models.map(({ model }) => model)).toEqual(Array.from({ length: 20 }, (_, at) => `m${29 - at}`));
	});
});

describe("the feed", () => {
	test("reads nothing while nobody watches, and once for all who do", async () => {
		const metrics = createMetrics("router");
		let reads = 0;
		const clock = { now: 0 };
		const feed = new LiveFeed({
			read: async () => {
				reads++;
				return [await values(metrics)];
			},
			time: () => clock.now,
			wall: () => clock.now,
			everyMs: 2 ** 30,
			onProblem: (error) => {
				throw error;
			},
		});
		expect(reads).toBe(0);
		const heard: string[] = [];
		const first = Promise.withResolvers<void>();
		const ends = [
			feed.subscribe((sample) => heard.push(sample)),
			feed.subscribe((sample) => {
				heard.push(sample);
				first.resolve();
			}),
		];
		await Bun.sleep(0);
		while (reads < 1) await Bun.sleep(1);
		clock.now = 1_000;
		metrics.sink.callSettled(call({}));
		do await feed.look();
		while (heard.length === 0);
		await first.promise;
		expect(heard).toHaveLength(2);
		expect(JSON.parse(heard[0]!)).toMatchObject({ at: 1_000, calls: 1 });
		expect(feed.history.samples).toEqual([JSON.parse(heard[0]!)]);
		for (const end of ends) end();
		const before = reads;
		expect(reads).toBe(before);
	});

	test("has no second without calls, and none with twice as many, where workers tell of theirs just before and after it", async () => {
		const metrics = createMetrics("router");
		const clock = { now: 0 };
		const told = [10, 0, 20, 0, 20, 10, 10];
		const feed = new LiveFeed({
			read: async () => [await values(metrics)],
			...{ time: () => clock.now, wall: () => clock.now, onProblem: () => {} },
		});
		await feed.look();
		for (const calls of told) {
			for (let at = 0; at < calls; at++) metrics.sink.callSettled(call({}));
			clock.now += 1_000;
			await feed.look();
		}
		expect(feed.history.samples.map(({ calls }) => calls)).toEqual([10, 5, 10, 10, 10, 15, 10]);
	});

	test("tells why it can't read once until it can, and goes on", async () => {
		const problems: unknown[] = [];
		let isBroken = true;
		const feed = new LiveFeed({
			read: async () => {
				if (isBroken) throw new Error("broken");
				return [];
			},
			onProblem: (error) => problems.push(error),
		});
		for (const broken of [true, true, false, true, true]) {
			isBroken = broken;
			await feed.look();
		}
		expect(problems.map(String)).toEqual(["Error: broken", "Error: broken"]);
	});
});

describe("a stream", () => {
	function streams(lastsMs?: number) {
		const state: { tell: (sample: string) => void; isSubscribed: boolean } = { tell: () => {}, isSubscribed: false };
		const made = new LiveStreams((listener) => {
			state.tell = listener;
			state.isSubscribed = true;
			return () => {
				state.isSubscribed = false;
			};
		}, lastsMs);
		return { made, state };
	}
	const opened = (made: LiveStreams, signal = new AbortController().signal) => {
		const reader = made.open(signal)!.body!.getReader();
		return async () => {
			const { done, value } = await reader.read();
			return done ? "over" : new TextDecoder().decode(value);
		};
	};

	test("whose client has left already takes no place", async () => {
		const { made, state } = streams();
		const client = new AbortController();
		client.abort();
		const next = opened(made, client.signal);
		expect([made.size, state.isSubscribed]).toEqual([0, false]);
		expect([await next(), await next()]).toEqual(["retry: 5000\n\n", "over"]);
	});

	test("that is read slowly goes on with the newest figures", async () => {
		const { made, state } = streams();
		const next = opened(made);
		expect(await next()).toBe("retry: 2000\n\n");
		for (const sample of ["1", "2", "3"]) state.tell(sample);
		expect(await next()).toBe("data: 3\n\n");
		const waiting = next();
		state.tell("4");
		expect(await waiting).toBe("data: 4\n\n");
	});

	test("ends with its client, and the last one ends the subscription", async () => {
		const { made, state } = streams();
		const leaving = [new AbortController(), new AbortController()];
		const reads = leaving.map(({ signal }) => opened(made, signal));
		expect([made.size, state.isSubscribed]).toEqual([2, true]);
		leaving[0]!.abort();
		expect([made.size, state.isSubscribed]).toEqual([1, true]);
		leaving[1]!.abort();
		expect([made.size, state.isSubscribed]).toEqual([0, false]);
		for (const next of reads) while ((await next()) !== "over");
	});

	test("ends after its time, so that its client's session is looked at anew", async () => {
		const { made } = streams(1);
		const next = opened(made);
		while ((await next()) !== "over");
		expect(made.size).toBe(0);
	});

	test("ends when the router stops; who comes then is told to come again", async () => {
		const { made } = streams();
		const next = opened(made);
		made.end();
		while ((await next()) !== "over");
		expect(await made.open(new AbortController().signal)!.text()).toBe("retry: 5000\n\n");
		expect(made.size).toBe(0);
	});

	test("is refused where there are two hundred", () => {
		const { made } = streams();
		const { signal } = new AbortController();
		for (let at = 0; at < 200; at++) expect(made.open(signal)).toBeDefined();
		expect(made.open(signal)).toBeUndefined();
		made.end();
	});
});
