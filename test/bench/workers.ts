/**
 * `make bench-workers`: what two worker threads cost against one. CPU a call of the compiled router, and how the system spreads 64 keep-alive
 * connections over both. Some four minutes; Linux.
 *
 *     bun test/bench/workers.ts [--binary FILE]
 *
 * Two are measured under the same connections as one, of which each has half, and under as many for each worker. What two threads cost that
 * have nothing to do with each other two routers of one worker show, on the same core and under half of the connections each: each compiles
 * for itself, and what one has in the core's caches the other drives out. What a second thread costs that does next to nothing besides the
 * runtime's own work the bare relay shows, on two workers and on one. In each round one worker is measured before and after the others:
 * what it differs by from itself is what this machine can tell. BENCH_ROUNDS (5), BENCH_SECONDS (2), BENCH_ONLY and BENCH_PIN as in
 * `make bench`: all threads of the router share a core unless that is `off`.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { parseArgs } from "node:util";
import { chooseLoads, type Scenario } from "./loads.ts";
import { pinSelf } from "./pins.ts";
import { clearAwayAtEnd, type Running } from "./processes.ts";
import { type Contender, compare, type Result } from "./rounds.ts";
import { warmUp, wholeNumber } from "./settings.ts";
import { GUARDED, startRelay, startRouter, startWholeUpstream } from "./subject.ts";
import { comparison, markdown, remark } from "./table.ts";

/** Each under the load of so many connections, and as often are so many spread anew. */
const CONNECTIONS = 64;
const SPREADS = 10;
/** How a router of two workers is to compare with one of one worker, and which part of the connections each is to get. */
const MOST_CPU = 1.05;
const LEAST_SHARE = 0.4;
/** Those that {@link MOST_CPU} is about. */
const TWO = "two workers";

const withWorkers = (workers: number, scenario: Pick<Scenario, "variant">) => ({
	...(scenario.variant === "guarded" ? GUARDED : {}),
	server: { workers },
});

/** How many connections to a process each of its threads has, as its epoll instances list them. Of threads that have none nothing is said. */
export function connectionsByThread({ pid, url }: Pick<Running, "pid" | "url">): number[] {
	const port = Number(new URL(url).port).toString(16).toUpperCase().padStart(4, "0");
	const sockets = new Set(
		readFileSync(`/proc/${pid}/net/tcp`, "utf8")
			.split("\n")
			.map((line) => line.trim().split(/\s+/))
			// The fourth is the state: 01 is established. The tenth is the inode.
			.flatMap(([, local, , state, , , , , , inode]) =>
				local?.endsWith(`:${port}`) && state === "01" ? [Number(inode)] : [],
			),
	);
	return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
		let watched: string;
		try {
			if (!readlinkSync(`/proc/${pid}/fd/${fd}`).includes("eventpoll")) return [];
			watched = readFileSync(`/proc/${pid}/fdinfo/${fd}`, "utf8");
		} catch {
			// It was closed just now.
			return [];
		}
		const own = [...watched.matchAll(/^tfd:.*\bino:([0-9a-f]+)/gm)].filter(([, inode]) =>
			sockets.has(Number.parseInt(inode!, 16)),
		);
		return own.length > 0 ? [own.length] : [];
	});
}

/** Opens so many keep-alive connections, each of which has been answered, and counts them by thread. */
export async function spreadOf(router: Pick<Running, "pid" | "url">, connections: number): Promise<number[]> {
	const { hostname, port } = new URL(router.url);
	const open = await Promise.all(
		Array.from({ length: connections }, async () => {
			const answered = Promise.withResolvers<void>();
			const socket = await Bun.connect({
				hostname,
				port: Number(port),
				socket: { data: () => answered.resolve(), close: () => answered.reject(new Error("bench: closed")) },
			});
			socket.write(`GET /health HTTP/1.1\r\nhost: ${hostname}\r\n\r\n`);
			await answered.promise;
			return socket;
		}),
	);
	const counts = connectionsByThread(router);
	for (const socket of open) socket.end();
	return counts;
}

