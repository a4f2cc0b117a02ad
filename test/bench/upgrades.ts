/**
 * Upgrades under load: `bun test/bench/upgrades.ts [COUNT]` (50), of the compiled binary. Each fifth is to a program that ends at once. Prints what
 * failed, what was cut, whether the ledger equals the calls, and how long calls took around the switches and between them.
 */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../kit/until.ts";
import { slowUpstream, startLoad, upgradedRouter } from "../kit/upgrades.ts";

const count = Number(process.argv[2] ?? 50);
const upstream = slowUpstream(2_000);
const router = await upgradedRouter(upstream.url, { source: "binary" });
const broken = join(router.directory, "broken");
writeFileSync(broken, "#!/bin/sh\nexit 1\n");
chmodSync(broken, 0o755);
const load = startLoad(router.url, { keptAlive: 6, fresh: 6, streams: 20 });
const switches: number[] = [];
let wrong = 0;
try {
	for (let upgrade = 1; upgrade <= count; upgrade++) {
		const isBroken = upgrade % 5 === 0;
		const { code, output } = await router.upgrade(...(isBroken ? ["--to", broken] : []));
		if (!isBroken) switches.push(performance.now());
		if ((code === 0) !== isBroken) continue;
		wrong++;
		console.log(`upgrade ${upgrade}: ${output}`);
	}
	await load.end();
	await until(() => router.calls() >= load.made(), "all calls in the ledger").catch(() => {});
	const near = (at: number) => switches.some((time) => Math.abs(time - at) < 1_000);
	const p99 = (some: readonly number[]) => some.toSorted((a, b) => a - b)[Math.floor(some.length * 0.99)]?.toFixed(1);
	const whole = load.times.filter(({ isStream }) => !isStream);
	console.log({
		upgrades: count,
		wrong,
		calls: load.made(),
		failedOrCut: load.problems.length,
		ledger: router.calls(),
		p99Near: p99(whole.filter(({ at }) => near(at)).map(({ ms }) => ms)),
		p99Between: p99(whole.filter(({ at }) => !near(at)).map(({ ms }) => ms)),
	});
	for (const problem of load.problems.slice(0, 10)) console.log(problem);
} finally {
	await router.end();
	upstream.stop();
}
process.exit(0);
