/** The ledger is whole whatever happens to its process. */
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { directory } from "./kit/cli.ts";
import { random } from "./kit/random.ts";
import { startRouter } from "./kit/router.ts";

/** Calls a router from several clients, one call after the other, until it is gone. The answered calls' ids, by client, in their order. */
async function load(url: string, until: Promise<unknown>): Promise<string[][]> {
	let isOver = false;
	void until.then(() => {
		isOver = true;
	});
	const client = async (stream: boolean) => {
		const answered: string[] = [];
		while (!isOver) {
			try {
				const answer = await fetch(`${url}/v1/chat/completions`, {
					method: "POST",
					headers: { "content-type": "application/json", authorization: "Bearer test-key-1" },
					body: JSON.stringify({ model: "dummy", stream, messages: [{ role: "user", content: "hi" }] }),
				});
				await answer.text();
				if (answer.ok) answered.push(answer.headers.get("x-request-id")!);
			} catch {
				// It was killed: whether this call got that far is for the ledger to say.
				if (!isOver) await Bun.sleep(5);
			}
		}
		return answered;
	};
	return Promise.all([client(false), client(true), client(false)]);
}

const config = { keys: [{ name: "a", key: "test-key-1" }], server: { drain: "0s" }, log: { level: "error" } };

function rowsIn(path: string) {
	using db = new Database(join(path, "router.db"));
	expect(db.query("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
	const ids = (db.query("SELECT id FROM calls").all() as { id: string }[]).map(({ id }) => id);
	const { sum } = db.query("SELECT SUM(calls) AS sum FROM usage_days").get() as { sum: number };
	const { orphans } = db
		.query("SELECT COUNT(*) AS orphans FROM calls WHERE attempts IS NULL AND details NOT LIKE '%\"attempt_ms\":%'")
		.get() as {
		orphans: number;
	};
	return { ids, sum, orphans };
}

test("kill -9 under load, 20 times: it opens, no call is there twice, and only each client's last calls are missing", async () => {
	using home = directory();
	const answered = new Set<string>();
	const lost: number[] = [];
	for (let round = 0; round < 20; round++) {
		const router = await startRouter({ config, env: { DATA_DIR: home.path } });
		const killed = Promise.withResolvers<void>();
		const loading = load(router.url, killed.promise);
		await Bun.sleep(600 + random(round).below(700));
		process.kill(router.pid, "SIGKILL");
		killed.resolve();
		const now = await loading;
		await router.stop();
		const { ids, sum, orphans } = rowsIn(home.path);
		const kept = new Set(ids);
		expect(kept.size).toBe(ids.length);
		expect(sum).toBe(ids.length);
		expect(orphans).toBe(0);
		lost.push(now.flat().filter((id) => !kept.has(id)).length);
		for (const calls of now) {
			// What was written before the end is written: no gap.
			const written = calls.filter((id) => kept.has(id));
			expect(written).toEqual(calls.slice(0, written.length));
		}
		for (const id of answered) expect(kept.has(id)).toBe(true);
		for (const id of now.flat()) if (kept.has(id)) answered.add(id);
	}
	expect(answered.size).toBeGreaterThan(1_000);
	console.log(`${answered.size} calls kept; missing after each kill: ${lost.join(", ")}`);
}, 240_000);

test("SIGTERM under load loses nothing", async () => {
	using home = directory();
	const router = await startRouter({ config, env: { DATA_DIR: home.path } });
	const ended = Promise.withResolvers<void>();
	const loading = load(router.url, ended.promise);
	await Bun.sleep(800);
	process.kill(router.pid, "SIGTERM");
	while (isRunning(router.pid)) await Bun.sleep(20);
	ended.resolve();
	const answered = (await loading).flat();
	await router.stop();
	const { ids, sum } = rowsIn(home.path);
	expect(answered.length).toBeGreaterThan(50);
	expect(answered.filter((id) => !ids.includes(id))).toEqual([]);
	expect(sum).toBe(new Set(ids).size);
}, 60_000);

function isRunning(pid: number): boolean {
	try {
		process.kill(pid, 0);
		// A child that nobody has waited for yet is there as a zombie.
		return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
	} catch {
		return false;
	}
}
