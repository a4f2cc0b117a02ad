/** What plans are made from: cached prompts, times, needs, prices. */
import { describe, expect, test } from "bun:test";
import { listPriceOf, PriceBook, type PricedTarget } from "../src/accounts/usage/price-book.ts";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import { BLOCK, LruSet, MOST_BLOCKS, promptOf } from "../src/routing/affinity.ts";
import { needsOf } from "../src/routing/requirements.ts";
import { kindOf } from "../src/routing/target-kind.ts";
import { VENDORS } from "../src/vendors.ts";
import type { Json } from "./kit/exchange.ts";
import { random } from "./kit/random.ts";
import { ROUTING_KINDS } from "./kit/routing-kinds.ts";

/** A target as the price book sees it. */
const pricedTarget = (id: string, priceId: string | undefined, model: string, isOwn: boolean): PricedTarget => ({
	id,
	model,
	provider: { name: id.slice(0, id.indexOf("/")), priceId },
	kind: isOwn ? "local" : "cloud",
});

describe.each(ROUTING_KINDS)("a replica's cached prompts, as %s remembers them,", (_, kind) => {
	const text = (seed: number, length: number) => {
		const { below } = random(seed);
		return Array.from({ length }, () => String.fromCharCode(97 + below(26))).join("");
	};

	test("count whole blocks from the beginning", () => {
		const cache = kind.prefixCache();
		const long = text(1, BLOCK * 10 + 17);
		expect(cache.uncached(promptOf("", [long]))).toBe(long.length);
		cache.add(promptOf("", [long]));
		expect(cache.uncached(promptOf("", [long]))).toBe(17);
		expect(cache.uncached(promptOf("", [long.slice(0, BLOCK * 4)]))).toBe(1);
		expect(cache.uncached(promptOf("", [`${long}${text(2, 100)}`]))).toBe(117);
		expect(cache.uncached(promptOf("", [`!${long}`]))).toBe(long.length + 1);
	});

	test("a later block is known only with all before it", () => {
		const cache = kind.prefixCache();
		const [a, b] = [text(3, BLOCK * 3), text(4, BLOCK * 3)];
		cache.add(promptOf("", [a + b]));
		expect(cache.uncached(promptOf("", [b + b]))).toBe(BLOCK * 6);
		expect(cache.uncached(promptOf("", [a + a]))).toBe(BLOCK * 3);
	});

	test("are found as a plain comparison finds them, whatever was added", () => {
		for (let seed = 1; seed <= 60; seed++) {
			const { below } = random(seed);
			const cache = kind.prefixCache();
			const pieces = [1, 2, 3].map((each) => text(seed * 10 + each, BLOCK));
			const made = () => Array.from({ length: 1 + below(12) }, () => pieces[below(3)]!).join("");
			const added = Array.from({ length: 5 }, made);
			for (const each of added) cache.add(promptOf("", [each]));
			const asked = made();
			const common = (other: string) => {
				let blocks = 0;
				while (blocks * BLOCK < asked.length && other.startsWith(asked.slice(0, (blocks + 1) * BLOCK))) blocks++;
				return blocks;
			};
			const known = Math.max(...added.map(common));
			expect(cache.uncached(promptOf("", [asked]))).toBe(Math.max(1, asked.length - known * BLOCK));
		}
	});

	test("are the same however the prompt's parts are cut, and others with another beginning", () => {
		const long = text(5, BLOCK * 3);
		expect(promptOf("", [long.slice(0, 100), long.slice(100)])).toEqual(promptOf("", [long]));
		expect(promptOf("other", [long]).blocks).not.toEqual(promptOf("", [long]).blocks);
	});

	test("of an endless prompt the beginning counts for all of it", () => {
		const cache = kind.prefixCache();
		const endless = text(6, 1000).repeat(600);
		expect(promptOf("", [endless]).blocks.length).toBe(MOST_BLOCKS);
		cache.add(promptOf("", [endless]));
		expect(cache.uncached(promptOf("", [endless]))).toBe(1);
	});

	test("are forgotten, those used longest ago first", () => {
		const state = kind.state(() => 0);
		const give = (content: string) => state.opened("a", true, { prompt: promptOf("", [content]) }).closed({});
		const first = text(7, BLOCK * 10);
		give(first);
		for (let at = 0; at < 2_000; at++) {
			give(text(100 + at, BLOCK * 10));
			if (at % 100 === 0) give(first);
		}
		const { prefixes } = state.of("a");
		expect(prefixes!.uncached(promptOf("", [first]))).toBe(1);
		expect(prefixes!.uncached(promptOf("", [text(100, BLOCK * 10)]))).toBe(BLOCK * 10);
	});

	test(`of endlessly many targets are those of the last ${kind.caches}: clients choose the names behind a star`, () => {
		const state = kind.state(() => 0);
		const prompt = promptOf("", [text(9, BLOCK * 4)]);
		const give = (target: string) => state.opened(target, true, { prompt }).closed({});
		for (let at = 0; at < 700; at++) give(`box/${at}`);
		const remembered = (at: number) => state.of(`box/${at}`).prefixes !== undefined;
		const first = 700 - kind.caches;
		const remembers = [remembered(0), remembered(first - 1), remembered(first), remembered(699)];
		expect(remembers).toEqual([false, false, true, true]);
		give("box/0");
		expect([remembered(0), remembered(first), remembered(first + 1)]).toEqual([true, false, true]);
	});

	test("are remembered for as long as it is in use, whatever other names clients make up", () => {
		const state = kind.state(() => 0);
		const prompt = promptOf("", [text(9, BLOCK * 4)]);
		const give = (target: string) => state.opened(target, true, { prompt }).closed({});
		for (let at = 0; at < 2_000; at++) {
			if (at % 100 === 0) give("gpu-1");
			give(`box/${at}`);
			expect(state.of("gpu-1").prefixes).toBeDefined();
		}
	});

	test("are gone with the process that had them", () => {
		const state = kind.state(() => 0);
		const prompt = promptOf("", [text(8, BLOCK * 4)]);
		state.opened("a", true, { prompt }).closed({});
		state.opened("a", true, { prompt }).closed({ failure: "transport", status: 500 });
		expect(state.of("a").prefixes!.uncached(prompt)).toBe(1);
		state.opened("a", true, { prompt }).closed({ failure: "transport" });
		expect(state.of("a").prefixes!.uncached(prompt)).toBe(BLOCK * 4);
	});
});

