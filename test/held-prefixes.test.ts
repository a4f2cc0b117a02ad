/** Prompts by their characters, engines' blocks by their tokens, and what a router is told of a replica. */
import { describe, expect, test } from "bun:test";
import { HeldPrefixes } from "../src/agent/vllm/held-prefixes.ts";
import { blockContents } from "../src/agent/vllm/kv-blocks.ts";
import type { KvEvent } from "../src/agent/vllm/kv-events.ts";
import { PromptBlocks } from "../src/agent/vllm/prompt-blocks.ts";
import { BLOCK, promptOf } from "../src/routing/affinity.ts";

const SIZE = 16;

/** A token for each word of four characters and a blank. */
const tokensOf = (text: string) => text.match(/.{1,5}/gs)!.map((word) => Bun.hash.xxHash32(word));
const contents = (text: string) => blockContents(tokensOf(text), SIZE, "");
const text = (seed: string, words: number) =>
	Array.from(
		{ length: words },
		(_, at) => `${Bun.hash.xxHash32(`${seed}${at}`).toString(36).slice(-4).padStart(4, "0")} `,
	).join("");
const prompt = (content: string) => promptOf("", [content]);

/** A replica whose engine computes prompts, and its router. */
function replica(prompts = new PromptBlocks({ needs: () => undefined, forgotten: () => undefined })) {
	let changes = 0;
	const held = new HeldPrefixes(prompts, () => changes++);
	const hashes = (content: string) => contents(content).map((each) => each);
	const events = (...each: KvEvent[]) => held.events(each);
	return {
		held,
		changes: () => changes,
		/** What the router knows, kept by what it is told. */
		known: new Set<number>(),
		computes(content: string) {
			const tokens = tokensOf(content).slice(0, hashes(content).length * SIZE);
			const common = { parent: undefined, blockSize: SIZE, group: 0, isFullAttention: true, isOnGpu: true } as const;
			events({ kind: "stored", hashes: hashes(content), tokens, extras: [], ...common });
		},
		evicts(content: string, from = 0) {
			events({ kind: "removed", hashes: hashes(content).slice(from).reverse(), group: 0, isOnGpu: true });
		},
		tell() {
			const { since, added, removed } = held.take();
			if (since === undefined) this.known.clear();
			for (const each of added) this.known.add(each);
			for (const each of removed) this.known.delete(each);
			return { since, added: added.length, removed: removed.length };
		},
	};
}

/** A model of one replica. */
function model() {
	const prompts = new PromptBlocks({
		needs: (character, content) => one.held.needs(character, content),
		forgotten: (character) => one.held.forgotten(character),
	});
	const one: ReturnType<typeof replica> = replica(prompts);
	const learn = (content: string) => {
		const tokens = tokensOf(content);
		prompts.learn(prompt(content), blockContents(tokens, SIZE, ""), tokens.length, SIZE);
	};
	return { prompts, learn, ...one, one };
}

const SYSTEM = text("system", 400);
const FIRST = SYSTEM + text("first", 120);
const SECOND = SYSTEM + text("second", 200);

