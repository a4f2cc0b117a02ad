/** Keys of providers, as several threads of one process use them together. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { Failure } from "../src/providers/failure.ts";
import type { Provider, Target } from "../src/providers/provider.ts";
import { OUT_MS } from "../src/proxy/key-rotation.ts";
import { makeKeys, SharedKeyRotation } from "../src/proxy/shared-key-rotation.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { providerWith } from "./kit/key-kinds.ts";
import type { KeyJob, TakenKeys } from "./kit/key-worker.ts";
import { until } from "./kit/until.ts";
import { callOnce, outcomesOf, startHere, twoWorkers } from "./kit/worker-router.ts";

const KEYS = ["one", "two", "three"];
const refused: Failure = { kind: "auth", status: 401, message: "no" };
const at = (provider: Provider) => ({ id: "p/m", model: "m", provider }) as Target;

function threads() {
	const memory = makeKeys();
	return [1, 2].map((thread) => new SharedKeyRotation(memory, thread, 0, () => 0)) as [
		SharedKeyRotation,
		SharedKeyRotation,
	];
}

describe("a key that one thread was refused with", () => {
	test("is out of use in all, whichever objects they know its provider by", () => {
		const [one, two] = threads();
		expect([one.hasRefusals, two.hasRefusals]).toEqual([false, false]);
		const account = one.take(at(providerWith("p", ["a"])), [], true);
		one.ended(at(providerWith("p", ["a"])), account, refused);
		const target = at(providerWith("p", ["a"]));
		expect([two.hasRefusals, two.outOfUseMs(target)! > OUT_MS - 10_000]).toEqual([true, true]);
		expect(() => two.take(target, [], false)).toThrow("refused the router's key");
		expect([...two.outOfUse([{ provider: target.provider }])]).toEqual([["p", 1]]);
	});

	test("is not held against another key of that provider, or another provider with that key", () => {
		const [one, two] = threads();
		one.ended(at(providerWith("p", ["a"])), { index: 0, isProbe: false }, refused);
		for (const other of [providerWith("p", ["put right"]), providerWith("q", ["a"])]) {
			expect(two.outOfUseMs(at(other))).toBeUndefined();
		}
	});

	test("is tried again in all once another configuration is in force", () => {
		const [one, two] = threads();
		const target = at(providerWith("p", ["a", "b"]));
		for (const index of [0, 1]) two.ended(target, { index, isProbe: false }, refused);
		expect(one.outOfUseMs(target)).toBeGreaterThan(0);
		one.forget();
		expect([one, two].map((each) => [each.hasRefusals, each.outOfUseMs(target)])).toEqual([
			[false, undefined],
			[false, undefined],
		]);
		expect(two.take(target, [], false).isProbe).toBe(false);
	});

	test("is found to be good by one call, and in use again in all", () => {
		const [one, two] = threads();
		const [ours, theirs] = [one, two].map((each) => each.accountsOf(providerWith("p", ["a"]), 1));
		ours!.ended({ index: 0, isProbe: false }, "m", refused, 0);
		const probe = theirs!.take("m", OUT_MS)!;
		expect([probe, ours!.take("m", OUT_MS)]).toEqual([{ index: 0, isProbe: true }, undefined]);
		theirs!.ended(probe, "m", undefined, OUT_MS + 5);
		expect(ours!.take("m", OUT_MS + 5)).toEqual({ index: 0, isProbe: false });
		expect([one.hasRefusals, two.hasRefusals]).toEqual([false, false]);
	});
});

describe("four workers at once", () => {
	let workers: Worker[];
	beforeAll(() => {
		workers = [1, 2, 3, 4].map(() => new Worker(new URL("./kit/key-worker.ts", import.meta.url)));
	});
	afterAll(() => {
		for (const worker of workers) worker.terminate();
	});
	const all = (job: Omit<KeyJob, "thread">): Promise<TakenKeys[]> =>
		Promise.all(
			workers.map((worker, index) => {
				const { promise, resolve } = Promise.withResolvers<TakenKeys>();
				worker.onmessage = ({ data }) => resolve(data);
				worker.postMessage({ ...job, thread: index + 1 } satisfies KeyJob);
				return promise;
			}),
		);
	const sums = (taken: readonly TakenKeys[]) =>
		KEYS.map((_, key) => taken.reduce((sum, { counts }) => sum + counts[key]!, 0));

	test("take keys in turn, exactly", async () => {
		const taken = await all({ memory: makeKeys(), keys: KEYS, rounds: 30_000, now: 0 });
		expect(sums(taken)).toEqual([40_000, 40_000, 40_000]);
	});

	test("find out by one call whether a refused key is good again", async () => {
		const memory = makeKeys();
		const accounts = new SharedKeyRotation(memory, 0, 0, () => 0).accountsOf(providerWith("p", KEYS), KEYS.length);
		accounts.ended({ index: 1, isProbe: false }, "m", refused, 0);
		const taken = await all({ memory, keys: KEYS, rounds: 5_000, now: OUT_MS });
		expect(taken.reduce((sum, { probes }) => sum + probes, 0)).toBe(1);
		expect(sums(taken)[1]).toBe(1);
	});
});

describe("a router of workers", () => {
	const stops: (() => unknown)[] = [];
	afterEach(async () => {
		for (const stop of stops.splice(0).reverse()) await stop();
	});

	/** A provider of three keys, the first of which is refused. */
	function refusing() {
		const ok = answers(
			"200 OK",
			'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}',
		);
		const keyOf = (headers: Headers) => headers.get("authorization")!.replace("Bearer ", "");
		const upstream = startFaultUpstream((connection) =>
			(keyOf(connection.request.headers) === "sk-number-one" ? answers("401 Unauthorized", "{}") : ok)(connection),
		);
		stops.push(() => upstream.stop());
		const api_keys = ["sk-number-one", "sk-number-two", "sk-number-three"];
		const provider = { type: "openai-compatible", base_url: upstream.origin, api_keys };
		/** How often it was asked with one of them. */
		const asked = (at: number) => upstream.received.filter(({ headers }) => keyOf(headers) === api_keys[at]).length;
		return { upstream, provider, asked };
	}

	test("asks with a refused key once, over however many connections calls come", async () => {
		const { provider, asked } = refusing();
		const router = await startHere(twoWorkers({ providers: { p: provider } }));
		stops.push(() => router.stop());
		await (await callOnce(router.url, { model: "p/m" })).text();
		expect(await outcomesOf(router.url, 20, { model: "p/m" })).toEqual(Array(20).fill(200));
		expect([asked(0), asked(1) + asked(2)]).toEqual([1, 21]);
		const text = await (await fetch(`${router.url}/metrics`)).text();
		expect(text).toContain('router_keys_out_of_use{provider="p"} 1');
	});

	test.each([1, 2])(
		"asks again with a refused key once its configuration is read anew, with %i of them",
		async (workers) => {
			const { upstream, provider, asked } = refusing();
			const config = twoWorkers({ providers: { p: provider } }, { workers });
			const router = await startHere(config);
			stops.push(() => router.stop());
			const ask = async () => void (await (await callOnce(router.url, { model: "p/m" })).text());
			for (let call = 0; call < 8; call++) await ask();
			expect([asked(0), upstream.received.length]).toEqual([1, 9]);
			router.write({ ...config, prices: { "p/*": { input: 1, output: 1 } } });
			process.kill(process.pid, "SIGHUP");
			await until(async () => {
				await ask();
				return asked(0) === 2;
			}, "another call with the key");
		},
	);
});
