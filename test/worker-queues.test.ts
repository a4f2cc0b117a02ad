/** The line in front of a busy model of a router with two workers: one line, over whichever connections calls come. */
import { afterEach, describe, expect, test } from "bun:test";
import type { Json } from "./kit/exchange.ts";
import { type Connection, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { until } from "./kit/until.ts";
import { callOnce, outcomesOf, recordWorkers, startHere, twoWorkers } from "./kit/worker-router.ts";

const ok = answers(
	"200 OK",
	'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}',
);
const body = { model: "fast" };
const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

/** What an upstream has of calls that it answers when the test says so. */
function keeper() {
	const open: Connection[] = [];
	const seen: string[] = [];
	let most = 0;
	const upstream = startFaultUpstream((connection) => {
		open.push(connection);
		seen.push(JSON.parse(connection.request.body).messages[0].content);
		most = Math.max(most, open.length);
		void connection.closed.then(() => {
			const at = open.indexOf(connection);
			if (at !== -1) open.splice(at, 1);
		});
	});
	stops.push(() => upstream.stop());
	return {
		origin: upstream.origin,
		/** Those that it has and has not answered. */
		open,
		/** Contents of all that it ever got, in their order. */
		seen,
		/** How many it has had at once. */
		most: () => most,
		/** Answers the one that it has had for longest. */
		answer: async () => void (await ok(open.shift()!)),
		/** Answers all that come until it has answered so many. */
		async answerAll(count: number) {
			for (let answered = 0; answered < count; answered++) {
				await until(() => open.length > 0, "a call at the upstream");
				await this.answer();
			}
		},
	};
}
type Upstream = ReturnType<typeof keeper>;

const configured = ({ origin }: Upstream, model: Json, more: Json = {}): Json =>
	twoWorkers({
		providers: { box: { type: "vllm", base_url: origin } },
		models: [{ name: "fast", targets: ["box/m"], ...model }],
		...more,
	});
async function start(upstream: Upstream, model: Json, more: Json = {}) {
	const router = await startHere(configured(upstream, model, more));
	stops.push(() => router.stop());
	return router;
}
/** A sample of the page of metrics; 0 where there is none. */
async function sample(url: string, name: string): Promise<number> {
	const text = await (await fetch(`${url}/metrics`)).text();
	const line = text.split("\n").find((each) => each.startsWith(`${name} `));
	return Number(line?.split(" ").at(-1) ?? 0);
}
const waiting = (url: string) => sample(url, 'router_queue_waiting{model="fast"}');
const untilWaiting = (url: string, count: number) =>
	until(async () => (await waiting(url)) === count, `${count} calls in line`);

describe("of 40 calls at once", () => {
	test("exactly as many run and wait as may, the others are told so at once, and each that waits has its turn", async () => {
		using recorded = recordWorkers();
		const upstream = keeper();
		const { url } = await start(upstream, { concurrency: 3, queue: 9 });
		const refused: string[] = [];
		const calls = Array.from({ length: 40 }, async () => {
			const answer = await callOnce(url, body);
			if (answer.status !== 200) refused.push(`${answer.status} ${answer.headers.get("retry-after")}`);
			await answer.text();
		});
		await until(() => refused.length === 28, "28 refusals");
		await untilWaiting(url, 9);
		// None has ended: each is said to take two seconds.
		expect(new Set(refused)).toEqual(new Set(["429 6"]));
		expect(upstream.open).toHaveLength(3);
		await upstream.answerAll(12);
		await Promise.all(calls);
		expect([upstream.most(), refused.length, await waiting(url)]).toEqual([3, 28, 0]);
		expect(await sample(url, 'router_queue_refused_total{model="fast",reason="full"}')).toBe(28);
		expect(await sample(url, 'router_queue_wait_seconds_count{model="fast"}')).toBe(12);
		expect(recorded.workers.map((worker) => worker.calls() > 0)).toEqual([true, true]);
	}, 60_000);
});

test("whoever came first, or has the higher priority, goes first, whichever worker has the call", async () => {
	const upstream = keeper();
	const keys = [-5, 0, 5].map((priority) => ({ name: `key ${priority}`, key: `sk-of-key-${priority}`, priority }));
	const { url } = await start(upstream, { concurrency: 1 }, { keys });
	const send = async (content: string, priority: number) => {
		const messages = [{ role: "user", content }];
		await (await callOnce(url, { ...body, messages }, { authorization: `Bearer sk-of-key-${priority}` })).text();
	};
	const calls = [send("running", 0)];
	await until(() => upstream.open.length === 1, "the first call");
	const priorities = [0, -5, 5, 0, 5, -5, 0, 5, 0, -5, 5, 0, 0, -5];
	for (const [at, priority] of priorities.entries()) {
		calls.push(send(`${priority}: ${at}`, priority));
		await untilWaiting(url, at + 1);
	}
	await upstream.answerAll(calls.length);
	await Promise.all(calls);
	const inOrder = [5, 0, -5].flatMap((priority) =>
		priorities.flatMap((each, at) => (each === priority ? [`${priority}: ${at}`] : [])),
	);
	expect(upstream.seen).toEqual(["running", ...inOrder]);
}, 60_000);

test("the places of a worker that dies are given to calls that wait in the other, also where it had just got them", async () => {
	using recorded = recordWorkers();
	const upstream = keeper();
	const { url, log } = await start(upstream, { concurrency: 8 });
	const calls = outcomesOf(url, 60, body);
	await until(() => upstream.open.length === 8, "the first calls");
	await untilWaiting(url, 52);
	// Those that are answered pass their places on while their worker ends.
	for (let answered = 0; answered < 4; answered++) void upstream.answer();
	recorded.workers[0]!.worker.terminate();
	await until(() => log().includes("has taken the place"), "another worker");
	await until(() => upstream.open.length === 8, "calls of the other worker in all places");
	expect(upstream.most()).toBe(8);
	const ended = calls.then((outcomes) => outcomes.filter((each) => each === "reset").length);
	const answering = answerUntil(upstream, calls);
	const reset = await ended;
	await answering;
	expect(new Set(await calls)).toEqual(new Set([200, "reset"]));
	expect(reset).toBeWithin(1, 60);
	// No place is lost, and none is there twice.
	const further = outcomesOf(url, 20, body);
	await until(() => upstream.open.length === 8, "eight calls more");
	await untilWaiting(url, 12);
	await answerUntil(upstream, further);
	expect([new Set(await further), upstream.most()]).toEqual([new Set([200]), 8]);
}, 60_000);

test("a reload that lets more run has those that wait run at once, and one that lets fewer run waits for those that do", async () => {
	const upstream = keeper();
	const router = await start(upstream, { concurrency: 2 });
	const { url } = router;
	const reload = (model: Json) => {
		router.write(configured(upstream, model));
		process.kill(process.pid, "SIGHUP");
	};
	const calls = outcomesOf(url, 12, body);
	await until(() => upstream.open.length === 2, "two calls");
	await untilWaiting(url, 10);
	reload({ concurrency: 5, queue: 7 });
	await until(() => upstream.open.length === 5, "three more");
	expect([await waiting(url), (await callOnce(url, body)).status]).toEqual([7, 429]);
	reload({ concurrency: 1, queue: 7 });
	await until(() => router.log().split("loaded anew").length === 3, "the second configuration");
	for (let left = 4; left > 0; left--) {
		await upstream.answer();
		expect([await waiting(url), upstream.open.length]).toEqual([7, left]);
	}
	await answerUntil(upstream, calls);
	expect(new Set(await calls)).toEqual(new Set([200]));
}, 60_000);

test("clients that leave the line make room in it, in the other worker, too", async () => {
	const upstream = keeper();
	const { url } = await start(upstream, { concurrency: 1, queue: 8 });
	const running = outcomesOf(url, 1, body);
	await until(() => upstream.open.length === 1, "a call");
	const client = new AbortController();
	const gone = Array.from({ length: 8 }, () =>
		fetch(`${url}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json", connection: "close" },
			body: JSON.stringify({ ...body, messages: [{ role: "user", content: "gone" }] }),
			signal: client.signal,
		}).catch(() => "gone"),
	);
	await untilWaiting(url, 8);
	expect(await outcomesOf(url, 4, body)).toEqual([429, 429, 429, 429]);
	client.abort();
	await Promise.all(gone);
	await untilWaiting(url, 0);
	const further = outcomesOf(url, 8, body);
	await untilWaiting(url, 8);
	await upstream.answerAll(9);
	expect([...(await running), ...(await further)]).toEqual(Array(9).fill(200));
	expect([upstream.seen.includes("gone"), upstream.most()]).toEqual([false, 1]);
}, 60_000);

/** Answers whatever comes until these calls are over. */
async function answerUntil(upstream: Upstream, calls: Promise<unknown>): Promise<void> {
	let isOver = false;
	void calls.then(() => {
		isOver = true;
	});
	await until(async () => {
		while (upstream.open.length > 0) await upstream.answer();
		return isOver;
	}, "the end of the calls");
}
