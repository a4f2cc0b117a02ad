/**
 * What a tunnel costs: calls to an agent through one against calls to its address, by the CPU of the compiled router and by latency. Some two
 * minutes; Linux.
 *
 *     bun test/bench/tunnels.ts [--binary FILE]
 *
 * In each round the address is measured before and after the tunnel: what it differs by from itself is what this machine can tell. BENCH_ROUNDS
 * (3), BENCH_SECONDS (2), BENCH_ONLY and BENCH_PIN as in `make bench`.
 */
import { parseArgs } from "node:util";
import { chooseLoads, type Scenario } from "./loads.ts";
import { median } from "./measure.ts";
import { pinSelf } from "./pins.ts";
import { clearAwayAtEnd, type Running, spawn } from "./processes.ts";
import { type Contender, compare, type Result } from "./rounds.ts";
import { warmUp, wholeNumber } from "./settings.ts";
import { startRouter, startUpstream } from "./subject.ts";
import { comparison, markdown, remark } from "./table.ts";
import { request } from "./wire.ts";

const LOADS = [
	"whole 1 KB, 1 connection",
	"whole 1 KB, 32 connections",
	"200 events at once, 64 connections",
	"200 events 5 ms apart, 64 connections",
];

/** A router and its agent, which answers calls of `bench`. */
async function withAgent(upstream: string, binary: string, way: "address" | "tunnel"): Promise<Running> {
	const router = await startRouter(upstream, binary);
	const { origin } = new URL(upstream);
	const script = new URL("./agent.ts", import.meta.url).pathname;
	const agent = spawn("around", [process.execPath, "--no-env-file", script, router.url, origin, way], {
		stdout: "pipe",
	});
	for (;;) {
		const { data } = (await (await fetch(`${router.url}/agents`)).json()) as { data: { reachable: boolean }[] };
		if (data[0]?.reachable) break;
		await Bun.sleep(20);
	}
	return {
		...router,
		async [Symbol.asyncDispose]() {
			agent.kill("SIGKILL");
			await agent.exited;
			await router[Symbol.asyncDispose]();
		},
	};
}

async function main(): Promise<void> {
	clearAwayAtEnd();
	const { values: flags } = parseArgs({ options: { binary: { type: "string", default: "dist/router" } } });
	const seconds = wholeNumber("BENCH_SECONDS", 2);
	const rounds = wholeNumber("BENCH_ROUNDS", 3);
	pinSelf();
	const contender = (name: string, way: "address" | "tunnel"): Contender => ({
		name,
		warmUpS: warmUp(seconds),
		isRouter: true,
		start: (upstream) => withAgent(upstream, flags.binary, way),
	});
	const who = [contender("address", "address"), contender("tunnel", "tunnel"), contender("address again", "address")];
	const rows: string[][] = [
		["load", "address, CPU µs", "tunnel, CPU µs", "tunnel/address", "address/address", "p50 ms more", ""],
	];
	for (const name of LOADS.filter((each) => each.includes(process.env["BENCH_ONLY"] ?? ""))) {
		const load = chooseLoads({ only: name }).find((each) => each.variant === "plain" && !each.cached)!;
		console.error(`bench: ${name}`);
		await using upstream = await startUpstream(load.mode);
		const body = request({ model: "local/bench", stream: load.stream });
		const scenario: Scenario = { ...load, body };
		const results = await compare(who, upstream, scenario, { rounds, seconds });
		const [before, now, after] = results as [Result, Result, Result];
		const { old, now: tunnel, ratio, spread } = comparison(before, now, after);
		const p50 = (result: Result) => median(result.samples.map((sample) => sample.p50));
		const more = p50(now) - (p50(before) + p50(after)) / 2;
		const remarks = [...new Set(results.map(remark).filter(Boolean))].join("; ");
		rows.push([
			...[name, old.toFixed(1), tunnel.toFixed(1), ratio.toFixed(3), `±${spread.toFixed(3)}`, more.toFixed(3)],
			remarks,
		]);
	}
	console.log(markdown(rows, 1));
}

await main();
