/** Calls that were answered before: what is given again, to whom, in which form, and what never is. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { CACHE_STORAGES } from "./kit/cache-threads.ts";
import { choiceEvent, DONE, finishEvent, goodStream, textEvent, usageEvent } from "./kit/events.ts";
import { chunksOf, type Json } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, streams } from "./kit/faults.ts";
import { type Pipeline, pipeline, type SendOptions } from "./kit/pipeline.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());

const WHOLE =
	'{ "id":"x","object":"chat.completion","created":12345678901234567890,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5} }';
const EMBEDDING =
	'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1]}],"model":"e","usage":{"prompt_tokens":1,"total_tokens":1}}';
const config = {
	providers: { box: { type: "vllm", base_url: upstream.origin } },
	models: [
		{ name: "always", targets: ["box/m"], cache: { enabled: true } },
		{ name: "never", targets: ["box/m"], cache: { enabled: false } },
		{ name: "briefly", targets: ["box/m"], cache: { ttl: "1ms" } },
		{ name: "same", targets: ["box/m"] },
	],
	keys: [
		{ name: "a", key: "key-of-a-1234" },
		{ name: "b", key: "key-of-b-1234" },
	],
};
const ask = (over: Json = {}): Json => ({
	model: "box/m",
	messages: [{ role: "user", content: "hi" }],
	temperature: 0,
	...over,
});
const as = (key: string, headers: Record<string, string> = {}): SendOptions => ({
	headers: { authorization: `Bearer key-of-${key}-1234`, ...headers },
});

describe.each(CACHE_STORAGES)("a cache %s", (_storage, cacheThread) => {
	let router: Pipeline;
	beforeEach(() => {
		router = pipeline({ config, cached: true, cacheThread });
		upstream.run(answers("200 OK", WHOLE));
	});

	/** Sends a call and reads its answer to the end. */
	async function send(body: Json = ask(), options: SendOptions = as("a")) {
		const answer = await router.send(body, options);
		return {
			status: answer.status,
			cache: answer.headers.get("x-router-cache"),
			headers: answer.headers,
			text: await answer.text(),
		};
	}
	const calls = () => upstream.received.length;

	describe("given again", () => {
		test("byte for byte, by who gave it, without an attempt", async () => {
			const first = await send();
			const second = await send();
			expect([first.cache, second.cache, calls()]).toEqual(["miss", "hit", 1]);
			expect([first.text, second.text]).toEqual([WHOLE, WHOLE]);
			const { headers } = second;
			expect(["provider", "model", "attempts"].map((name) => headers.get(`x-router-${name}`))).toEqual([
				"box",
				"m",
				"0",
			]);
			expect(headers.get("x-request-id")).not.toBe(first.headers.get("x-request-id"));
			expect(headers.get("age")).toBe("0");
			expect(headers.get("content-type")).toBe("application/json");
			const [, settled] = router.settled;
			expect(settled).toMatchObject({ cache: "hit", status: 200, attempts: 0, provider: "none", key: "a" });
			expect(settled!.tokens).toBeUndefined();
			expect(settled!.cost).toBeUndefined();
		});

		test("to the same call by another name", async () => {
			await send();
			expect((await send(ask({ model: "same" }))).cache).toBe("hit");
		});

		test("embeddings", async () => {
			upstream.run(answers("200 OK", EMBEDDING));
			const options = { ...as("a"), operation: "embeddings" as const };
			await send({ model: "box/e", input: "hi" }, options);
			const again = await send({ model: "box/e", input: "hi" }, options);
			expect([again.cache, again.text, calls()]).toEqual(["hit", EMBEDDING, 1]);
		});

		test("large answers, which are kept compressed", async () => {
			const content = Array.from({ length: 4000 }, (_, index) => `word ${index}`).join(" ");
			const large = WHOLE.replace("hello", content);
			upstream.run(answers("200 OK", large));
			await send();
			expect((await send()).text).toBe(large);
			expect(router.context.cache!.stats.bytes).toBeLessThan(large.length / 2);
		});

		test("every call of a model that is said to be cached, whatever its temperature", async () => {
			await send(ask({ model: "always", temperature: 1 }));
			expect((await send(ask({ model: "always", temperature: 1 }))).cache).toBe("hit");
		});

		test("a call that asks for it with max-age", async () => {
			const asking = as("a", { "cache-control": "max-age=60" });
			await send(ask({ temperature: 1 }), asking);
			expect((await send(ask({ temperature: 1 }), asking)).cache).toBe("hit");
			expect((await send(ask({ temperature: 1 }))).cache).toBe("bypass");
		});

		test("a cost is told once", async () => {
			upstream.run(answers("200 OK", WHOLE.replace('"total_tokens":5', '"total_tokens":5,"cost":0.5')));
			expect((await send()).text).toContain('"cost":0.5');
			const again = await send();
			expect(again.text).toContain('"cost":0}');
			expect(again.headers.get("x-router-cost-usd")).toBeNull();
		});
	});

	describe("in the other form", () => {
		const chunks = (text: string) => chunksOf(text);
		const contents = (text: string) =>
			chunks(text)
				.flatMap(({ choices }) => choices as { delta: { content?: string } }[])
				.map(({ delta }) => delta.content ?? "")
				.join("");

		test("a whole answer as a stream, with usage only where that is asked for", async () => {
			await send();
			const stream = await send(ask({ stream: true }));
			expect([stream.cache, calls()]).toEqual(["hit", 1]);
			expect(stream.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
			expect(contents(stream.text)).toBe("hello");
			expect(stream.text.endsWith(DONE)).toBe(true);
			expect(stream.text).not.toContain('"usage"');
			expect(stream.text).toContain(': router {"provider":"box","model":"m","attempts":0,"cache":"hit"}');
			const withUsage = await send(ask({ stream: true, stream_options: { include_usage: true } }));
			expect(chunks(withUsage.text).at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 5 } });
		});

		test("a stream as a whole answer, and as a stream", async () => {
			upstream.run(streams(goodStream(3)));
			const first = await send(ask({ stream: true }));
			const whole = await send();
			expect([first.cache, whole.cache, calls()]).toEqual(["miss", "hit", 1]);
			expect(JSON.parse(whole.text)).toMatchObject({
				object: "chat.completion",
				choices: [{ index: 0, message: { role: "assistant", content: "word0 word1 word2 " }, finish_reason: "stop" }],
				// Its own client had not asked for it.
				usage: { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 },
			});
			const again = await send(ask({ stream: true }));
			expect([again.cache, contents(again.text)]).toEqual(["hit", contents(first.text)]);
		});

		test("a stream that came in one piece, and one that came byte by byte", async () => {
			const text = goodStream(2).join("");
			for (const [model, pieces] of [
				["box/one", [text]],
				["box/many", [...text]],
			] as const) {
				upstream.run(streams(pieces));
				await send(ask({ model, stream: true }));
				const again = await send(ask({ model }));
				expect([again.cache, JSON.parse(again.text).choices[0].message.content]).toEqual(["hit", "word0 word1 "]);
			}
		});
	});

	describe("not given again", () => {
		test("to another key", async () => {
			await send();
			expect((await send(ask(), as("b"))).cache).toBe("miss");
			expect(calls()).toBe(2);
		});

		test("unless the configuration says that all share", async () => {
			router = pipeline({ config: { ...config, cache: { shared: true } }, cached: true, cacheThread });
			await send();
			expect((await send(ask(), as("b"))).cache).toBe("hit");
		});

		test.each([
			["without a temperature", ask({ temperature: undefined }), {}],
			["of a model that is said not to be cached", ask({ model: "never" }), {}],
			["that bypasses", ask(), { "x-router-cache": "bypass" }],
		] as [string, Json, Record<string, string>][])("a call %s", async (_, body, headers) => {
			await send(body, as("a", headers));
			expect((await send(body, as("a", headers))).cache).toBe("bypass");
			expect(calls()).toBe(2);
		});

		test("to a call that wants a fresh one, which is then kept in its place", async () => {
			await send();
			const newer = WHOLE.replace("hello", "newer");
			upstream.run(answers("200 OK", newer));
			expect((await send(ask(), as("a", { "cache-control": "no-cache" }))).text).toBe(newer);
			expect((await send()).text).toBe(newer);
			expect(calls()).toBe(1);
		});

		test("where nothing was to be stored", async () => {
			await send(ask(), as("a", { "x-router-cache": "no-store" }));
			expect((await send()).cache).toBe("miss");
			expect((await send(ask(), as("a", { "x-router-cache": "no-store" }))).cache).toBe("hit");
		});

		test("once its time is over, or it is older than the call takes", async () => {
			await send(ask({ model: "briefly" }));
			await Bun.sleep(5);
			expect((await send(ask({ model: "briefly" }))).cache).toBe("miss");
			await send(ask({ model: "box/old" }));
			await Bun.sleep(1005);
			expect((await send(ask({ model: "box/old" }), as("a", { "cache-control": "max-age=1" }))).cache).toBe("miss");
		});

		test.each([
			["an error", answers("400 Bad Request", '{"error":{"message":"no"}}'), 400],
			["an error in a 200", answers("200 OK", '{"error":{"message":"no","code":500}}'), 502],
			["an answer that broke off", answers("200 OK", WHOLE.slice(0, -20)), 502],
		])("%s", async (_, script, status) => {
			upstream.run(script);
			expect((await send()).status).toBe(status);
			upstream.run(answers("200 OK", WHOLE));
			expect((await send()).cache).toBe("miss");
		});

		test.each([
			["a stream that broke off", [choiceEvent({ role: "assistant" }), textEvent("half")]],
			[
				"a stream that ended with an error",
				[textEvent("half"), 'data: {"error":{"message":"no"}}\n\n', finishEvent(), DONE],
			],
			["a stream without its end", [textEvent("a"), usageEvent()]],
		])("%s", async (_, pieces) => {
			upstream.run(streams(pieces));
			await send(ask({ stream: true }));
			upstream.run(answers("200 OK", WHOLE));
			expect((await send()).cache).toBe("miss");
		});

		test("a stream whose client left before its end", async () => {
			const more = Promise.withResolvers<void>();
			upstream.run(async (connection) => {
				await streams([textEvent("half")], "until-close")({ ...connection, end: () => {} });
				await more.promise;
				await connection.write(finishEvent() + DONE);
				connection.end();
			});
			const client = new AbortController();
			const answer = await router.send(ask({ stream: true }), { ...as("a"), signal: client.signal });
			const reader = answer.body!.getReader();
			await reader.read();
			client.abort();
			await reader.cancel();
			more.resolve();
			await router.settledCalls(1);
			expect(router.settled[0]).toMatchObject({ status: 499, cache: "miss" });
			upstream.run(answers("200 OK", WHOLE));
			expect((await send()).cache).toBe("miss");
		});

		test("an answer larger than one may be", async () => {
			router = pipeline({ config: { ...config, cache: { max_entry: "1KB" } }, cached: true, cacheThread });
			const large = WHOLE.replace("hello", "x".repeat(2000));
			upstream.run(answers("200 OK", large));
			await send();
			expect((await send()).cache).toBe("miss");
			upstream.run(streams([...goodStream(40)]));
			await send(ask({ stream: true }));
			expect((await send(ask({ stream: true }))).cache).toBe("miss");
		});
	});

	test("a header that means nothing is a 400 that says what it may be", async () => {
		const answer = await send(ask(), as("a", { "x-router-cache": "maybe" }));
		expect([answer.status, JSON.parse(answer.text).error]).toEqual([
			400,
			{
				message: "x-router-cache must be bypass, no-cache or no-store.",
				type: "invalid_request_error",
				param: "x-router-cache",
				code: "invalid_value",
			},
		]);
	});

	test("switched off, there is no header and nothing is kept", async () => {
		router = pipeline({ config: { ...config, cache: { enabled: false } }, cached: true, cacheThread });
		await send();
		expect((await send()).cache).toBeNull();
		expect(calls()).toBe(2);
	});
});
