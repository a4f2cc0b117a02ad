/** One load on several processes in turn, round by round, because machines are noisy. */
import { type Load, load as send, type Window } from "./client.ts";
import type { Scenario } from "./loads.ts";
import { cpuMicros, median, peakRssMb, rssMb } from "./measure.ts";
import { PINS } from "./pins.ts";
import type { Running } from "./processes.ts";
import { sample } from "./sample.ts";

/** What is measured. */
export interface Contender {
	readonly name: string;
	/** Seconds, as often as it takes for {@link WARM_CALLS}: a JIT needs a while of load before its figures are its own. 0 for what has none. */
	readonly warmUpS: number;
	/** Whether it answers with the router's headers. */
	readonly isRouter: boolean;
	/** Its own load, where others are compared under another one. */
	readonly scenario?: Scenario;
	/** How many threads or processes share its calls, each of which compiles for itself; 1 unless given. */
	readonly threads?: number;
	/** In front of `upstream`, a URL that ends with the scenario's mode. Of several processes each gets its part of the load's connections. */
	start(upstream: string, scenario: Scenario): Promise<Running | readonly Running[]>;
}

/** One measurement. A call is an answer or a whole stream; of `slow` streams, which have no end, an event. */
export interface Sample {
	callsPerSecond: number;
	/** ms, as the other two. */
	p50: number;
	p99: number;
	p999: number;
	/** µs of the process under test and all below it. */
	cpuPerCall: number;
	/** MB at the end of the load. */
	rss: number;
	/** MB, the most since the process began. */
	peak: number;
	/** Share of a core that upstream and load took: of theirs together where they are pinned to one, else of the busier one. */
	around: number;
	/** Calls that failed, by status or connection. */
	failed: number;
}

/** A contender's samples, one a round, and what was wrong with its answers. */
export interface Result {
	readonly name: string;
	readonly samples: Sample[];
	readonly problems: Set<string>;
}

/** Above this share of its core upstream or load may be what is measured. */
export const BUSY = 0.9;

/** Loads all of them at once, as `send` does one: times are those of the slowest. */
async function sendToAll(
	subjects: readonly Running[],
	scenario: Scenario,
	seconds: number,
	window: Window = { began() {}, ended() {} },
): Promise<Load & { cpu: number }> {
	const part = { ...scenario, connections: scenario.connections / subjects.length };
	let [begun, ended] = [0, 0];
	const ofAll: Window = {
		began: () => begun++ === 0 && window.began(),
		ended: () => ++ended === subjects.length && window.ended(),
	};
	const seen = await Promise.all(subjects.map(({ url }) => send(url, part, seconds, ofAll)));
	const most = (field: keyof Load) => Math.max(...seen.map((load) => load[field]));
	const [calls, failed, cpu] = [sum(seen, "calls"), sum(seen, "failed"), sum(seen, "cpu")];
	return { calls, failed, cpu, seconds: most("seconds"), p50: most("p50"), p99: most("p99"), p999: most("p999") };
}

const sum = <K extends string>(all: readonly Readonly<Record<K, number>>[], field: K): number =>
	all.reduce((total, each) => total + each[field], 0);

async function measure(
	subjects: readonly Running[],
	upstream: Running,
	scenario: Scenario,
	seconds: number,
): Promise<Sample> {
	const ofAll = (figure: (pid: number) => number) => subjects.reduce((total, { pid }) => total + figure(pid), 0);
	const read = () => ({ subject: ofAll(cpuMicros), upstream: cpuMicros(upstream.pid), at: performance.now() });
	let before = read();
	let after = before;
	const seen = await sendToAll(subjects, scenario, seconds, {
		began: () => {
			before = read();
		},
		ended: () => {
			after = read();
		},
	});
	const micros = (after.at - before.at) * 1000;
	const shares = [(after.upstream - before.upstream) / micros, seen.cpu / micros] as const;
	const calls = seen.calls / scenario.eventsPerCall;
	return {
		callsPerSecond: calls / seen.seconds,
		p50: seen.p50,
		p99: seen.p99,
		p999: seen.p999,
		cpuPerCall: (after.subject - before.subject) / calls,
		rss: ofAll(rssMb),
		peak: ofAll(peakRssMb),
		around: PINS ? shares[0] + shares[1] : Math.max(...shares),
		failed: seen.failed,
	};
}

