/** The same call by several callers at once: it is made once, and nobody suffers from what befalls another. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { CACHE_STORAGES } from "./kit/cache-threads.ts";
import { DONE, finishEvent, goodStream, textEvent } from "./kit/events.ts";
import type { Json } from "./kit/exchange.ts";
import { type Connection, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, streams } from "./kit/faults.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";
import { until } from "./kit/until.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());

const WHOLE =
	'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}';
const config = {
	providers: { box: { type: "vllm", base_url: upstream.origin } },
	keys: ["a", "b"].map((name) => ({ name, key: `key-of-${name}-1234` })),
};
describe.each(CACHE_STORAGES)("a cache %s", (_storage, cacheThread) => {
	let router: Pipeline;
	/** Lets the upstream go on. */
	let gate: PromiseWithResolvers<void>;
	beforeEach(() => {
		router = pipeline({ config, cached: true, cacheThread });
		gate = Promise.withResolvers();
	});

	interface Caller {
		key?: string;
		signal?: AbortSignal;
		headers?: Record<string, string>;
	}
	const send = (over: Json = {}, { key = "a", signal, headers = {} }: Caller = {}) =>
		router.send(
			{ model: "box/m", messages: [{ role: "user", content: "hi" }], temperature: 0, ...over },
			{ headers: { authorization: `Bearer key-of-${key}-1234`, ...headers }, ...(signal ? { signal } : {}) },
		);
	const read = async (sent: Promise<Response>) => {
		const answer = await sent;
		return { status: answer.status, cache: answer.headers.get("x-router-cache"), text: await answer.text() };
	};
	/** Resolves once so many calls have come this far, and those that wait for others do so. */
	async function underWay(count: number): Promise<void> {
		await until(() => router.started >= count, "the calls");
		await Bun.sleep(20);
	}
	const whole = async (connection: Connection) => {
		await gate.promise;
		await answers("200 OK", WHOLE)(connection);
	};
	/** Sends two pieces, waits, and sends the rest. */
	const inTwo = async (connection: Connection) => {
		await streams([textEvent("one "), textEvent("two ")], "until-close")({ ...connection, end: () => {} });
		await gate.promise;
		await connection.write(textEvent("three") + finishEvent() + DONE);
		connection.end();
	};

	test("ten whole answers out of one call", async () => {
		upstream.run(whole);
		const all = Array.from({ length: 10 }, () => read(send()));
		await underWay(10);
		gate.resolve();
		const got = await Promise.all(all);
		expect(got.map(({ text }) => text)).toEqual(Array(10).fill(WHOLE));
		expect(got.map(({ cache }) => cache).sort()).toEqual([...Array(9).fill("hit"), "miss"]);
		expect(upstream.received.length).toBe(1);
		expect(router.settled.filter(({ tokens }) => tokens).length).toBe(1);
		expect(router.settled.length).toBe(10);
	});

	test("streams read along: each gets what was sent so far, and the rest as it comes", async () => {
		upstream.run(inTwo);
		const first = await send({ stream: true });
		const reader = first.body!.getReader();
		await reader.read();
		const late = await send({ stream: true });
		expect(late.headers.get("x-router-cache")).toBe("hit");
		expect(late.headers.get("x-router-provider")).toBe("box");
		const lateReader = late.body!.getReader();
		// Before the upstream has gone on.
		expect(new TextDecoder().decode((await lateReader.read()).value)).toContain("one ");
		gate.resolve();
		const rest = async (from: typeof reader) => {
			let text = "";
			for (let next = await from.read(); next.value; next = await from.read())
				text += new TextDecoder().decode(next.value);
			return text;
		};
		const [one, other] = await Promise.all([rest(reader), rest(lateReader)]);
		expect(one.endsWith(DONE)).toBe(true);
		expect(other.endsWith(DONE)).toBe(true);
		expect(other).toContain("three");
		expect(upstream.received.length).toBe(1);
	});

	test.each([
		["a stream", { stream: true }, "a whole answer", {}, goodStream(2)],
		["a whole answer", {}, "a stream", { stream: true }, undefined],
		[
			"a stream with usage",
			{ stream: true, stream_options: { include_usage: true } },
			"one without",
			{ stream: true },
			goodStream(2),
		],
	] as [string, Json, string, Json, string[] | undefined][])(
		"%s on its way serves %s",
		async (_, leads, __, follows, pieces) => {
			upstream.run(async (connection) => {
				await gate.promise;
				await (pieces ? streams(pieces) : answers("200 OK", WHOLE))(connection);
			});
			const both = [read(send(leads)), read(send(follows))];
			await underWay(2);
			gate.resolve();
			const [one, other] = await Promise.all(both);
			expect([one!.status, other!.status, upstream.received.length]).toEqual([200, 200, 1]);
			expect([one!.cache, other!.cache]).toEqual(["miss", "hit"]);
			const isStream = (text: string) => text.endsWith(DONE);
			expect([isStream(one!.text), isStream(other!.text)]).toEqual([
				leads["stream"] === true,
				follows["stream"] === true,
			]);
			expect(other!.text.includes('"usage"')).toBe(follows["stream"] !== true);
		},
	);

	describe("never merged", () => {
		test("calls of different keys", async () => {
			upstream.run(whole);
			const both = [read(send({}, { key: "a" })), read(send({}, { key: "b" }))];
			await underWay(2);
			gate.resolve();
			await Promise.all(both);
			expect(upstream.received.length).toBe(2);
		});

		test.each([
			["are not for the cache", { temperature: 1 }, {}],
			["bypass it", {}, { "x-router-cache": "bypass" }],
			["want a fresh answer", {}, { "cache-control": "no-cache" }],
		] as [string, Json, Record<string, string>][])("calls that %s", async (_, body, headers) => {
			upstream.run(whole);
			const both = [read(send(body, { headers })), read(send(body, { headers }))];
			await underWay(2);
			gate.resolve();
			await Promise.all(both);
			expect(upstream.received.length).toBe(2);
		});
	});

	describe("what befalls the first", () => {
		test("its failure makes the others call for themselves", async () => {
			upstream.run(async (connection) => {
				if (connection.nth > 0) return answers("200 OK", WHOLE)(connection);
				await gate.promise;
				await answers("400 Bad Request", '{"error":{"message":"no"}}')(connection);
			});
			const all = Array.from({ length: 3 }, () => read(send()));
			await underWay(3);
			gate.resolve();
			const got = await Promise.all(all);
			expect(got.map(({ status }) => status)).toEqual([400, 200, 200]);
			expect(upstream.received.length).toBe(3);
		});

		test.each([
			["a whole answer", {}],
			["a stream", { stream: true }],
		] as [string, Json][])("it leaves: the others get %s all the same", async (_, body) => {
			upstream.run(body["stream"] ? inTwo : whole);
			const client = new AbortController();
			const first = send(body, { signal: client.signal });
			const reader = body["stream"] ? (await first).body!.getReader() : undefined;
			await reader?.read();
			const others = [read(send(body)), read(send(body))];
			await underWay(3);
			client.abort();
			await reader?.cancel();
			await Bun.sleep(10);
			gate.resolve();
			for (const { status, cache, text } of await Promise.all(others)) {
				expect([status, cache]).toEqual([200, "hit"]);
				expect(text).toContain(body["stream"] ? "three" : "hello");
				if (body["stream"]) expect(text.endsWith(DONE)).toBe(true);
			}
			await first.catch(() => undefined);
			await router.settledCalls(3);
			expect(upstream.received.length).toBe(1);
			const leader = router.settled.find(({ attempts }) => attempts === 1);
			// It has left, and what it began was paid for.
			expect(leader).toMatchObject({ status: 499, error: "cancelled" });
			if (!body["stream"]) expect(leader!.tokens).toEqual({ input: 3, output: 2 });
		});

		test("it leaves before its stream has begun, and nobody reads that: the others get it all the same", async () => {
			upstream.run(async (connection) => {
				await gate.promise;
				await streams(goodStream(2))(connection);
			});
			const client = new AbortController();
			const first = send({ stream: true }, { signal: client.signal });
			await underWay(1);
			const others = [read(send({ stream: true })), read(send())];
			await underWay(3);
			client.abort();
			gate.resolve();
			for (const { status, cache, text } of await Promise.all(others)) {
				expect([status, cache]).toEqual([200, "hit"]);
				expect(text).toContain("word1");
			}
			await first;
			await router.settledCalls(3);
			expect(upstream.received.length).toBe(1);
			const leader = router.settled.find(({ attempts }) => attempts === 1);
			expect(leader).toMatchObject({ status: 499, error: "cancelled" });
			expect(leader!.tokens).toBeDefined();
			// Nobody hangs on what it began.
			expect((await read(send())).cache).toBe("hit");
		});

		test("it leaves and nobody else waits: the upstream is let go", async () => {
			upstream.run(whole);
			const client = new AbortController();
			const connected = upstream.next();
			const first = send({}, { signal: client.signal });
			const connection = await connected;
			client.abort();
			await connection.closed;
			expect((await first).status).toBe(499);
			gate.resolve();
		});

		test("all leave: the upstream is let go", async () => {
			upstream.run(whole);
			const clients = [new AbortController(), new AbortController(), new AbortController()];
			const connected = upstream.next();
			const all = clients.map(({ signal }) => send({}, { signal }));
			const connection = await connected;
			await underWay(3);
			for (const client of clients) client.abort();
			await connection.closed;
			expect((await Promise.all(all)).map(({ status }) => status)).toEqual([499, 499, 499]);
			gate.resolve();
		});

		test("it does not read: the others get everything", async () => {
			const large = Array.from({ length: 400 }, (_, index) => textEvent(`${index} ${"x".repeat(2000)}`));
			upstream.run(streams([...large, finishEvent(), DONE]));
			const first = await send({ stream: true });
			const reader = first.body!.getReader();
			await reader.read();
			const other = await read(send({ stream: true }));
			expect([other.status, other.cache, other.text.endsWith(DONE)]).toEqual([200, "hit", true]);
			expect(upstream.received.length).toBe(1);
			await reader.cancel();
		});

		test("its stream breaks: those that read along hear of it, as they would of their own", async () => {
			upstream.run(async (connection) => {
				await streams([textEvent("one ")], "until-close")({ ...connection, end: () => {} });
				await gate.promise;
				connection.destroy();
			});
			const first = await send({ stream: true });
			const reader = first.body!.getReader();
			await reader.read();
			const other = read(send({ stream: true }));
			await underWay(2);
			gate.resolve();
			const { text } = await other;
			expect(text).toContain('"code":"upstream_truncated"');
			expect(text).not.toContain("[DONE]");
			await reader.cancel();
			await router.settledCalls(2);
			expect(router.settled.map(({ error }) => error)).toEqual(["upstream_truncated", "upstream_truncated"]);
		});
	});

	test("one who waits no longer than it said gets its own timeout, and the others their answer", async () => {
		upstream.run(whole);
		const first = read(send());
		await underWay(1);
		const hasty = await read(send({}, { headers: { "x-router-timeout-ms": "30" } }));
		expect([hasty.status, JSON.parse(hasty.text).error.code]).toEqual([504, "upstream_timeout"]);
		gate.resolve();
		expect((await first).status).toBe(200);
		expect(upstream.received.length).toBe(1);
	});

	test("a waiter that leaves is settled as such", async () => {
		upstream.run(whole);
		const first = read(send());
		await underWay(1);
		const client = new AbortController();
		const waiter = send({}, { signal: client.signal });
		await underWay(2);
		client.abort();
		expect((await waiter).status).toBe(499);
		gate.resolve();
		expect((await first).status).toBe(200);
	});
});
