/** Usage as clients get it: in one place, whichever chunks told it; estimated and marked where nobody counts; cached tokens billed as such. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { DONE, event } from "./kit/events.ts";
import { chunksOf, type ExchangeResponse, type Json, type Loose } from "./kit/exchange.ts";
import { type Replay, startReplay } from "./kit/replay.ts";
import { type ClientAnswer, post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const KEY = { authorization: "Bearer key-of-team-a" };
const ADMIN = { authorization: "Bearer admin-key-of-the-test" };
const RATES = { input: 10, output: 20, cached: 1 };

const base = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1_760_000_000, model: "m" };
const chunk = (content: string, more: Json = {}, choice: Json = {}) =>
	event({ ...base, choices: [{ index: 0, delta: { content }, finish_reason: null, ...choice }], ...more });
const finish = (more: Json = {}, choice: Json = {}) =>
	event({ ...base, choices: [{ index: 0, delta: {}, finish_reason: "stop", ...choice }], ...more });
const alone = (more: Json) => event({ ...base, choices: [], ...more });
const usage = (completion_tokens: number, more: Json = {}) => ({
	prompt_tokens: 100,
	completion_tokens,
	total_tokens: 100 + completion_tokens,
	...more,
});

describe("usage", () => {
	let replay: Replay;
	let router: RunningRouter;
	beforeAll(async () => {
		replay = startReplay();
		router = await startRouter({
			config: {
				providers: { box: { type: "openai-compatible", base_url: replay.origin } },
				prices: { "box/*": RATES },
				keys: [{ name: "team-a", key: "key-of-team-a" }],
				admin: { keys: [{ name: "ops", key: "admin-key-of-the-test" }] },
			},
		});
	});
	afterAll(async () => {
		await router.stop();
		await replay.stop();
	});

	let count = 0;
	const send = async (response: Partial<ExchangeResponse>, body: Json = {}, path = "chat/completions") => {
		const type = response.sse === undefined ? "application/json" : "text/event-stream";
		replay.play({ status: 200, headers: { "content-type": type }, ...response });
		// Another prompt each time: nothing may come from the cache.
		const prompt =
			path === "embeddings"
				? { input: `text ${count++}` }
				: { messages: [{ role: "user", content: `Hello ${count++}` }] };
		const answer = await post(`${router.url}/v1/${path}`, { model: "box/m", ...prompt, ...body }, KEY);
		expect(answer.status).toBe(200);
		return answer;
	};
	const stream = (sse: string, options: Json = { include_usage: true }, cut?: Json) =>
		send({ sse: sse + DONE, ...cut }, { stream: true, stream_options: options });
	const entryOf = async ({ headers }: ClientAnswer): Promise<Loose> =>
		(await (
			await fetch(`${router.url}/admin/calls/${headers.get("x-request-id")}`, { headers: ADMIN })
		).json()) as Loose;
	const said = (text: string) =>
		(chunksOf(text) as Loose[]).map(({ choices }) => choices[0]?.delta?.content ?? "").join("");
	const withUsage = (text: string) => (chunksOf(text) as Loose[]).filter(({ usage: told }) => told !== undefined);
	const comment = (text: string): Loose => JSON.parse(/^: router (\{.*\})$/m.exec(text)![1]!);

	const merged: [string, string][] = [
		[
			"each chunk",
			chunk("Hello", { usage: usage(1) }) + chunk(" you", { usage: usage(2) }) + finish({ usage: usage(2) }),
		],
		[
			"each chunk, and in one of its own",
			chunk("Hello", { usage: usage(1) }) + chunk(" you", { usage: usage(2) }) + finish() + alone({ usage: usage(2) }),
		],
		["the first and the last", chunk("Hello", { usage: usage(0) }) + chunk(" you") + finish({ usage: usage(2) })],
		["the chunk of the finish reason", chunk("Hello") + chunk(" you") + finish({ usage: usage(2) })],
		["that chunk's choice (Moonshot)", chunk("Hello") + chunk(" you") + finish({}, { usage: usage(2) })],
		["a field of its own (Groq)", chunk("Hello") + chunk(" you") + finish({ x_groq: { id: "req", usage: usage(2) } })],
		[
			"two chunks of its own",
			chunk("Hello") + chunk(" you") + finish() + alone({ usage: usage(1) }) + alone({ usage: usage(2) }),
		],
		[
			"a chunk of its own, before an empty one",
			chunk("Hello") + chunk(" you") + finish() + alone({ usage: usage(2) }) + alone({ usage: {} }),
		],
		["texts", chunk("Hello") + chunk(" you") + finish({ usage: { prompt_tokens: "100", completion_tokens: "2" } })],
		["other names", chunk("Hello") + chunk(" you") + finish({ usage: { input_tokens: 100, output_tokens: 2 } })],
		[
			"timings (llama.cpp)",
			chunk("Hello") + chunk(" you") + finish({ timings: { prompt_n: 40, cache_n: 60, predicted_n: 2 } }),
		],
	];

	test.each(merged)("that an upstream tells in %s comes once, in a last chunk without choices", async (_, sse) => {
		const answer = await stream(sse);
		const [told, ...others] = withUsage(answer.text);
		expect(others).toEqual([]);
		expect(chunksOf(answer.text).at(-1)).toEqual(told!);
		expect(told).toMatchObject({ ...base, choices: [], usage: usage(2) });
		expect(told!["usage"].estimated).toBeUndefined();
		expect(said(answer.text)).toBe("Hello you");
		const entry = await entryOf(answer);
		expect(entry).toMatchObject({ tokens: { input: 100, output: 2 } });
		expect(entry["estimated"]).toBeUndefined();
		expect(told!["usage"].cost).toBeCloseTo(entry["cost_usd"], 12);
		expect(comment(answer.text)).toMatchObject({ usage: { input: 100, output: 2 }, cost_usd: entry["cost_usd"] });
		expect(comment(answer.text)["estimated"]).toBeUndefined();
	});

	test.each(merged)("that an upstream tells in %s is not shown to who did not ask, and billed", async (_, sse) => {
		const answer = await stream(sse, {});
		expect(withUsage(answer.text)).toEqual([]);
		expect(said(answer.text)).toBe("Hello you");
		expect(await entryOf(answer)).toMatchObject({ tokens: { input: 100, output: 2 } });
	});

	test("in each chunk is left there for who asks for it", async () => {
		const answer = await stream(merged[0]![1], { include_usage: true, continuous_usage_stats: true });
		expect(withUsage(answer.text).map(({ usage: told }) => told.completion_tokens)).toEqual([1, 2, 2, 2]);
	});

	const uncounted: [string, Json | undefined, Json?][] = [
		["nothing", undefined],
		["null", { usage: null }],
		["nothing but zeros", { usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 } }],
		["an empty object", { usage: {} }],
		["a list", { usage: [1] }],
		["numbers beyond all bounds", { usage: { prompt_tokens: 1e19, completion_tokens: -5, total_tokens: 0.5 } }],
	];

	test.each(uncounted)("is estimated and marked where a whole answer counts %s", async (...[, more]) => {
		const message = { role: "assistant", content: "x".repeat(400) };
		const body = {
			id: "1",
			object: "chat.completion",
			choices: [{ index: 0, message, finish_reason: "stop" }],
			...more,
		};
		const answer = await send({ body });
		const told = JSON.parse(answer.text);
		const entry = await entryOf(answer);
		expect(told.choices).toEqual(body.choices);
		expect(told.usage).toMatchObject({ completion_tokens: 100, estimated: true });
		expect(told.usage.prompt_tokens).toBeGreaterThan(0);
		expect(told.usage.total_tokens).toBe(told.usage.prompt_tokens + 100);
		expect(entry).toMatchObject({ estimated: true, tokens: { input: told.usage.prompt_tokens, output: 100 } });
		expect(Number(answer.headers.get("x-router-cost-usd"))).toBeCloseTo(entry["cost_usd"], 12);
	});

	test.each(uncounted)("is estimated and marked where a stream counts %s", async (...[, more]) => {
		const sse = chunk("x".repeat(200)) + chunk("y".repeat(200)) + finish() + (more ? alone(more) : "");
		const answer = await stream(sse);
		const [told, ...others] = withUsage(answer.text).filter(({ usage: shown }) => shown !== null);
		expect(others).toEqual([]);
		expect(told).toMatchObject({ ...base, choices: [], usage: { estimated: true } });
		const entry = await entryOf(answer);
		expect(entry).toMatchObject({ estimated: true, tokens: { output: told!["usage"].completion_tokens } });
		expect(comment(answer.text)).toMatchObject({ estimated: true });
		const silent = await stream(sse, {});
		expect(withUsage(silent.text).filter(({ usage: shown }) => shown !== null)).toEqual([]);
	});

	test.each(uncounted)("is estimated and marked where embeddings count %s", async (...[, more]) => {
		const body = { object: "list", model: "m", data: [{ object: "embedding", index: 0, embedding: [0.5] }], ...more };
		const answer = await send({ body }, {}, "embeddings");
		const told = JSON.parse(answer.text);
		expect(told.data).toEqual(body.data);
		expect(told.usage).toMatchObject({ completion_tokens: 0, estimated: true });
		expect(await entryOf(answer)).toMatchObject({
			estimated: true,
			tokens: { input: told.usage.prompt_tokens, output: 0 },
		});
	});

	test("comes once where a stream is asked for and one JSON is sent, counted or not", async () => {
		const choices = [{ index: 0, message: { role: "assistant", content: "Hello you" }, finish_reason: "stop" }];
		const asked = { stream: true, stream_options: { include_usage: true } };
		for (const more of [{ usage: usage(2) }, {}]) {
			const answer = await send({ body: { id: "1", object: "chat.completion", choices, ...more } }, asked);
			const [told, ...others] = withUsage(answer.text);
			expect(others).toEqual([]);
			expect(told).toMatchObject({ choices: [], usage: "usage" in more ? usage(2) : { estimated: true } });
			expect(said(answer.text)).toBe("Hello you");
			expect((await entryOf(answer))["estimated"]).toBe("usage" in more ? undefined : true);
		}
	});

	test("that another router has estimated stays marked, and keeps its counts", async () => {
		const message = { role: "assistant", content: "hi" };
		const body = {
			id: "1",
			choices: [{ index: 0, message, finish_reason: "stop" }],
			usage: usage(7, { estimated: true }),
		};
		const answer = await send({ body });
		expect(JSON.parse(answer.text).usage).toMatchObject(usage(7, { estimated: true }));
		expect(await entryOf(answer)).toMatchObject({ estimated: true, tokens: { input: 100, output: 7 } });
	});

	test("of a picture is no count of its bytes", async () => {
		const url = `data:image/png;base64,${"A".repeat(400_000)}`;
		const images = [{ type: "image_url", image_url: { url } }];
		const body = {
			id: "1",
			choices: [{ index: 0, message: { role: "assistant", content: "", images }, finish_reason: "stop" }],
		};
		expect(JSON.parse((await send({ body })).text).usage.completion_tokens).toBeLessThan(1000);
		const delta = { delta: { content: "", images, refusal: "x" } };
		const answer = await stream(chunk("", {}, delta) + finish());
		expect(withUsage(answer.text)[0]!["usage"].completion_tokens).toBeLessThan(1000);
	});

	test("with a price below nothing is priced by the router instead, and its client never sees it", async () => {
		const message = { role: "assistant", content: "hi" };
		const body = { id: "1", choices: [{ index: 0, message, finish_reason: "stop" }], usage: usage(10, { cost: -5 }) };
		const answer = await send({ body });
		expect(JSON.parse(answer.text).usage.cost).toBeCloseTo(0.0012, 12);
		expect(await entryOf(answer)).toMatchObject({ price: { source: "prices" } });
	});

	test.each<[string, Json]>([
		["OpenAI", { usage: usage(10, { prompt_tokens_details: { cached_tokens: 60 } }) }],
		["Moonshot and Together", { usage: usage(10, { cached_tokens: 60 }) }],
		["DeepSeek", { usage: usage(10, { prompt_cache_hit_tokens: 60, prompt_cache_miss_tokens: 40 }) }],
		["llama.cpp", { usage: usage(10), timings: { cache_n: 60, prompt_n: 40, predicted_n: 10 } }],
		["llama.cpp without usage", { timings: { cache_n: 60, prompt_n: 40, predicted_n: 10 } }],
		[
			"the Responses API",
			{ usage: { input_tokens: 100, output_tokens: 10, input_tokens_details: { cached_tokens: 60 } } },
		],
	])("has the cached tokens of %s, whole and streamed, and bills them as cached", async (_, more) => {
		const usd = (40 * RATES.input + 60 * RATES.cached + 10 * RATES.output) / 1e6;
		const message = { role: "assistant", content: "hi" };
		const whole = await send({ body: { id: "1", choices: [{ index: 0, message, finish_reason: "stop" }], ...more } });
		for (const answer of [
			whole,
			await stream(chunk("hi") + finish() + alone(more)),
			await stream(chunk("hi") + finish(more), {}),
		]) {
			const entry = await entryOf(answer);
			expect(entry).toMatchObject({ tokens: { input: 100, output: 10, cached: 60 } });
			expect(entry["estimated"]).toBeUndefined();
			expect(entry["cost_usd"]).toBeCloseTo(usd, 12);
		}
	});
});
