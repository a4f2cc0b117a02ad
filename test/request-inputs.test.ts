/** What is kept between calls: bounded, the least used given up first, each key's own. */
import { describe, expect, test } from "bun:test";
import type { Call } from "../src/openai/call.ts";
import type { RequestInputStore } from "../src/providers/provider.ts";
import { configureUpstreams } from "../src/providers/registry.ts";
import type { MediaAccess } from "../src/proxy/net/media-fetch.ts";
import { Lru, requestInputsFor, type StoredThoughts, ThinkingMemory } from "../src/proxy/net/request-inputs.ts";
import { SharedThinking, sharedThinkingMemory } from "../src/proxy/net/shared-thinking.ts";
import { catalogEntries } from "../src/server/role-plan.ts";
import { configOf } from "./kit/pipeline.ts";

describe("memory", () => {
	/** Entries of one size: a key and a value of 50 units are 200 bytes. */
	const key = (n: number) => String(n).padStart(50, "k");
	const value = "v".repeat(50);

	test("holds no more than its limit, whatever comes", () => {
		const memory = new Lru(2000);
		for (let n = 0; n < 1000; n++) {
			memory.put(key(n), value);
			expect(memory.size).toBeLessThanOrEqual(2000);
		}
		expect(memory.get(key(999))).toBe(value);
		expect(memory.get(key(990))).toBe(value);
		expect(memory.get(key(989))).toBeUndefined();
	});

	test("gives up what was used least", () => {
		const memory = new Lru(2000);
		for (let n = 0; n < 10; n++) memory.put(key(n), value);
		memory.get(key(0));
		memory.put(key(10), value);
		expect([memory.get(key(0)), memory.get(key(1))]).toEqual([value, undefined]);
	});

	test("counts a value once that is put twice, and takes the later one", () => {
		const memory = new Lru(2000);
		memory.put("a", "x");
		memory.put("a", "yy");
		expect([memory.get("a"), memory.size]).toEqual(["yy", 6]);
	});

	test("does not give up everything for one that is too large", () => {
		const memory = new Lru(2000);
		memory.put("a", "x");
		memory.put("b", "y".repeat(200));
		expect([memory.get("a"), memory.get("b")]).toEqual(["x", undefined]);
	});
});

const call = (keyId?: string) => ({ keyId, client: new AbortController() }) as unknown as Call;
const signal = new AbortController().signal;
const nowhere: MediaAccess = {
	get: async () => {
		throw new Error("nothing is fetched here");
	},
	resolve: async () => [],
	isAllowed: () => true,
};

const MEMORIES: readonly [string, () => StoredThoughts][] = [
	["of one thread", () => new ThinkingMemory()],
	["that threads share", () => new SharedThinking(sharedThinkingMemory(), 1)],
];

test.each(MEMORIES)(
	"what one key's answer brought, no other key gets, nor another upstream: in memory %s",
	async (_, make) => {
		const requestInputs = requestInputsFor(nowhere, make());
		const claude = requestInputs("anthropic");
		claude.store(call("ann"), [{ id: "toolu_1", value: "thought" }]);
		const kept = async (of: typeof claude, key?: string) => (await of.get(call(key), [], signal)).thinking("toolu_1");
		expect(await kept(claude, "ann")).toBe("thought");
		expect(await kept(claude, "bob")).toBeUndefined();
		expect(await kept(claude)).toBeUndefined();
		expect(await kept(requestInputs("gemini"), "ann")).toBeUndefined();
	},
);