test("a bounded set keeps at least the half used last, and never more than its size", () => {
	const set = new LruSet(100);
	for (let value = 0; value < 1_000; value++) {
		set.add(value);
		expect(set.count).toBeLessThanOrEqual(100);
		for (let back = 0; back < 50 && back <= value; back++) expect(set.has(value - back)).toBe(true);
		expect(set.has(value - 100)).toBe(false);
	}
	set.clear();
	expect([set.count, set.has(999)]).toEqual([0, false]);
});

describe.each(ROUTING_KINDS)("as %s remembers them,", (_, kind) => {
	test("of endlessly many targets some are remembered, also where all are out of use; those with calls under way are", () => {
		const state = kind.state(() => 0);
		const busy = state.opened("busy", true);
		const fail = (target: string) => {
			for (let at = 0; at < 5; at++) state.opened(target, true).closed({ failure: "transport" });
		};
		for (let at = 0; at < 2_500; at++) fail(`box/${at}`);
		const known = new Set([...state.breakers()].map(([id]) => id));
		expect(known.size).toBeLessThanOrEqual(2_000);
		expect([known.has("box/0"), known.has("box/2499"), state.of("busy").inFlight]).toEqual([false, true, 1]);
		busy.closed({});
		expect(state.of("busy").inFlight).toBe(0);
	});

	test("what is known of a target that is in use outlasts thousands of names that clients make up", () => {
		const state = kind.state(() => 0);
		for (let at = 0; at < 10_000; at++) {
			if (at % 500 === 0) {
				const attempt = state.opened("gpu-1", true);
				attempt.firstToken();
				attempt.closed({});
			}
			state.opened(`box/${at}`, true).closed({});
			expect(state.of("gpu-1").firstToken.mean(0)).toBeDefined();
		}
	});
});

