/** A stream whose first token is late is asked of a second target, too: who answers, who is ended, who is paid. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import type { Latency } from "../src/routing/latency.ts";
import type { AttemptStep } from "../src/telemetry/events.ts";
import { clientError } from "./kit/contract.ts";
import { goodStream } from "./kit/events.ts";
import { eventData, type Json } from "./kit/exchange.ts";
import { type Script, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, neverAnswers, resetsBeforeHeaders, streams } from "./kit/faults.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";

const first = startFaultUpstream();
const second = startFaultUpstream();
afterAll(() => {
	first.stop();
	second.stop();
});

const call = { model: "fast", stream: true, messages: [{ role: "user", content: "hi" }] };
const good = streams(goodStream(2));
const late =
	(ms: number, script: Script): Script =>
	async (connection) => {
		await Bun.sleep(ms);
		await script(connection);
	};
let router: Pipeline;
let steps: AttemptStep[];
/** With this many calls behind it, each of which has earned a twentieth of a hedge; the target's usual time is known. */
function hedging({ calls = 20, known = 20, usualMs = 40, alias = {} as Json, providers = {} as Json } = {}): Pipeline {
	steps = [];
	router = pipeline({
		config: {
			timeouts: { first_token: "20s", stall: "20s" },
			providers: {
				one: { type: "vllm", base_url: first.origin },
				two: { type: "vllm", base_url: second.origin },
				...providers,
			},
			models: [{ name: "fast", policy: "order", targets: ["one/a", "two/b"], hedge: true, ...alias }],
		},
	});
	Object.assign(router.context.sinks[0]!, { attemptFollowed: (step: AttemptStep) => steps.push(step) });
	const { state } = router.context;
	for (let earlier = 1; earlier < calls; earlier++) state.hedges("fast").call();
	const { firstToken } = state.targets.of("one/a");
	if (firstToken.count === 0) state.targets.opened("one/a", true).closed({ failure: "cancelled" });
	for (let sample = 0; sample < known; sample++) (state.targets.of("one/a").firstToken as Latency).add(usualMs, sample);
	return router;
}
const closed = () => router.attempts.map(({ target, failure }) => `${target} ${failure ?? "ok"}`).sort();
beforeEach(() => {
	first.run(good);
	second.run(good);
});

test("the second target answers a call whose first is late; the first is ended, and only the second is paid for", async () => {
	first.run(neverAnswers);
	const arrived = first.next();
	const answer = await hedging().send(call);
	expect([answer.status, answer.headers.get("x-router-provider"), answer.headers.get("x-router-attempts")]).toEqual([
		200,
		"two",
		"2",
	]);
	expect(eventData(await answer.text()).at(-1)).toBe("[DONE]");
	await (await arrived).closed;
	const [settled] = await router.settledCalls(1);
	expect(settled).toMatchObject({ status: 200, provider: "two", attempts: 2, tokens: { input: 5, output: 3 } });
	expect(closed()).toEqual(["one/a cancelled", "two/b ok"]);
	expect(steps.map(({ how, provider }) => [how, provider])).toEqual([
		["hedge", "one"],
		["hedge-won", "one"],
	]);
});

test("the one that was ended is well: it goes on with the answer where the other breaks off", async () => {
	first.run((connection) => (connection.nth === 0 ? neverAnswers : streams(goodStream(4)))(connection));
	second.run(async (connection) => {
		await begins(goodStream(4).slice(0, 3))(connection);
		connection.end();
	});
	const text = await (await hedging().send(call)).text();
	expect(first.received).toHaveLength(2);
	expect(eventData(text).at(-1)).toBe("[DONE]");
});

test("the first may still answer first", async () => {
	first.run(late(120, good));
	second.run(neverAnswers);
	const arrived = second.next();
	const answer = await hedging().send(call);
	expect(answer.headers.get("x-router-provider")).toBe("one");
	expect(eventData(await answer.text()).at(-1)).toBe("[DONE]");
	await (await arrived).closed;
	expect(closed()).toEqual(["one/a ok", "two/b cancelled"]);
	expect(steps.map(({ how }) => how)).toEqual(["hedge"]);
});

test("what the loser says after the winner has begun reaches nobody, and is let go", async () => {
	first.run(late(180, good));
	second.run(late(50, good));
	const answer = await hedging().send(call);
	const text = await answer.text();
	expect(text.split("word0")).toHaveLength(2);
	await router.settledCalls(1);
	expect(router.attempts.filter(({ failure }) => failure === undefined)).toHaveLength(1);
});

