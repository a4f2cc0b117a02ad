/** How threads wake each other. */
import { expect, test } from "bun:test";
import { onCrash } from "../src/crash.ts";
import { makeSignals, ThreadSignals } from "../src/memory/thread-signals.ts";
import { until } from "./kit/until.ts";

test("a thread that fails at what it hears says so, and hears what comes later", async () => {
	const crashes: string[] = [];
	const leave = onCrash((kind, line) => crashes.push(`${kind}: ${line}`));
	const signals = new ThreadSignals(makeSignals());
	let heard = 0;
	void signals.listen(1, () => {
		if (++heard === 2) throw new TypeError("of the test");
	});
	for (const count of [2, 3, 4]) {
		signals.signal(1);
		await until(() => heard === count, "the signal");
	}
	leave();
	expect(crashes).toEqual([expect.stringMatching(/^exception: uncaught TypeError at .*thread-signals\.test\.ts/)]);
});
