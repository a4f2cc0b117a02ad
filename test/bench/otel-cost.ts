/**
 * What traces cost: CPU of the compiled router a whole answer, all its threads, as Linux counts it in /proc. `bun test/bench/otel-cost.ts [--binary FILE]` (after `make build`; some three minutes, Linux).
 *
 * Routers that differ by OpenTelemetry's variables alone are loaded in turn, round by round, so that what else the machine does burdens all of them. One without traces is among them twice:
 * what it differs by from itself is what this machine can tell. The collector takes all at once, in the bench's own process, whose CPU is not counted; of one that is away there is a row, too.
 * BENCH_ROUNDS (10), BENCH_SECONDS (2), BENCH_ONLY (a load of `make bench`) and BENCH_PIN as there. Fails where 10 % of traces cost more than 5 % by the median of the rounds, and by their lower quartile, too: between the two it is within noise.
 */
import { parseArgs } from "node:util";
import { chooseLoads } from "./loads.ts";
import { median, quantile } from "./measure.ts";
import { pinSelf } from "./pins.ts";
import { clearAwayAtEnd, type Running } from "./processes.ts";
import { type Contender, compare, type Result, ratios } from "./rounds.ts";
import { warmUp, wholeNumber } from "./settings.ts";
import { startRouter, startWholeUpstream } from "./subject.ts";
import { comparison, markdown, remark } from "./table.ts";

/** What whole answers may cost more with 10 % of traces. */
const MOST_CPU = 1.05;
const TEN_PERCENT = "10 % of traces";

/** What became of a router's spans, as it counts them itself. */
interface Spans {
	readonly sent: number;
	readonly dropped: number;
}

/** Takes whatever it is sent. */
function startCollector(): { readonly origin: string; stop(): Promise<void> } {
	const headers = { "content-type": "application/x-protobuf" };
	const server = Bun.serve({
		hostname: "127.0.0.1",
		port: 0,
		async fetch(request) {
			await request.arrayBuffer();
			return new Response(null, { headers });
		},
	});
	return { origin: server.url.origin, stop: () => server.stop(true) };
}

/** An address at which nobody listens. */
function nobody(): string {
	const { origin, stop } = startCollector();
	void stop();
	return origin;
}

const tracedBy = (endpoint: string, share: number): Record<string, string> => ({
	OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
	// Tokens as metrics are no part of a trace.
	OTEL_METRICS_EXPORTER: "none",
	OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
	OTEL_TRACES_SAMPLER_ARG: String(share),
});

/** Of a router, before it ends. */
async function spansOf({ url }: Running): Promise<Spans> {
	const text = await (await fetch(`${url}/metrics`)).text();
	const sum = (name: string) =>
		[...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, "gm"))].reduce(
			(total, [, value]) => total + Number(value),
			0,
		);
	return { sent: sum("router_spans_exported_total"), dropped: sum("router_spans_dropped_total") };
}

/** A router whose spans are counted at its end. @param env OpenTelemetry's variables; none: nothing is traced */
function contender(name: string, binary: string, warmUpS: number, env?: Record<string, string>) {
	let spans: Spans | undefined;
	const counted: Contender = {
		...{ name, warmUpS, isRouter: true },
		async start(upstream) {
			const router = await startRouter(upstream, binary, undefined, env);
			return {
				...router,
				async [Symbol.asyncDispose]() {
					try {
						if (env) spans = await spansOf(router);
					} finally {
						await router[Symbol.asyncDispose]();
					}
				},
			};
		},
	};
	return { contender: counted, spans: () => spans };
}

/** A row for each but the last, which is the first once more. */
function rowOf(now: Result, before: Result, after: Result, spans: Spans | undefined): string[] {
	const { now: cpu, ratio, spread, verdict } = comparison(before, now, after);
	const both = before.samples.map((sample, round) => ({
		...sample,
		cpuPerCall: (sample.cpuPerCall + after.samples[round]!.cpuPerCall) / 2,
	}));
	const ofRounds = ratios(now.samples, both);
	const [lower, upper] = [quantile(ofRounds, 0.25), quantile(ofRounds, 0.75)];
	const isJudged = now.name === TEN_PERCENT;
	const isKept =
		verdict === "failed" ? "failed" : ratio <= MOST_CPU ? "yes" : lower <= MOST_CPU ? "within noise" : "no";
	return [
		now.name,
		String(now.samples.length),
		cpu.toFixed(1),
		...(now === before ? ["1.000", ""] : [ratio.toFixed(3), `${lower.toFixed(3)} to ${upper.toFixed(3)}`]),
		`±${spread.toFixed(3)}`,
		spans ? String(spans.sent) : "",
		spans ? String(spans.dropped) : "",
		isJudged ? isKept : "",
		remark(now),
	];
}

async function main(): Promise<void> {
	clearAwayAtEnd();
	const { values: flags } = parseArgs({ options: { binary: { type: "string", default: "dist/router" } } });
	pinSelf();
	const [seconds, rounds] = [wholeNumber("BENCH_SECONDS", 2), wholeNumber("BENCH_ROUNDS", 10)];
	const [load] = chooseLoads({ only: process.env["BENCH_ONLY"] ?? "whole 1 KB, 32 connections" });
	const collector = startCollector();
	await using upstream = await startWholeUpstream();
	const of = (name: string, env?: Record<string, string>) => contender(name, flags.binary, warmUp(seconds), env);
	const all = [
		of("no traces"),
		of(TEN_PERCENT, tracedBy(collector.origin, 0.1)),
		of(`${TEN_PERCENT}, no collector`, tracedBy(nobody(), 0.1)),
		of("all traces", tracedBy(collector.origin, 1)),
		of("no traces again"),
	];
	const results = await compare(
		all.map((each) => each.contender),
		upstream,
		load!,
		{ rounds, seconds },
	);
	await collector.stop();
	const [before, after] = [results[0]!, results.at(-1)!];
	const rows = results.slice(0, -1).map((now, at) => rowOf(now, before, after, all[at]!.spans()));
	const heading = ["", "rounds", "CPU µs", "× none", "quartiles", "none/none", "spans", "dropped", "≤ 1.05", "remark"];
	console.log(load!.name);
	console.log(markdown([heading, ...rows], 1));
	const same = ratios(after.samples, before.samples);
	console.log(
		`The same router twice differs by ${(100 * (median(same) - 1)).toFixed(1)} % (median of ${rounds} rounds).`,
	);
	const traced = all[1]!.spans();
	if (!traced || traced.sent === 0) throw new Error("bench: the collector got no span of the router that is traced");
	if (["no", "failed"].includes(rows[1]!.at(-2)!)) process.exitCode = 1;
}

if (import.meta.main) await main();
