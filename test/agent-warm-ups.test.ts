/** New replicas compute ahead what calls begin with: when, how much, what ends it, and that calls find it in their prefix caches. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { type WarmUpEnd, type WarmUpItem, type WarmUpOptions, WarmUps } from "../src/agent/models/warm-ups.ts";
import { HotPrefixes } from "../src/agent/vllm/hot-prefixes.ts";
import { httpTransport } from "../src/proxy/net/transport.ts";
import { until } from "./kit/until.ts";
import { type Sim, startSim } from "./kit/vllm-sim-process.ts";

const MODEL = "Qwen/Qwen3-0.6B";
const http = httpTransport({});
/** Tokens that calls begin with, by their numbers. */
const tokensOf = (seed: number, count: number) =>
	Array.from({ length: count }, (_, at) => (seed * 7919 + at) % 150_000);
const SHARED = [tokensOf(1, 1_600), tokensOf(2, 800)];

let sim: Sim;
beforeAll(async () => {
	sim = await startSim({ args: ["--enable-prompt-tokens-details", "--max-model-len", "8192"] });
}, 60_000);
afterAll(() => sim?.stop());

let begun: WarmUps[];
/** What was computed before is not known any more. */
let asked: number;
beforeEach(async () => {
	begun = [];
	asked = await sim.metric("vllm:prompt_tokens_total");
});
afterEach(async () => {
	for (const each of begun) each.end();
	await sim.control({ hang: false });
	await idle();
});
const idle = () => until(async () => (await sim.metric("vllm:num_requests_running")) === 0, "an idle engine");
const computed = async () => (await sim.metric("vllm:prompt_tokens_total")) - asked;

/** An agent of a model with two replicas, of which the second is new. */
function agent(over: Partial<WarmUpOptions> = {}) {
	const hot = new HotPrefixes();
	for (const [at, tokens] of SHARED.entries()) {
		const blocks = Int32Array.from(tokensOf(at + 10, tokens.length / 80));
		const ends = Array.from(blocks, (_, block) => (block + 1) * 80);
		// The first is called more often.
		for (let times = 0; times < 5 - at; times++) {
			hot.see({ blocks }, 0);
			hot.learn({ blocks, tokens, ends }, 0);
		}
	}
	const state = { waiting: 0, running: 0, serving: new Set(["m#0"]), rooms: [] as number[], forgotten: 0 };
	const ends: WarmUpEnd[] = [];
	const lines: string[] = [];
	let ticks = 0;
	const logger = { info: (_: unknown, line: string) => void lines.push(line) };
	const warmUps = new WarmUps({
		prefixes: {
			hottest(_, room) {
				state.rooms.push(room);
				return hot.hottest(room, 0);
			},
			forgetTokens: () => state.forgotten++,
		},
		traffic: { waiting: () => ({ count: state.waiting }), runningIn: () => state.running },
		mostMs: 60_000,
		isServing: (key) => state.serving.has(key),
		weightsOf: () => "org/weights",
		ended: (end) => void ends.push(end),
		log: { logger } as never,
		tick: { notify: () => void ticks++ },
		...over,
	});
	begun.push(warmUps);
	const item = (replica: number, more: Partial<WarmUpItem> = {}): WarmUpItem => ({
		...{ id: `c${replica}`, model: MODEL, key: `m#${replica}`, state: "running", health: "up" },
		vllm: { origin: sim.origin, http },
		monitor: { readyAt: 1 + replica, metrics: undefined },
		...more,
	});
	const old = item(0);
	return {
		...{ warmUps, state, ends, lines, item, ticks: () => ticks },
		/** The first replica has served for a while. */
		serves: () => warmUps.step([{ ...old, monitor: { readyAt: undefined, metrics: undefined } }]),
		step: (...items: WarmUpItem[]) => warmUps.step(items),
		/** Those that take no calls. */
		held: (...items: WarmUpItem[]) => warmUps.marked(items).flatMap((each) => (each.isWarming ? [each.id] : [])),
		old: { ...old, monitor: { readyAt: undefined, metrics: undefined } } as WarmUpItem,
		ended: () => until(() => ends.length > 0, "its end"),
	};
}

