/** Another process takes the place of a router of several worker threads. */
import { describe, expect, test } from "bun:test";
import { until } from "./kit/until.ts";
import { callProblem, slowUpstream, startLoad, upgradedRouter } from "./kit/upgrades.ts";

describe.if(process.platform === "linux")("an upgrade of a router of two workers", () => {
	test("fails no call and cuts no stream; the ledger has each call", async () => {
		const upstream = slowUpstream(400);
		const router = await upgradedRouter(upstream.url, { workers: 2 });
		try {
			const load = startLoad(router.url, { keptAlive: 3, fresh: 3, streams: 4 });
			expect((await router.upgrade()).code).toBe(0);
			expect((await router.upgrade()).code).toBe(0);
			await load.end();
			expect(load.problems).toEqual([]);
			await until(() => router.calls() >= load.made(), "all calls in the ledger");
			expect(router.calls()).toBe(load.made());
			expect(await callProblem(router.url, false, true)).toBeUndefined();
		} finally {
			await router.end();
			upstream.stop();
		}
	});
});
