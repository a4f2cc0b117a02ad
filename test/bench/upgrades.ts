/**
 * Upgrades under load: `bun test/bench/upgrades.ts [COUNT] [STREAMS] [WORKERS]` (50 upgrades, 20 streams open, one worker), of the compiled binary. Each fifth is to a
 * program that ends at once. Prints what failed, what was cut, whether the ledger equals the calls, and how long calls took: in ten seconds before
 * the first upgrade and in ten long after the last one, within ten seconds of each switch, within five and within one.
 */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../kit/until.ts";
import { slowUpstream, startLoad, upgradedRouter } from "../kit/upgrades.ts";

/** How long calls are made before the first upgrade, and long after the last one, which tells what else the machine does by then, ms. */
const BESIDE_MS = 10_000;

const count = Number(process.argv[2] ?? 50);
const streams = Number(process.argv[3] ?? 20);
const workers = Number(process.argv[4] ?? 1);
const upstream = slowUpstream(2_000);
const router = await upgradedRouter(upstream.url, { source: "binary", workers });
const broken = join(router.directory, "broken");
writeFileSync(broken, "#!/bin/sh\nexit 1\n");
chmodSync(broken, 0o755);
const load = startLoad(router.url, { keptAlive: 6, fresh: 6, streams });
const switches: number[] = [];
let wrong = 0;
try {
	await Bun.sleep(BESIDE_MS);
	const begun = performance.now();
	for (let upgrade = 1; upgrade <= count; upgrade++) {
		const isBroken = upgrade % 5 === 0;
		const { code, output } = await router.upgrade(...(isBroken ? ["--to", broken] : []));
		if (!isBroken) switches.push(performance.now());
		if ((code === 0) !== isBroken) continue;
		wrong++;
		console.log(`upgrade ${upgrade}: ${output}`);
	}
	const ended = performance.now();
	await Bun.sleep(2 * BESIDE_MS);
	await load.end();
	await until(() => router.calls() >= load.made(), "all calls in the ledger").catch(() => {});
	const near = (ms: number) => (at: number) => switches.some((time) => Math.abs(time - at) < ms);
	const whole = load.times.filter(({ isStream }) => !isStream);
	const p99 = (isMeant: (at: number) => boolean) => {
		const some = whole.filter(({ at }) => isMeant(at)).map(({ ms }) => ms);
		return some.toSorted((a, b) => a - b)[Math.floor(some.length * 0.99)]?.toFixed(1);
	};
	console.log({
		upgrades: count,
		workers,
		wrong,
		calls: load.made(),
		failedOrCut: load.problems.length,
		ledger: router.calls(),
		seconds: Math.round((ended - begun) / 1_000),
		p99Before: p99((at) => at < begun),
		p99After: p99((at) => at >= ended + BESIDE_MS),
		p99WithinTenSeconds: p99((at) => at >= begun && near(10_000)(at)),
		p99WithinFiveSeconds: p99((at) => at >= begun && near(5_000)(at)),
		p99WithinOneSecond: p99((at) => at >= begun && near(1_000)(at)),
	});
	for (const problem of load.problems.slice(0, 10)) console.log(problem);
} finally {
	await router.end();
	upstream.stop();
}
process.exit(0);
