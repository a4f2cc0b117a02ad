/** Targets that say nothing: another one is asked beside them where that costs nothing; who answers, who is ended, who hears of it. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { HardwareClocks } from "../src/accounts/usage/hardware-clocks.ts";
import { LearnedUsage } from "../src/accounts/usage/learned-usage.ts";
import { batchOf, EndUsers } from "../src/accounts/usage/ledger-rows.ts";
import type { Rates } from "../src/accounts/usage/rates.ts";
import type { AttemptStep } from "../src/telemetry/events.ts";
import { createMetrics } from "../src/telemetry/metrics.ts";
import { goodStream } from "./kit/events.ts";
import { eventData, type Json } from "./kit/exchange.ts";
import { type Script, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, neverAnswers, streams } from "./kit/faults.ts";
import { account, type Pipeline, pipeline } from "./kit/pipeline.ts";
import { until } from "./kit/until.ts";

const [first, second, third] = [startFaultUpstream(), startFaultUpstream(), startFaultUpstream()];
afterAll(() => {
	for (const upstream of [first, second, third]) upstream.stop();
});
/** A target may be silent for a third of that until another is asked: 200 ms. */
const timeouts = { first_token: "600ms", total: "600ms", stall: "20s" };
const choices = [{ index: 0, message: { role: "assistant", content: "hi" }, finish_reason: "stop" }];
const usage = { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 };
const whole = answers("200 OK", JSON.stringify({ id: "x", choices, usage }));
const good: Script = (connection) =>
	(JSON.parse(connection.request.body).stream ? streams(goodStream(2)) : whole)(connection);
const late =
	(ms: number, script: Script): Script =>
	async (connection) => {
		await Bun.sleep(ms);
		await script(connection);
	};

let router: Pipeline;
let steps: AttemptStep[];
function routing({ alias = {} as Json, rates = { input: 0, output: 0 } as Rates | null, more = {} as Json } = {}) {
	steps = [];
	router = pipeline({
		config: {
			timeouts: { ...timeouts, ...more },
			providers: {
				one: { type: "vllm", base_url: first.origin },
				two: { type: "vllm", base_url: second.origin },
				three: { type: "vllm", base_url: third.origin },
				anthropic: { api_key: "k", base_url: first.origin },
				gemini: { api_key: "k", base_url: first.origin },
			},
			models: [{ name: "fast", policy: "order", targets: ["one/a", "two/b"], ...alias }],
		},
	});
	Object.assign(router.context.sinks[0]!, { attemptFollowed: (step: AttemptStep) => steps.push(step) });
	const prices = {
		of: () => (rates ? { rates, source: "prices" } : {}),
		hasHourlyRates: rates?.gpu_hour !== undefined,
	};
	const usage = { prices, learned: new LearnedUsage(), clocks: new HardwareClocks() };
	account(router, usage);
	return router;
}
const ask = async (stream: boolean, { body = {} as Json, operation = "chat" as const, headers = {} } = {}) => {
	const call = { model: "fast", messages: [{ role: "user", content: "hi" }], ...(stream ? { stream } : {}), ...body };
	const answer = await router.send(call, { operation, headers });
	const text = await answer.text();
	await router.settledCalls(1);
	return { status: answer.status, provider: answer.headers.get("x-router-provider"), text };
};
const closed = () => router.attempts.map(({ target, failure }) => `${target} ${failure ?? "ok"}`).sort();
const view = (target: string) => router.context.state.targets.of(target);
beforeEach(() => {
	for (const upstream of [first, second, third]) upstream.run(good);
});

