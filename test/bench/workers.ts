/**
 * `make bench-workers`: what two worker threads cost against one. CPU a call of the compiled router, and how the system spreads 64 keep-alive
 * connections over both. Some three minutes; Linux.
 *
 *     bun test/bench/workers.ts [--binary FILE]
 *
 * Two are measured under the same connections as one, of which each has half, and under as many for each worker: the more calls a wake-up finds,
 * the less each costs, whoever answers it. In each round one worker is measured before and after two: what it differs by from itself is what this
 * machine can tell. BENCH_ROUNDS (5), BENCH_SECONDS (2), BENCH_ONLY and BENCH_PIN as in `make bench`: all threads of the router share a core
 * unless that is `off`.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { parseArgs } from "node:util";
import { chooseLoads, type Scenario } from "./loads.ts";
import { pinSelf } from "./pins.ts";
import { clearAwayAtEnd, type Running } from "./processes.ts";
import { type Contender, compare, type Result } from "./rounds.ts";
import { warmUp, wholeNumber } from "./settings.ts";
import { GUARDED, startRouter, startWholeUpstream } from "./subject.ts";
import { comparison, markdown, remark } from "./table.ts";

/** Each under the load of so many connections, and as often are so many spread anew. */
const CONNECTIONS = 64;
const SPREADS = 10;
/** How a router of two workers is to compare with one of one worker, and which part of the connections each is to get. */
const MOST_CPU = 1.05;
const LEAST_SHARE = 0.4;

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

async function main(): Promise<void> {
	clearAwayAtEnd();
	const { values: flags } = parseArgs({ options: { binary: { type: "string", default: "dist/router" } } });
	const seconds = wholeNumber("BENCH_SECONDS", 2);
	const rounds = wholeNumber("BENCH_ROUNDS", 5);
	pinSelf();
	const contender = (name: string, workers: number, scenario: Scenario): Contender => ({
		name,
		warmUpS: warmUp(seconds),
		isRouter: true,
		scenario,
		start: (upstream, load) => startRouter(upstream, flags.binary, withWorkers(workers, load)),
	});
	await using upstream = await startWholeUpstream();
	const rows: string[][] = [
		["load", "connections of one, two", "one worker, CPU µs", "two, CPU µs", "two/one", "one/one", "≤ 1.05", ""],
	];
	const loads = chooseLoads({ only: process.env["BENCH_ONLY"] ?? "whole 1 KB, 32 connections" });
	for (const load of loads) {
		if (load.cached || (load.variant !== "plain" && load.variant !== "guarded")) continue;
		const name = load.name.replace(", 32 connections", "");
		console.error(`bench: ${name}`);
		const of = (connections: number): Scenario => ({ ...load, name, connections });
		const who = [
			contender("one worker", 1, of(CONNECTIONS)),
			contender("two workers", 2, of(CONNECTIONS)),
			contender("two workers, as many connections each", 2, of(2 * CONNECTIONS)),
			contender("one worker again", 1, of(CONNECTIONS)),
		];
		const results = await compare(who, upstream, of(CONNECTIONS), { rounds, seconds });
		const [before, shared, each, after] = results as [Result, Result, Result, Result];
		for (const [connections, now] of [
			[CONNECTIONS, shared],
			[2 * CONNECTIONS, each],
		] as const) {
			const { old, now: two, ratio, spread, verdict } = comparison(before, now, after);
			const remarks = [...new Set([before, now, after].map(remark).filter(Boolean))].join("; ");
			const isKept = verdict === "failed" ? "failed" : ratio <= MOST_CPU ? "yes" : "no";
			const figures = [old.toFixed(1), two.toFixed(1), ratio.toFixed(3), `±${spread.toFixed(3)}`];
			rows.push([name, `${CONNECTIONS}, ${connections}`, ...figures, isKept, remarks]);
		}
	}
	console.log(markdown(rows, 2));
	const shares: number[] = [];
	for (let round = 0; round < SPREADS; round++) {
		await using router = await startRouter(upstream.url, flags.binary, { server: { workers: 2 } });
		const counts = await spreadOf(router, CONNECTIONS);
		shares.push(counts.length < 2 ? 0 : Math.min(...counts) / counts.reduce((sum, count) => sum + count, 0));
	}
	const within = shares.filter((share) => share >= LEAST_SHARE).length;
	const said = shares.map((share) => `${Math.round(share * 100)} %`).join(", ");
	console.log(
		`${CONNECTIONS} connections, the worker with fewer: ${said}; ${within} of ${SPREADS} within 40 to 60 %, by chance 9 of 10`,
	);
}

if (import.meta.main) await main();