/** Over one connection there are too few calls for a JIT to get warm; large bodies over many would be memory's peak. */
const warming = (scenario: Scenario): Scenario => ({
	...scenario,
	connections: Math.max(scenario.connections, scenario.body.length > 10_000 ? 1 : 32),
});

/**
 * Calls after which next to nothing is compiled any more: in a second there are ten times as many of 1 KB as of 200 KB, so seconds alone
 * would have one load measured compiled and the other while it is compiled.
 */
const WARM_CALLS = 20_000;
/** Longest that slow loads are warmed up, s. */
const WARM_MOST_S = 20;

async function warmUp(
	subjects: readonly Running[],
	scenario: Scenario,
	{ warmUpS: seconds, threads = 1 }: Pick<Contender, "warmUpS" | "threads">,
): Promise<void> {
	let calls = 0;
	for (let spent = 0; spent < WARM_MOST_S && calls < WARM_CALLS * threads; spent += seconds) {
		const seen = await sendToAll(subjects, warming(scenario), seconds);
		calls += seen.calls / scenario.eventsPerCall;
		// Of runs that only show that the bench runs.
		if (seconds === 1) return;
	}
}

/**
 * Starts every contender anew (its memory is this load's alone), warms each up, then loads them in turn, `rounds` times
 * `seconds` (a whole number). Who is first changes from round to round. `note` hears how far it is.
 */
export async function compare(
	contenders: readonly Contender[],
	upstream: Running,
	load: Scenario,
	{ rounds, seconds }: { rounds: number; seconds: number },
): Promise<Result[]> {
	await using stack = new AsyncDisposableStack();
	const entries: {
		contender: Contender;
		scenario: Scenario;
		subjects: readonly Running[];
		result: Result;
	}[] = [];
	for (const contender of contenders) {
		const scenario = contender.scenario ?? load;
		const subjects = [await contender.start(`${upstream.url}/${scenario.mode}`, scenario)].flat();
		for (const subject of subjects) stack.use(subject);
		entries.push({ contender, scenario, subjects, result: { name: contender.name, samples: [], problems: new Set() } });
	}
	const look = async ({ contender, scenario, subjects, result }: (typeof entries)[number]) => {
		for (const { url } of subjects) {
			const problem = await sample(url, scenario, contender.isRouter).catch(String);
			if (problem) result.problems.add(problem);
		}
	};
	for (const { contender, scenario, subjects } of entries) {
		if (contender.warmUpS > 0) await warmUp(subjects, scenario, contender);
	}
	for (let round = 0; round < rounds; round++) {
		for (let turn = 0; turn < entries.length; turn++) {
			const entry = entries[(round + turn) % entries.length];
			if (!entry) continue;
			await look(entry);
			// A second look in the midst of the load: an answer that goes wrong only then is no less wrong.
			const looking = Bun.sleep(seconds * 500).then(() => look(entry));
			entry.result.samples.push(await measure(entry.subjects, upstream, entry.scenario, seconds));
			await looking;
		}
	}
	return entries.map(({ result }) => result);
}

/** Each figure's median over the rounds; failures are summed up, and the peak is the highest. */
export function medians(samples: readonly Sample[]): Sample {
	const of = (field: keyof Sample) => median(samples.map((sample) => sample[field]));
	return {
		callsPerSecond: of("callsPerSecond"),
		p50: of("p50"),
		p99: of("p99"),
		p999: of("p999"),
		cpuPerCall: of("cpuPerCall"),
		rss: of("rss"),
		peak: Math.max(...samples.map(({ peak }) => peak)),
		around: of("around"),
		failed: samples.reduce((sum, { failed }) => sum + failed, 0),
	};
}

/** CPU a call over the other's, of each round by itself: what burdens the machine for a while burdens both. */
export const ratios = (over: readonly Sample[], under: readonly Sample[]): number[] =>
	over.map((sample, round) => sample.cpuPerCall / (under[round]?.cpuPerCall ?? Number.NaN));
