/** A call that waits for an engine that died of it: what it takes from others meanwhile. */
import { afterEach, describe, expect, test } from "bun:test";
import type { Call } from "../src/openai/call.ts";
import type { AttemptRecord, CallRecord } from "../src/proxy/call-record.ts";
import { findBack } from "../src/proxy/engine-health.ts";
import type { Pause } from "../src/proxy/pause.ts";
import { ProxyState } from "../src/proxy/proxy-state.ts";
import { TriedTarget } from "../src/proxy/retry.ts";
import type { Failed } from "../src/proxy/round.ts";
import { SuspectCall } from "../src/proxy/suspect-call.ts";
import { Suspects } from "../src/proxy/suspects.ts";
import type { RouteTarget } from "../src/routing/route.ts";
import { fleet, say, stopEngines } from "./kit/scripted-engines.ts";
import { until } from "./kit/until.ts";

afterEach(stopEngines);

/** A call whose only engine has died, which is asked how it is. */
async function suspected() {
	const { router, engines } = fleet(1);
	const engine = engines[0]!;
	const call = say(router, "x");
	await until(() => engine.held.length === 1);
	engine.die();
	await until(() => engine.asked > 0, "a question how it is");
	return { engine, retries: router.context.state.retries, call };
}

describe("a suspected call whose engine is busy once it is back", () => {
	test("is made again only within the budget of retries", async () => {
		const { engine, retries, call } = await suspected();
		let hasBudget = false;
		let asked = 0;
		retries.has = () => {
			asked++;
			return hasBudget;
		};
		let spent = 0;
		retries.spend = () => ++spent > 0;
		engine.busy(true);
		engine.restart();
		await until(() => engine.refused === 1, "the trial");
		engine.busy(false);
		await until(() => asked >= 3, "a look at the budget");
		expect([engine.refused, engine.held.length, spent]).toEqual([1, 0, 0]);
		hasBudget = true;
		(await engine.next("x")).answer();
		expect((await call).status).toBe(200);
		expect(spent).toBe(1);
	});
});

test("a suspected call is not made again where another thread has spent what was left of retries", async () => {
	const { engine, retries, call } = await suspected();
	let isLeft = false;
	let refused = 0;
	retries.has = () => true;
	retries.spend = () => {
		if (!isLeft) refused++;
		return isLeft;
	};
	engine.busy(true);
	engine.restart();
	await until(() => engine.refused === 1, "the trial");
	engine.busy(false);
	await until(() => refused >= 2, "two refusals");
	expect([engine.refused, engine.held.length]).toEqual([1, 0]);
	isLeft = true;
	(await engine.next("x")).answer();
	expect((await call).status).toBe(200);
});

describe("a suspected call that waits", () => {
	test("leaves its place among the calls that its model has at once to others, and takes one again", async () => {
		const models = [{ name: "n", targets: ["box0/model"] }];
		const { router, engines } = fleet(2, { alias: { concurrency: 1, queue: 5 }, models });
		const [first, second] = engines;
		const suspect = say(router, "x");
		await until(() => first!.held.length === 1);
		first!.die();
		await until(() => first!.asked > 0, "a question how it is");
		const other = say(router, "y");
		const running = await second!.next("y");
		const another = say(router, "z");
		first!.restart();
		const queue = router.context.state.queue("m", { concurrency: 1, size: 5 });
		await until(() => queue.waiting === 2, "both to wait for a place");
		expect(first!.held.length).toBe(0);
		running.answer();
		expect((await other).status).toBe(200);
		(await first!.next("x")).answer();
		expect((await suspect).status).toBe(200);
		await until(() => first!.held.length + second!.held.length === 1, "the call that waited behind both");
		(await (first!.held.length === 1 ? first : second)!.next("z")).answer();
		expect((await another).status).toBe(200);
	});
});

describe("an engine that is back within seconds", () => {
	test("and dies of the next call is found to have died of that one", async () => {
		const { router, engines } = fleet(1);
		const [engine] = engines;
		const client = new AbortController();
		const first = say(router, "x", { signal: client.signal });
		await until(() => engine!.held.length === 1);
		engine!.die();
		await until(() => engine!.asked > 0, "a question how it is");
		client.abort();
		expect((await first).status).toBe(499);
		engine!.restart();
		const call = say(router, "y");
		const running = await engine!.next("y");
		engine!.die();
		running.answer(true);
		await until(() => router.attempts.length === 2);
		engine!.restart();
		(await engine!.next("y")).answer();
		expect((await call).status).toBe(200);
	});
});

