/** How good the estimate of a prompt's tokens is: `bun test/bench/estimate.ts`, on the recorded calls. */
import { estimates, percentile } from "../kit/estimates.ts";

const all = estimates();
const relative = all.map(({ estimated, counted }) => Math.abs(estimated - counted) / counted);
const tokens = all.map(({ estimated, counted }) => Math.abs(estimated - counted));
for (const { id, estimated, counted } of all) {
	console.log(`${String(counted).padStart(6)} counted, ${String(estimated).padStart(6)} estimated  ${id}`);
}
const percent = (share: number) => `${Math.round(percentile(relative, share) * 100)} %`;
console.log(
	`${all.length} calls: off by ${percent(0.5)} (p50), ${percent(0.95)} (p95); in tokens ${percentile(tokens, 0.5)} (p50), ${percentile(tokens, 0.95)} (p95)`,
);
