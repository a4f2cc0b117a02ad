/**
 * `make bench-dialects`: what each wire that clients speak costs, before upstreams that speak it and before others.
 *
 *     bun test/bench/dialects.ts [--binary FILE]
 *
 * A router for each pair, all loaded in turn, round by round, so that what burdens the machine burdens all; beside each whose client speaks its upstream's
 * wire the bare relay, which reads nothing: what it takes of a chat's relay is what the wire's bytes alone cost. BENCH_SECONDS (2), BENCH_ROUNDS (3),
 * BENCH_ONLY (a part of a load's name; those that it is compared with are run, too) and BENCH_PIN as in `make bench`. A ratio is
 * that of the cheapest rounds, since other work on the machine only adds, and behind it the median of the rounds' ratios. Nothing fails by it: a busy machine is no fault of the code.
 */
import { parseArgs } from "node:util";
import { type DialectLoad, dialectLoads, dialectSettings } from "./dialect-loads.ts";
import { median } from "./measure.ts";
import { pinSelf } from "./pins.ts";
import { clearAwayAtEnd, type Running } from "./processes.ts";
import { type Contender, compare, medians, type Result, ratios } from "./rounds.ts";
import { warmUp, wholeNumber } from "./settings.ts";
import { startRelay, startRouter, startUpstream, startWholeUpstream } from "./subject.ts";
import { markdown, remark } from "./table.ts";

clearAwayAtEnd();
const { values: flags } = parseArgs({ options: { binary: { type: "string", default: "dist/router" } } });
const seconds = wholeNumber("BENCH_SECONDS", 2);
const rounds = wholeNumber("BENCH_ROUNDS", 3);
const only = process.env["BENCH_ONLY"] ?? "";
pinSelf();

/** The loads that are asked for, and those that they are compared with. */
function chosen(all: readonly DialectLoad[]): DialectLoad[] {
	const named = new Set(all.filter(({ scenario }) => scenario.name.includes(only)).flatMap(withOthers));
	return all.filter(({ scenario }) => named.has(scenario.name));
}
const withOthers = ({ scenario, against }: DialectLoad): string[] => [scenario.name, ...(against ? [against] : [])];

async function measured(loads: readonly DialectLoad[], upstream: Running): Promise<Result[]> {
	const warmUpS = warmUp(Math.max(seconds, 3));
	const contenders = loads.flatMap(({ scenario, answer }): Contender[] => [
		{
			name: scenario.name,
			scenario,
			warmUpS,
			isRouter: true,
			start: (url) => startRouter(url, flags.binary, dialectSettings(url)),
		},
		...(answer
			? [{ name: relayOf(scenario.name), scenario, warmUpS, isRouter: false, start: (url: string) => startRelay(url) }]
			: []),
	]);
	const [first] = loads;
	return first ? compare(contenders, upstream, first.scenario, { rounds, seconds }) : [];
}
const relayOf = (load: string): string => `${load}, bare relay`;

const all = chosen(dialectLoads());
await using upstream = await startUpstream();
await using whole = await startWholeUpstream();
const results = [
	...(await measured(
		all.filter(({ scenario }) => !scenario.stream),
		whole,
	)),
	...(await measured(
		all.filter(({ scenario }) => scenario.stream),
		upstream,
	)),
];
const byName = new Map(results.map((result) => [result.name, result]));

const leastOf = ({ samples }: Result): number => Math.min(...samples.map(({ cpuPerCall }) => cpuPerCall));

/** What the one takes of the other: of the cheapest rounds, and the median of all; empty where one of them is missing. */
function times(name: string, against: string): readonly [least: string, median: string] {
	const [result, other] = [byName.get(name), byName.get(against)];
	if (!result || !other) return ["", ""];
	const least = leastOf(result) / leastOf(other);
	return [least.toFixed(2), median(ratios(result.samples, other.samples)).toFixed(2)];
}

function row({ scenario: { name }, against = "", aim, answer }: DialectLoad): string[] {
	const result = byName.get(name)!;
	const { cpuPerCall, callsPerSecond } = medians(result.samples);
	const relay = byName.get(relayOf(name));
	return [
		name,
		callsPerSecond.toFixed(0),
		leastOf(result).toFixed(1),
		cpuPerCall.toFixed(1),
		...times(name, against),
		against.replace(/^.*: /, ""),
		aim === undefined ? "" : aim.toFixed(1),
		answer ? [answer.events, answer.bytes].filter(Boolean).join(" / ") : "",
		relay ? leastOf(relay).toFixed(1) : "",
		...times(relayOf(name), relayOf(against)),
		remark(result),
	];
}

console.log(
	markdown(
		[
			[
				...["load", "calls/s", "CPU µs a call, least", "median", "×, least", "median", "of", "aim"],
				...["events / bytes", "bare relay's µs, least", "its ×, least", "median", "remark"],
			],
			...all.map(row),
		],
		1,
	),
);
