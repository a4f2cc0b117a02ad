/** What a model's calls have in common, as tokens: which beginnings are worth computing ahead. */
import { describe, expect, test } from "bun:test";
import { HotPrefixes } from "../src/agent/vllm/hot-prefixes.ts";
import { ModelPrompts } from "../src/agent/vllm/model-prompts.ts";
import { promptOf as promptOfText } from "../src/routing/affinity.ts";

/** Tokens that a block of characters needs here. */
const SIZE = 64;
const HALF_LIFE_MS = 600_000;

type Parts = readonly (readonly [name: string, blocks: number])[];

/** A prompt of parts, each so many blocks of characters; equal parts at equal places are the same blocks and tokens. */
function promptOf(...parts: Parts) {
	const blocks: number[] = [];
	const tokens: number[] = [];
	let chain = 0;
	for (const [name, count] of parts) {
		for (let at = 0; at < count; at++) {
			chain = Bun.hash.xxHash32(`${chain} ${name} ${at}`);
			blocks.push(chain | 0);
			for (let each = 0; each < SIZE; each++) tokens.push((chain + each) % 150_000);
		}
	}
	return { blocks: Int32Array.from(blocks), tokens, ends: blocks.map((_, at) => (at + 1) * SIZE) };
}

/** A call: it is seen, and tokenized where it is. */
function call(hot: HotPrefixes, parts: Parts, now = 0, isTokenized = true): void {
	const prompt = promptOf(...parts);
	hot.see(prompt, now);
	if (isTokenized) hot.learn(prompt, now);
}
const found = (hot: HotPrefixes, room = 1_000_000, now = 0) =>
	hot.hottest(room, now).map(({ tokens, calls }) => [tokens.length / SIZE, Math.round(calls * 100) / 100]);

describe("nothing is worth computing ahead", () => {
	test("of no calls, and of what one call alone has", () => {
		const hot = new HotPrefixes();
		expect(found(hot)).toEqual([]);
		call(hot, [["one", 20]]);
		call(hot, [["two", 20]]);
		expect(found(hot)).toEqual([]);
	});

	test("of which the tokens are not known", () => {
		const hot = new HotPrefixes();
		for (let times = 0; times < 5; times++) call(hot, [["system", 20]], 0, false);
		const prompt = promptOf(["system", 20]);
		hot.learn({ ...prompt, ends: prompt.ends.map(() => 0) }, 0);
		expect([found(hot), hot.size]).toEqual([[], 0]);
	});

	test("that was called for long ago", () => {
		const hot = new HotPrefixes();
		for (let times = 0; times < 3; times++) call(hot, [["system", 20]]);
		expect(found(hot, 1_000_000, HALF_LIFE_MS)).toEqual([[20, 1.5]]);
		expect(found(hot, 1_000_000, HALF_LIFE_MS + 1_000)).toEqual([]);
	});

	test("where there is no room for its first block, and once it is forgotten", () => {
		const hot = new HotPrefixes();
		for (let times = 0; times < 3; times++) call(hot, [["system", 20]]);
		expect(found(hot, SIZE - 1)).toEqual([]);
		hot.clear();
		expect([found(hot), hot.size]).toEqual([[], 0]);
	});
});

describe("worth computing ahead", () => {
	test("is what calls have in common, without what each has alone", () => {
		const hot = new HotPrefixes();
		for (const user of ["a", "b", "c"])
			call(hot, [
				["system", 20],
				[user, 5],
			]);
		const [prefix, ...others] = hot.hottest(1_000_000, 0);
		expect(others).toEqual([]);
		expect([...prefix!.tokens]).toEqual(promptOf(["system", 20]).tokens);
		expect(prefix!.calls).toBe(3);
	});

	test("are the most called first, and what they share is computed once", () => {
		const hot = new HotPrefixes();
		for (let times = 0; times < 2; times++)
			call(hot, [
				["system", 10],
				["rare", 4],
			]);
		for (let times = 0; times < 4; times++)
			call(hot, [
				["system", 10],
				["often", 6],
			]);
		for (let times = 0; times < 3; times++) call(hot, [["other", 8]]);
		expect(found(hot)).toEqual([
			[16, 4],
			[8, 3],
			[14, 2],
		]);
		// Room for the ten that six calls had, for the six of four calls, and for half of the eight.
		expect(found(hot, 20 * SIZE)).toEqual([
			[16, 4],
			[4, 3],
		]);
	});

	test("is the beginning that is shared where prompts part, not the longest prompt", () => {
		const hot = new HotPrefixes();
		call(hot, [
			["system", 10],
			["document", 40],
			["q1", 2],
		]);
		for (const question of ["q2", "q3", "q4", "q5"])
			call(
				hot,
				[
					["system", 10],
					[question, 2],
				],
				0,
				false,
			);
		expect(found(hot)).toEqual([[10, 5]]);
	});

	test("is a conversation as far as it has come, of which the turns before are a part", () => {
		const hot = new HotPrefixes();
		const turns: [string, number][] = [];
		for (const turn of ["t1", "t2", "t3", "t4"]) {
			turns.push([turn, 5]);
			call(hot, turns);
		}
		// The last turn had only one call so far.
		expect(found(hot)).toEqual([[15, 2]]);
		expect(hot.size).toBe(20 * SIZE);
	});
});