describe.each(ROUTING_KINDS)("a target's times, as %s remembers them,", (_, kind) => {
	test("a worse one counts at once, a better one little by little", () => {
		const latency = kind.latency();
		expect([latency.mean(0), latency.percentile(0.5)]).toEqual([undefined, undefined]);
		latency.add(100, 0);
		latency.add(1_000, 100);
		expect(latency.mean(100)).toBe(1_000);
		latency.add(100, 200);
		expect(latency.mean(200)).toBeWithin(100, 1_000);
		for (let at = 0; at < 100; at++) latency.add(100, 300 + at);
		expect(latency.mean(400)).toBeWithin(100, 110);
	});

	test("unused they fade", () => {
		const latency = kind.latency();
		latency.add(1_000, 0);
		expect(latency.mean(83_000)).toBeWithin(480, 520);
		expect(latency.mean(3_600_000)).toBeLessThan(1);
	});

	test("percentiles are of the last 128", () => {
		const latency = kind.latency();
		for (let ms = 1; ms <= 100; ms++) latency.add(ms, ms);
		expect(latency.percentile(0.5)).toBeWithin(48, 53);
		expect(latency.percentile(0.99)).toBeWithin(95, 101);
		for (let at = 0; at < 200; at++) latency.add(7, 1_000);
		expect([latency.percentile(0.5), latency.percentile(0.99), latency.count]).toEqual([7, 7, 300]);
	});

	test("what is no time is passed over", () => {
		const latency = kind.latency();
		for (const ms of [Number.NaN, -1, Number.POSITIVE_INFINITY]) latency.add(ms, 0);
		expect(latency.count).toBe(0);
	});
});

describe("what a call needs", () => {
	const needs = (
		body: Json,
		headers: Record<string, string> = {},
		operation: "chat" | "completions" | "embeddings" = "chat",
		keyId?: string,
	) =>
		needsOf({
			...{ operation, keyId },
			headers: new Headers(headers),
			...parseRequest(operation, JSON.stringify({ model: "m", ...body })),
		});
	const messages = [{ role: "user", content: "hi" }];

	test.each([
		[{ messages }, []],
		[{ messages, tools: [] }, []],
		[{ messages, tools: [{ type: "function" }] }, ["tools"]],
		[{ messages, functions: [{ name: "f" }] }, ["tools"]],
		[
			{ messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "https://x/y.png" } }] }] },
			["images"],
		],
		[{ messages, response_format: { type: "json_schema", json_schema: {} } }, ["schema"]],
		[{ messages, response_format: { type: "json_object" } }, []],
		[{ messages, response_format: null }, []],
	] as [Json, string[]][])("%j", (body, features) => expect(needs(body).features).toEqual(features as never));

	test("embeddings need a model that makes them, and no cache", () => {
		const { features, prompt } = needs({ input: "x".repeat(10_000) }, {}, "embeddings");
		expect([features, prompt().blocks.length]).toEqual([["embeddings"], 0]);
	});

	test("a picture's bytes are no words", () => {
		const url = `data:image/png;base64,${"A".repeat(100_000)}`;
		const { tokens, leastTokens, characters } = needs({
			messages: [
				{
					role: "user",
					content: [
						{ type: "text", text: "what is it?" },
						{ type: "image_url", image_url: { url } },
					],
				},
			],
		});
		expect(characters).toBeGreaterThan(100_000);
		expect(tokens).toBeLessThan(100);
		expect(leastTokens).toBeLessThan(tokens);
	});

	test("the prompt is tools, then messages, wherever they stand in the body", () => {
		const tools = [{ type: "function", function: { name: "f", description: "d".repeat(600) } }];
		const one = needs({ messages, tools }).prompt();
		const other = needs({ temperature: 1, tools, messages }).prompt();
		expect(one).toEqual(other);
		expect(one.blocks.length).toBeGreaterThan(1);
	});

	test("a further turn begins with the turns before it", () => {
		const turn = (count: number) =>
			Array.from({ length: count }, (_, at) => ({ role: "user", content: `${at}${"x".repeat(700)}` }));
		const [three, four] = [needs({ messages: turn(3) }).prompt(), needs({ messages: turn(4) }).prompt()];
		expect([...four.blocks.slice(0, three.blocks.length)]).toEqual([...three.blocks]);
	});

	test.each([
		[{ "x-session-id": "s-1" }, "s-1"],
		[{ session_id: "s-2" }, "s-2"],
		[{ "session-id": "s-3" }, "s-3"],
		[{ "x-claude-code-session-id": "s-4" }, "s-4"],
		[{ "x-session-id": "s".repeat(500) }, "s".repeat(200)],
		[{ "x-request-id": "r" }, undefined],
	])("the session of %j", (headers, session) => expect(needs({ messages }, headers).session).toBe(session as never));

	test("a session is its key's own: others may call theirs the same, and can't make up its name", () => {
		const headers = { "x-session-id": "one" };
		const of = (key?: string) => needs({ messages }, headers, "chat", key);
		const [a, b] = [of("a"), of("b")];
		expect(new Set([a.session, b.session, of().session]).size).toBe(3);
		expect(of("a").session).toBe(a.session!);
		expect(a.conversation()).not.toBe(b.conversation());
		expect(needs({ messages }, { "x-session-id": a.session! }, "chat", "b").session).not.toBe(a.session!);
		expect(needs({ messages }, { "x-session-id": "s".repeat(500) }, "chat", "k".repeat(300)).session).toHaveLength(43);
	});

	test("the answer's limit, where there is one", () => {
		expect(needs({ messages, max_tokens: 5 }).maxTokens).toBe(5);
		expect(needs({ messages, max_tokens: 5, max_completion_tokens: 7 }).maxTokens).toBe(7);
		expect(needs({ messages, max_tokens: null }).maxTokens).toBeUndefined();
	});
});