describe("a prompt's blocks are held", () => {
	test("not before it is known how it is made of tokens", () => {
		const { computes, held, tell, one } = model();
		computes.call(one, FIRST);
		expect(tell.call(one)).toEqual({ since: undefined, added: 0, removed: 0 });
		expect(held.hasNews).toBe(false);
	});

	test("not before the engine has them", () => {
		const { learn, one } = model();
		learn(FIRST);
		expect(one.tell().added).toBe(0);
		one.computes(FIRST);
		expect(one.tell()).toEqual({ since: 1, added: prompt(FIRST).blocks.length, removed: 0 });
		expect([...one.known].sort()).toEqual([...prompt(FIRST).blocks].sort());
	});

	test("whichever of the two comes first", () => {
		const { learn, one } = model();
		one.computes(FIRST);
		learn(FIRST);
		one.tell();
		expect(one.known.size).toBe(prompt(FIRST).blocks.length);
	});

	test("as far as the engine still has them: its evictions count at once", () => {
		const { learn, one } = model();
		one.computes(FIRST);
		learn(FIRST);
		one.tell();
		const half = Math.floor(contents(FIRST).length / 2);
		one.evicts(FIRST, half);
		expect(one.tell().removed).toBeGreaterThan(0);
		const { blocks } = prompt(FIRST);
		const left = blocks.findIndex((each) => !one.known.has(each));
		// Five characters a token: exact to one block.
		expect(Math.abs(left * BLOCK - half * SIZE * 5)).toBeLessThanOrEqual(BLOCK);
		expect([...blocks.slice(left)].some((each) => one.known.has(each))).toBe(false);
		one.evicts(FIRST.slice(0, half * SIZE * 5));
		one.tell();
		expect(one.known.size).toBe(0);
	});

	test("again without being tokenized again, once the engine has computed them anew", () => {
		const { learn, prompts, one } = model();
		learn(FIRST);
		one.computes(FIRST);
		one.evicts(FIRST);
		one.tell();
		expect(one.known.size).toBe(0);
		expect(prompts.knows(prompt(FIRST))).toBe(true);
		one.computes(FIRST);
		one.tell();
		expect(one.known.size).toBe(prompt(FIRST).blocks.length);
	});

	test("where prompts have a beginning in common, until the last of them is gone", () => {
		const { learn, one } = model();
		for (const each of [FIRST, SECOND]) {
			one.computes(each);
			learn(each);
		}
		one.evicts(FIRST);
		one.tell();
		const common = Math.floor(SYSTEM.length / BLOCK);
		const known = prompt(SECOND).blocks.findIndex((each) => !one.known.has(each));
		expect(known === -1 || known >= common - 1).toBe(true);
		// The end of the first is its own.
		expect(one.known.has(prompt(FIRST).blocks.at(-1)!)).toBe(false);
	});
});

describe("a prompt is worth its tokens", () => {
	test("not where only one call has begun so, nor where little is new", () => {
		const { learn, prompts } = model();
		expect(prompts.see(prompt(FIRST))).toBe(0);
		expect(prompts.see(prompt(text("other", 500)))).toBe(0);
		// The second that begins so.
		expect(prompts.see(prompt(SECOND))).toBe(Math.floor(SYSTEM.length / BLOCK));
		learn(SECOND);
		expect([prompts.knows(prompt(SECOND)), prompts.knows(prompt(FIRST))]).toEqual([true, false]);
		for (let times = 0; times < 2; times++) expect(prompts.see(prompt(SYSTEM + text("short", 100)))).toBe(0);
		expect(prompts.see(prompt("short"))).toBe(0);
		expect(prompts.see(prompt(""))).toBe(0);
	});

	test("of a conversation in those turns in which it has doubled", () => {
		const { learn, prompts } = model();
		let said = "";
		const tokenized: number[] = [];
		for (let turn = 1; turn <= 20; turn++) {
			said += text(`turn ${turn}`, 300);
			if (!prompts.see(prompt(said))) continue;
			tokenized.push(turn);
			learn(said);
		}
		expect(tokenized).toEqual([2, 5, 11]);
	});
});

test("characters and tokens meet where prompts part: a tail of other density leaves the beginning where it was", () => {
	const { learn, one } = model();
	one.computes(FIRST);
	learn(FIRST);
	// A tail of one character a token: in proportion the beginning would be three times as long.
	const tail = Array.from({ length: 1_000 }, (_, at) => String.fromCharCode(0x4e00 + at)).join("");
	const tokens = [...tokensOf(SYSTEM), ...[...tail].map((each) => each.codePointAt(0)!)];
	const mixed = prompt(SYSTEM + tail);
	one.tell();
	const before = one.known.size;
	learnTokens(one, mixed, tokens);
	one.tell();
	const known = mixed.blocks.findIndex((each) => !one.known.has(each));
	expect(Math.abs(known - Math.floor(SYSTEM.length / BLOCK))).toBeLessThanOrEqual(1);
	expect(one.known.size).toBeGreaterThanOrEqual(before - 1);
});

