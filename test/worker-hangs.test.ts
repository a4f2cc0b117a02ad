/** A worker that hangs is ended and replaced; one that could not be heard for a while is not. */
import { afterEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { HANG_MS, Silence } from "../src/server/threads/heartbeat.ts";
import type { WorkerStart } from "../src/server/threads/link.ts";
import { type WorkerReports, WorkerThread } from "../src/server/threads/worker-handle.ts";
import { until } from "./kit/until.ts";
import { callOnce, outcomesOf, recordWorkers, startHere, twoWorkers } from "./kit/worker-router.ts";

describe("silence", () => {
	const SECOND = 1_000;
	/** Looks at these times, and what was counted by then; how long it was silent at the last one. */
	const silentFor = (...looks: [now: number, beats: number][]) => {
		const silence = new Silence(0);
		return looks.map(([now, beats]) => silence.look(beats, now)).at(-1);
	};

	test("is as long as nothing was counted, once it is looked at often", () => {
		expect(silentFor([SECOND, 0], [2 * SECOND, 0], [3 * SECOND, 0])).toBe(3 * SECOND);
		expect(silentFor([SECOND, 1], [2 * SECOND, 1], [3 * SECOND, 1])).toBe(2 * SECOND);
		const looks = Array.from({ length: 15 }, (_, at): [number, number] => [(at + 1) * SECOND, 0]);
		expect(silentFor(...looks)).toBe(HANG_MS);
	});

	test("ends with the first beat, wherever the count stands", () => {
		expect(silentFor([SECOND, 0], [14 * SECOND, 0], [15 * SECOND, 1])).toBe(0);
		expect(silentFor([SECOND, 2 ** 31 - 1], [2 * SECOND, -(2 ** 31)])).toBe(0);
	});

	test("does not count the time in which nobody could look: a machine asleep, a main thread that was kept", () => {
		expect(silentFor([SECOND, 7], [3_600 * SECOND, 7])).toBe(2 * SECOND);
		expect(silentFor([SECOND, 7], [3_600 * SECOND, 7], [3_601 * SECOND, 8])).toBe(0);
	});
});

test("a worker that hangs while it starts is ended, and its start has failed", async () => {
	using _ = recordWorkers(join(import.meta.dir, "kit/hanging-start.ts"));
	let hung = 0;
	const reports = { hung: () => hung++, kept() {} } as unknown as WorkerReports;
	const worker = new WorkerThread({ thread: 1 } as WorkerStart, reports, 2_000);
	expect(await worker.listening).toEqual({ problem: "its thread has ended (no sign of life for 2 s)", isStart: false });
	expect([await worker.ended, hung, worker.isRunning]).toEqual(["no sign of life for 2 s", 1, false]);
	// Whoever asks it for a sign of life from now on is not kept waiting.
	expect(await worker.confirm()).toBe(false);
});

describe("a worker that hangs", () => {
	let router: Awaited<ReturnType<typeof startHere>> | undefined;
	afterEach(() => router?.stop());

	test("is ended with its calls and replaced, as soon as the system lets it go; another one answers meanwhile", async () => {
		using recorded = recordWorkers(join(import.meta.dir, "kit/hanging-worker.ts"));
		router = await startHere(twoWorkers({}, { workers: 3 }));
		const { url } = router;
		const lines = (text: string) =>
			router!
				.log()
				.split("\n")
				.filter((line) => line.includes(text))
				.map((line) => JSON.parse(line));
		for (const [at, what] of ["hang", "sleep"].entries()) recorded.workers[at]!.worker.postMessage(what);
		const calls = outcomesOf(url, 36, {});
		await until(() => lines("has taken the place").length === 1, "another worker");
		await until(() => lines("can't be ended").length === 1, "a word of the one that the system keeps");
		// Some of these go to the one that is kept.
		const page = () => fetch(`${url}/metrics`, { headers: { connection: "close" } });
		const metrics = await (await Promise.any(Array.from({ length: 16 }, page))).text();
		const shown = metrics.split("\n").filter((line) => line.startsWith("router_workers"));
		expect(shown).toEqual(["router_workers_ended_total 1", "router_workers_hung_total 2", "router_workers 2"]);
		await until(() => lines("has taken the place").length === 2, "a third worker");
		// The system gives connections to all. Those of workers that hang are reset when these are ended.
		expect([...new Set(await calls)].sort()).toEqual([200, "reset"]);
		expect(lines("A worker has ended").map(({ worker, why }) => [worker, why])).toEqual([
			[1, "no sign of life for 15 s"],
			[2, "no sign of life for 15 s"],
		]);
		expect(lines("can't be ended")).toMatchObject([{ worker: 2 }]);
		const answers = await Promise.all(Array.from({ length: 16 }, () => callOnce(url)));
		expect(answers.map(({ status }) => status)).toEqual(Array(16).fill(200));
	});

	test("keeps one question of an administrator's waiting, not each until it is replaced", async () => {
		using recorded = recordWorkers(join(import.meta.dir, "kit/hanging-worker.ts"));
		router = await startHere(twoWorkers({ admin: { keys: [{ name: "ops", key: "admin-key-of-the-test" }] } }));
		const { url } = router;
		recorded.workers[0]!.worker.postMessage("hang");
		const headers = { authorization: "Bearer admin-key-of-the-test" };
		const usage = async () => (await fetch(`${url}/admin/usage`, { headers })).status;
		// From here on there is an open connection to the other one.
		expect(await Promise.any(Array.from({ length: 16 }, usage))).toBe(200);
		for (let question = 0; question < 12; question++) expect(await usage()).toBe(200);
		expect(router.log()).not.toContain("A worker has ended");
	});
});
