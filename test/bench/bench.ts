/**
 * `make bench`: the compiled router beside the bare relay, nginx and an older router, in one run.
 *
 *     bun test/bench/bench.ts [--binary FILE] [--json FILE] [--strict]
 *
 * BENCH_SECONDS (2) is how long each measurement lasts, BENCH_ROUNDS (3) how often each is repeated; BENCH_ONLY, a part
 * of a load's name, chooses loads, BENCH_FULL=1 runs them all. The older router is the binary BENCH_OLD, or it is built
 * from BENCH_BASE (a commit or tag, `off` for none), the last tag unless said. BENCH_PIN=off leaves both cores to all.
 * `--strict` exits 1 when a promise was not kept or an answer was wrong; without it the numbers are only printed, since a busy
 * machine is no fault of the code.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { type Base, prepareBase } from "./base.ts";
import { CLIENT } from "./client.ts";
import { chooseLoads, type Scenario } from "./loads.ts";
import { median, rssMb } from "./measure.ts";
import { HOLD_AND_FLOOD, openStreams, stalledReader } from "./memory.ts";
import { PINS, pinSelf } from "./pins.ts";
import { clearAwayAtEnd, type Running } from "./processes.ts";
import { type Contender, compare } from "./rounds.ts";
import { warmUp, wholeNumber } from "./settings.ts";
import { GUARDED, NGINX, startProxy, startRelay, startRouter, startUpstream, startWholeUpstream } from "./subject.ts";
import { type Fact, factTable, kept, loadTable, type Row, remark } from "./table.ts";

const STARTS = 5;
const STREAMS = 1000;
const STALL_S = 4;
/** Enough calls for the memory tests to see a router at work rather than one that still loads its code. */
const WARM_UP_CALLS = 200;

async function readyMs(upstream: Running, binary: string): Promise<number> {
	const times: number[] = [];
	for (let i = 0; i < STARTS; i++) {
		await using router = await startRouter(`${upstream.url}/whole`, binary);
		times.push(router.readyMs);
	}
	return median(times);
}

/** MB of a router that nobody has called, once the memory of its start is given back (`server/start-memory.ts`). */
async function idleRss(upstream: Running, binary: string): Promise<number> {
	await using router = await startRouter(`${upstream.url}/whole`, binary);
	await Bun.sleep(5000);
	return rssMb(router.pid);
}

/** What one process needs, on a fresh router that has worked a little: with a stalled reader, then with many streams. */
async function memory(upstream: Running, binary: string): Promise<Fact[]> {
	await using router = await startRouter(`${upstream.url}/burst`, binary, HOLD_AND_FLOOD(upstream.url));
	const body = chooseLoads({ only: "200 events at once, 64 connections" })[0]?.body ?? "";
	const call = { method: "POST", headers: { "content-type": "application/json" }, body };
	for (let i = 0; i < WARM_UP_CALLS; i++) {
		await (await fetch(`${router.url}/v1/chat/completions`, call)).arrayBuffer();
	}
	const stall = await stalledReader(router, upstream, STALL_S);
	const open = await openStreams(router, STREAMS);
	return [
		{ name: `RSS with ${STREAMS} open streams`, value: open, unit: "MB", limit: 200 },
		{ name: "RSS growth by a client that stops reading 400 MB", value: stall.growth, unit: "MB", limit: 20 },
		{ name: "what the upstream sent to it", value: stall.sent, unit: "MB" },
	];
}

const router = (name: string, binary: string, warmUpS: number): Contender => ({
	name,
	warmUpS,
	isRouter: true,
	start: (upstream, { variant }: Scenario) =>
		startRouter(upstream, binary, variant === "guarded" ? GUARDED : undefined),
});

/** Who is measured, the relay first: it is what the others are compared with. */
function contenders(binary: string, base: Base | undefined, warmUpS: number): Contender[] {
	const proxy: Contender = { name: "nginx", warmUpS: 0, isRouter: false, start: startProxy };
	return [
		{ name: "bare relay", warmUpS, isRouter: false, start: (upstream) => startRelay(upstream) },
		...(NGINX ? [proxy] : []),
		...(base ? [router(`router ${base.name}`, base.binary, warmUpS)] : []),
		router("router", binary, warmUpS),
	];
}

clearAwayAtEnd();
const { values: flags } = parseArgs({
	options: {
		binary: { type: "string", default: "dist/router" },
		json: { type: "string" },
		strict: { type: "boolean" },
	},
});
const seconds = wholeNumber("BENCH_SECONDS", 2);
const rounds = wholeNumber("BENCH_ROUNDS", 3);
const only = process.env["BENCH_ONLY"] ?? "";
const loads = chooseLoads({ full: process.env["BENCH_FULL"] === "1", only });
const old = process.env["BENCH_OLD"];
const base = old ? { name: "old", binary: old } : prepareBase();
pinSelf();
const pins = PINS ? `upstream and load on core ${PINS.around}, the rest on core ${PINS.subject}` : "no core of its own";
console.log(
	`${cpus().length} × ${cpus()[0]?.model}; ${pins}; load: ${CLIENT}; whole answers: ${NGINX ? "nginx" : "our own upstream"}; ` +
		`medians of ${rounds} rounds of ${seconds} s\n`,
);

await using upstream = await startUpstream();
const rows: Row[] = [];
{
	await using whole = await startWholeUpstream();
	const who = contenders(flags.binary, base, warmUp(seconds));
	for (const [at, load] of loads.entries()) {
		console.error(`bench: ${at + 1} of ${loads.length}: ${load.name}`);
		const results = await compare(who, load.mode === "whole" ? whole : upstream, load, { rounds, seconds });
		rows.push({ name: load.name, results });
	}
}
console.log(loadTable(rows));
const facts: Fact[] = only
	? []
	: [
			{ name: "start to ready", value: await readyMs(upstream, flags.binary), unit: "ms", limit: 150 },
			{ name: "idle RSS", value: await idleRss(upstream, flags.binary), unit: "MB", limit: 80 },
			...(await memory(upstream, flags.binary)),
		];
if (facts.length > 0) console.log(`\n${factTable(facts)}`);
if (flags.json) await Bun.write(flags.json, `${JSON.stringify({ rows, facts }, null, "\t")}\n`);
const isWrong = rows.some(({ results }) => results.some((result) => /\*\*/.test(remark(result))));
if (isWrong) console.error("\nbench: calls failed, or answers were wrong: see the remarks");
if (flags.strict && (isWrong || !kept(facts))) {
	console.error("\nbench: not every limit was kept");
	process.exitCode = 1;
}
