/** A router that was stopped leaves its database in one file. */
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { copyFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";
import { isRouter } from "./kit/upgrades.ts";
import { callOnce } from "./kit/worker-router.ts";

test.each([1, 2])("with %d workers all its calls are in router.db alone after SIGTERM", async (workers) => {
	const router = await startRouter({ config: { server: { workers, drain: "0s" }, keys: [] } });
	try {
		for (let call = 0; call < 20; call++) {
			const answer = await callOnce(router.url);
			await answer.text();
			expect(answer.status).toBe(200);
		}
		process.kill(router.pid, "SIGTERM");
		await until(() => !isRouter(router.pid), "the end of the router");
		const file = join(router.directory, "data/router.db");
		expect(statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0).toBe(0);
		copyFileSync(file, join(router.directory, "copy.db"));
		using copy = new Database(join(router.directory, "copy.db"), { readonly: true });
		expect(copy.query("SELECT COUNT(*) AS calls FROM calls").get()).toEqual({ calls: 20 });
	} finally {
		await router.stop();
	}
});
