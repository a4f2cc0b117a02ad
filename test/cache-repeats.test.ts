/** Calls that are sent again and again in the same bytes: what is remembered of them must never show. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { cachedResponse } from "../src/cache/cached-response.ts";
import { type CacheScope, isSameCall, RecentCalls } from "../src/cache/exact-match.ts";
import type { ClientCall, Dialect } from "../src/dialects/dialect.ts";
import { askedMethod } from "../src/dialects/gemini/asked-method.ts";
import { geminiFor } from "../src/dialects/gemini/gemini-dialect.ts";
import { openAiChat, parseRequest } from "../src/dialects/openai-chat.ts";
import { CallRecord } from "../src/proxy/call-record.ts";
import { CACHE_STORAGES } from "./kit/cache-threads.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { type Pipeline, pipeline, type SendOptions } from "./kit/pipeline.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());

const whole = (content: string) =>
	`{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"${content}"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`;
const EMBEDDING =
	'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1]}],"model":"m","usage":{"prompt_tokens":1,"total_tokens":1}}';
const config = (target = "box/m") => ({
	providers: { box: { type: "vllm", base_url: upstream.origin } },
	models: [
		{ name: "alias", targets: [target] },
		{ name: "briefly", targets: ["box/m"], cache: { ttl: "300ms" } },
	],
	keys: ["a", "b"].map((name) => ({ name, key: `key-of-${name}-1234` })),
});
const asking = (model: string) => ({ model, messages: [{ role: "user", content: "hi" }], input: "hi", temperature: 0 });

describe.each(CACHE_STORAGES)("in a cache %s", (_storage, cacheThread) => {
	let router: Pipeline;
	beforeEach(() => {
		router = pipeline({ config: config(), cached: true, cacheThread });
		upstream.run(answers("200 OK", whole("first")));
	});

	async function send(model = "box/m", { headers = {}, ...options }: SendOptions = {}) {
		const answer = await router.send(asking(model), {
			headers: { authorization: "Bearer key-of-a-1234", ...headers },
			...options,
		});
		return { cache: answer.headers.get("x-router-cache"), headers: answer.headers, text: await answer.text() };
	}
	/** Sends a call until it is remembered; from now on the upstream says something else. */
	async function repeated(model?: string): Promise<void> {
		for (let round = 0; round < 3; round++) await send(model);
		expect(upstream.received.length).toBe(1);
		upstream.run(answers("200 OK", whole("second")));
	}

	test("every answer is whole, and has its own id", async () => {
		await repeated();
		const [one, other] = [await send(), await send()];
		expect([one.cache, one.text, other.text]).toEqual(["hit", whole("first"), whole("first")]);
		expect(new Set(router.settled.map(({ id }) => id)).size).toBe(5);
		expect([one, other].map(({ headers }) => headers.get("x-request-id"))).toEqual(
			router.settled.slice(3).map(({ id }) => id),
		);
	});

	test("its age grows", async () => {
		await repeated();
		expect((await send()).headers.get("age")).toBe("0");
		await Bun.sleep(1005);
		expect((await send()).headers.get("age")).toBe("1");
	});

	describe("is another call", () => {
		test("by another key", async () => {
			await repeated();
			const other = await send("box/m", { headers: { authorization: "Bearer key-of-b-1234" } });
			expect([other.cache, other.text]).toEqual(["miss", whole("second")]);
			expect((await send()).text).toBe(whole("first"));
		});

		test("with a header that upstreams see", async () => {
			await repeated();
			for (const name of ["openai-beta", "anthropic-beta"])
				expect((await send("box/m", { headers: { [name]: "x" } })).cache).toBe("miss");
			expect((await send()).text).toBe(whole("first"));
		});

		test("to another endpoint", async () => {
			await repeated();
			upstream.run(answers("200 OK", EMBEDDING));
			const other = await send("box/m", { operation: "embeddings" });
			expect([other.cache, other.text]).toEqual(["miss", EMBEDDING]);
		});

		test("once its alias leads elsewhere", async () => {
			await repeated("alias");
			Object.assign(router.snapshot, { catalog: pipeline({ config: config("box/n") }).snapshot.catalog });
			expect((await send("alias")).text).toBe(whole("second"));
		});
	});

	test("a fresh answer takes the place of what is remembered", async () => {
		await repeated();
		expect((await send("box/m", { headers: { "cache-control": "no-cache" } })).text).toBe(whole("second"));
		const again = await send();
		expect([again.cache, again.text]).toEqual(["hit", whole("second")]);
	});

	test("what is remembered does not outlive its time", async () => {
		await repeated("briefly");
		await Bun.sleep(305);
		expect((await send("briefly")).text).toBe(whole("second"));
	});

	test("what one caller is told of its limits is not told to the next", async () => {
		const sink = { callStarted: () => {}, attemptClosed: () => {}, callSettled: () => {} };
		const told = async (headers: Record<string, string>) => {
			const record = new CallRecord("req_1", "chat", performance.now(), [sink]);
			record.headers = headers;
			const answer = cachedResponse(
				entry,
				{ stream: false, dialect: openAiChat } as unknown as ClientCall,
				record,
				true,
			);
			return [answer.headers.get("x-ratelimit-limit-requests"), await answer.text()];
		};
		const facts = { provider: "box", model: "m", storedAt: Date.now(), expiresAt: Date.now() + 60_000 };
		const entry = { facts, body: new TextEncoder().encode(whole("x")) };
		expect(await told({ "x-ratelimit-limit-requests": "5" })).toEqual(["5", whole("x")]);
		expect(await told({})).toEqual([null, whole("x")]);
	});

	test("a long call that is written in other ways is answered each time, as often as it comes", async () => {
		const fields = { model: "box/m", temperature: 0, messages: [{ role: "user", content: "é\n/".repeat(20_000) }] };
		const names = Object.keys(fields) as (keyof typeof fields)[];
		const ways = names.map((_, at) => [...names.slice(at), ...names.slice(0, at)]);
		const headers = { authorization: "Bearer key-of-a-1234" };
		for (const way of [...ways, ...ways, ...ways.toReversed(), ...ways]) {
			const answer = await router.send(Object.fromEntries(way.map((name) => [name, fields[name]])), { headers });
			expect(await answer.text()).toBe(whole("first"));
		}
		expect(upstream.received.length).toBe(1);
		const other = { ...fields, messages: [{ role: "user", content: "é\n/".repeat(19_999) }] };
		upstream.run(answers("200 OK", whole("second")));
		expect(await (await router.send(other, { headers })).text()).toBe(whole("second"));
	});
});