describe("a new replica computes nothing ahead", () => {
	test.each<[string, (one: ReturnType<typeof agent>) => void, Partial<WarmUpOptions>]>([
		["where that is switched off", () => undefined, { mostMs: 0 }],
		["while calls of its model wait", ({ state }) => void Object.assign(state, { waiting: 1 }), {}],
		["where it has a call already", ({ state }) => void Object.assign(state, { running: 1 }), {}],
		["of other weights than those that calls were made of tokens for", () => undefined, { weightsOf: (key) => key }],
		["where calls have nothing in common", () => undefined, { prefixes: { hottest: () => [], forgetTokens: () => 0 } }],
	])("%s", async (_, make, over) => {
		const one = agent(over);
		one.serves();
		make(one);
		one.step(one.old, one.item(1));
		expect(one.held(one.old, one.item(1))).toEqual([]);
		make({ ...one, state: Object.assign(one.state, { waiting: 0, running: 0 }) });
		one.step(one.old, one.item(1));
		expect([one.ends, await computed()]).toEqual([[], 0]);
	});

	test("where nobody knows what calls begin with, which is told once", async () => {
		const one = agent({ prefixes: { hottest: () => undefined, forgetTokens: () => 0 } });
		one.serves();
		for (const replica of [1, 2]) one.step(one.old, one.item(replica));
		expect(one.held(one.item(1))).toEqual([]);
		expect(one.lines).toHaveLength(1);
		expect(one.lines[0]).toContain("agent.kv_events");
		expect(await computed()).toBe(0);
	});

	test("with the agent's first list: what runs already has its cache", async () => {
		const one = agent();
		one.state.serving.clear();
		one.step(one.item(0), one.item(1));
		expect([one.held(one.item(0), one.item(1)), one.state.rooms]).toEqual([[], []]);
	});
});

describe("a warm-up ends at once", () => {
	/** One that is under way, and gets no further. */
	async function underWay(over: Partial<WarmUpOptions> = {}, serving = ["m#0"]) {
		const one = agent(over);
		one.serves();
		one.state.serving = new Set(serving);
		await sim.control({ hang: true });
		one.step(one.old, one.item(1));
		return one;
	}
	const arrived = () =>
		until(
			async () => (await sim.metric("vllm:num_requests_waiting")) + (await sim.metric("vllm:num_requests_running")) > 0,
			"its first prompt",
		);

	test("when the replica is given a call, and its engine gives the prompt up", async () => {
		const one = await underWay({}, []);
		await arrived();
		expect(one.held(one.item(1))).toEqual([]);
		one.warmUps.given("c1");
		await one.ended();
		expect(one.ends).toEqual([{ model: MODEL, result: "calls", tokens: 0, ms: expect.any(Number) }]);
		await until(
			async () =>
				(await sim.metric("vllm:num_requests_waiting")) + (await sim.metric("vllm:num_requests_running")) === 0,
			"an abort",
		);
	});

	test.each<[string, (one: Awaited<ReturnType<typeof underWay>>) => WarmUpItem[]]>([
		[
			"when calls wait for the model at the agent",
			(one) => {
				one.state.waiting = 1;
				return [one.old, one.item(1)];
			},
		],
		[
			"when calls wait in the engine of another replica",
			(one) => [
				{ ...one.old, monitor: { readyAt: undefined, metrics: { running: 9, waiting: 1, tokens: 0 } } },
				one.item(1),
			],
		],
	])("%s, and the replica takes calls", async (_, then) => {
		const one = await underWay();
		expect(one.held(one.old, one.item(1))).toEqual(["c1"]);
		const items = then(one);
		one.step(...items);
		expect([one.held(...items), one.ticks()]).toEqual([[], 1]);
		await one.ended();
		expect(one.ends[0]!.result).toBe("calls");
	});

	test("not for its own prompt, which waits in its engine like any other", async () => {
		const one = await underWay();
		const metrics = { running: 0, waiting: 1, tokens: 0 };
		const its = one.item(1, { monitor: { readyAt: 2, metrics } });
		one.step(one.old, its);
		expect([one.held(one.old, its), one.ends]).toEqual([["c1"], []]);
	});

	test("when its time is over", async () => {
		const one = await underWay({ mostMs: 30 });
		await one.ended();
		expect([one.held(one.item(1)), one.ends[0]!.result]).toEqual([[], "time"]);
	});

	test("when its container is gone, and what it may have died of is forgotten", async () => {
		const one = await underWay();
		one.step(one.old);
		await one.ended();
		expect([one.ends[0]!.result, one.state.forgotten]).toEqual(["failed", 1]);
	});

	test("where the engine refuses, and calls go there", async () => {
		const one = agent();
		one.serves();
		one.step(one.old, one.item(1, { model: MODEL, vllm: { origin: `${sim.origin}/nothing`, http } }));
		await one.ended();
		expect([one.ends[0]!.result, one.held(one.item(1))]).toEqual(["failed", []]);
	});

	test("before its engine is put to sleep, which waits until the prompt is given up", async () => {
		const one = await underWay();
		await arrived();
		await one.warmUps.stopped("c1");
		expect(one.ends[0]!.result).toBe("asleep");
		await one.warmUps.stopped("c1");
		await one.warmUps.stopped("another");
		expect(one.ends).toHaveLength(1);
	});

	test("for those who wait: it is held back no longer than others serve, and goes on until its first call", async () => {
		const one = await underWay();
		one.state.serving.clear();
		one.step(one.old, one.item(1));
		expect([one.held(one.item(1)), one.ends]).toEqual([[], []]);
		await sim.control({ hang: false });
		await one.ended();
		expect(one.ends[0]).toMatchObject({ result: "whole", tokens: 2_400 });
	});
});

