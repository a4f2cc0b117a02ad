/** A worker that does not have an agent's tunnel ends under load: its own calls break off, and no other's. */
import { afterEach, expect, test } from "bun:test";
import type { Loose } from "./kit/exchange.ts";
import { startFakeAgent } from "./kit/fake-agent.ts";
import { until } from "./kit/until.ts";
import { callOnce, recordWorkers, type StartedWorker, startHere, twoWorkers } from "./kit/worker-router.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

/** Which of the workers had the tunnel opened last. */
function watchHolder(workers: readonly StartedWorker[]): () => StartedWorker | undefined {
	let holder: StartedWorker | undefined;
	for (const started of workers) {
		started.worker.addEventListener("message", ({ data }: MessageEvent<{ type: string }>) => {
			if (data.type === "tunnel-opened") holder = started;
		});
	}
	return () => holder;
}

test("calls through a tunnel go on when a worker ends that does not have it, and no breaker opens", async () => {
	using recorded = recordWorkers();
	const router = await startHere(twoWorkers());
	stops.push(() => router.stop());
	const holder = watchHolder(recorded.workers);
	const agent = startFakeAgent({
		router: router.url,
		tunnel: "always",
		before: () => Bun.sleep(20).then(() => undefined),
	});
	stops.push(() => agent.stop());
	const isReachable = async () => {
		const { data } = (await (await fetch(`${router.url}/agents`)).json()) as { data: Loose[] };
		return data[0]?.["reachable"] === true;
	};
	await until(isReachable, "the agent");
	const statuses: (number | "reset")[] = [];
	let isOver = false;
	const client = async (stream: boolean) => {
		while (!isOver) {
			const answer = await callOnce(router.url, { model: "qwen", stream }).catch(() => undefined);
			const isWhole = answer !== undefined && (await answer.text().then(Boolean, () => false));
			statuses.push(isWhole ? answer.status : "reset");
		}
	};
	const clients = Array.from({ length: 12 }, (_, at) => client(at % 2 === 0));
	const done = (count: number) => until(() => statuses.length >= count, "the calls");
	await done(100);
	recorded.workers.find((each) => each !== holder())!.worker.terminate();
	await done(500);
	await until(() => router.log().includes("has taken the place"), "another worker");
	await done(statuses.length + 100);
	isOver = true;
	await Promise.all(clients);
	expect(statuses.filter((status) => status !== 200 && status !== "reset")).toEqual([]);
	// At most those that the worker had under way.
	expect(statuses.filter((status) => status === "reset").length).toBeLessThanOrEqual(12);
	const metrics = await (await fetch(`${router.url}/metrics`)).text();
	expect(metrics).not.toMatch(/^router_breaker_state\{.*\} [12]$/m);
}, 60_000);