describe.each([
	["a stream", true],
	["a whole answer", false],
] as const)("%s", (_, stream) => {
	test("of a target that is silent comes from the next one, is paid for once, and the silent one is ended", async () => {
		first.run(neverAnswers);
		const arrived = first.next();
		routing();
		const answer = await ask(stream);
		expect([answer.status, answer.provider]).toEqual([200, "two"]);
		if (stream) expect(eventData(answer.text).at(-1)).toBe("[DONE]");
		await (await arrived).closed;
		await Bun.sleep(20);
		expect(closed()).toEqual(["one/a cancelled", "two/b ok"]);
		expect(router.settled).toHaveLength(1);
		expect(router.settled[0]).toMatchObject({
			status: 200,
			provider: "two",
			attempts: 2,
			tokens: { output: 3 },
			cost: 0,
		});
		expect(steps.map(({ how, provider }) => [how, provider])).toEqual([
			["hedge", "one"],
			["hedge-won", "one"],
		]);
		expect([view("one/a").inFlight, view("two/b").inFlight]).toEqual([0, 0]);
		const [loser, winner] = ["one/a", "two/b"].map((id) => router.attempts.find(({ target }) => target === id)!);
		expect([loser!.isUnused, loser!.isSecond, loser!.cost]).toEqual([true, undefined, 0]);
		expect([winner!.isUnused, winner!.isSecond]).toEqual([undefined, true]);
	});

	test("comes from the first where that is sooner, and the second is ended and counts for nothing", async () => {
		first.run(late(300, good));
		second.run(neverAnswers);
		const arrived = second.next();
		routing();
		expect(await ask(stream)).toMatchObject({ status: 200, provider: "one" });
		await (await arrived).closed;
		await Bun.sleep(20);
		expect(closed()).toEqual(["one/a ok", "two/b cancelled"]);
		expect(view("two/b").breaker).toMatchObject({ consecutive: 0, state: "closed" });
	});

	test.each([
		["asking costs something", { rates: { input: 1, output: 1 } }],
		["nobody knows what asking costs", { rates: null }],
		["the alias says so", { alias: { hedge: false } }],
	])("of a silent target is cut off, and asked of the next, where %s", async (__, options) => {
		first.run(neverAnswers);
		routing(options);
		expect(await ask(stream)).toMatchObject({ status: 200, provider: "two" });
		expect(closed()).toEqual(["one/a timeout", "two/b ok"]);
		expect(steps.map(({ how }) => how)).toEqual(["failover"]);
	});

	test("is asked of a target that costs something where `hedge: true` says so, and that is the router's cost", async () => {
		first.run(neverAnswers);
		routing({ rates: { input: 1, output: 1, request: 0.5 }, alias: { hedge: true } });
		for (let call = 0; call < 20; call++) router.context.state.hedges("fast").call();
		expect(await ask(stream)).toMatchObject({ status: 200, provider: "two" });
		await Bun.sleep(20);
		const loser = router.attempts.find(({ target }) => target === "one/a")!;
		expect([loser.isUnused, loser.failure]).toEqual([true, "cancelled"]);
		expect(loser.cost).toBeGreaterThanOrEqual(0.5);
		expect(router.settled[0]!.cost).toBeCloseTo(0.5 + 8e-6, 9);
	});

	test("of two silent targets comes from the third", async () => {
		first.run(neverAnswers);
		second.run(neverAnswers);
		routing({ alias: { targets: ["one/a", "two/b", "three/c"] } });
		expect(await ask(stream)).toMatchObject({ status: 200, provider: "three" });
		await Bun.sleep(20);
		expect(closed()).toEqual(["one/a cancelled", "three/c ok", "two/b cancelled"]);
	});

	test("is asked of no target that is out of use", async () => {
		first.run(neverAnswers);
		routing({ alias: { targets: ["one/a", "two/b", "three/c"] } });
		for (let failure = 0; failure < 5; failure++)
			router.context.state.targets.opened("two/b", stream).closed({ failure: "transport" });
		expect(await ask(stream)).toMatchObject({ status: 200, provider: "three" });
		expect(second.received).toBeEmpty();
	});

	test("of one that stays silent is not waited for by those that come later", async () => {
		first.run(neverAnswers);
		routing();
		for (let call = 0; call < 5; call++) await ask(stream);
		await Bun.sleep(20);
		expect(view("one/a").breaker.state).toBe("open");
		const before = first.received.length;
		expect(await ask(stream)).toMatchObject({ provider: "two" });
		expect(first.received.length).toBe(before);
	});

	test("of one that is late only for clients in a hurry is no sign of illness", async () => {
		first.run(neverAnswers);
		routing({ more: { first_token: "60s", total: "60s" } });
		const headers = stream ? { "x-router-first-token-ms": "150" } : { "x-router-timeout-ms": "150" };
		for (let call = 0; call < 5; call++) await ask(stream, { headers });
		await Bun.sleep(20);
		expect(view("one/a").breaker).toMatchObject({ consecutive: 0, state: "closed" });
	});

	test("of one that is slow for this call, and answers others, is no sign of illness", async () => {
		let slow = true;
		first.run((connection) => (slow ? neverAnswers : good)(connection));
		routing();
		for (let call = 0; call < 6; call++) {
			slow = true;
			const waiting = ask(stream);
			await Bun.sleep(60);
			slow = false;
			await router.send({ model: "one/a", messages: [{ role: "user", content: "hi" }] });
			await waiting;
		}
		await Bun.sleep(20);
		expect(view("one/a").breaker.state).toBe("closed");
	});
});

