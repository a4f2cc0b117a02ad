/** An engine that dies of one call among twenty: one is lost, of three two at most; every other call is whole, and the same call is refused. */
import { describe, expect, test } from "bun:test";
import {
	ANSWER_TOKENS,
	deathsOf,
	killUnderTwenty,
	POISON,
	poisonOf,
	startCall,
	startRestarted,
} from "./kit/killed-engines.ts";
import { startRouter } from "./kit/router.ts";
import { MODEL } from "./kit/vllm-sim-client.ts";

const SIM = {
	args: ["--max-num-seqs", "3"],
	env: { SIM_POISON: POISON, SIM_ANSWER_TOKENS: String(ANSWER_TOKENS), SIM_SPEED: "1", SIM_LINGER_MS: "300" },
};

async function startFleet(count: number) {
	const sims = await Promise.all(Array.from({ length: count }, () => startRestarted(SIM)));
	const boxes = sims.map(({ origin }, at) => [`box${at + 1}`, { type: "vllm", base_url: origin }] as const);
	const router = await startRouter({
		config: {
			providers: Object.fromEntries(boxes),
			models: [{ name: "m", targets: boxes.map(([name]) => `${name}/${MODEL}`) }],
			cache: { enabled: false },
		},
	});
	return {
		router,
		sims,
		async [Symbol.asyncDispose]() {
			await router.stop();
			await Promise.all(sims.map((sim) => sim.stop()));
		},
	};
}

describe.each([2, 3])("of %i vLLM servers", (count) => {
	test.each([true, false])(
		"one call kills one at most before it is refused (streamed: %p)",
		async (isStream) => {
			await using fleet = await startFleet(count);
			const { router, sims } = fleet;
			const died = () => Promise.all(sims.map((sim) => sim.accelerate(50)));
			const deaths = await killUnderTwenty({ router, model: "m", isStream, withTokens: 3 * count, died });
			expect(deaths.length).toBeLessThanOrEqual(count - 1);
			const again = startCall(router.url, "m", poisonOf(isStream), !isStream);
			expect(await again.ended).toMatchObject({ status: 422, code: "poisonous_request" });
			expect(await deathsOf(router)).toEqual(deaths);
			expect(await router.metric("router_poisonous_requests_total")).toBe(2);
			expect(router.output()).not.toContain(POISON);
		},
		60_000,
	);
});

test.each([true, false])(
	"behind another router, too (streamed: %p)",
	async (isStream) => {
		await using fleet = await startFleet(2);
		const { router: behind, sims } = fleet;
		const router = await startRouter({
			config: {
				providers: { inner: { type: "openai-compatible", base_url: behind.url } },
				models: [{ name: "outer", targets: ["inner/m"] }],
				cache: { enabled: false },
			},
		});
		try {
			const died = () => Promise.all(sims.map((sim) => sim.accelerate(50)));
			const deaths = await killUnderTwenty({ router, behind, model: "outer", isStream, withTokens: 6, died });
			expect(deaths.length).toBe(1);
			expect(await deathsOf(router)).toEqual([]);
		} finally {
			await router.stop();
		}
	},
	60_000,
);