describe("a call made by a name that leads to other engines than the one that died of it", () => {
	test("waits for that one, and is tried where it may go once that is left", async () => {
		const models = [{ name: "n", targets: ["box1/model"] }];
		const { router, engines } = fleet(2, { models });
		const [first, second] = engines;
		const client = new AbortController();
		const cause = say(router, "x", { signal: client.signal });
		await until(() => first!.held.length === 1);
		first!.die();
		await until(() => first!.asked > 0, "a question how it is");
		client.abort();
		expect((await cause).status).toBe(499);
		const asked = first!.asked;
		const again = say(router, "x", { model: "n" });
		await until(() => first!.asked > asked, "a question how it is");
		expect(second!.held.length).toBe(0);
		first!.restart();
		(await second!.next("x")).answer();
		expect((await again).status).toBe(200);
	});
});

describe("a call that an agent's engine died of by the name of a LoRA adapter", () => {
	test("is suspected by its model's name, too, and tried alone in the engine that both share", async () => {
		const { state } = fleet(1).router.context;
		const provider = { name: "local", reportsLoading: true };
		const suspectOf = (target: object) => {
			const call = { id: "req", operation: "chat", startedAt: 0, facts: { canonical: () => "the same" } };
			const tried = [new TriedTarget({ kind: "local", provider, ...target } as RouteTarget, state.keys)];
			return new SuspectCall({
				call: call as unknown as Call,
				tried,
				state,
				record: { atEnd: () => undefined, waitedMs: 0 } as unknown as CallRecord,
				pause: { isOver: false, until: async () => false } as unknown as Pause,
				slot: undefined,
				until: () => performance.now() + 60_000,
			});
		};
		const adapter = { id: "local/gpu/sql", model: "sql", parent: "base", engine: "local/gpu/base" };
		const model = { id: "local/gpu/base", model: "base" };
		const record = { startedAt: performance.now() } as AttemptRecord;
		const failure = { kind: "engine_died", message: "" } as const;
		const first = suspectOf(adapter);
		first.failed(
			{ target: { kind: "local", provider, ...adapter } as RouteTarget, record, hasTokens: false },
			failure,
			"engine_died",
		);
		expect(first.isSuspect).toBe(true);
		const again = suspectOf(model);
		expect(await again.admit(0)).toBe(0);
		expect(again.isSuspect).toBe(true);
		const other = { ...adapter, id: "local/gpu/chat", model: "chat" };
		expect(suspectOf(other).isKeptFrom(other as RouteTarget)).toBe(true);
	});

	test.each([
		["the adapter", "local/gpu/sql"],
		["its model", "local/gpu/base"],
	])("leaves that engine dead for a call of %s, until one is answered", async (_, id) => {
		const { state } = fleet(1).router.context;
		const engine = "local/gpu/base";
		const target = { kind: "local", provider: { name: "local" }, id, model: "m", engine } as RouteTarget;
		const death = { startedAt: performance.now(), fingerprint: "f", model: "base", call: "req", hasTokens: false };
		state.suspects.died({ ...death, engine, turn: undefined, wasWell: true });
		state.targets.opened("local/gpu/sql", false).closed({ failure: "engine_died" });
		await findBack([engine], [{ target }], state);
		expect(state.suspects.isDead(engine)).toBe(true);
	});
});