test("a new replica has what calls begin with in its cache before it takes any, the hottest of it, and not twice", async () => {
	await using fresh = await startSim({ args: ["--enable-prompt-tokens-details", "--max-model-len", "8192"] });
	const one = agent();
	one.serves();
	const metrics = { running: 0, waiting: 0, tokens: 0, kvTokens: 8_000 };
	const its = one.item(1, { vllm: { origin: fresh.origin, http }, monitor: { readyAt: 2, metrics } });
	one.step(one.old, its);
	expect(one.held(one.old, its)).toEqual(["c1"]);
	await one.ended();
	expect(one.held(one.old, its)).toEqual([]);
	one.step(one.old, its);
	// A quarter of its cache: all of the first, of the second five of its blocks of 80.
	expect([one.state.rooms, one.ends.length, one.ends[0]!.result, one.ends[0]!.tokens]).toEqual([
		[2_000],
		1,
		"whole",
		2_000,
	]);
	const cached = async (tokens: readonly number[]) => {
		const body = JSON.stringify({ model: MODEL, prompt: [...tokens, 5], max_tokens: 1 });
		const headers = { "content-type": "application/json" };
		const answer = await fetch(`${fresh.origin}/v1/completions`, { method: "POST", headers, body });
		const { usage } = (await answer.json()) as { usage: { prompt_tokens_details: { cached_tokens: number } } };
		return usage.prompt_tokens_details.cached_tokens;
	};
	expect([await cached(SHARED[0]!), await cached(SHARED[1]!)]).toEqual([1_600, 400]);
	// It slept, which empties its cache.
	one.step(one.old, { ...its, monitor: { readyAt: 3, metrics } });
	await until(() => one.ends.length === 2, "another");
});

test("a prompt that the engine refuses, as it is too long there, is left out and the others are computed", async () => {
	const hottest = () =>
		[tokensOf(7, 9_000), SHARED[1]!].map((tokens) => ({ tokens: Uint32Array.from(tokens), calls: 3 }));
	const one = agent({ prefixes: { hottest, forgetTokens: () => 0 } });
	one.serves();
	one.step(one.old, one.item(1));
	await one.ended();
	expect(one.ends[0]).toMatchObject({ result: "whole", tokens: 800 });
});

test("tokens of weights that serve no more are forgotten", () => {
	let weights = "org/old";
	const one = agent({ weightsOf: () => weights });
	one.serves();
	expect(one.state.forgotten).toBe(0);
	weights = "org/new";
	one.serves();
	one.serves();
	expect(one.state.forgotten).toBe(1);
});