/** Who is measured under a load: those under the same connections before and after the others are the same. */
function routers(binary: string, of: (connections: number) => Scenario, warmUpS: number): Contender[] {
	const contender = (name: string, workers: number, scenario: Scenario): Contender => ({
		...{ name, warmUpS, isRouter: true, scenario, threads: workers },
		start: (upstream, load) => startRouter(upstream, binary, withWorkers(workers, load)),
	});
	const scenario = of(CONNECTIONS);
	const twoRouters: Contender = {
		...contender("two routers of one worker", 1, scenario),
		threads: 2,
		start: (upstream, load) => Promise.all([1, 2].map(() => startRouter(upstream, binary, withWorkers(1, load)))),
	};
	return [
		contender("one worker", 1, scenario),
		contender(TWO, 2, scenario),
		contender(TWO, 2, of(2 * CONNECTIONS)),
		twoRouters,
		contender("one worker again", 1, scenario),
	];
}

/** The bare relay, which shares nothing among its threads: what a second one costs whatever it does. */
function relays(scenario: Scenario, warmUpS: number): Contender[] {
	const relay = (name: string, workers?: number): Contender => ({
		...{ name, warmUpS, isRouter: false, scenario, threads: workers ?? 1 },
		start: (upstream) => startRelay(upstream, workers),
	});
	const name = "bare relay";
	return [relay(name), relay(`${name}, one worker`, 1), relay(`${name}, two workers`, 2), relay(name)];
}

/** What two workers cost of each load, and what it is compared with. */
async function cpuTable(upstream: Running, binary: string, loads: readonly Scenario[]): Promise<string> {
	const seconds = wholeNumber("BENCH_SECONDS", 2);
	const rounds = wholeNumber("BENCH_ROUNDS", 5);
	const rows: string[][] = [["load", "", "connections", "CPU µs", "× one", "one/one", "≤ 1.05", ""]];
	for (const [index, load] of loads.entries()) {
		const name = load.name.replace(", 32 connections", "");
		const of = (connections: number): Scenario => ({ ...load, name, connections });
		const asked = [routers(binary, of, warmUp(seconds))];
		// It knows no keys: once is enough.
		if (index === 0) asked.unshift(relays(of(CONNECTIONS), warmUp(seconds)));
		for (const who of asked) {
			console.error(`bench: ${name}, ${who[0]!.name}`);
			const results = await compare(who, upstream, of(CONNECTIONS), { rounds, seconds });
			rows.push(...cpuRows(name, who, results));
		}
	}
	return markdown(rows, 2);
}

/** A row for each but the last, who is the first once more. */
function cpuRows(load: string, who: readonly Contender[], results: readonly Result[]): string[][] {
	const [before, after] = [results[0]!, results.at(-1)!];
	return results.slice(0, -1).map((now, at) => {
		const { now: cpu, ratio, spread, verdict } = comparison(before, now, after);
		const remarks = [...new Set([before, now, after].map(remark).filter(Boolean))].join("; ");
		const isKept = verdict === "failed" ? "failed" : ratio <= MOST_CPU ? "yes" : "no";
		const compared = [ratio.toFixed(3), `±${spread.toFixed(3)}`, now.name === TWO ? isKept : ""];
		const isFirst = now === before;
		const connections = String(who[at]!.scenario!.connections);
		return [
			isFirst ? load : "",
			now.name,
			connections,
			cpu.toFixed(1),
			...(isFirst ? ["", "", ""] : compared),
			remarks,
		];
	});
}

/** How connections are spread over two workers, several times. */
async function spreads(upstream: Running, binary: string): Promise<string> {
	const shares: number[] = [];
	for (let round = 0; round < SPREADS; round++) {
		await using router = await startRouter(upstream.url, binary, { server: { workers: 2 } });
		const counts = await spreadOf(router, CONNECTIONS);
		shares.push(counts.length < 2 ? 0 : Math.min(...counts) / counts.reduce((sum, count) => sum + count, 0));
	}
	const within = shares.filter((share) => share >= LEAST_SHARE).length;
	const said = shares.map((share) => `${Math.round(share * 100)} %`).join(", ");
	return `${CONNECTIONS} connections, the worker with fewer: ${said}; ${within} of ${SPREADS} within 40 to 60 %, by chance 9 of 10`;
}

async function main(): Promise<void> {
	clearAwayAtEnd();
	const { values: flags } = parseArgs({ options: { binary: { type: "string", default: "dist/router" } } });
	pinSelf();
	await using upstream = await startWholeUpstream();
	const loads = chooseLoads({ only: process.env["BENCH_ONLY"] ?? "whole 1 KB, 32 connections" }).filter(
		({ cached, variant }) => !cached && (variant === "plain" || variant === "guarded"),
	);
	console.log(await cpuTable(upstream, flags.binary, loads));
	console.log(await spreads(upstream, flags.binary));
}

if (import.meta.main) await main();