describe.each(MEMORIES)("after a reload, in memory %s", (_memory, make) => {
	const memory = make();
	const storeOf = (type: string, base_url: string) => {
		const config = configOf({ providers: { it: { type, base_url, api_key: "sk-of-it" } } });
		const entries = catalogEntries(configureUpstreams(config, {}), config, {}, memory);
		return entries.find(({ upstream }) => upstream.name === "it")!.provider.inputStore!;
	};
	const given = async (store: RequestInputStore) => (await store.get(call("ann"), [], signal)).thinking("toolu_1");
	const FIRST = ["anthropic", "http://127.0.0.1:1/v1"] as const;
	const before = storeOf(...FIRST);

	test("what an upstream's answers have brought is still there", async () => {
		expect(before.hasStored).toBe(false);
		before.store(call("ann"), [{ id: "toolu_1", value: "thought" }]);
		const after = storeOf(...FIRST);
		expect([after.hasStored, await given(after)]).toEqual([true, "thought"]);
		// A call that began before it hears of what one behind it has brought.
		after.store(call("ann"), [{ id: "toolu_1", value: "another" }]);
		expect(await given(before)).toBe("another");
	});

	test.each([
		["of another kind", "gemini", FIRST[1]],
		["at another address", "anthropic", "http://127.0.0.1:2/v1"],
	])("it is given to no upstream %s that has got the name", async (_, type, url) => {
		before.store(call("ann"), [{ id: "toolu_1", value: "thought" }]);
		const other = storeOf(type, url);
		expect([other.hasStored, await given(other)]).toEqual([false, undefined]);
	});
});

describe("memory that threads share", () => {
	const shared = sharedThinkingMemory(64 * 1024);
	const [one, other] = [1, 2].map((thread) => new SharedThinking(shared, thread)) as [SharedThinking, SharedThinking];

	test("gives each thread what another's answers have brought, exactly", () => {
		const [mine, theirs] = [one.of("claude"), other.of("claude")];
		expect([mine.hasAny, theirs.hasAny, theirs.get(call("ann"), "a")]).toEqual([false, false, undefined]);
		const values = ["", "thought", "é 🙂 \u0000", "half \ud83d", `[${"x".repeat(3000)}]`];
		for (const [id, value] of values.entries()) mine.put(call("ann"), { id: String(id), value });
		expect(values.map((_, id) => theirs.get(call("ann"), String(id)))).toEqual(values);
		expect([mine.hasAny, theirs.hasAny]).toEqual([true, true]);
		theirs.put(call("ann"), { id: "0", value: "newer" });
		expect(mine.get(call("ann"), "0")).toBe("newer");
	});

	test("is bounded: what was used longest ago goes", () => {
		const thoughts = one.of("gemini");
		for (let id = 0; id < 1000; id++) {
			thoughts.put(call(), { id: String(id), value: "v".repeat(200) });
			expect(thoughts.get(call(), "3")).toBe(id < 3 ? undefined : "v".repeat(200));
		}
		expect([thoughts.get(call(), "999"), thoughts.get(call(), "4")]).toEqual(["v".repeat(200), undefined]);
		thoughts.put(call(), { id: "large", value: "v".repeat(64 * 1024) });
		expect(thoughts.get(call(), "large")).toBeUndefined();
	});
});

test("a file is fetched once a call, however often the call is tried", async () => {
	let times = 0;
	const requestInputs = requestInputsFor({
		...nowhere,
		resolve: async () => ["127.0.0.1"],
		get: async () => {
			times++;
			const bytes = [Buffer.from("GIF89a")];
			return { status: 200, headers: new Headers(), body: { read: async () => bytes.pop() } };
		},
	})("gemini");
	const one = call();
	const need = { kind: "media", url: "https://a.example/a.gif", param: "p" } as const;
	const first = await requestInputs.get(one, [need, { ...need, param: "q" }], signal);
	const second = await requestInputs.get(one, [need], signal);
	expect(first.media(need.url)).toEqual({ type: "image/gif", data: "R0lGODlh" });
	expect(second.media(need.url)).toEqual(first.media(need.url));
	expect(times).toBe(1);
	await requestInputs.get(call(), [need], signal);
	expect(times).toBe(2);
});

test("a call may name only so many files", async () => {
	const needs = Array.from(
		{ length: 33 },
		(_, n) => ({ kind: "media", url: `https://a/${n}`, param: `p${n}` }) as const,
	);
	const refused = requestInputsFor(nowhere)("gemini").get(call(), needs, signal);
	expect(await refused.catch((error) => [error.errorCode, error.body.error.param])).toEqual(["invalid_value", "p32"]);
});
