/** Another process takes the place of a router of several worker threads. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { until } from "./kit/until.ts";
import { callProblem, isRouter, slowUpstream, startLoad, upgradedRouter } from "./kit/upgrades.ts";

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

	test("lets no key have more calls a minute than it may, whichever process counted them, and frees places with streams of the old one", async () => {
		const upstream = slowUpstream();
		const router = await upgradedRouter(upstream.url, { workers: 2, key: { rpm: 100, concurrency: 3 } });
		const call = () => callProblem(router.url, false, true);
		try {
			const streams = [callProblem(router.url, true, true), callProblem(router.url, true, true)];
			await until(() => upstream.open() === 2, "both streams");
			for (let made = 2; made < 60; made++) expect(await call()).toBeUndefined();
			expect((await router.upgrade()).code).toBe(0);
			streams.push(callProblem(router.url, true, true));
			await until(() => upstream.open() === 3, "a third stream");
			expect(await call()).toContain("429");
			upstream.finish();
			expect(await Promise.all(streams)).toEqual([undefined, undefined, undefined]);
			await until(async () => (await call()) === undefined, "a place");
			for (let made = 62; made < 100; made++) expect(await call()).toBeUndefined();
			expect(await call()).toContain("429");
			await until(() => !isRouter(router.pid), "the end of the old process");
			expect(await call()).toContain("429");
		} finally {
			await router.end();
			upstream.stop();
		}
	}, 60_000);

	test("leaves the old one's workers that end without others in their place, which would listen on the new one's port", async () => {
		const upstream = slowUpstream();
		const command = [process.execPath, join(import.meta.dir, "kit/ended-workers.ts")];
		const router = await upgradedRouter(upstream.url, { workers: 2, command });
		try {
			const streams = Array.from({ length: 8 }, () => callProblem(router.url, true, true));
			await until(() => upstream.open() === 8, "all streams");
			expect((await router.upgrade()).code).toBe(0);
			router.tell("terminate");
			await router.printed(/A worker has ended, with its calls\..*/);
			expect(router.output()).toContain("so none takes its place");
			upstream.finish();
			await Promise.all(streams);
			await until(() => !isRouter(router.pid), "the end of the old process");
			expect(router.output()).not.toContain("has taken the place of one that had ended");
			expect(await callProblem(router.url, false, true)).toBeUndefined();
		} finally {
			await router.end();
			upstream.stop();
		}
	}, 60_000);
});