test("a suspected call whose engine asks for more time than it has is told so at once", async () => {
	const { state } = fleet(1).router.context;
	const target = { kind: "local", provider: { name: "local", reportsLoading: true }, id: "local/m", model: "m" };
	const call = { id: "req", operation: "chat", startedAt: 0, facts: { canonical: () => "the same" } };
	const until = () => performance.now() + 60_000;
	const wait = () => Promise.reject(new Error("it waits"));
	const suspect = new SuspectCall({
		call: call as unknown as Call,
		tried: [new TriedTarget(target as RouteTarget, state.keys)],
		state,
		record: { atEnd: () => undefined, waitedMs: 0 } as unknown as CallRecord,
		pause: { isOver: false, until: wait } as unknown as Pause,
		slot: undefined,
		until,
	});
	const record = { startedAt: performance.now() } as AttemptRecord;
	const died = { kind: "engine_died", message: "" } as const;
	suspect.failed({ target: target as RouteTarget, record, hasTokens: false }, died, "engine_died");
	const asksFor = (retryAfterMs: number) => {
		const failure = { kind: "overloaded", message: "", retryAfterMs } as const;
		return suspect.next({ index: 0, failure } as unknown as Failed);
	};
	await expect(asksFor(30_000)).rejects.toThrow("it waits");
	await expect(asksFor(600_000)).rejects.toMatchObject({ errorCode: "engine_died", headers: { "retry-after": "600" } });
});

test.each([
	[1, "the engine that died stays lost, and one alone would be the last"],
	[2, "a second one would be left"],
])("a suspected call whose engine is lost looks for those that came since: %d came, so that %s", async (came) => {
	let now = 0;
	const state = new ProxyState({ suspects: new Suspects(() => now) });
	const transport = { send: () => Promise.reject(new Error("away")) };
	const provider = { name: "local", transport, healthRequest: () => ({}) } as unknown as RouteTarget["provider"];
	const engine = (id: string): RouteTarget => ({ kind: "local", provider, id, model: "m" });
	const first = engine("local/a/m");
	const tried = [new TriedTarget(first, state.keys)];
	const late = () => {
		if (tried.length > 1) return [];
		const targets = ["local/b/m", "local/c/m"].slice(0, came).map(engine);
		tried.push(...targets.map((target) => new TriedTarget(target, state.keys)));
		return targets;
	};
	const suspect = new SuspectCall({
		call: {
			id: "req",
			operation: "chat",
			startedAt: 0,
			stream: false,
			facts: { canonical: () => "it" },
		} as unknown as Call,
		tried,
		state,
		record: { atEnd: () => undefined, waitedMs: 0 } as unknown as CallRecord,
		pause: { isOver: false, until: async () => undefined } as unknown as Pause,
		slot: undefined,
		until: () => performance.now() + 60_000,
		late,
	});
	const record = { startedAt: performance.now() } as AttemptRecord;
	const died = { kind: "engine_died", message: "" } as const;
	suspect.failed({ target: first, record, hasTokens: false }, died, "engine_died");
	now = 3_600_000;
	const next = suspect.next({ index: 0, failure: died } as unknown as Failed);
	if (came === 2) expect(await next).toBe(1);
	else await expect(next).rejects.toMatchObject({ errorCode: "engine_died" });
});

test("of calls that an engine died under in the same moment one is tried at a time, though there are two others", async () => {
	const { state } = fleet(1).router.context;
	const box = (at: number) => {
		return { id: `box${at}/m`, model: "m", kind: "local", provider: { name: `box${at}` } } as RouteTarget;
	};
	let waiting = 0;
	const suspectOf = (content: string) => {
		const call = { id: content, operation: "chat", startedAt: 0, facts: { canonical: () => content } };
		return new SuspectCall({
			call: call as unknown as Call,
			tried: [0, 1, 2].map((at) => new TriedTarget(box(at), state.keys)),
			state,
			record: { atEnd: () => undefined, waitedMs: 0 } as unknown as CallRecord,
			pause: {
				isOver: false,
				until: () => {
					waiting++;
					return new Promise(() => {});
				},
			} as unknown as Pause,
			slot: undefined,
			until: () => performance.now() + 60_000,
		});
	};
	const failure = { kind: "engine_died", message: "" } as const;
	const record = { startedAt: performance.now() } as AttemptRecord;
	const calls = ["x", "y", "z"].map(suspectOf);
	for (const each of calls) each.failed({ target: box(0), record, hasTokens: false }, failure, "engine_died");
	const error = new Error() as never;
	const tried: number[] = [];
	for (const each of calls) {
		void each.next({ index: 0, failure, error, wasNotTried: false }).then((at) => tried.push(at!));
	}
	await until(() => tried.length + waiting === 3);
	expect([tried, waiting]).toEqual([[1], 2]);
});
