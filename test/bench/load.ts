/** Our own load where wrk is missing, a process of its own: `BENCH_BODY=FILE … bun load.ts URL CONNECTIONS SECONDS`. */
import { readFileSync } from "node:fs";
import type { Load } from "./client.ts";
import { quantile } from "./measure.ts";

const [, , url = "", connections, seconds] = process.argv;
const body = readFileSync(process.env["BENCH_BODY"] ?? "");
const headers = { "content-type": "application/json", authorization: `Bearer ${process.env["BENCH_KEY"]}` };
const began = performance.now();
const until = began + Number(seconds) * 1000;
const latencies: number[] = [];
let failed = 0;

/** One connection's worth: a call after the other until the time is up. The last one is left unfinished, as by wrk. */
async function caller(): Promise<void> {
	while (performance.now() < until) {
		const began = performance.now();
		const ok = await fetch(url, { method: "POST", headers, body }).then(
			async (answer) => (await answer.arrayBuffer()).byteLength > 0 && answer.ok,
			// Counted below: the row says how many failed.
			() => false,
		);
		if (ok) latencies.push(performance.now() - began);
		else failed++;
	}
}

for (let i = 0; i < Number(connections); i++) void caller();
await Bun.sleep(Number(seconds) * 1000);

// Of no call there is no quantile, and JSON has no NaN.
const [p50 = 0, p99 = 0, p999 = 0] = [0.5, 0.99, 0.999].map((share) => quantile(latencies, share) || 0);
const load: Load = {
	calls: latencies.length,
	failed,
	seconds: (performance.now() - began) / 1000,
	p50,
	p99,
	p999,
};
console.log(JSON.stringify(load));
process.exit(0);
