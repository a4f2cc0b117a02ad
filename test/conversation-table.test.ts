/** Which conversations vendors' caches have: for how long, in how much memory, in all threads, and nothing that anybody could read. */
import { describe, expect, test } from "bun:test";
import { PROMPT_CACHES } from "../src/providers/prompt-cache.ts";
import type { Provider } from "../src/providers/provider.ts";
import { cachedAt, keepAt, keyAt } from "../src/routing/cache-places.ts";
import { ConversationTable, makeConversations } from "../src/routing/conversation-table.ts";
import { historyIn } from "../src/routing/history.ts";
import { makeRoutingMemory, SharedRoutingState } from "../src/routing/shared-routing-state.ts";
import { random } from "./kit/random.ts";

const key = (first: number, second = 1) => ({ first, second });

describe("the table", () => {
	test("has nothing of what was never kept, has lapsed or was forgotten", () => {
		let now = 0;
		const table = new ConversationTable(makeConversations(), () => now);
		expect([table.leftMs(key(1)), [...table.all()]]).toEqual([0, []]);
		table.forget(key(1));
		table.keep(key(1), 5_000);
		table.keep(key(2), 9_000);
		expect([table.leftMs(key(1)), table.leftMs(key(1, 2))]).toEqual([5_000, 0]);
		now = 5_000;
		expect([table.leftMs(key(1)), table.leftMs(key(2))]).toEqual([0, 4_000]);
		table.forget(key(2));
		expect([...table.all()]).toEqual([]);
	});

	test("keeps for the longer of two times", () => {
		const table = new ConversationTable(makeConversations(), () => 0);
		for (const ms of [60_000, 5_000, 7_000]) table.keep(key(1), ms);
		expect(table.leftMs(key(1))).toBe(60_000);
	});

	test("takes no memory before it is used, and never more than 393 KB", () => {
		const memory = makeConversations();
		const table = new ConversationTable(memory, () => 0);
		expect(memory.byteLength).toBe(0);
		const { below } = random(5);
		const keys = Array.from({ length: 100_000 }, (_, at) => key(below(2 ** 31), at));
		for (const [at, each] of keys.entries()) table.keep(each, 1_000 + at);
		expect(memory.byteLength).toBe(393_216);
		expect([...table.all()].length).toBe(32_768);
		// What would have ended first went.
		expect(keys.slice(-1_000).every((each) => table.leftMs(each) > 0)).toBe(true);
	});

	test("is the same in all threads, whose clocks differ", () => {
		const memory = makeRoutingMemory();
		const [main, worker] = [0, 50_000].map(
			(offset, thread) => new SharedRoutingState(memory, { thread, offset }, () => 60_000 - offset).conversations,
		);
		worker!.keep(key(1), 5_000);
		expect(main!.leftMs(key(1))).toBe(5_000);
	});
});

const ready = () => true;
const asked = { isMarked: true, isForHour: false, retention: undefined };
const account = (secret: string): Provider =>
	({ promptCache: { rules: PROMPT_CACHES.openai, scope: secret } }) as unknown as Provider;
const said = (text: string) => JSON.stringify({ role: "user", content: text.repeat(500) });
const first = historyIn([`[${said("one")}]`]);
const next = historyIn([`[${said("one")},{"role":"assistant","content":"b"},${said("two")}]`]);

