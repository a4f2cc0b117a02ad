/** Our own load where wrk is missing, a process of its own: `BENCH_BODY=… bun load.ts URL CONNECTIONS SECONDS`. */
import type { Load } from "./client.ts";

const [, , url = "", connections, seconds] = process.argv;
const until = performance.now() + Number(seconds) * 1000;
const latencies: number[] = [];
let failed = 0;

/** One connection's worth: a call after the other until the time is up. The last one is left unfinished, as by wrk. */
async function caller(): Promise<void> {
	while (performance.now() < until) {
		const began = performance.now();
		const ok = await fetch(url, {
			method: "POST",
			headers: { "content-type": "application/json", authorization: `Bearer ${process.env["BENCH_KEY"]}` },
			body: process.env["BENCH_BODY"] ?? "",
		}).then(
			async (answer) => (await answer.arrayBuffer()).byteLength > 0 && answer.ok,
			// Counted below: the bench refuses numbers of a load with failures.
			() => false,
		);
		if (ok) latencies.push(performance.now() - began);
		else failed++;
	}
}

for (let i = 0; i < Number(connections); i++) void caller();
await Bun.sleep(Number(seconds) * 1000);

const sorted = latencies.toSorted((a, b) => a - b);
const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
const load: Load = { calls: latencies.length, failed, p50: at(0.5), p99: at(0.99) };
console.log(JSON.stringify(load));
process.exit(0);
