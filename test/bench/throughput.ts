/** Calls a second and what one costs: relay and router loaded in turn, several rounds, because machines are noisy. */
import { load } from "./client.ts";
import { cpuMicros, median, rssMb } from "./measure.ts";
import type { Subject } from "./subject.ts";
import type { Sent } from "./upstream.ts";
import { EVENTS, isCached, type Mode, request } from "./wire.ts";

/** One kind of load. */
export interface Scenario {
	readonly name: string;
	readonly mode: Mode;
	readonly connections: number;
	/** Keys, limits, a budget and prices are on. */
	readonly isGuarded?: boolean;
	/** The most the router may cost, as a multiple of the relay's CPU; absent where nothing is promised. */
	readonly limit?: number;
}

/** The loads, in the order of the table. */
export const SCENARIOS: readonly Scenario[] = [
	{ name: "non-streamed, 1 KB, 32 connections", mode: "bench", connections: 32, limit: 1.8 },
	{ name: "the same with keys, limits and a budget", mode: "bench", connections: 32, limit: 2.2, isGuarded: true },
	{ name: `streamed, ${EVENTS} events 5 ms apart, 64 connections`, mode: "paced", connections: 64, limit: 1.35 },
	{ name: `streamed, ${EVENTS} events at once, 64 connections`, mode: "burst", connections: 64 },
	{ name: "non-streamed, answered before, 32 connections", mode: "cached", connections: 32, limit: 0.9 },
	{ name: "streamed, answered before, 32 connections", mode: "replayed", connections: 32, limit: 0.9 },
];

/** One measurement: a call is an answer or a whole stream. */
export interface Sample {
	callsPerSecond: number;
	/** ms. */
	p50: number;
	/** ms. */
	p99: number;
	/** µs of the process under test, all its threads. */
	cpuPerCall: number;
	/** MB at the end of the load. */
	rss: number;
}

/** Relay and router under one scenario: medians over the rounds, and the median of each round's own ratio. */
export interface Comparison {
	scenario: Scenario;
	relay: Sample;
	router: Sample;
	/** CPU per call, router over relay. */
	ratio: number;
}

/** Loaded but not counted: at first until the JIT has made all that a call passes (25,000 calls), then until the load is steady. */
const FIRST_WARM_UP_S = 4;
const WARM_UP_S = 1;

const calls = (sent: Sent) => sent.answers + sent.events / EVENTS;

/**
 * CPU and calls are read at both ends of a window inside the load, and calls are counted by what the upstream sent:
 * neither the warm-up nor the streams that the client breaks off at its end distort the cost of one.
 */
async function measure(subject: Subject, upstream: Subject, scenario: Scenario, seconds: number): Promise<Sample> {
	const read = async () => ({
		cpu: cpuMicros(subject.pid),
		calls: calls((await (await fetch(`${upstream.url}/stats`)).json()) as Sent),
		at: performance.now(),
	});
	const body = request(scenario.mode);
	if (isCached(scenario.mode)) return measureWhole(subject, body, scenario.connections, seconds + WARM_UP_S);
	const loading = load(`${subject.url}/v1/chat/completions`, body, scenario.connections, seconds + WARM_UP_S);
	// A client that fails while we wait is reported by the await below, not as an unhandled rejection.
	loading.catch(() => undefined);
	await Bun.sleep(WARM_UP_S * 1000);
	const before = await read();
	await Bun.sleep(seconds * 1000 - 200);
	const after = await read();
	const rss = rssMb(subject.pid);
	const { p50, p99 } = await loading;
	const done = after.calls - before.calls;
	return {
		callsPerSecond: (done * 1000) / (after.at - before.at),
		p50,
		p99,
		cpuPerCall: (after.cpu - before.cpu) / done,
		rss,
	};
}

/** Where the upstream is not asked the client counts: over the whole load, its beginning included. */
async function measureWhole(subject: Subject, body: string, connections: number, seconds: number): Promise<Sample> {
	const before = cpuMicros(subject.pid);
	const { calls: done, p50, p99 } = await load(`${subject.url}/v1/chat/completions`, body, connections, seconds);
	const cpu = cpuMicros(subject.pid) - before;
	return { callsPerSecond: done / seconds, p50, p99, cpuPerCall: cpu / done, rss: rssMb(subject.pid) };
}

function medians(samples: readonly Sample[]): Sample {
	const of = (field: keyof Sample) => median(samples.map((sample) => sample[field]));
	return {
		callsPerSecond: of("callsPerSecond"),
		p50: of("p50"),
		p99: of("p99"),
		cpuPerCall: of("cpuPerCall"),
		rss: of("rss"),
	};
}

/** Loads relay and router in turn, `rounds` times, `seconds` (a whole number) each. */
export async function compare(
	subjects: { relay: Subject; router: Subject; upstream: Subject },
	scenario: Scenario,
	rounds: number,
	seconds: number,
): Promise<Comparison> {
	const relay: Sample[] = [];
	const router: Sample[] = [];
	for (const subject of [subjects.relay, subjects.router]) {
		await load(`${subject.url}/v1/chat/completions`, request(scenario.mode), scenario.connections, FIRST_WARM_UP_S);
	}
	for (let round = 0; round < rounds; round++) {
		relay.push(await measure(subjects.relay, subjects.upstream, scenario, seconds));
		router.push(await measure(subjects.router, subjects.upstream, scenario, seconds));
	}
	const ratio = median(router.map((sample, i) => sample.cpuPerCall / (relay[i]?.cpuPerCall ?? Number.NaN)));
	return { scenario, relay: medians(relay), router: medians(router), ratio };
}