describe("what is remembered", () => {
	const place = (secret: string, model = "gpt-5-mini") => ({ provider: account(secret), model });

	test("is another thing with each key and each model, and the same wherever these are", () => {
		const keys = [place("sk-1"), place("sk-2"), place("sk-1", "gpt-6"), place("sk-1")].map((each) =>
			keyAt(each, first.whole),
		);
		expect(keys[3]).toEqual(keys[0]!);
		expect(new Set(keys.map((each) => JSON.stringify(each))).size).toBe(3);
	});

	test("is found at the key that has most of it; of equals, where it lasts longest", () => {
		const table = new ConversationTable(makeConversations(), () => 0);
		const provider = { ...account("sk-1"), otherAccounts: [account("sk-2"), account("sk-3")] };
		const at = (index: number) => ({
			provider: index === 0 ? provider : provider.otherAccounts[index - 1]!,
			model: "m",
		});
		expect(cachedAt(table, at(0), next, ready)).toBeUndefined();
		keepAt(table, at(2), first, asked);
		expect(cachedAt(table, at(0), next, ready)?.account).toBe(2);
		keepAt(table, at(1), first, { ...asked, retention: "24h" });
		expect(cachedAt(table, at(0), next, ready)).toEqual({ account: 1, characters: first.whole.characters });
		expect(cachedAt(table, at(0), next, (key) => key !== 1)?.account).toBe(2);
		const later = historyIn([
			`[${said("one")},{"role":"assistant","content":"b"},${said("two")},{"role":"assistant","content":"c"}]`,
		]);
		keepAt(table, at(0), next, asked);
		expect(cachedAt(table, at(0), later, ready)?.account).toBe(0);
	});

	test("is found again where a conversation is asked the same once more, but not where it begins", () => {
		const table = new ConversationTable(makeConversations(), () => 0);
		const at = { provider: account("sk-1"), model: "m" };
		keepAt(table, at, first, asked);
		expect(cachedAt(table, at, first, ready)).toBeUndefined();
		keepAt(table, at, next, asked);
		expect(cachedAt(table, at, next, ready)?.characters).toBe(next.whole.characters);
	});

	test("of a cache with a name is where the vendor has such caches alone, and found though the limit of its key is used up", () => {
		const table = new ConversationTable(makeConversations(), () => 0);
		const named = historyIn(["[]"], undefined, "cachedContents/x");
		const ofGoogle = {
			provider: { promptCache: { rules: PROMPT_CACHES.gemini!, scope: "g" } } as Provider,
			model: "m",
		};
		for (const at of [place("sk-1"), ofGoogle]) keepAt(table, at, named, asked);
		expect(cachedAt(table, place("sk-1"), named, ready)).toBeUndefined();
		expect(cachedAt(table, ofGoogle, named, (_, isSole) => isSole === true)).toEqual({ account: 0, characters: 0 });
		expect(cachedAt(table, ofGoogle, named, () => false)).toBeUndefined();
	});

	test("is two entries of a conversation, however long it gets", () => {
		const table = new ConversationTable(makeConversations(), () => 0);
		const provider = account("sk-1");
		const messages = [said("one")];
		for (let turn = 0; turn < 20; turn++) {
			keepAt(table, { provider, model: "m" }, historyIn([`[${messages.join()}]`]), asked);
			messages.push('{"role":"assistant","content":"b"}', said(`${turn}`));
		}
		expect([...table.all()].length).toBe(2);
	});
});

const HOUR = 3_600_000;
const nothing = { isMarked: false, isForHour: false, retention: undefined };
describe("how long vendors keep a prompt", () => {
	test.each(["constructor", "toString", "__proto__", "a week"])("is as usual where a call asks for %p", (retention) => {
		const { lifetimeMs } = PROMPT_CACHES.openai!;
		expect(lifetimeMs("gpt-5-mini", { ...nothing, retention })).toBe(lifetimeMs("gpt-5-mini", nothing));
	});

	test.each([
		["anthropic", "claude-sonnet-5", nothing, 0],
		["anthropic", "claude-sonnet-5", { ...nothing, isMarked: true }, HOUR / 12],
		["anthropic", "claude-sonnet-5", { ...nothing, isMarked: true, isForHour: true }, HOUR],
		["openai", "gpt-4.1", nothing, HOUR],
		["openai", "gpt-5.5", nothing, 24 * HOUR],
		["openai", "gpt-6.1", nothing, HOUR / 2],
		["openai", "gpt-6", { ...nothing, retention: "12h" }, 12 * HOUR],
		["openai", "gpt-5", { ...nothing, retention: "24h" }, 24 * HOUR],
		["openai", "gpt-5", { ...nothing, retention: "in_memory" }, HOUR / 6],
		["openai", "gpt-5", { ...nothing, retention: "of the client's making" }, HOUR],
		["gemini", "gemini-3-pro", nothing, HOUR / 12],
		["xai", "grok-4.7", nothing, HOUR / 12],
	] as const)("%s, %s, %j: %d ms", (vendor, model, call, ms) => {
		expect(PROMPT_CACHES[vendor]!.lifetimeMs(model, call)).toBe(ms);
	});

	test.each([
		["anthropic", "claude-haiku-4-5-20251001", 4_096],
		["anthropic", "claude-opus-5", 512],
		["anthropic", "claude-sonnet-5", 1_024],
		["gemini", "gemini-3-flash", 1_024],
		["gemini", "gemini-3-pro", 4_096],
	] as const)("%s, %s: from %d tokens on", (vendor, model, tokens) => {
		expect(PROMPT_CACHES[vendor]!.minimumTokens(model)).toBe(tokens);
	});

	test.each(["vllm", "llm-d", "local"] as const)("%s is no vendor", (type) => {
		expect(PROMPT_CACHES[type]).toBeUndefined();
	});
});
