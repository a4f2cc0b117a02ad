/**
 * `make bench-routing`: the time to the first token behind four simulated vLLM replicas with a prefix cache, for three kinds of
 * load and four ways to choose a replica, the router's own by one router, by three over Redis and by three of two workers each; what KV events
 * save where replicas evict, in simulated time alone; how far `router replay` is from what really happens; and what a plan costs.
 *
 *     bun test/bench/routing.ts [--binary] [--strict] [--only LOAD] [--policy NAME]
 *
 * `BENCH_SECONDS` (30) is how long each load comes in, in simulated time; `BENCH_SPEED` (1) how much faster that passes. Eighteen
 * runs: about eleven minutes, and two of `BENCH_REPLAY_SECONDS` (600) each; `--only replay` makes these alone, `--policy ours` leaves the others out. `--strict` exits 1 when a promise was not kept. Needs `redis-server`.
 */
import { parseArgs } from "node:util";
import { planCosts, snapshotCosts } from "./plan-cost.ts";
import { evictionReport, evictionRows } from "./routing-evictions.ts";
import { replayOutcomes, replayText } from "./routing-replay.ts";
import { type Outcome, POLICIES, run } from "./routing-run.ts";
import { conversations, sharedPrompts, unrelated, type Workload } from "./routing-workloads.ts";

const PLAN_LIMIT_MICROS = 20;
const SNAPSHOT_LIMIT_MICROS = 1;

interface Row {
	readonly policy: string;
	readonly calls: number;
	readonly mean: number;
	readonly p99: number;
	readonly hitRate: number;
	readonly failed: number;
}

function rowOf(policy: string, { times, hitRate, failed }: Outcome): Row {
	const sorted = [...times].sort((a, b) => a - b);
	const mean = sorted.reduce((sum, ms) => sum + ms, 0) / sorted.length;
	return { policy, calls: sorted.length, mean, p99: sorted[Math.ceil(sorted.length * 0.99) - 1]!, hitRate, failed };
}

function table(name: string, rows: readonly Row[]): string {
	const robin = rows.find(({ policy }) => policy === "round robin")?.mean ?? Number.NaN;
	const cells = rows.map(({ policy, calls, mean, p99, hitRate, failed }) => [
		policy,
		String(calls),
		mean.toFixed(0),
		p99.toFixed(0),
		`${(hitRate * 100).toFixed(0)} %`,
		`${((mean / robin - 1) * 100).toFixed(0)} %`,
		String(failed),
	]);
	const head = [name, "calls", "mean ms", "p99 ms", "cache hits", "to round robin", "failed"];
	const all = [head, ...cells];
	const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
	return all
		.map((row) => row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join("  "))
		.join("\n");
}

/** What is promised of several routers over Redis: to be as good as one. Nothing of those that were not run, or where one was not. */
function fleetVerdicts(rows: readonly Row[]): { text: string; isKept: boolean }[] {
	const one = rows.find(({ policy }) => policy === "ours");
	const several = rows.filter(({ policy }) => policy !== "ours" && policy.startsWith("ours"));
	if (!one) return [];
	return several.map(({ policy, mean, failed }) => {
		const more = mean / one.mean - 1;
		const isKept = failed === 0 && more <= 0.1;
		return {
			text: `${isKept ? "ok" : "BROKEN"}: ${policy}: within 10 % of one (${(more * 100).toFixed(1)} %)`,
			isKept,
		};
	});
}

/** What ours promises for a load, and whether it was kept. */
function verdict(rows: readonly Row[], hasShared: boolean): { text: string; isKept: boolean } {
	const mean = (name: string) => rows.find(({ policy }) => policy === name)?.mean ?? Number.NaN;
	const failed = rows.reduce((sum, row) => sum + row.failed, 0);
	// Equal but for chance: two runs of the same policy differ by some per cent.
	const isKept =
		failed === 0 && (hasShared ? mean("ours") <= mean("round robin") * 0.5 : mean("ours") <= mean("least load") * 1.05);
	const promise = hasShared ? "at most half of round robin's mean" : "no worse than least load's mean (5 % are chance)";
	return { text: `${isKept ? "ok" : "BROKEN"}: ${promise}`, isKept };
}

function positive(name: string, fallback: number): number {
	const value = Number(process.env[name] ?? fallback);
	if (!(value > 0)) throw new Error(`bench: ${name} must be a number above 0`);
	return value;
}

const { values } = parseArgs({
	args: process.argv.slice(2),
	options: {
		binary: { type: "boolean" },
		strict: { type: "boolean" },
		only: { type: "string" },
		policy: { type: "string" },
	},
});
const seconds = positive("BENCH_SECONDS", 30);
const speed = positive("BENCH_SPEED", 1);
const loads: readonly [Workload, boolean][] = [
	[sharedPrompts(seconds), true],
	[conversations(seconds), true],
	[unrelated(seconds), false],
];
let isWithinLimits = true;
for (const [workload, hasShared] of loads) {
	if (values.only !== undefined && !workload.name.includes(values.only)) continue;
	const rows: Row[] = [];
	for (const policy of POLICIES) {
		if (values.policy !== undefined && !policy.name.includes(values.policy)) continue;
		rows.push(rowOf(policy.name, await run(workload, policy, speed, values.binary ? "binary" : "source")));
	}
	const verdicts = [...(values.policy === undefined ? [verdict(rows, hasShared)] : []), ...fleetVerdicts(rows)];
	isWithinLimits &&= verdicts.every(({ isKept }) => isKept);
	console.log([table(workload.name, rows), ...verdicts.map(({ text }) => text), ""].join("\n"));
}
if (values.policy === undefined && values.only === undefined) {
	const { text, isKept } = evictionReport(await evictionRows(seconds * 4));
	isWithinLimits &&= isKept;
	console.log(text);
}
if (values.policy === undefined && "replay".includes(values.only ?? "replay")) {
	const replaySeconds = positive("BENCH_REPLAY_SECONDS", 600);
	const { text, isKept } = replayText(await replayOutcomes(replaySeconds, speed, values.binary ? "binary" : "source"));
	isWithinLimits &&= isKept;
	console.log(text);
}
for (const { name, micros } of [...planCosts(), ...planCosts(true)]) {
	const isKept = micros < PLAN_LIMIT_MICROS;
	isWithinLimits &&= isKept;
	console.log(`plan, ${name}: ${micros.toFixed(1)} µs  ${isKept ? "ok" : "OVER"} (limit ${PLAN_LIMIT_MICROS} µs)`);
}
for (const { name, micros } of snapshotCosts()) {
	const isKept = micros < SNAPSHOT_LIMIT_MICROS;
	isWithinLimits &&= isKept;
	console.log(
		`snapshot of a plan, ${name}: ${micros.toFixed(2)} µs  ${isKept ? "ok" : "OVER"} (limit ${SNAPSHOT_LIMIT_MICROS} µs)`,
	);
}
if (values.strict && !isWithinLimits) process.exitCode = 1;