describe("many calls at once", () => {
	const send = (count: number, stream: boolean) => Promise.all(Array.from({ length: count }, () => ask(stream)));

	test.each([true, false])("at two replicas that are only slow stay where they are (streamed: %p)", async (stream) => {
		first.run(late(1_500, good));
		second.run(late(1_500, good));
		routing({ alias: { policy: "balanced" }, more: { first_token: "3s", total: "3s" } });
		const answers = await send(100, stream);
		expect(answers.every(({ status }) => status === 200)).toBe(true);
		// Ten, and a twentieth of the calls: as much as the budget has.
		expect(first.received.length + second.received.length).toBeLessThanOrEqual(115);
	});

	test.each([true, false])("at a hung replica all move, however many there are (streamed: %p)", async (stream) => {
		first.run(neverAnswers);
		routing({ more: { first_token: "6s", total: "6s" } });
		const answers = await send(30, stream);
		expect(answers.every(({ provider }) => provider === "two")).toBe(true);
		await Bun.sleep(20);
		expect(router.attempts.filter(({ failure }) => failure === "timeout")).toBeEmpty();
	});

	test("no more of a model run than `concurrency` says", async () => {
		first.run(neverAnswers);
		routing({ alias: { concurrency: 1 } });
		expect(await ask(false)).toMatchObject({ status: 200, provider: "two" });
		expect(steps.map(({ how }) => how)).toEqual(["failover"]);
	});
});

describe("a target that may be well again", () => {
	const ill = (stream: boolean) => {
		const { targets } = router.context.state;
		for (let failure = 0; failure < 5; failure++) targets.opened("one/a", stream).closed({ failure: "timeout" });
		return Bun.sleep(1_050);
	};

	test.each([true, false])("costs its client a second, and is asked to the end (streamed: %p)", async (stream) => {
		first.run(late(1_500, good));
		routing({ more: { first_token: "60s", total: "60s" } });
		await ill(stream);
		expect(await ask(stream)).toMatchObject({ status: 200, provider: "two" });
		expect(view("one/a").breaker.state).toBe("probing");
		for (let look = 0; look < 300 && view("one/a").breaker.state !== "closed"; look++) await Bun.sleep(10);
		expect(view("one/a").breaker.state).toBe("closed");
		expect(router.settled).toHaveLength(1);
		expect(view("one/a").inFlight).toBe(0);
	});
});

describe("of other calls", () => {
	test.each([
		["Claude", "anthropic/claude-x"],
		["Gemini", "gemini/gemini-x"],
	])("a whole answer of a silent %s comes from the next target", async (_, target) => {
		first.run(neverAnswers);
		const arrived = first.next();
		routing({ alias: { targets: [target, "two/b"] } });
		expect(await ask(false)).toMatchObject({ status: 200, provider: "two" });
		await (await arrived).closed;
	});

	test("what a doubled call was is told by the ledger's rows, and by the metrics", async () => {
		first.run(neverAnswers);
		routing({ rates: { input: 0, output: 0, request: 0.25 }, alias: { hedge: true } });
		for (let call = 0; call < 20; call++) router.context.state.hedges("fast").call();
		await ask(false);
		await Bun.sleep(20);
		const metrics = createMetrics("router");
		for (const attempt of router.attempts) metrics.sink.attemptClosed(attempt);
		expect(await metrics.text()).toContain('router_hedge_cost_usd_total{provider="one"} 0.25');
		const [row] = batchOf(router.settled, [0], router.attempts, new EndUsers()).calls;
		const rows = JSON.parse(row!.attempts!) as Json[];
		const of = (target: string) => rows.find((each) => each["target"] === target)!;
		expect(of("one/a")).toMatchObject({ failure: "cancelled", paid_by: "router", cost: 0.25 });
		expect(of("two/b")).toMatchObject({ hedge: true });
		expect(of("two/b")).not.toHaveProperty("paid_by");
		expect(row!.cost).toBe(0.25);
	});

	test("embeddings come from the next target, too", async () => {
		first.run(neverAnswers);
		second.run(
			answers(
				"200 OK",
				'{"object":"list","data":[{"index":0,"embedding":[1]}],"usage":{"prompt_tokens":1,"total_tokens":1}}',
			),
		);
		routing();
		const answer = await router.send({ model: "fast", input: "hi" }, { operation: "embeddings" });
		expect([answer.status, answer.headers.get("x-router-provider")]).toEqual([200, "two"]);
	});

	test.each([true, false])("a client that leaves ends both (streamed: %p)", async (stream) => {
		first.run(neverAnswers);
		second.run(neverAnswers);
		const [one, two] = [first.next(), second.next()];
		const client = new AbortController();
		routing();
		const call = { model: "fast", stream, messages: [{ role: "user", content: "hi" }] };
		const answer = router.send(call, { signal: client.signal });
		await Promise.all([one, two]);
		client.abort();
		expect((await answer).status).toBe(499);
		await Promise.all([(await one).closed, (await two).closed]);
		await until(() => router.attempts.length === 2, "both ended");
		expect(closed()).toEqual(["one/a cancelled", "two/b cancelled"]);
		expect(router.settled).toHaveLength(1);
		expect([view("one/a").breaker.consecutive, view("one/a").inFlight, view("two/b").inFlight]).toEqual([0, 0, 0]);
	});
});
