/** What a router saves by knowing what engines have evicted: simulated, so the same on every machine. */
import { expect, test } from "bun:test";
import { evictingRatio, evictionRows, MOST_EVICTING_RATIO, MOST_OTHER_RATIO } from "./bench/routing-evictions.ts";

test("prompts whose beginnings are evicted wait a fifth less for their first token, and no others longer", async () => {
	const rows = await evictionRows(120, [1]);
	expect(evictingRatio(rows)).toBeLessThanOrEqual(MOST_EVICTING_RATIO);
	for (const { load, ratio, isEvicting } of rows) {
		if (!isEvicting) expect([load, ratio <= MOST_OTHER_RATIO]).toEqual([load, true]);
	}
	// Tokens are asked for of prefixes that come again, once each; of what comes once never.
	const tokenizedOf = (part: string) => rows.find(({ load }) => load.includes(part))!.tokenized;
	expect([tokenizedOf("seed 1"), tokenizedOf("unrelated"), tokenizedOf("shared system")]).toEqual([64, 0, 24]);
}, 60_000);
