/** A conversation stays with the key whose prompt cache has it, without its client naming it. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { KeyRotation } from "../src/proxy/key-rotation.ts";
import { ProxyState } from "../src/proxy/proxy-state.ts";
import type { Explanation } from "../src/routing/explain.ts";
import { LocalRoutingState } from "../src/routing/local-routing-state.ts";
import { MarkedConversation, shareCached, startCachingVendor } from "./kit/caching-vendor.ts";
import type { Json } from "./kit/exchange.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";

const claude = startCachingVendor();
const gpt = startCachingVendor();
afterAll(() => {
	claude.stop();
	gpt.stop();
});

const MINUTE = 60_000;
const keysOf = (name: string) => [1, 2, 3].map((number) => `sk-${name}-${number}`);
const CLAUDES = keysOf("claude");
const GPTS = keysOf("gpt");

let router: Pipeline;
let now = 0;
beforeEach(() => {
	for (const vendor of [claude, gpt]) vendor.calls.length = 0;
	router = routerWith({});
});

function routerWith(over: Json, provider: Json = {}): Pipeline {
	const made = pipeline({
		config: {
			providers: {
				claude: { type: "anthropic", base_url: claude.origin, api_keys: CLAUDES, ...provider },
				gpt: { type: "openai", base_url: gpt.origin, api_keys: GPTS, ...provider },
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
			...over,
		},
	});
	now = 0;
	const state = new ProxyState({ targets: new LocalRoutingState(() => now), keys: new KeyRotation() });
	return Object.assign(made, { context: Object.assign(made.context, { state }) });
}

async function say(
	conversation: MarkedConversation,
	headers: Record<string, string> = {},
): Promise<string | undefined> {
	const before = claude.calls.length + gpt.calls.length;
	const answer = await router.send(conversation.next(), { headers });
	expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining("I see.")]);
	expect(claude.calls.length + gpt.calls.length).toBe(before + 1);
	return (claude.calls.at(-1) ?? gpt.calls.at(-1))?.key;
}
const kept = () => [...router.context.state.targets.conversations.all()];

describe("a conversation", () => {
	test("whose key is out of use moves once, and stays where it went", async () => {
		const conversation = new MarkedConversation("claude/claude-sonnet-5", "about moving");
		const first = (await say(conversation))!;
		expect(await say(conversation)).toBe(first);
		claude.refuse(first, () => Response.json({ error: { message: "no" } }, { status: 401 }));
		const second = await say(conversation);
		expect(second).not.toBe(first);
		for (let turn = 0; turn < 6; turn++) expect(await say(conversation)).toBe(second);
		claude.refuse(first, undefined);
	});

	test("whose key has used up its limit moves, and does not come back to it", async () => {
		const conversation = new MarkedConversation("claude/claude-sonnet-5", "about limits");
		const first = (await say(conversation))!;
		const slow = { status: 429, headers: { "retry-after": "1" } };
		claude.refuse(first, () =>
			Response.json({ type: "error", error: { type: "rate_limit_error", message: "no" } }, slow),
		);
		const second = await say(conversation);
		claude.refuse(first, undefined);
		expect(second).not.toBe(first);
		for (let turn = 0; turn < 6; turn++) expect(await say(conversation)).toBe(second);
	});

	test("goes on with any key once its cache has lapsed", async () => {
		const conversation = new MarkedConversation("claude/claude-sonnet-5", "about pauses");
		expect([await say(conversation), await say(conversation)]).toEqual([CLAUDES[0], CLAUDES[0]]);
		now += 5 * MINUTE + 1_000;
		expect(await say(conversation)).toBe(CLAUDES[1]);
	});

	test("that asks for an hour is kept for an hour from its last call on", async () => {
		const conversation = new MarkedConversation("claude/claude-sonnet-5", "about hours", {
			type: "ephemeral",
			ttl: "1h",
		});
		const turns = [await say(conversation)];
		for (const minutes of [59, 59, 61]) {
			now += minutes * MINUTE;
			turns.push(await say(conversation));
		}
		expect(turns).toEqual([CLAUDES[0], CLAUDES[0], CLAUDES[0], CLAUDES[1]]);
	});

	test.each([
		["12h", { prompt_cache_options: { ttl: "12h" } }, 11 * 60, 13 * 60],
		["a day", { prompt_cache_retention: "24h" }, 23 * 60, 25 * 60],
		["10 minutes", { prompt_cache_retention: "in_memory" }, 9, 11],
	])("that asks OpenAI for %s is kept as long", async (_, settings, within, beyond) => {
		const conversation = new MarkedConversation("gpt/gpt-5-mini", "about OpenAI", null, settings);
		expect(await say(conversation)).toBe(GPTS[0]);
		now += within * MINUTE;
		expect(await say(conversation)).toBe(GPTS[0]);
		now += beyond * MINUTE;
		expect(await say(conversation)).toBe(GPTS[1]);
	});

	test("of Claude's that marks nothing is cached nowhere, and goes on with any key", async () => {
		const conversation = new MarkedConversation("claude/claude-sonnet-5", "about nothing", null);
		const turns = [await say(conversation), await say(conversation), await say(conversation)];
		expect([turns, kept()]).toEqual([CLAUDES, []]);
	});

	test("that is shorter than what its vendor caches goes on with any key", async () => {
		const messages = [{ role: "user", content: "hi" }];
		for (let turn = 0; turn < 3; turn++) await (await router.send({ model: "gpt/gpt-5-mini", messages })).text();
		expect(gpt.calls.map(({ key }) => key)).toEqual(GPTS);
	});

	test("begins wherever it is a key's turn, though another one began with the same words", async () => {
		for (let turn = 0; turn < 3; turn++) await say(new MarkedConversation("gpt/gpt-5-mini", "the same"));
		expect(gpt.calls.map(({ key }) => key)).toEqual(GPTS);
	});

	test("that is examples and a question was none before, and the next question is asked with the next key", async () => {
		const examples = Array.from({ length: 10 }, (_, at) => [
			{ role: "user", content: `Example ${at}. `.repeat(100) },
			{ role: "assistant", content: "I see." },
		]).flat();
		for (let call = 0; call < 6; call++) {
			const messages = [...examples, { role: "user", content: `Question ${call}?` }];
			await (await router.send({ model: "gpt/gpt-5-mini", messages })).text();
		}
		expect(gpt.calls.map(({ key }) => key)).toEqual([...GPTS, ...GPTS]);
	});

	test("that its client names stays though its history is summed up, and others of that name begin with any key", async () => {
		const named = { "x-session-id": "s1" };
		const conversation = new MarkedConversation("gpt/gpt-5-mini", "about names");
		expect([await say(conversation, named), await say(conversation, named)]).toEqual([GPTS[0], GPTS[0]]);
		const rest = ["assistant", "user"].map((role) => ({ role, content: `The sum of ${role}. `.repeat(400) }));
		const messages = [{ role: "user", content: "In short?" }, ...rest];
		await (await router.send({ model: "gpt/gpt-5-mini", messages }, { headers: named })).text();
		expect(gpt.calls.at(-1)!.key).toBe(GPTS[0]!);
		for (const text of ["one", "another"]) await say(new MarkedConversation("gpt/gpt-5-mini", text), named);
		expect(gpt.calls.slice(-2).map(({ key }) => key)).toEqual([GPTS[1]!, GPTS[2]!]);
	});
});

test("20 conversations of 10 turns find their history at one of six keys of two providers: 95 % of the turns at least", async () => {
	const conversations = Array.from({ length: 20 }, (_, at) => new MarkedConversation("both", `conversation ${at}`));
	for (let turn = 0; turn < 10; turn++) for (const each of conversations) await say(each);
	const calls = [...claude.calls, ...gpt.calls];
	expect(calls.length).toBe(200);
	expect(shareCached(calls)).toBeGreaterThanOrEqual(0.95);
	expect(new Set(calls.map(({ key }) => key)).size).toBeGreaterThan(3);
});

test("what is remembered of a call says that its conversation is cached, by which key, and what that saves", async () => {
	const conversation = new MarkedConversation("both", "about reasons");
	await say(conversation);
	await say(conversation);
	const [, { decision }] = (await router.settledCalls(2)) as unknown as [unknown, { decision: Explanation }];
	const [first, second] = decision.candidates;
	expect(first).toMatchObject({ reason: "its prompt cache has the conversation", score: -1 });
	const { cached_tokens, saved_usd, cached_key } = first!.inputs;
	expect(cached_key).toBe(`providers.${first!.provider}.api_keys[0]`);
	// 9,255 characters and JSON around them, of which USD 1.8 or 0.225 a million tokens are saved.
	expect(cached_tokens).toBeWithin(2_314, 2_330);
	expect((saved_usd! * 1_000_000) / cached_tokens!).toBeCloseTo(first!.provider === "gpt" ? 0.225 : 1.8);
	expect(Object.keys(second!.inputs)).not.toContain("cached_tokens");
});

test("keys that share a cache take turns within a conversation", async () => {
	router = routerWith({}, { shared_prompt_cache: true });
	const conversation = new MarkedConversation("gpt/gpt-5-mini", "about sharing");
	expect([await say(conversation), await say(conversation), await say(conversation)]).toEqual(GPTS);
});

test("of a provider with one key nothing is remembered", async () => {
	router = routerWith({
		providers: { gpt: { type: "openai", base_url: gpt.origin, api_key: GPTS[0] } },
		models: [{ name: "both", targets: ["gpt/gpt-5-mini"] }],
	});
	const conversation = new MarkedConversation("both", "about one key");
	await say(conversation);
	await say(conversation);
	expect(kept()).toEqual([]);
});
