/** What calls cost that are passed on: by tokens, by the picture, the minute and the character, or unknown. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { AdmissionControl } from "../src/accounts/limits/admission.ts";
import { SlidingWindowLimiter } from "../src/accounts/limits/sliding-window.ts";
import { HardwareClocks } from "../src/accounts/usage/hardware-clocks.ts";
import { LearnedUsage } from "../src/accounts/usage/learned-usage.ts";
import { LocalSpend } from "../src/accounts/usage/local-spend.ts";
import { PriceBook } from "../src/accounts/usage/price-book.ts";
import { serveApi } from "./kit/api-server.ts";
import { clientError } from "./kit/contract.ts";
import { startPassingUpstream } from "./kit/passing-upstream.ts";
import { account, pipeline } from "./kit/pipeline.ts";

const upstream = startPassingUpstream();
const router = pipeline({
	config: {
		keys: [
			{ name: "all", key: "all-key-1" },
			{ name: "paid", key: "paid-key-1", budget: { usd: 5, per: "day" } },
			{ name: "poor", key: "poor-key-1", budget: { usd: 0.05, per: "day" } },
			{ name: "slow", key: "slow-key-1", rpm: 1 },
		],
		providers: {
			openai: { base_url: upstream.origin, api_key: "k", model_routing: false },
		},
		prices: {
			"openai/dall-e-3": { image: 0.04 },
			"openai/tts-1": { characters: 15 },
			"openai/gpt-4o-mini-tts": { input: 0.6, output: 12 },
			"openai/gpt-image-1": { input: 5, output: 40 },
		},
	},
});
const usage = {
	prices: new PriceBook(router.snapshot.config.prices),
	learned: new LearnedUsage(),
	clocks: new HardwareClocks(),
};
const spend = new LocalSpend({ spent: () => 0, spenders: () => [] });
const { limits } = router.snapshot.config;
const admission = new AdmissionControl({ limits, counters: { limiter: new SlidingWindowLimiter(), spend } });
account(router, usage, admission);
const server = serveApi(router);
afterAll(() => Promise.all([server.stop(), upstream.stop()]));
beforeEach(() => upstream.answer(() => Response.json({ created: 1 })));

const post = (path: string, body: object | FormData, key = "all") =>
	fetch(server.url + path, {
		method: "POST",
		headers: {
			authorization: `Bearer ${key}-key-1`,
			...(body instanceof FormData ? {} : { "content-type": "application/json" }),
		},
		body: body instanceof FormData ? body : JSON.stringify(body),
	});
async function settled(answer: Response) {
	await answer.arrayBuffer();
	return (await router.settledCalls(router.settled.length)).at(-1)!;
}
function recording(model: string, fields: Record<string, string> = {}): FormData {
	const form = new FormData();
	form.append("model", model);
	for (const [name, value] of Object.entries(fields)) form.append(name, value);
	form.append("file", new File(["sound"], "a.wav"));
	return form;
}

test("pictures have a price each, as many as were asked for", async () => {
	const { cost, bill } = await settled(await post("/v1/images/generations", { model: "dall-e-3", prompt: "x", n: 3 }));
	expect(cost).toBeCloseTo(0.12, 10);
	expect(bill?.source).toBe("prices");
});

test("pictures that are priced by tokens cost what their answer counts", async () => {
	upstream.answer(() =>
		Response.json({ data: [], usage: { input_tokens: 100, output_tokens: 1000, total_tokens: 1100 } }),
	);
	expect((await settled(await post("/v1/images/generations", { prompt: "x" }))).cost).toBeCloseTo(0.0405, 10);
});

test("a recording costs by the minute, as long as its answer says it was", async () => {
	upstream.answer(() => Response.json({ text: "Hi", usage: { type: "duration", seconds: 90 } }));
	const { cost, bill } = await settled(await post("/v1/audio/transcriptions", recording("whisper-1")));
	expect(cost).toBeCloseTo(0.009, 10);
	expect(bill?.source).toBe("list");
});

test("speech costs by its characters", async () => {
	upstream.answer(() => new Response("sound", { headers: { "content-type": "audio/mpeg" } }));
	const { cost } = await settled(
		await post("/v1/audio/speech", { model: "tts-1", input: "x".repeat(2000), voice: "a" }),
	);
	expect(cost).toBeCloseTo(0.03, 10);
});

test.each([
	["speech whose tokens nobody counts", "/v1/audio/speech", { model: "gpt-4o-mini-tts", input: "Hi", voice: "a" }],
	[
		"a recording whose length nobody says",
		"/v1/audio/transcriptions",
		recording("whisper-1", { response_format: "text" }),
	],
	["what has no price", "/v1/moderations", { input: "x" }],
])("the cost of %s is unknown, and counted as that", async (_, path, body) => {
	const { cost, bill } = await settled(await post(path, body));
	expect(cost).toBeUndefined();
	expect(bill?.source).toBe("none");
});

test.each([
	[
		"speech whose tokens nobody counts",
		"/v1/audio/speech",
		{ model: "gpt-4o-mini-tts", input: "Hi", voice: "a" },
		"model",
	],
	[
		"a recording whose length nobody says",
		"/v1/audio/transcriptions",
		recording("whisper-1", { response_format: "srt" }),
		"response_format",
	],
	["what has no price", "/v1/images/generations", { model: "dall-e-2", prompt: "x" }, "model"],
])("a key with a budget gets no %s", async (_, path, body, param) => {
	const refused = await post(path, body, "paid");
	expect(clientError(await refused.text())).toMatchObject({ code: "price_unknown", param });
	expect(upstream.received).toEqual([]);
});

test.each([
	["speech by the character", "/v1/audio/speech", { model: "tts-1", input: "Hi", voice: "a" }],
	["a recording by the minute", "/v1/audio/transcriptions", recording("whisper-1")],
	["a picture by its tokens", "/v1/images/generations", { model: "gpt-image-1", prompt: "x" }],
])("a key with a budget gets %s", async (_, path, body) => {
	expect((await post(path, body, "paid")).status).toBe(200);
});

test("a budget is spent by pictures as by anything else", async () => {
	const statuses: number[] = [];
	for (let call = 0; call < 3; call++) {
		const answer = await post("/v1/images/generations", { model: "dall-e-3", prompt: "x" }, "poor");
		statuses.push(answer.status);
		await answer.arrayBuffer();
	}
	expect(statuses).toEqual([200, 200, 429]);
});

test("a key's limit counts calls that are passed on", async () => {
	const first = await post("/v1/moderations", { input: "x" }, "slow");
	expect([first.status, first.headers.get("x-ratelimit-remaining-requests")]).toEqual([200, "0"]);
	const second = await post("/v1/moderations", { input: "x" }, "slow");
	expect(second.status).toBe(429);
	expect(clientError(await second.text()).code).toBe("rate_limit_exceeded");
	const files = await fetch(`${server.url}/v1/files`, { headers: { authorization: "Bearer slow-key-1" } });
	expect(files.status).toBe(429);
});
