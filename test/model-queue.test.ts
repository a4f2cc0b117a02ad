/** A model that takes only so many calls at once: the rest wait in line, or hear at once that they wait in vain. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import type { Queued } from "../src/telemetry/events.ts";
import { clientError } from "./kit/contract.ts";
import { goodStream } from "./kit/events.ts";
import { eventData, type Json } from "./kit/exchange.ts";
import { type Connection, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, streams } from "./kit/faults.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";
import { until } from "./kit/until.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());

const call = { model: "fast", messages: [{ role: "user", content: "hi" }] };
const ok = answers(
	"200 OK",
	'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}',
);
let router: Pipeline;
let queued: Queued[];
/** Requests that the upstream has and has not answered. */
let open: Connection[];
function line(settings: Json, more: Json = {}): Pipeline {
	queued = [];
	router = pipeline({
		config: {
			providers: { one: { type: "vllm", base_url: upstream.origin } },
			models: [{ name: "fast", targets: ["one/a"], ...settings }],
			...more,
		},
	});
	Object.assign(router.context.sinks[0]!, { queued: (what: Queued) => queued.push(what) });
	return router;
}
const waiting = () => Object.fromEntries(router.context.state.waiting());
beforeEach(() => {
	open = [];
	upstream.run((connection) => void open.push(connection));
});

