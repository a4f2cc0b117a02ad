/**
 * What a tunnel costs: calls to an agent through one against calls to its address, by the CPU of the compiled router, or of the compiled agent, and by
 * latency. Some two minutes; Linux.
 *
 *     bun test/bench/tunnels.ts [--binary FILE] [--end router|agent]
 *
 * In each round the address is measured before and after the tunnel: what it differs by from itself is what this machine can tell. BENCH_ROUNDS
 * (3), BENCH_SECONDS (2), BENCH_ONLY and BENCH_PIN as in `make bench`.
 */
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { chooseLoads, type Scenario } from "./loads.ts";
import { median } from "./measure.ts";
import { PINS, pinSelf } from "./pins.ts";
import { clearAwayAtEnd, type Running, spawn, temporaryFolder } from "./processes.ts";
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

/** Whose CPU is measured. */
type End = "router" | "agent";
type Way = "address" | "tunnel";

/** A router and its agent, which answers calls of `bench`. */
async function withAgent(upstream: string, binary: string, way: Way, end: End): Promise<Running> {
	const router = await startRouter(upstream, binary);
	// The agent has the measured core then.
	if (end === "agent" && PINS) Bun.spawnSync(["taskset", "-acp", String(PINS.around), String(router.pid)]);
	const agent = end === "agent" ? realAgent(router.url, upstream, binary, way) : linkAlone(router.url, upstream, way);
	for (;;) {
		const { data } = (await (await fetch(`${router.url}/agents`)).json()) as {
			data: { reachable: boolean; models: unknown[] }[];
		};
		if (data[0]?.reachable && data[0].models.length > 0) break;
		await Bun.sleep(20);
	}
	return {
		...router,
		...(end === "agent" && { pid: agent.pid }),
		async [Symbol.asyncDispose]() {
			agent.kill("SIGKILL");
			await agent.exited;
			await router[Symbol.asyncDispose]();
		},
	};
}

/** Joins the router in an agent's place, and nothing else: the router calls the upstream itself. */
function linkAlone(router: string, upstream: string, way: Way) {
	const script = new URL("./agent.ts", import.meta.url).pathname;
	const { origin } = new URL(upstream);
	return spawn("around", [process.execPath, "--no-env-file", script, router, origin, way], { stdout: "pipe" });
}

/** The compiled agent, in front of the upstream as of a vLLM that runs already. */
function realAgent(router: string, upstream: string, binary: string, way: Way) {
	const dir = temporaryFolder();
	const flags = ["--agent", "--router", router, ...(way === "tunnel" ? ["--tunnel"] : [])];
	return spawn("subject", [resolve(binary), ...flags], {
		cwd: dir,
		stdout: Bun.file(join(dir, "output")),
		env: {
			HOST: "127.0.0.1",
			...{ PORT: "0", AGENT_PORT: "0" },
			ROUTER_AGENT_NAME: "bench",
			VLLM_BASE_URL: upstream,
			DATA_DIR: join(dir, "data"),
			LOG_DIR: join(dir, "logs"),
		},
	});
}

async function main(): Promise<void> {
	clearAwayAtEnd();
	const { values: flags } = parseArgs({
		options: { binary: { type: "string", default: "dist/router" }, end: { type: "string", default: "router" } },
	});
	const { end } = flags;
	if (end !== "router" && end !== "agent") throw new Error(`bench: --end is router or agent, not ${end}`);
	const seconds = wholeNumber("BENCH_SECONDS", 2);
	const rounds = wholeNumber("BENCH_ROUNDS", 3);
	pinSelf();
	const contender = (name: string, way: Way): Contender => ({
		name,
		warmUpS: warmUp(seconds),
		isRouter: true,
		start: (upstream) => withAgent(upstream, flags.binary, way, end),
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
