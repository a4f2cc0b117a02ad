/** An engine that dies of one call among twenty: one is lost, of three two at most; every other call is whole, and the same call is refused. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { expected, POISON, type RestartedSim, startCall, startRestarted } from "./kit/killed-engines.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";
import { MODEL } from "./kit/vllm-sim-client.ts";
import { type Sim, startSim } from "./kit/vllm-sim-process.ts";

/** Long enough that all calls are under way when the engine dies: some with tokens, others in its queue. */
const SIM = {
	args: ["--max-num-seqs", "4"],
	env: { SIM_POISON: POISON, SIM_ANSWER_TOKENS: "150", SIM_SPEED: "1", SIM_LINGER_MS: "300" },
};

let reference: Sim;
beforeAll(async () => {
	reference = await startSim({ env: { SIM_ANSWER_TOKENS: "150", SIM_SPEED: "100" } });
});
afterAll(async () => await reference?.stop());

interface Fleet {
	readonly router: RunningRouter;
	readonly sims: readonly RestartedSim[];
	/** Of each engine, as the router has counted them. */
	deaths(): Promise<number[]>;
	[Symbol.asyncDispose](): Promise<void>;
}

async function startFleet(count: number, settings: object = {}): Promise<Fleet> {
	const sims = await Promise.all(Array.from({ length: count }, () => startRestarted(SIM)));
	const boxes = sims.map(({ origin }, at) => [`box${at + 1}`, { type: "vllm", base_url: origin }] as const);
	const router = await startRouter({
		config: {
			providers: Object.fromEntries(boxes),
			models: [{ name: "m", targets: boxes.map(([name]) => `${name}/${MODEL}`), hedge: false }],
			cache: { enabled: false },
			...settings,
		},
	});
	return {
		router,
		sims,
		deaths: () =>
			Promise.all(boxes.map(([name]) => router.metric("router_engine_deaths_total", { target: `${name}/${MODEL}` }))),
		async [Symbol.asyncDispose]() {
			await router.stop();
			await Promise.all(sims.map((sim) => sim.stop()));
		},
	};
}

const inFlight = (router: RunningRouter) => router.metric("router_in_flight_requests");

describe.each([2, 3])("of %i engines", (count) => {
	test.each([true, false])(
		"one call kills one at most before it is refused (streamed: %p)",
		async (isStream) => {
			await using fleet = await startFleet(count);
			const { router, sims } = fleet;
			const calls = Array.from({ length: 19 }, (_, at) => startCall(router.url, "m", `question ${at}`, isStream));
			await until(async () => (await inFlight(router)) === 19, "19 calls under way");
			if (isStream) await until(() => calls.filter((each) => each.text() !== "").length >= 4 * count, "first tokens");
			const hadTokens = new Set(calls.filter((each) => each.text() !== "").map(({ content }) => content));
			const poison = startCall(router.url, "m", POISON, isStream);
			await until(async () => (await fleet.deaths()).some((each) => each > 0), "a death");
			for (const sim of sims) await sim.accelerate(50);
			expect(await poison.ended).toMatchObject({ status: 422, code: "poisonous_request" });
			for (const each of calls) {
				const { status, code, text } = await each.ended;
				if (status === 503 && !hadTokens.has(each.content)) expect(code).toBe("engine_died");
				else expect([status, code, text]).toEqual([200, undefined, await expected(reference, each.content)]);
			}
			if (isStream) expect(calls.filter(({ content }) => !hadTokens.has(content)).length).toBeGreaterThanOrEqual(3);
			const before = await fleet.deaths();
			expect(before.filter((each) => each > 0).length).toBeLessThanOrEqual(count - 1);
			const again = startCall(router.url, "m", POISON, !isStream);
			expect(await again.ended).toMatchObject({ status: 422, code: "poisonous_request" });
			expect(await fleet.deaths()).toEqual(before);
		},
		60_000,
	);
});