describe("prices", () => {
	const book = new PriceBook({ "openai/gpt-5-mini": { input: 1, output: 2 }, "mybox/*": { input: 0.5, output: 0.5 } });

	test("the configuration's come before the table's", () => {
		expect(book.of(pricedTarget("openai/gpt-5-mini", "openai", "gpt-5-mini", false)).price).toEqual({
			input: 1,
			output: 2,
		});
		expect(book.of(pricedTarget("mybox/a/b", undefined, "a/b", true)).price).toEqual({ input: 0.5, output: 0.5 });
	});

	test("the table knows vendors' models and their context", () => {
		const { price, context } = book.of(pricedTarget("openai/gpt-4o", "openai", "gpt-4o", false));
		expect(price!.input).toBeGreaterThan(0);
		expect(price!.output).toBeGreaterThan(price!.input);
		expect(context).toBeGreaterThan(100_000);
		for (const [type, model] of [
			["anthropic", "claude-sonnet-4-5"],
			["gemini", "gemini-2.5-flash"],
			["xai", "grok-4"],
			["openrouter", "qwen/qwen3-8b"],
		] as const) {
			expect(book.of(pricedTarget(`${type}/${model}`, VENDORS[type].priceId, model, false)).price).toBeDefined();
		}
	});

	test("an unknown price stays unknown; local targets cost nothing", () => {
		expect(book.of(pricedTarget("venice/x", VENDORS.venice.priceId, "x", false))).toEqual({});
		expect(book.of(pricedTarget("openai/made-up-model", "openai", "made-up-model", false)).price).toBeUndefined();
		expect(book.of(pricedTarget("local/a/m", undefined, "m", true)).price).toEqual({ input: 0, output: 0 });
		expect([listPriceOf(undefined, 1, 1), listPriceOf({ input: 1, output: 3 }, 1_000_000, 1_000_000)]).toEqual([
			undefined,
			4,
		]);
	});
});

test.each([
	["local", "http://localhost:5000/v1", "local"],
	["vllm", "https://vllm.example.com/v1", "local"],
	["llm-d", "http://llm-d.internal/v1", "llm-d"],
	["openai", "http://127.0.0.1:9/v1", "cloud"],
	["openai-compatible", "http://10.0.0.7:8000/v1", "local"],
	["openai-compatible", "http://172.20.0.1/v1", "local"],
	["openai-compatible", "http://172.32.0.1/v1", "cloud"],
	["openai-compatible", "http://[fd00::1]/v1", "local"],
	["openai-compatible", "http://gpu-box:8000/v1", "local"],
	["openai-compatible", "http://ollama.default.svc.cluster.local/v1", "local"],
	["openai-compatible", "https://api.together.xyz/v1", "cloud"],
	["openai-compatible", "http://10.example.com/v1", "cloud"],
	["openai-compatible", "http://100.64.0.1/v1", "local"],
	["openai-compatible", "http://169.254.1.1/v1", "local"],
	["openai-compatible", "http://[fe80::1]/v1", "local"],
	["openai-compatible", undefined, "cloud"],
] as const)("%s at %p is %s", (type, baseUrl, kind) => expect(kindOf({ baseUrl, row: VENDORS[type] })).toBe(kind));
