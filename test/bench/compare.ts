/**
 * `make bench-compare OLD=FILE`: whether an old and a new binary cost the same CPU a call.
 *
 *     bun test/bench/compare.ts --old FILE [--binary FILE]
 *
 * In each round old is measured before and after new: what old differs by from itself is what this machine can tell.
 * BENCH_ROUNDS (7), BENCH_SECONDS (2), BENCH_ONLY, BENCH_FULL and BENCH_PIN as in `make bench`. Exits 1 where new is worse
 * by more than 3 % and by more than the spread, or where a call failed.
 */
import { parseArgs } from "node:util";
import { chooseLoads } from "./loads.ts";
import { pinSelf } from "./pins.ts";
import { clearAwayAtEnd } from "./processes.ts";
import { type Contender, compare, type Result } from "./rounds.ts";
import { warmUp, wholeNumber } from "./settings.ts";
import { GUARDED, startRouter, startUpstream, startWholeUpstream } from "./subject.ts";
import { comparison, remark, verdictTable } from "./table.ts";

clearAwayAtEnd();
const { values: flags } = parseArgs({
	options: { old: { type: "string", default: "" }, binary: { type: "string", default: "dist/router" } },
});
if (!(await Bun.file(flags.old).exists())) {
	console.error(
		`bench-compare: there is no file ${flags.old || "given"}: make bench-compare OLD=<an older router's binary>`,
	);
	process.exit(2);
}
const seconds = wholeNumber("BENCH_SECONDS", 2);
const rounds = wholeNumber("BENCH_ROUNDS", 7);
const loads = chooseLoads({ full: process.env["BENCH_FULL"] === "1", only: process.env["BENCH_ONLY"] ?? "" });
pinSelf();
const contender = (name: string, binary: string): Contender => ({
	name,
	warmUpS: warmUp(seconds),
	isRouter: true,
	start: (upstream, { variant }) => startRouter(upstream, binary, variant === "guarded" ? GUARDED : undefined),
});
const who = [contender("old", flags.old), contender("new", flags.binary), contender("old again", flags.old)];

await using upstream = await startUpstream();
await using whole = await startWholeUpstream();
const rows: Parameters<typeof verdictTable>[0][number][] = [];
for (const [at, load] of loads.entries()) {
	console.error(`bench: ${at + 1} of ${loads.length}: ${load.name}`);
	const results = await compare(who, load.mode === "whole" ? whole : upstream, load, { rounds, seconds });
	const [before, now, after] = results as [Result, Result, Result];
	const remarks = new Set(results.map(remark).filter(Boolean));
	rows.push({ name: load.name, verdict: comparison(before, now, after), remark: [...remarks].join("; ") });
}
console.log(verdictTable(rows));
if (rows.some(({ verdict }) => verdict.verdict === "worse" || verdict.verdict === "failed")) process.exitCode = 1;