/** A prompt whose tokens are not those of `tokensOf`. */
function learnTokens(one: ReturnType<typeof replica>, mixed: ReturnType<typeof prompt>, tokens: number[]) {
	one.held.prompts.learn(mixed, blockContents(tokens, SIZE, ""), tokens.length, SIZE);
}

describe("a router is told", () => {
	test("all where it has heard nothing, or not the last", () => {
		const { learn, one } = model();
		learn(FIRST);
		one.computes(FIRST);
		expect(one.tell()).toEqual({ since: undefined, added: prompt(FIRST).blocks.length, removed: 0 });
		one.evicts(FIRST);
		one.held.unheard();
		expect(one.tell()).toEqual({ since: undefined, added: 0, removed: 0 });
		expect(one.known.size).toBe(0);
	});

	test("nothing where nothing has changed, and what came and went meanwhile is told as gone", () => {
		const { learn, one } = model();
		learn(FIRST);
		one.tell();
		expect(one.held.hasNews).toBe(false);
		one.computes(FIRST);
		one.evicts(FIRST);
		const told = one.tell();
		expect([told.since, told.added, told.removed > 0]).toEqual([1, 0, true]);
	});

	test("of a call that is over, what of its prompt is not there: it had taken that for granted", () => {
		const { learn, one } = model();
		learn(FIRST);
		one.computes(FIRST);
		one.evicts(FIRST, 10);
		one.tell();
		one.held.settled(prompt(FIRST));
		const { removed } = one.held.take();
		expect(removed.length).toBe(prompt(FIRST).blocks.filter((each) => !one.known.has(each)).length);
		// Where not even its beginning is there its tokens may be others than was thought.
		one.evicts(FIRST);
		one.tell();
		one.held.settled(prompt(FIRST));
		expect(one.held.hasNews).toBe(false);
	});

	test("all, where more has come and gone since than a report may hold", () => {
		const { one } = model();
		const events = (kind: "stored" | "removed", from: number, count: number) => {
			const hashes = Array.from({ length: count }, (_, at) => from + at);
			if (kind === "removed") return one.held.events([{ kind, hashes, group: 0, isOnGpu: true }]);
			for (const hash of hashes) {
				const common = { parent: undefined, blockSize: 1, group: 0, isFullAttention: true, isOnGpu: true } as const;
				one.held.events([{ kind, hashes: [hash], tokens: [hash], extras: [], ...common }]);
				const contents = blockContents([hash], 1, "");
				one.held.prompts.learn({ ...prompt(SYSTEM), characters: BLOCK, blocks: Int32Array.of(hash) }, contents, 1, 1);
			}
		};
		one.tell();
		for (let from = 0; from < 20_000; from += 5_000) {
			events("stored", from, 5_000);
			events("removed", from, 5_000);
		}
		expect(one.tell()).toEqual({ since: undefined, added: 0, removed: 0 });
	});

	test("no more at once than there is room for, and the others next", () => {
		const { learn, one } = model();
		learn(FIRST);
		one.computes(FIRST);
		const { blocks } = prompt(FIRST);
		const parts = [one.held.take(4), one.held.take(4), one.held.take()];
		expect(parts.map(({ since, added }) => [since, added.length])).toEqual([
			[undefined, 4],
			[1, 4],
			[2, blocks.length - 8],
		]);
		expect(parts.flatMap(({ added }) => [...added]).sort()).toEqual([...blocks].sort());
		expect(one.held.hasNews).toBe(false);
		one.evicts(FIRST);
		expect([one.held.take(4).removed.length, one.held.hasNews]).toEqual([4, true]);
	});

	test("that all is gone when the engine is a new one", () => {
		const { learn, one, changes } = model();
		learn(FIRST);
		one.computes(FIRST);
		one.tell();
		const before = changes();
		one.held.restarted();
		expect(changes()).toBeGreaterThan(before);
		expect(one.tell()).toEqual({ since: undefined, added: 0, removed: 0 });
	});
});
