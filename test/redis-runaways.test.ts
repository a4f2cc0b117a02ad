/** Two routers of two workers each behind one Redis: one budget of a session, and an agent that repeats itself at both of them. */
import { expect } from "bun:test";
import type { Loose } from "./kit/exchange.ts";
import { type LoopingModel, startLoopingModel } from "./kit/looping-model.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { callOnce, twoWorkers } from "./kit/worker-router.ts";

const { afterAll, beforeAll, test } = needing("redis");

let model: LoopingModel;
let server: RedisServer;
let routers: [RunningRouter, RunningRouter];
beforeAll(async () => {
	model = startLoopingModel();
	model.plan = () => undefined;
	server = await startRedis();
	const config = twoWorkers({
		...{ providers: model.providers, prices: { "box/*": { input: 0, output: 250_000 } } },
		...{ limits: { session_usd: 5 }, runaway: { loops: "stop", pause: "10m" }, redis: { timeout: "2s" } },
	});
	const start = () => startRouter({ config, env: { REDIS_URL: server.url } });
	routers = [await start(), await start()];
}, 60_000);
afterAll(async () => {
	await Promise.all(routers.map((router) => router.stop()));
	await server.stop();
	await model.stop();
});

/** A USD an answer. @param at of the routers */
const call = async (at: number, body: object, headers: Record<string, string> = {}) => {
	const answer = await callOnce(routers[at % 2]!.url, { model: "box/m", max_tokens: 4, ...body }, headers);
	await answer.text();
	return answer;
};

test("24 calls at once of one session, at all four workers, spend its budget and no more", async () => {
	const session = { "x-session-id": "one" };
	const answers = await Promise.all(Array.from({ length: 24 }, (_, at) => call(at, {}, session)));
	const statuses = answers.map(({ status }) => status);
	expect([statuses.filter((status) => status === 200).length, new Set(statuses)]).toEqual([5, new Set([200, 429])]);
	// What was let in is over: whichever router is asked, nothing is left.
	for (const at of [0, 1]) {
		const { status, headers } = await call(at, {}, session);
		const said = ["x-router-session-remaining-usd", "x-should-retry"].map((name) => headers.get(name));
		expect([status, ...said]).toEqual([429, "0", "false"]);
	}
	expect((await call(1, {}, { "x-session-id": "two" })).status).toBe(200);
});

const round = (id: string) => [
	{
		role: "assistant",
		content: null,
		tool_calls: [{ id, type: "function", function: { name: "look", arguments: "{}" } }],
	},
	{ role: "tool", tool_call_id: id, content: "no such file" },
];
const history = (rounds: number): Loose => ({
	tools: [{ type: "function", function: { name: "look" } }],
	messages: [
		{ role: "user", content: "Mend it." },
		...Array.from({ length: rounds }, (_, at) => round(`call_${at}`)).flat(),
	],
});

test("an agent whose calls take turns between two routers is stopped by either, a round later than by one at most", async () => {
	const statuses: number[] = [];
	for (const rounds of [1, 2, 3, 4]) statuses.push((await call(rounds, history(rounds))).status);
	expect(statuses).toEqual([200, 200, 200, 400]);
	expect([(await call(0, history(4))).status, (await call(1, history(5))).status]).toEqual([400, 400]);
});