describe("tokens are forgotten", () => {
	test("that were not called for in half an hour, and what others still begin with stays", () => {
		const hot = new HotPrefixes();
		call(hot, [
			["system", 10],
			["old", 30],
		]);
		call(hot, [["alone", 8]]);
		const later = 4 * HALF_LIFE_MS;
		hot.see(promptOf(["system", 10]), later - 1_000);
		hot.expire(later);
		expect([hot.size, found(hot, 1_000_000, later)]).toEqual([10 * SIZE, []]);
		hot.see(promptOf(["system", 10]), later);
		expect(found(hot, 1_000_000, later)).toEqual([[10, expect.any(Number)]]);
		hot.expire(10 * later);
		expect([hot.size, found(hot, 1_000_000, 10 * later)]).toEqual([0, []]);
	});

	test("of which more came than are kept: one long prompt takes the place of many", () => {
		const hot = new HotPrefixes();
		for (let at = 0; at < 1_024; at++) call(hot, [[`small ${at}`, 4]], at);
		expect(hot.size).toBe(262_144);
		call(hot, [["long", 1_024]], 2_000);
		expect(hot.size).toBe(262_144);
		for (let times = 0; times < 2; times++) call(hot, [["small 1000", 4]], 2_000, false);
		expect(found(hot, 1_000_000, 2_000)).toEqual([[4, expect.any(Number)]]);
	});
});

describe("of a model's prompts", () => {
	const SHARED = "s".repeat(2_560);
	const tail = (name: string) => Array.from({ length: 1_000 }, (_, at) => `private ${name} ${at} `).join("");

	/** Two calls that begin alike, tokenized as four characters each. */
	async function twoCalls(prompts: ModelPrompts, asked: () => void = () => undefined): Promise<void> {
		prompts.add({ blockSize: 16, needs: () => undefined, forgotten: () => undefined } as never);
		const send = async ({ body }: { body: string }) => {
			asked();
			const { prompt } = JSON.parse(body) as { prompt: string };
			const tokens = Array.from({ length: Math.floor(prompt.length / 4) }, (_, at) => prompt.charCodeAt(at * 4));
			let rest: Buffer | undefined = Buffer.from(JSON.stringify({ tokens }));
			const read = async () => {
				const now = rest;
				rest = undefined;
				return now;
			};
			return { status: 200, headers: new Headers(), body: { read } };
		};
		for (const name of ["one", "two"]) {
			const text = SHARED + tail(name);
			const read = { prompt: promptOfText("", [text]), tokenize: JSON.stringify({ prompt: text }) };
			prompts.given(read as never, { origin: "http://engine", http: { send } } as never);
			await new Promise<void>((resolve) => prompts.whenKnown(resolve));
		}
	}

	test("what one call alone has is not kept", async () => {
		const prompts = new ModelPrompts(true);
		await twoCalls(prompts);
		expect(prompts.tokenized).toBe(1);
		// Of characters and tokens that meet in proportion, to a block or two.
		expect(prompts.hot!.size).toBeGreaterThan(0);
		expect(prompts.hot!.size).toBeLessThanOrEqual(SHARED.length / 4 + 32);
	});

	test("no tokens are kept where nothing is computed ahead", async () => {
		const prompts = new ModelPrompts(false);
		await twoCalls(prompts);
		expect([prompts.tokenized, prompts.hot]).toEqual([1, undefined]);
	});

	test("what is being tokenized when the tokenizer changes is left out", async () => {
		const prompts = new ModelPrompts(true);
		await twoCalls(prompts, () => prompts.forgetTokens());
		expect([prompts.tokenized, prompts.hot!.size]).toEqual([0, 0]);
	});
});

test("tokens of a model are bounded: what was called least goes first, and of one prompt the end", () => {
	const hot = new HotPrefixes();
	call(hot, [["long", 2_000]]);
	expect(hot.size).toBe(65_536);
	for (let times = 0; times < 4; times++) call(hot, [["hot", 100]]);
	for (let at = 0; at < 200; at++) call(hot, [[`once ${at}`, 100]]);
	expect(hot.size).toBeLessThanOrEqual(262_144);
	expect(hot.size).toBeGreaterThan(250_000);
	expect(found(hot)).toEqual([[100, 4]]);
});
