/** Two workers under load: what is said of them is one sum, and no call is lost that was on no worker that ended. */
import { Database } from "bun:sqlite";
import { afterEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { callBooks, ENDED_WORKERS, type MadeCall, WorkerEnds } from "./bench/worker-ends.ts";
import { spreadOf } from "./bench/workers.ts";
import type { Json } from "./kit/exchange.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";
import { callOnce, twoWorkers } from "./kit/worker-router.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

async function start(more: Json, server: Json = {}, command?: readonly string[]): Promise<RunningRouter> {
	const config = twoWorkers({ usage: { user_headers: ["x-load-user"] }, ...more }, server);
	const router = await startRouter({ config, source: "source", ...(command ? { command } : {}) });
	stops.push(() => router.stop());
	return router;
}

test.skipIf(process.platform !== "linux")("connections are counted by the thread that has them", async () => {
	const router = await start({});
	const counts = await spreadOf(router, 64);
	expect(counts.length).toBeWithin(1, 3);
	// The test's own client may have kept one or two.
	expect(counts.reduce((sum, count) => sum + count, 0)).toBeWithin(64, 67);
});

/** Clients that call one after the other, each call as another user. */
function load(url: string, clients: number, isBroken: (startedAt: number) => boolean = () => false) {
	const made: MadeCall[] = [];
	let answered = 0;
	let isOver = false;
	const failed: string[] = [];
	const client = async () => {
		while (!isOver) {
			const user = `call-${made.length}`;
			const at = made.push({ user, came: "answer" }) - 1;
			const startedAt = performance.now();
			let status: number | string;
			let text = "";
			try {
				const answer = await callOnce(url, { stream: at % 2 === 0 }, { "x-load-user": user });
				({ status } = answer);
				text = await answer.text();
			} catch (error) {
				status = String(error);
			}
			if (status === 200) answered++;
			else if ((typeof status === "string" || text === "") && isBroken(startedAt)) made[at] = { user, came: "reset" };
			else failed.push(`${user}: ${status} ${text}`);
		}
	};
	const ended = Promise.all(Array.from({ length: clients }, client));
	return {
		made,
		failed,
		get answered() {
			return answered;
		},
		async end() {
			isOver = true;
			await ended;
		},
	};
}

test("workers that end under load, by terminate and by an error, take their own calls alone; all are in ledger and metrics", async () => {
	const router = await start({ limits: { models: { dummy: { concurrency: 24 } } } }, {}, ENDED_WORKERS);
	const ends = new WorkerEnds(router);
	const calls = load(router.url, 8, (startedAt) => ends.wasUnder(startedAt));
	for (const how of ["terminate", "throw", "terminate", "throw"] as const) {
		const before = calls.answered;
		await until(() => calls.answered > before + 100, "calls");
		await ends.end(how);
	}
	await calls.end();
	expect(calls.failed).toEqual([]);
	const { rows, problems } = await callBooks([router], calls.made);
	expect(problems).toEqual([]);
	expect(rows).toBeGreaterThan(400);
	expect(await router.metric("router_workers_ended_total")).toBe(4);
	// Their places were given back: as many calls at once are let in as before.
	const all = await Promise.all(Array.from({ length: 24 }, () => callOnce(router.url)));
	expect(all.map(({ status }) => status)).toEqual(Array(24).fill(200));
}, 90_000);

test("metrics, a reload and a stop under load: sums are right, and each call has its answer, its row and its line", async () => {
	const router = await start({}, { drain: "5s" });
	const calls = load(router.url, 8);
	for (let look = 0; look < 5; look++) {
		const least = calls.answered;
		await until(() => calls.answered > least + 40, "calls");
		const before = calls.answered;
		const counted = await router.metric("router_requests_total");
		expect(counted).toBeWithin(before, calls.made.length + 1);
	}
	const changed = twoWorkers({
		usage: { user_headers: ["x-load-user"] },
		models: [{ name: "more", targets: ["dummy"] }],
	});
	writeFileSync(
		join(router.directory, "router.yaml"),
		JSON.stringify({ ...changed, server: { workers: 2, drain: "5s" } }),
	);
	await until(async () => {
		const answers = await Promise.all(Array.from({ length: 12 }, () => callOnce(router.url, { model: "more" })));
		return answers.every(({ status }) => status === 200);
	}, "the new model at both workers");
	const during = calls.answered;
	await until(() => calls.answered > during + 100, "calls after the reload");
	process.kill(router.pid, "SIGTERM");
	await until(async () => (await fetch(`${router.url}/health/ready`)).status === 503, "the drain");
	await calls.end();
	expect(calls.failed).toEqual([]);
	await until(() => router.output().includes("Stopped."), "the end");
	using db = new Database(join(router.directory, "data/router.db"), { readonly: true });
	const users = (db.query("SELECT user FROM calls WHERE user <> ''").all() as { user: string }[]).map(
		({ user }) => user,
	);
	const own = calls.made.map(({ user }) => user);
	expect(users.toSorted()).toEqual(own.toSorted());
	const log = await Bun.file(join(router.directory, "logs/router.log")).text();
	const logged = [...log.matchAll(/"user":"(call-\d+)"/g)].map(([, user]) => user!);
	expect(logged.toSorted()).toEqual(own.toSorted());
}, 90_000);
