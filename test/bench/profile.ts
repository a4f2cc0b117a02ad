/**
 * `make profile`: where the CPU time of a call goes, by function: `BENCH_ONLY="200 KB" bun test/bench/profile.ts [TREE]`.
 *
 * The router of a tree (this one, unless another checkout is named) runs from source under Bun's own profiler and one load of `make bench` or `make bench-dialects`, the first
 * whose name holds BENCH_ONLY, for BENCH_SECONDS (8). What native code took is given to the function that called it, so that the list reads as
 * the source does. The profiler sees the router's own thread: what other threads took (Bun's HTTP client, JIT, garbage) is only counted. Exits 1 where a call failed.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { load } from "./client.ts";
import { dialectLoads, dialectSettings } from "./dialect-loads.ts";
import { chooseLoads, type Scenario } from "./loads.ts";
import { cpuMicros } from "./measure.ts";
import { pinSelf } from "./pins.ts";
import { clearAwayAtEnd, type Running, temporaryFolder } from "./processes.ts";
import { warmUp, wholeNumber } from "./settings.ts";
import { GUARDED, startProfiled, startUpstream, startWholeUpstream } from "./subject.ts";

/** Of V8's format, which Bun writes (Chrome DevTools Protocol, Profiler.Profile); times in µs. */
interface CpuProfile {
	readonly nodes: readonly ProfileNode[];
	readonly samples: readonly number[];
	readonly timeDeltas: readonly number[];
}
interface ProfileNode {
	readonly id: number;
	readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
	readonly children?: readonly number[];
}

/** How long the profile is waited for once the router was told to end, ms. */
const WRITTEN_MS = 10_000;
const SAMPLE_MICROS = 100;
const SHOWN = 40;

/** µs by function, of the samples between two moments of the profile, µs from its beginning. */
export function timeByFunction({ nodes, samples, timeDeltas }: CpuProfile, from: number, to: number) {
	const byId = new Map(nodes.map((node) => [node.id, node]));
	const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)));
	const times = new Map<string, number>();
	let at = 0;
	for (const [index, id] of samples.entries()) {
		const delta = timeDeltas[index] ?? 0;
		at += delta;
		if (at < from || at > to) continue;
		let node = byId.get(id);
		let native: string | undefined;
		while (node && node.callFrame.url === "") {
			native ??= node.callFrame.functionName;
			node = byId.get(parents.get(node.id) ?? -1);
		}
		const name = node ? nameOf(node) : `(native) ${native}`;
		times.set(name, (times.get(name) ?? 0) + delta);
	}
	return new Map([...times].sort(([, one], [, other]) => other - one));
}

function nameOf({ callFrame: { functionName, url, lineNumber } }: ProfileNode): string {
	const path = url.replace(/^.*\/(?=(?:src|node_modules)\/)/, "");
	return `${functionName || "(anonymous)"}  ${path}:${lineNumber + 1}`;
}

/** The profile, once the router has written it. */
async function written(router: Running, file: string): Promise<CpuProfile> {
	process.kill(router.pid, "SIGTERM");
	const until = performance.now() + WRITTEN_MS;
	while (performance.now() < until) {
		if (existsSync(file)) {
			const text = await Bun.file(file).text();
			if (text.endsWith("}")) return JSON.parse(text) as CpuProfile;
		}
		await Bun.sleep(50);
	}
	throw new Error("bench: the router has written no profile");
}

async function profile(scenario: Scenario, tree: string, seconds: number): Promise<void> {
	const folder = temporaryFolder();
	const flags = [
		...["--cpu-prof", "--cpu-prof-interval", String(SAMPLE_MICROS)],
		...["--cpu-prof-dir", folder, "--cpu-prof-name", "router.cpuprofile"],
	];
	await using upstream = await (scenario.mode === "whole" ? startWholeUpstream() : startUpstream());
	const isDialect = scenario.path !== undefined;
	const own = isDialect ? dialectSettings(`${upstream.url}/${scenario.mode}`) : undefined;
	const settings = scenario.variant === "guarded" ? GUARDED : own;
	await using router = await startProfiled(`${upstream.url}/${scenario.mode}`, tree, flags, settings);
	const ready = performance.now();
	await load(router.url, scenario, warmUp(seconds), { began: () => undefined, ended: () => undefined });
	const window = { from: 0, to: 0, cpu: 0 };
	const sinceStart = () => (performance.now() - ready + router.readyMs) * 1000;
	const { calls, failed } = await load(router.url, scenario, seconds, {
		began: () => Object.assign(window, { from: sinceStart(), cpu: cpuMicros(router.pid) }),
		ended: () => Object.assign(window, { to: sinceStart(), cpu: cpuMicros(router.pid) - window.cpu }),
	});
	const times = timeByFunction(await written(router, join(folder, "router.cpuprofile")), window.from, window.to);
	const all = [...times.values()].reduce((sum, micros) => sum + micros, 0);
	const perCall = calls / scenario.eventsPerCall;
	console.log(
		`${scenario.name}: ${Math.round(perCall)} calls, ${(window.cpu / perCall).toFixed(1)} µs of CPU each, all threads, profiler included`,
	);
	for (const [name, micros] of [...times].slice(0, SHOWN)) {
		console.log(`${((100 * micros) / all).toFixed(1).padStart(6)} %  ${name}`);
	}
	if (failed > 0) throw new Error(`bench: ${failed} calls failed`);
}

if (import.meta.main) {
	clearAwayAtEnd();
	pinSelf();
	const only = process.env["BENCH_ONLY"] || "whole 1 KB, 32 connections";
	const scenario = dialectLoads(only)[0]?.scenario ?? chooseLoads({ only })[0];
	await profile(scenario!, resolve(process.argv[2] ?? join(import.meta.dir, "../..")), wholeNumber("BENCH_SECONDS", 8));
}
