/**
 * `make endurance`: a million calls through the compiled router with a key, limits, a budget, ledger, log and the cache on, in ten parts: whether it gets
 * slower, or larger, as it runs. Half of the prompts are new, half are one of a hundred, which the cache knows. BENCH_CALLS (1,000,000) sets how many.
 * Exits 1 where a call failed, where a part's p99.9 is above twice the first one's, or where memory grew by a quarter after the second part.
 */
import { join } from "node:path";
import { type Load, parseLoad } from "./client.ts";
import { cpuMicros, median, rssMb } from "./measure.ts";
import { pinSelf } from "./pins.ts";
import { clearAwayAtEnd, spawn } from "./processes.ts";
import { warmUp, wholeNumber } from "./settings.ts";
import { GUARDED, KEY, startRouter, startWholeUpstream } from "./subject.ts";

const PARTS = 10;
const CONNECTIONS = 32;
/** What a part may be slower than the first, and memory larger than after the second part. */
const SLOWER = 2;
const LARGER = 1.25;

clearAwayAtEnd();
const calls = wholeNumber("BENCH_CALLS", 1_000_000);
const wrk = Bun.which("wrk");
if (!wrk) throw new Error("bench: endurance needs wrk (Debian and Ubuntu: apt-get install wrk)");
pinSelf();
await using upstream = await startWholeUpstream();
await using router = await startRouter(`${upstream.url}/whole`, "dist/router", {
	...GUARDED,
	cache: { enabled: true },
});

/** How often memory is read, ms: between two collections it swings by as much as the cache holds, so that one reading says nothing. */
const READ_MS = 250;

/** @param first number of the first prompt that nobody has sent before */
async function load(seconds: number, first: number): Promise<Load> {
	const command = [wrk!, "-t1", `-c${CONNECTIONS}`, `-d${seconds}s`, "--timeout", "20s"];
	const script = join(import.meta.dir, "endurance.lua");
	const child = spawn("around", [...command, "-s", script, `${router.url}/v1/chat/completions`], {
		env: { BENCH_KEY: KEY, BENCH_FIRST: String(first) },
		stdout: "pipe",
	});
	const line = (await new Response(child.stdout).text()).trim().split("\n").at(-1) ?? "";
	return parseLoad(line);
}

const warm = await load(warmUp(5), 0);
const seconds = Math.max(1, Math.round(calls / PARTS / (warm.calls / warm.seconds)));
let sent = warm.calls;
const problems: string[] = [];
const parts: (Load & { readonly rss: number })[] = [];
console.log(
	"| part | calls | calls/s | p50 ms | p99 ms | p99.9 ms | CPU µs a call | RSS MB |\n| --- | --- | --- | --- | --- | --- | --- | --- |",
);
for (let part = 1; part <= PARTS; part++) {
	const before = cpuMicros(router.pid);
	const readings = [rssMb(router.pid)];
	const reader = setInterval(() => readings.push(rssMb(router.pid)), READ_MS);
	const seen = await load(seconds, sent).finally(() => clearInterval(reader));
	const cpu = (cpuMicros(router.pid) - before) / seen.calls;
	const rss = median(readings);
	sent += seen.calls;
	parts.push({ ...seen, rss });
	const row = [part, seen.calls, Math.round(seen.calls / seen.seconds)];
	const times = [seen.p50, seen.p99, seen.p999, cpu].map((value) => value.toPrecision(3));
	console.log(`| ${[...row, ...times, Math.round(rss)].join(" | ")} |`);
	if (seen.failed > 0) problems.push(`part ${part}: ${seen.failed} calls failed`);
	if (seen.p999 > SLOWER * parts[0]!.p999) problems.push(`part ${part}: p99.9 is above twice that of the first`);
	if (part > 2 && rss > LARGER * parts[1]!.rss) problems.push(`part ${part}: memory grew by a quarter`);
}
console.log(
	`\n${sent} calls. ${problems.join("; ") || "No part was twice as slow as the first, and memory did not grow."}`,
);
if (problems.length > 0) process.exitCode = 1;
