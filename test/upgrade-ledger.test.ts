/** An upgrade between versions whose ledgers have different formats: both write for a while. */
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { chmodSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MIGRATIONS } from "../src/store/migrations.ts";
import { command } from "./kit/router.ts";
import { until } from "./kit/until.ts";
import { callProblem, isRouter, slowUpstream, startLoad, type UpgradedRouter, upgradedRouter } from "./kit/upgrades.ts";

/** A program for `router upgrade --to`. */
function program(router: UpgradedRouter, name: string, words: readonly string[]): string {
	const file = join(router.directory, name);
	writeFileSync(file, `#!/bin/sh\nexec ${words.map((word) => `'${word}'`).join(" ")} "$@"\n`);
	chmodSync(file, 0o755);
	return file;
}

const newer = (router: UpgradedRouter) =>
	program(router, "newer", [process.execPath, join(import.meta.dir, "kit/newer-router.ts")]);

const database = (router: UpgradedRouter) => join(router.env["DATA_DIR"]!, "router.db");

/** 0 before the ledger is there. */
function format(router: UpgradedRouter): number {
	if (!existsSync(database(router))) return 0;
	using db = new Database(database(router), { readonly: true });
	db.run("PRAGMA busy_timeout = 5000");
	return (db.query("PRAGMA user_version").get() as { user_version: number }).user_version;
}

describe.if(process.platform === "linux")("an upgrade to a version whose ledger has another format", () => {
	test("loses no call of either: the old process writes on to the ledger that the new one has migrated", async () => {
		const upstream = slowUpstream();
		const router = await upgradedRouter(upstream.url);
		try {
			const streams = Array.from({ length: 4 }, () => callProblem(router.url, true, true));
			await until(() => upstream.open() === 4, "all streams");
			const load = startLoad(router.url, { keptAlive: 3, fresh: 3, streams: 0 });
			await until(() => format(router) > 0 && router.calls() > 20, "calls of the old version");
			expect(format(router)).toBe(MIGRATIONS.length);
			expect((await router.upgrade("--to", newer(router))).code).toBe(0);
			expect(format(router)).toBe(MIGRATIONS.length + 1);
			// These are written by the old process.
			upstream.finish();
			expect(await Promise.all(streams)).toEqual([undefined, undefined, undefined, undefined]);
			const made = load.made();
			await until(() => load.made() > made + 50, "calls of the new version");
			await load.end();
			expect(load.problems).toEqual([]);
			await until(() => !isRouter(router.pid), "the end of the old process");
			await until(() => router.calls() >= load.made() + 4, "all calls in the ledger");
			expect(router.calls()).toBe(load.made() + 4);
			using db = new Database(database(router), { readonly: true });
			expect(db.query("SELECT calls FROM later").values()).toEqual([[router.calls()]]);
			expect(db.query("SELECT sum(calls) FROM usage_days").values()).toEqual([[router.calls()]]);
		} finally {
			await router.end();
			upstream.stop();
		}
	}, 60_000);

	test("is refused where the ledger is a newer version's, with what to do; the newer one goes on", async () => {
		const upstream = slowUpstream();
		const router = await upgradedRouter(upstream.url);
		try {
			expect(await callProblem(router.url, false, true)).toBeUndefined();
			await until(() => format(router) > 0, "the ledger");
			expect((await router.upgrade("--to", newer(router))).code).toBe(0);
			const pid = router.current();
			const { code, output } = await router.upgrade("--to", program(router, "older", command("source")));
			expect([code, output]).toEqual([1, expect.stringContaining("goes on as before")]);
			await router.printed(/newer router made it.*/);
			expect([router.current(), isRouter(pid)]).toEqual([pid, true]);
			expect(await callProblem(router.url, false, true)).toBeUndefined();
			await until(() => router.calls() === 2, "both calls in the ledger");
			expect(format(router)).toBe(MIGRATIONS.length + 1);
		} finally {
			await router.end();
			upstream.stop();
		}
	}, 60_000);
});