describe("memory", () => {
	const asker = { tenant: "", targets: [], headers: new Headers() };
	const found = (body = new Uint8Array(8)) => ({
		key: new Uint8Array(32),
		position: 1,
		entry: { facts: { provider: "box", model: "m", storedAt: 0, expiresAt: 1 }, body },
	});
	const parsed = (raw: string) => {
		const sent = Buffer.from(raw);
		return { ...parseRequest("chat", sent), operation: "chat", dialect: openAiChat, sent } as ClientCall;
	};
	const callOf = (text: string) => parsed(JSON.stringify({ model: "m", messages: [{ role: "user", content: text }] }));
	const find = (repeats: RecentCalls, { dialect, operation, sent }: ClientCall, scope: CacheScope = asker) => {
		const repeat = repeats.match(dialect, operation, sent);
		return repeat && isSameCall(repeat, scope) ? repeat : undefined;
	};
	const isKept = (repeats: RecentCalls, call: ClientCall) => find(repeats, call) !== undefined;

	test("is bounded: the latest stay", () => {
		const repeats = new RecentCalls(64_000_000);
		const calls = Array.from({ length: 1000 }, (_, index) => callOf(`call ${index}`));
		for (const call of calls) repeats.remember(call, asker, found());
		const kept = calls.filter((call) => isKept(repeats, call));
		expect(kept.length).toBe(Math.floor(64_000_000 / 32 / (24 * 1024)));
		expect(kept).toEqual(calls.slice(-kept.length));
	});

	test("a small cache remembers none", () => {
		const repeats = new RecentCalls(64 * 1024);
		repeats.remember(callOf("hi"), asker, found());
		expect(isKept(repeats, callOf("hi"))).toBe(false);
	});

	test("no large answer is kept, and no call that takes more than its part", () => {
		const repeats = new RecentCalls(64_000_000);
		const long = callOf("x".repeat(300_000));
		repeats.remember(long, asker, found());
		repeats.remember(callOf("hi"), asker, found(new Uint8Array(5000)));
		expect([long, callOf("hi")].map((call) => isKept(repeats, call))).toEqual([false, false]);
	});

	test("long calls are kept by their bytes alone, as many as there is room for", () => {
		const repeats = new RecentCalls(64_000_000);
		const calls = Array.from({ length: 20 }, (_, index) => callOf(`${index} ${"é\n".repeat(50_000)}`));
		for (const call of calls) {
			repeats.remember(call, asker, found());
			const body = call.body();
			expect(body.value).not.toBe(body.value);
		}
		const kept = calls.filter((call) => isKept(repeats, call));
		expect(kept.length).toBe(9);
		expect(kept).toEqual(calls.slice(-9));
	});

	test("long calls are worth it once they come again, the longest never", () => {
		const repeats = new RecentCalls(64_000_000);
		const [short, long, other, longest] = [10, 100_000, 100_001, 2_000_000].map((length) => Buffer.alloc(length, "x"));
		const all = [short, long, other, longest, long, other, longest, long, long] as Buffer[];
		expect(all.map((sent) => repeats.isWorthwhile({ dialect: openAiChat, operation: "chat", sent }))).toEqual([
			...[true, false, false, false],
			...[true, true, false, false, true],
		]);
	});

	describe("equal bytes", () => {
		const contents = (text: string) => Buffer.from(JSON.stringify({ contents: [{ parts: [{ text }] }] }));
		const GOOGLES = ["m:generateContent", "n:generateContent", "m:streamGenerateContent?alt=sse"].map((asked) =>
			geminiFor(askedMethod(`http://router/v1beta/models/${asked}`)),
		);
		const askedAt = (dialect: Dialect, sent: Buffer) =>
			({ ...dialect.parse("chat", sent), operation: "chat", dialect, sent }) as ClientCall;

		test("for several of Google's URLs, which name model and method, are remembered beside each other", () => {
			const repeats = new RecentCalls(64_000_000);
			const calls = GOOGLES.map((dialect) => askedAt(dialect, contents("hi")));
			for (const call of calls) repeats.remember(call, asker, found());
			expect(calls.map((call) => find(repeats, call)?.parsed.facts.model)).toEqual(["m", "n", "m"]);
			expect(calls.map((call) => find(repeats, call)?.parsed.stream)).toEqual([false, false, true]);
		});

		test("for two operations are remembered beside each other", () => {
			const repeats = new RecentCalls(64_000_000);
			const sent = Buffer.from('{"model":"m","messages":[{"role":"user","content":"hi"}],"prompt":"hi"}');
			const calls = (["chat", "completions"] as const).map(
				(operation) => ({ ...parseRequest(operation, sent), operation, dialect: openAiChat, sent }) as ClientCall,
			);
			for (const call of calls) repeats.remember(call, asker, found());
			expect(calls.map((call) => find(repeats, call)?.parsed.facts)).toEqual(calls.map(({ facts }) => facts));
		});

		test("that are long have come once where each has come to another URL", () => {
			const repeats = new RecentCalls(64_000_000);
			const sent = contents("x".repeat(100_000));
			const calls = [...GOOGLES, ...GOOGLES].map((dialect) => ({ dialect, operation: "chat" as const, sent }));
			expect(calls.map((call) => repeats.isWorthwhile(call))).toEqual([false, false, false, true, true, true]);
		});
	});

	test("other bytes are another call", () => {
		const repeats = new RecentCalls(64_000_000);
		repeats.remember(callOf("x".repeat(5000)), asker, found());
		expect(isKept(repeats, callOf(`${"x".repeat(4999)}y`))).toBe(false);
	});

	test.each([
		// Of the last one JavaScriptCore makes 3.7 MB.
		["objects", `[${Array(1000).fill("{}").join()}]`],
		["arrays", `[${Array(1000).fill("[]").join()}]`],
		["levels", `${"[".repeat(990)}${"]".repeat(990)}`],
		["names", `{${Array.from({ length: 400 }, (_, at) => `"a${at}":1`).join()}}`],
		["numbers for names", `[${Array(390).fill('{"999":1}').join()}]`],
	])("what takes far more than its text is not kept: %s", (_, json) => {
		const repeats = new RecentCalls(64_000_000);
		const raw = `{"model":"m","messages":[{"role":"user","content":"hi"}],"extra":${json}}`;
		expect(raw.length).toBeLessThan(4096);
		const call = parsed(raw);
		repeats.remember(call, asker, found());
		expect(isKept(repeats, call)).toBe(false);
	});

	test("many fields, or headers as long as they may be, are not kept", () => {
		const repeats = new RecentCalls(64_000_000);
		const raw = `{"model":"m","messages":[{"role":"user","content":"hi"}],${Array.from({ length: 400 }, (_, at) => `"a${at}":1`).join()}}`;
		const call = parsed(raw);
		repeats.remember(call, asker, found());
		const long = { ...asker, headers: new Headers({ "openai-beta": "x".repeat(15_000) }) };
		repeats.remember(callOf("hi"), long, found());
		expect([isKept(repeats, call), find(repeats, callOf("hi"), long)]).toEqual([false, undefined]);
	});

	test("a conversation with tools is kept, and as long a text as may be, in any alphabet", () => {
		const repeats = new RecentCalls(64_000_000);
		const messages = Array.from({ length: 12 }, (_, at) => ({
			role: at % 2 ? "assistant" : "user",
			content: `say ${at}`,
		}));
		const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
		const tools = ["a", "b"].map((name) => ({ type: "function", function: { name, parameters } }));
		const raw = JSON.stringify({ model: "m", messages, tools, temperature: 0, seed: 1 });
		const calls = [parsed(raw), callOf("ж".repeat(4000))];
		for (const call of calls) repeats.remember(call, asker, found(new Uint8Array(4096)));
		expect(calls.map((call) => isKept(repeats, call))).toEqual([true, true]);
	});

	test("the body is a copy", () => {
		const repeats = new RecentCalls(64_000_000);
		const body = new Uint8Array(8).fill(1);
		repeats.remember(callOf("hi"), asker, found(body));
		body.fill(2);
		expect(find(repeats, callOf("hi"))!.entry.body).toEqual(new Uint8Array(8).fill(1));
	});
});
