/** Agents that repeat themselves at a router of several worker threads: what one worker has seen, all know. */
import { afterEach, expect, test } from "bun:test";
import type { Loose } from "./kit/exchange.ts";
import { type LoopingModel, startLoopingModel } from "./kit/looping-model.ts";
import { callOnce, recordWorkers, startHere, twoWorkers } from "./kit/worker-router.ts";

const ADMIN = "admin-key-of-the-test";
const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});
async function start(model: LoopingModel, runaway: object) {
	const admin = { keys: [{ name: "ops", key: ADMIN }] };
	const router = await startHere(twoWorkers({ providers: model.providers, runaway, admin }));
	stops.push(() => router.stop());
	return router;
}
function loopingModel(): LoopingModel {
	const model = startLoopingModel();
	stops.push(() => model.stop());
	return model;
}
const result = (id: string) => [
	{
		role: "assistant",
		content: null,
		tool_calls: [{ id, type: "function", function: { name: "look", arguments: "{}" } }],
	},
	{ role: "tool", tool_call_id: id, content: "no such file" },
];
const history = (rounds: number) => ({
	model: "box/m",
	tools: [{ type: "function", function: { name: "look" } }],
	messages: [
		{ role: "user", content: "Mend it." },
		...Array.from({ length: rounds }, (_, at) => result(`call_${at}`)).flat(),
	],
});
/** A connection each: they come to either worker. */
const send = async (url: string, rounds: number) => {
	const answer = await callOnce(url, history(rounds), { "x-session-id": "one" });
	await answer.text();
	return answer.status;
};

test("an agent whose calls come to both workers is stopped at its third round, at either of them", async () => {
	const { url } = await start(loopingModel(), { loops: "stop", pause: "10m" });
	expect([await send(url, 1), await send(url, 2)]).toEqual([200, 200]);
	const third = await Promise.all(Array.from({ length: 16 }, () => send(url, 3)));
	expect(third).toEqual(Array(16).fill(400));
	const answer = await fetch(`${url}/admin/runaways`, { headers: { authorization: `Bearer ${ADMIN}` } });
	expect(((await answer.json()) as Loose)["data"]).toMatchObject([{ kind: "loop", rounds: 3, session: "one" }]);
	const metrics = await (await fetch(`${url}/metrics`)).text();
	expect(metrics).toMatch(/^router_runaway_calls_total\{[^}]*action="stop"[^}]*\} 16$/m);
});

test("what one worker has seen outlives it", async () => {
	using recorded = recordWorkers();
	const { url } = await start(loopingModel(), { loops: "stop", pause: "10m" });
	expect([await send(url, 1), await send(url, 2)]).toEqual([200, 200]);
	await Promise.all(recorded.workers.map(({ worker }) => worker.terminate()));
	// Its place is taken by another one. While it ends it takes no connection, or Bun answers in its place: 503, with nothing in it.
	let status: number | "none" = "none";
	while (status === "none" || status === 503) status = await send(url, 3).catch(() => "none" as const);
	expect(status).toBe(400);
});
