/** What an engine has in its KV cache, as its events say: by what is in the blocks, not by their hashes. */
import { describe, expect, test } from "bun:test";
import { blockContents, KvBlocks } from "../src/agent/vllm/kv-blocks.ts";
import { adapterExtra, type BlocksRemoved, type BlocksStored } from "../src/agent/vllm/kv-events.ts";
import { random } from "./kit/random.ts";

/** Blocks of an engine, and the contents that can be used, as it tells of them. */
function engine() {
	const usable = new Set<number>();
	const blocks = new KvBlocks({
		held: (content) => void usable.add(content),
		lost: (content) => void usable.delete(content),
		cleared: () => usable.clear(),
	});
	return { blocks, usable };
}

const stored = (hashes: BlocksStored["hashes"], tokens: number[], more: Partial<BlocksStored> = {}): BlocksStored => ({
	kind: "stored",
	hashes,
	parent: undefined,
	tokens,
	blockSize: 2,
	extras: hashes.map(() => ""),
	group: 0,
	isFullAttention: true,
	isOnGpu: true,
	...more,
});
const removed = (hashes: BlocksRemoved["hashes"], more: Partial<BlocksRemoved> = {}): BlocksRemoved => ({
	kind: "removed",
	hashes,
	group: 0,
	isOnGpu: true,
	...more,
});

const PROMPT = [1, 2, 3, 4, 5, 6];
const CONTENTS = blockContents(PROMPT, 2, "");

describe("is not counted", () => {
	test("a block behind one that is gone, until that is back", () => {
		const { blocks, usable } = engine();
		blocks.take([stored([10, 11, 12], PROMPT), removed([10])]);
		expect([...usable]).toEqual([]);
		// The engine kept the others, and so stores the first alone.
		blocks.take([stored([10], [1, 2])]);
		expect([...usable]).toEqual(CONTENTS);
		expect(blocks.size).toBe(3);
	});

	test("a block whose beginning was stored before anybody listened", () => {
		const { blocks, usable } = engine();
		blocks.take([stored([11, 12], [3, 4, 5, 6], { parent: 10 })]);
		expect([usable.size, blocks.size]).toEqual([0, 0]);
	});

	test.each([
		["moved to the host's memory", { isOnGpu: false }],
		["of a group of sliding windows", { isFullAttention: false, group: 1 }],
		["of no tokens, as of a store beside the GPU", { tokens: [] }],
		["of size 0", { blockSize: 0 }],
	])("a block %s", (_, more) => {
		const { blocks, usable } = engine();
		blocks.take([stored([10, 11, 12], PROMPT, more)]);
		expect([usable.size, blocks.size]).toEqual([0, 0]);
	});

	test("what is removed in another group, or elsewhere than on the GPU: that leaves it", () => {
		const { blocks, usable } = engine();
		blocks.take([stored([10, 11, 12], PROMPT, { group: 3 })]);
		blocks.take([
			removed([10], { group: 1 }),
			removed([11], { group: 3, isOnGpu: false }),
			removed([99], { group: 3 }),
		]);
		expect([...usable]).toEqual(CONTENTS);
	});
});

test("two calls that compute the same at once store it twice, and it is gone when both are", () => {
	const { blocks, usable } = engine();
	blocks.take([stored([10, 11], [1, 2, 3, 4]), stored([10, 11], [1, 2, 3, 4])]);
	blocks.take([removed([11, 10])]);
	expect([...usable]).toEqual(CONTENTS.slice(0, 2));
	blocks.take([removed([11, 10])]);
	expect([usable.size, blocks.size]).toEqual([0, 0]);
	// Once more than it was stored is no harm.
	blocks.take([removed([11, 10]), stored([10], [1, 2])]);
	expect([...usable]).toEqual(CONTENTS.slice(0, 1));
});

test("all at once", () => {
	const { blocks, usable } = engine();
	blocks.take([stored([10, 11, 12], PROMPT), { kind: "cleared" }]);
	expect([usable.size, blocks.size]).toEqual([0, 0]);
});

test("the same tokens are other contents behind others, under an adapter and with a salt", () => {
	const salted = blockContents(PROMPT, 2, '["salt"]');
	const adapted = blockContents(PROMPT, 2, adapterExtra("sql"));
	const behind = blockContents([9, 9, ...PROMPT], 2, "");
	expect(new Set([...CONTENTS, ...salted, ...adapted, ...behind]).size).toBe(13);
	const { blocks, usable } = engine();
	blocks.take([stored([10, 11, 12], PROMPT, { extras: new Array(3).fill(adapterExtra("sql")) })]);
	expect([...usable]).toEqual(adapted);
	expect(CONTENTS.some((content) => blocks.has(content))).toBe(false);
});

test("hashes of other engines, of bytes and beyond 2^53, name the same contents", () => {
	for (const hashes of [
		["a", "b", "c"],
		[2n ** 63n, 2n ** 63n + 1n, 2n ** 63n + 2n],
		[1, 2, 3],
	]) {
		const { blocks, usable } = engine();
		blocks.take([stored(hashes.slice(0, 1), [1, 2]), stored(hashes.slice(1), [3, 4, 5, 6], { parent: hashes[0] })]);
		expect([...usable]).toEqual(CONTENTS);
	}
});

test("whatever happens in whatever order, usable is what is there with all before it", () => {
	for (let seed = 1; seed <= 20; seed++) {
		const { below } = random(seed);
		const { blocks, usable } = engine();
		// A tree of prompts: each block has a parent of a lower number, or none.
		const parents = Array.from({ length: 40 }, (_, at) => (at === 0 || below(5) === 0 ? undefined : below(at)));
		const tokensOf = (at: number) => [at, at];
		const chain = (at: number): number[] => (parents[at] === undefined ? [at] : [...chain(parents[at]), at]);
		const contentOf = (at: number) => blockContents(chain(at).flatMap(tokensOf), 2, "").at(-1)!;
		const counts = new Array<number>(40).fill(0);
		for (let step = 0; step < 400; step++) {
			const at = below(40);
			if (below(2) === 0 && counts[at]! > 0) {
				counts[at]!--;
				blocks.take([removed([at])]);
			} else if (
				chain(at)
					.slice(0, -1)
					.every((each) => counts[each]! > 0)
			) {
				counts[at]!++;
				blocks.take([stored([at], tokensOf(at), { parent: parents[at] })]);
			}
			const there = counts.flatMap((_, each) =>
				chain(each).every((one) => counts[one]! > 0) ? [contentOf(each)] : [],
			);
			expect([...usable].sort()).toEqual(there.sort());
		}
	}
});
