/** A router of several worker threads: what one of them finds of a call that engines die of, all know. */
import { afterEach, expect, test } from "bun:test";
import type { Loose } from "./kit/exchange.ts";
import { scriptedEngines, stopEngines } from "./kit/scripted-engines.ts";
import { until } from "./kit/until.ts";
import { callOnce, outcomesOf, startHere, twoWorkers } from "./kit/worker-router.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
	await stopEngines();
});
async function started(count: number) {
	const { engines, providers, model } = scriptedEngines(count);
	const router = await startHere(twoWorkers({ providers, models: [model] }));
	stops.push(() => router.stop());
	return { ...router, engines };
}
const x = { model: "m", messages: [{ role: "user", content: "x" }] };

test("a call that two engines died of is refused by each worker, and reaches no third engine", async () => {
	const { url, engines } = await started(3);
	const call = callOnce(url, x);
	for (const engine of engines.slice(0, 2)) {
		await until(() => engine.held.length === 1, "the call");
		engine.die();
	}
	expect((await call).status).toBe(422);
	// A connection each: some of them come to the other worker.
	expect(await outcomesOf(url, 16, x)).toEqual(Array(16).fill(422));
	expect(engines.map(({ held }) => held.length)).toEqual([0, 0, 0]);
	const text = await (await fetch(`${url}/metrics`)).text();
	const deaths = [...text.matchAll(/^router_engine_deaths_total\{[^}]*\} (\d+)$/gm)].map(([, count]) => count);
	expect(deaths).toEqual(["1", "1"]);
});

test("of calls that an engine died under at both workers one is tried at a time, and the one that kills it again is found", async () => {
	const { url, engines } = await started(1);
	const [engine] = engines;
	const contents = Array.from({ length: 8 }, (_, at) => `question ${at}`);
	const calls = contents.map(async (content) => {
		const answer = await callOnce(url, { model: "m", messages: [{ role: "user", content }] });
		const body = (await answer.json()) as Loose;
		return [answer.status, body.error?.code];
	});
	await until(() => engine!.held.length === 8, "all calls");
	engine!.die();
	await until(() => engine!.asked > 0, "a question how it is");
	engine!.restart();
	await until(() => engine!.held.length > 0, "a trial");
	expect(engine!.held.length).toBe(1);
	const poison = contents.indexOf(engine!.held[0]!.content);
	engine!.die();
	expect(await calls[poison]!).toEqual([422, "poisonous_request"]);
	engine!.restart();
	// The others are free, and run beside each other.
	await until(() => engine!.held.length === 7, "all others");
	for (const { answer } of engine!.held.splice(0)) answer();
	const others = await Promise.all(calls.filter((_, at) => at !== poison));
	expect(others).toEqual(Array(7).fill([200, undefined]));
});