describe("one of the two fails", () => {
	test.each([
		["the first", late(80, resetsBeforeHeaders), late(120, good), "two"],
		["the second", late(200, good), late(20, answers("404 Not Found", "{}")), "one"],
	] as const)("%s: the other answers", async (_, one, two, provider) => {
		first.run(one);
		second.run(two);
		const answer = await hedging().send(call);
		expect([answer.status, answer.headers.get("x-router-provider")]).toEqual([200, provider]);
		await answer.text();
	});

	test("the first, by the caller's own fault: it is told, and the other is ended", async () => {
		first.run(late(100, answers("400 Bad Request", '{"error":{"message":"too hot"}}')));
		second.run(neverAnswers);
		const arrived = second.next();
		const answer = await hedging().send(call);
		expect(answer.status).toBe(400);
		expect(clientError(await answer.text()).message).toBe("too hot");
		await (await arrived).closed;
	});

	test("the second, by what it calls the caller's own fault: the first answers", async () => {
		first.run(late(120, good));
		second.run(answers("400 Bad Request", '{"error":{"message":"too hot"}}'));
		const answer = await hedging().send(call);
		expect([answer.status, answer.headers.get("x-router-provider")]).toEqual([200, "one"]);
		await answer.text();
	});

	test("the second, which could not even be asked: the first answers, and the call is booked as the first's", async () => {
		first.run(late(300, good));
		const providers = { anthropic: { api_key: "anthropic-key-for-tests", base_url: second.origin } };
		// Claude takes no temperature above 1.
		const targets = ["one/a", "anthropic/claude-sonnet-4-5"];
		const answer = await hedging({ providers, alias: { targets } }).send({ ...call, temperature: 1.5 });
		expect([answer.status, answer.headers.get("x-router-provider")]).toEqual([200, "one"]);
		await answer.text();
		const [settled] = await router.settledCalls(1);
		expect(settled).toMatchObject({ provider: "one", target: "one/a", attempts: 1 });
		expect(second.received).toHaveLength(0);
	});

	test("and so does the other: the failure is told", async () => {
		first.run(late(80, answers("404 Not Found", "{}")));
		second.run(answers("404 Not Found", "{}"));
		expect((await hedging().send(call)).status).toBe(404);
		expect(closed()).toEqual(["one/a not_found", "two/b not_found"]);
	});
});

describe("no second target is asked", () => {
	const slow = () => first.run(late(120, good));
	test.each([
		["fewer than twenty calls are known of the target", { known: 19 }],
		["fewer than twenty calls came before", { calls: 19 }],
		["the alias does not say so", { alias: { hedge: false } }],
		["it is not late", { usualMs: 2_000 }],
		["there is none", { alias: { targets: ["one/a"] } }],
	])("where %s", async (_, options) => {
		slow();
		await (await hedging(options).send(call)).text();
		expect(second.received).toBeEmpty();
	});

	test("for a whole answer", async () => {
		first.run(
			late(
				120,
				answers(
					"200 OK",
					'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}',
				),
			),
		);
		expect((await hedging().send({ ...call, stream: false })).status).toBe(200);
		expect(second.received).toBeEmpty();
	});

	test("where another thread has taken the last place of the model meanwhile", async () => {
		slow();
		const { send, context } = hedging({ alias: { concurrency: 5 } });
		const queue = context.state.queue("fast", { concurrency: 5, size: 5 });
		let asked = 0;
		const arrived = first.next();
		const answer = send(call);
		await arrived;
		queue.enterNow = () => {
			asked++;
			return undefined;
		};
		await (await answer).text();
		expect([asked > 0, second.received.length]).toEqual([true, 0]);
	});

	test("before there is a place for it again, which costs the budget nothing", async () => {
		first.run(late(5_000, good));
		const { send, context } = hedging({ alias: { concurrency: 5 } });
		const queue = context.state.queue("fast", { concurrency: 5, size: 5 });
		const enterNow = queue.enterNow.bind(queue);
		const arrived = first.next();
		const answer = send(call);
		await arrived;
		let asked = 0;
		queue.enterNow = () => (++asked < 3 ? undefined : enterNow());
		expect((await answer).headers.get("x-router-provider")).toBe("two");
		await (await answer).text();
		expect([asked, context.state.hedges("fast").take()]).toEqual([3, false]);
	});

	test("twice: the next twenty calls have to come first", async () => {
		slow();
		const twice = hedging();
		await (await twice.send(call)).text();
		second.run(good);
		await (await twice.send(call)).text();
		expect(second.received).toBeEmpty();
	});
});

test("a client that leaves ends both", async () => {
	first.run(neverAnswers);
	second.run(neverAnswers);
	const [one, two] = [first.next(), second.next()];
	const client = new AbortController();
	const answer = hedging().send(call, { signal: client.signal });
	await Promise.all([one, two]);
	client.abort();
	expect((await answer).status).toBe(499);
	await Promise.all([(await one).closed, (await two).closed]);
	expect(closed()).toEqual(["one/a cancelled", "two/b cancelled"]);
});
