/** What is remembered of models' files, and when it is asked for again. */
import { expect, test } from "bun:test";
import { ModelInfoCache } from "../src/agent/gpu/model-infos.ts";
import { HUB_MODELS, startHub } from "./kit/hugging-face.ts";

const QWEN = "Qwen/Qwen3-8B";
const WEIGHTS = HUB_MODELS[QWEN].shards.reduce((sum, size) => sum + size, 0);

test("a full disk is looked at again: what was freed counts, and a Hub that is away takes nothing back", async () => {
	await using hub = startHub();
	let now = 1_000_000;
	let free = 5;
	let isAway = false;
	let heard = Promise.withResolvers<void>();
	const infos = new ModelInfoCache(
		{
			cacheDir: "/nowhere",
			endpoint: hub.origin,
			get: async (url, headers) => {
				if (isAway) throw new Error("away");
				const answer = await fetch(url, { headers });
				return { status: answer.status, body: await answer.text() };
			},
		},
		{ notify: () => heard.resolve() },
		{ now: () => now, freeBytes: async () => free },
	);
	const spec = { name: "m", model: QWEN };
	/** What is said once all that was asked has been answered. */
	const after = async (ms: number) => {
		now += ms;
		heard = Promise.withResolvers();
		infos.get(spec, true);
		await heard.promise;
		return infos.get(spec, true);
	};
	expect(infos.get(spec, false)).toBeUndefined();
	await heard.promise;
	expect(infos.get(spec, true)).toMatchObject({ size: { weights: WEIGHTS, download: WEIGHTS }, freeDisk: 5 });

	free = 2 * WEIGHTS;
	expect(infos.get(spec, true)?.freeDisk).toBe(5);
	expect(await after(60_000)).toMatchObject({ size: { download: WEIGHTS }, freeDisk: free });

	isAway = true;
	free = 1;
	expect(await after(60_000)).toMatchObject({ size: { download: WEIGHTS }, freeDisk: 2 * WEIGHTS });
});
