/**
 * `make bench`: the compiled router against the bare relay, in one run.
 *
 *     bun test/bench/bench.ts [--binary FILE] [--json FILE] [--strict]
 *
 * `BENCH_SECONDS` (2) is how long each of the measurements lasts, `BENCH_ROUNDS` (5) how often each is repeated: about
 * two minutes by default. `--strict` exits 1 when a promise was not kept; without it the numbers are only printed,
 * since a busy machine is no fault of the code.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { CLIENT } from "./client.ts";
import { median, rssMb } from "./measure.ts";
import { openStreams, stalledReader } from "./memory.ts";
import { GUARDED, type Subject, startRelay, startRouter, startUpstream } from "./subject.ts";
import { type Fact, factTable, kept, throughputTable } from "./table.ts";
import { type Comparison, compare, SCENARIOS } from "./throughput.ts";
import { request } from "./wire.ts";

const STARTS = 5;
const STREAMS = 1000;
const STALL_S = 4;
/** Enough calls for the memory tests to see a router at work rather than one that still loads its code. */
const WARM_UP_CALLS = 200;

/** A positive whole number from the environment. Throws naming the variable where it is none. */
function setting(name: string, fallback: number): number {
	const value = Number(process.env[name] ?? fallback);
	if (!Number.isInteger(value) || value < 1) throw new Error(`bench: ${name} must be a whole number, 1 or more`);
	return value;
}

async function readyMs(upstream: Subject, binary: string): Promise<number> {
	const times: number[] = [];
	for (let i = 0; i < STARTS; i++) {
		await using router = await startRouter(upstream.url, binary);
		times.push(router.readyMs);
	}
	return median(times);
}

/** What one process needs, on a fresh router: first idle, then with a stalled reader, then with many streams. */
async function memory(upstream: Subject, binary: string): Promise<Fact[]> {
	await using router = await startRouter(upstream.url, binary);
	await Bun.sleep(1000);
	const idle = rssMb(router.pid);
	const call = { method: "POST", headers: { "content-type": "application/json" }, body: request("burst") };
	for (let i = 0; i < WARM_UP_CALLS; i++) {
		await (await fetch(`${router.url}/v1/chat/completions`, call)).arrayBuffer();
	}
	const stall = await stalledReader(router, upstream, STALL_S);
	const open = await openStreams(router, STREAMS);
	return [
		{ name: "idle RSS", value: idle, unit: "MB", limit: 80 },
		{ name: `RSS with ${STREAMS} open streams`, value: open, unit: "MB", limit: 200 },
		{ name: "RSS growth by a client that stops reading 400 MB", value: stall.growth, unit: "MB", limit: 20 },
		{ name: "  what the upstream sent to it", value: stall.sent, unit: "MB" },
	];
}

/** Every scenario, on one relay and one router that stay up in between. */
async function throughput(upstream: Subject, binary: string, rounds: number, seconds: number): Promise<Comparison[]> {
	await using relay = await startRelay(upstream.url);
	await using router = await startRouter(upstream.url, binary);
	await using guarded = await startRouter(upstream.url, binary, GUARDED);
	const comparisons: Comparison[] = [];
	for (const scenario of SCENARIOS) {
		const subjects = { relay, router: scenario.isGuarded ? guarded : router, upstream };
		comparisons.push(await compare(subjects, scenario, rounds, seconds));
	}
	return comparisons;
}

const { values: flags } = parseArgs({
	options: {
		binary: { type: "string", default: "dist/router" },
		json: { type: "string" },
		strict: { type: "boolean" },
	},
});
const seconds = setting("BENCH_SECONDS", 2);
const rounds = setting("BENCH_ROUNDS", 5);
console.log(`${cpus().length} × ${cpus()[0]?.model}, loaded by ${CLIENT}, ${rounds} rounds of ${seconds} s\n`);

await using upstream = await startUpstream();
const comparisons = await throughput(upstream, flags.binary, rounds, seconds);
console.log(throughputTable(comparisons));
const ready = await readyMs(upstream, flags.binary);
const facts: Fact[] = [
	{ name: "start to ready", value: ready, unit: "ms", limit: 150 },
	...(await memory(upstream, flags.binary)),
];
console.log(`\n${factTable(facts)}`);
if (flags.json) await Bun.write(flags.json, `${JSON.stringify({ comparisons, facts }, null, "\t")}\n`);
if (flags.strict && !kept(comparisons, facts)) {
	console.error("\nbench: not every limit was kept");
	process.exitCode = 1;
}