test("as many run as may, the others wait, and each has its turn", async () => {
	line({ concurrency: 2, queue: 5 });
	const calls = [1, 2, 3, 4].map(() => router.send(call));
	await until(() => open.length === 2 && waiting()["fast"] === 2);
	for (let served = 0; served < 4; served++) {
		await until(() => open.length > served);
		expect(open.length).toBeLessThanOrEqual(served + 2);
		await ok(open[served]!);
	}
	expect((await Promise.all(calls)).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
	expect(waiting()).toEqual({ fast: 0 });
	expect(queued.map(({ waitedMs }) => typeof waitedMs)).toEqual(Array(4).fill("number"));
});

test("time in line is not the router's own", async () => {
	line({ concurrency: 1 });
	const one = router.send(call);
	await until(() => open.length === 1);
	const startedAt = performance.now();
	const two = router.send(call);
	await until(() => waiting()["fast"] === 1);
	await Bun.sleep(150);
	await ok(open[0]!);
	await until(() => open.length === 2);
	await ok(open[1]!);
	expect((await one).status).toBe(200);
	const overheadMs = Number((await two).headers.get("x-router-overhead-ms"));
	// Of all that it took the time in line is none of the router's, however busy the machine. 5: timers are rounded.
	expect(overheadMs).toBeLessThan(performance.now() - startedAt - 150 + 5);
});

test("a stream holds its place until its end", async () => {
	line({ concurrency: 1 });
	const stream = router.send({ ...call, stream: true });
	await until(() => open.length === 1);
	await begins(goodStream(2).slice(0, 2))(open[0]!);
	const answer = await stream;
	const next = router.send(call);
	await until(() => waiting()["fast"] === 1);
	expect(upstream.received.length).toBe(1);
	await open[0]!.write(goodStream(2).slice(2).join(""));
	open[0]!.end();
	expect(eventData(await answer.text()).at(-1)).toBe("[DONE]");
	await until(() => open.length === 2);
	await ok(open[1]!);
	expect((await next).status).toBe(200);
});

test("a full line is a 429 with a Retry-After, and costs no attempt", async () => {
	line({ concurrency: 1, queue: 1 });
	const calls = [router.send(call), router.send(call)];
	await until(() => waiting()["fast"] === 1);
	const refused = await router.send(call);
	expect(refused.status).toBe(429);
	expect(refused.headers.get("retry-after")).toBe("2");
	expect(clientError(await refused.text())).toMatchObject({ code: "model_busy", type: "rate_limit_error" });
	expect(router.settled[0]).toMatchObject({ status: 429, error: "model_busy", attempts: 0, model: "fast" });
	expect(queued.filter((each) => each.refused)).toEqual([{ model: "fast", refused: "full" }]);
	for (let served = 0; served < 2; served++) {
		await until(() => open.length > served);
		await ok(open[served]!);
	}
	expect((await Promise.all(calls)).map(({ status }) => status)).toEqual([200, 200]);
});

test("a deadline that the line can't meet is refused at once; one that it can, is met", async () => {
	line({ concurrency: 1 });
	const slow = router.send(call);
	await until(() => open.length === 1);
	await Bun.sleep(400);
	await ok(open[0]!);
	await slow;
	const running = router.send(call);
	await until(() => open.length === 2);
	const refused = await router.send(call, { headers: { "x-router-timeout-ms": "200" } });
	expect([refused.status, clientError(await refused.text()).code]).toEqual([429, "model_busy"]);
	expect(queued.at(-1)).toEqual({ model: "fast", refused: "late" });
	const patient = router.send(call, { headers: { "x-router-timeout-ms": "60000" } });
	await ok(open[1]!);
	await until(() => open.length === 3);
	await ok(open[2]!);
	expect([(await running).status, (await patient).status]).toEqual([200, 200]);
});

test("a call whose deadline comes while it waits is told so", async () => {
	line({ concurrency: 1 });
	const running = router.send(call);
	await until(() => open.length === 1);
	const late = await router.send(call, { headers: { "x-router-timeout-ms": "80" } });
	expect([late.status, waiting()["fast"]]).toEqual([429, 0]);
	await ok(open[0]!);
	expect((await running).status).toBe(200);
});

test("a client that leaves the line makes room in it", async () => {
	line({ concurrency: 1, queue: 1 });
	const running = router.send(call);
	await until(() => open.length === 1);
	const client = new AbortController();
	const gone = router.send(call, { signal: client.signal });
	await until(() => waiting()["fast"] === 1);
	client.abort();
	expect((await gone).status).toBe(499);
	expect(waiting()["fast"]).toBe(0);
	await ok(open[0]!);
	expect((await running).status).toBe(200);
});

test("a stream in line gets signs of life", async () => {
	line({ concurrency: 1 }, { server: { keep_alive: "40ms" } });
	const running = router.send(call);
	await until(() => open.length === 1);
	const answer = await router.send({ ...call, stream: true });
	expect(answer.status).toBe(200);
	await ok(open[0]!);
	await until(() => open.length === 2);
	await streams(goodStream(1))(open[1]!);
	const text = await answer.text();
	expect(text.startsWith(": keep-alive\n\n")).toBe(true);
	expect(eventData(text).at(-1)).toBe("[DONE]");
	await running;
});

describe("priority", () => {
	const keys = [
		{ name: "batch", key: "sk-of-batch", priority: -5 },
		{ name: "chat", key: "sk-of-chat", priority: 5 },
	];
	const as = (key: string, headers: Record<string, string> = {}) => ({
		headers: { authorization: `Bearer ${key}`, ...headers },
	});
	const order = async (...sends: (() => Promise<Response>)[]) => {
		line({ concurrency: 1 }, { keys });
		const running = router.send(call, as("sk-of-chat"));
		await until(() => open.length === 1);
		for (const [at, send] of sends.entries()) {
			void send();
			await until(() => waiting()["fast"] === at + 1);
		}
		for (let served = 0; served <= sends.length; served++) {
			await until(() => open.length > served);
			await ok(open[served]!);
		}
		await running;
		await router.settledCalls(sends.length + 1);
		return router.settled.slice(1).map(({ key }) => key);
	};

	test("of the key decides who goes first", async () => {
		const served = await order(
			() => router.send(call, as("sk-of-batch")),
			() => router.send(call, as("sk-of-chat")),
		);
		expect(served).toEqual(["chat", "batch"]);
	});

	test("may be lowered by a call, not raised", async () => {
		const served = await order(
			() => router.send(call, as("sk-of-chat", { "x-router-priority": "-100" })),
			() => router.send(call, as("sk-of-batch", { "x-router-priority": "100" })),
		);
		expect(served).toEqual(["batch", "chat"]);
	});
});

test("a model without `concurrency` has no line", async () => {
	line({});
	const calls = Array.from({ length: 30 }, () => router.send(call));
	await until(() => open.length === 30);
	for (const connection of open) await ok(connection);
	await Promise.all(calls);
	expect([queued, waiting()]).toEqual([[], {}]);
});
