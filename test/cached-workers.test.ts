/** A conversation stays with the key whose prompt cache has it, whichever worker its calls come to. */
import { afterAll, expect, test } from "bun:test";
import { MarkedConversation, shareCached, startCachingVendor } from "./kit/caching-vendor.ts";
import { callOnce, startHere, twoWorkers } from "./kit/worker-router.ts";

const vendors = [startCachingVendor(), startCachingVendor()] as const;
afterAll(() => {
	for (const vendor of vendors) vendor.stop();
});

test("20 conversations of 10 turns over six keys, each call over a connection of its own: 95 % at least", async () => {
	const api_keys = ["sk-1", "sk-2", "sk-3"];
	const router = await startHere(
		twoWorkers({
			providers: {
				claude: { type: "anthropic", base_url: vendors[0].origin, api_keys },
				gpt: { type: "openai", base_url: vendors[1].origin, api_keys },
			},
			models: [
				{
					name: "both",
					targets: [
						{ provider: "claude", model: "claude-sonnet-5", weight: 1 },
						{ provider: "gpt", model: "gpt-5-mini", weight: 1 },
					],
				},
			],
		}),
	);
	try {
		const conversations = Array.from({ length: 20 }, (_, at) => new MarkedConversation("both", `conversation ${at}`));
		for (let turn = 0; turn < 10; turn++) {
			const answers = conversations.map(async (each) => {
				const answer = await callOnce(router.url, each.next());
				await answer.text();
				return answer.status;
			});
			expect(new Set(await Promise.all(answers))).toEqual(new Set([200]));
		}
		const calls = vendors.flatMap((vendor) => vendor.calls);
		expect(calls.length).toBe(200);
		expect(shareCached(calls)).toBeGreaterThanOrEqual(0.95);
		for (const vendor of vendors) expect(new Set(vendor.calls.map(({ key }) => key)).size).toBeGreaterThan(1);
	} finally {
		await router.stop();
	}
}, 60_000);
