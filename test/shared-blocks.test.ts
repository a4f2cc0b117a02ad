/** Blocks of shared memory that are found by name, and what is left of them by a thread that dies at any moment. */
import { describe, expect, test } from "bun:test";
import { BLOCK_CELLS, FIRST_PART, makeBlocks, SharedBlocks } from "../src/memory/shared-blocks.ts";
import { Death, dyingBlocks } from "./kit/dying-blocks.ts";
import { random } from "./kit/random.ts";

const KIND = 2;
/** The first cell that is an owner's. */
const OWN = 8;

/** Views of two threads on memory for so many blocks, and of the main thread. */
function views(count: number) {
	const memory = makeBlocks(count);
	const view = (thread: number) => new SharedBlocks(memory, count, thread);
	return { main: view(0), one: view(1), two: view(2) };
}
const named = (blocks: SharedBlocks, text: string, kind = KIND) => blocks.find(kind, blocks.nameOf(kind, text));
const make = (blocks: SharedBlocks, text: string, kind = KIND) => blocks.make(kind, blocks.nameOf(kind, text));
function partsOf(blocks: SharedBlocks, block: number): number[] {
	const parts: number[] = [];
	for (let part = blocks.cells[block * BLOCK_CELLS + FIRST_PART]!; part !== 0; part = blocks.nextPart(part))
		parts.push(part);
	return parts;
}

describe("a block", () => {
	test("is not there before it is made, nor after it is removed, nor under another kind", () => {
		const { one, two } = views(8);
		expect(named(one, "a")).toBe(0);
		const block = make(one, "a");
		expect([named(two, "a"), named(two, "a", 3), named(two, "b")]).toEqual([block, 0, 0]);
		const remembered = two.nameOf(KIND, "a");
		two.find(KIND, remembered);
		one.remove(block);
		expect(two.find(KIND, remembered)).toBe(0);
		make(one, "c");
		expect(two.find(KIND, remembered)).toBe(0);
	});

	test("is empty when it is made, whatever stood there before", () => {
		const { one } = views(1);
		const block = make(one, "a");
		one.cells.fill(7, block * BLOCK_CELLS + OWN, (block + 1) * BLOCK_CELLS);
		one.remove(block);
		expect(make(one, "b")).toBe(block);
		expect([...one.cells.subarray(block * BLOCK_CELLS + FIRST_PART, (block + 1) * BLOCK_CELLS)]).toEqual(
			Array(BLOCK_CELLS - FIRST_PART).fill(0),
		);
	});

	test("has no room where all are in use, unless the owner makes some", () => {
		const { one } = views(2);
		const [first] = [make(one, "a"), make(one, "b")];
		expect(make(one, "c")).toBe(0);
		let asked = 0;
		one.onFull = () => {
			asked++;
			one.remove(first);
			return true;
		};
		expect(make(one, "c")).toBe(first);
		one.onFull = () => false;
		expect([make(one, "d"), one.addPart(named(one, "c"), 1)]).toEqual([0, 0]);
		expect([asked, named(one, "a")]).toEqual([1, 0]);
	});

	test("has parts in the order in which they came, which go with it", () => {
		const { one, two } = views(6);
		const block = make(one, "a");
		const parts = [1, 2, 3].map((cell) => one.addPart(block, cell));
		expect(partsOf(two, block)).toEqual(parts);
		two.dropPart(block);
		expect(partsOf(one, block)).toEqual(parts.slice(1));
		one.remove(block);
		for (let at = 0; at < 6; at++) expect(make(one, String(at))).toBeGreaterThan(0);
		expect(make(one, "6")).toBe(0);
	});
});

test("names are looked for and found among thousands, in any order of what is made and removed", () => {
	const { below } = random(3);
	const { one, two } = views(3_000);
	const known = new Map<string, number>();
	for (let step = 0; step < 60_000; step++) {
		const [blocks, other] = step % 2 ? [one, two] : [two, one];
		for (const each of [other, blocks]) {
			each.acquire();
			each.release();
		}
		const text = String(below(4_000));
		const block = named(blocks, text);
		expect(block).toBe(known.get(text) ?? 0);
		if (block !== 0) {
			expect(blocks.cells[block * BLOCK_CELLS + OWN]).toBe(Number(text));
			other.remove(block);
			known.delete(text);
		} else {
			const made = make(other, text);
			expect(made === 0).toBe(known.size === 3_000);
			if (made === 0) continue;
			other.cells[made * BLOCK_CELLS + OWN] = Number(text);
			known.set(text, made);
		}
	}
	expect(known.size).toBeGreaterThan(1_000);
});

test("memory grows as blocks are made, and each thread sees what others have made", () => {
	const memory = makeBlocks(20_000);
	const threads = [1, 2].map((thread) => new SharedBlocks(memory, 20_000, thread));
	const late = new SharedBlocks(memory, 20_000, 3);
	const before = memory.byteLength;
	const blocks = Array.from({ length: 20_000 }, (_, at) => {
		const thread = threads[at % 2]!;
		thread.acquire();
		const block = make(thread, String(at));
		thread.cells[block * BLOCK_CELLS + OWN] = at;
		thread.release();
		return block;
	});
	expect(before).toBeLessThan(memory.byteLength / 4);
	expect(memory.byteLength).toBe(memory.maxByteLength);
	late.acquire();
	expect(make(late, "one too many")).toBe(0);
	for (const [at, block] of blocks.entries()) {
		expect(named(late, String(at))).toBe(block);
		expect(late.cells[block * BLOCK_CELLS + OWN]).toBe(at);
	}
	late.release();
});

test("of a few blocks the oldest is found, and in time each is looked at", () => {
	const { one } = views(100);
	const blocks = Array.from({ length: 100 }, (_, at) => make(one, String(at)));
	const looked = new Set<number>();
	const age = (block: number) => {
		looked.add(block);
		return blocks.indexOf(block) === 50 ? undefined : block % 10;
	};
	for (let round = 0; round < 10; round++) expect(one.oldest(10, age) % 10).toBe(9);
	expect(looked.size).toBe(100);
	expect(one.oldest(10, () => undefined)).toBe(0);
});

describe("a thread that dies while it makes, extends or removes a block", () => {
	const CHANGES: readonly (readonly [string, (blocks: SharedBlocks, block: number) => unknown])[] = [
		["makes one", (blocks) => make(blocks, "new")],
		["adds a part", (blocks, block) => blocks.addPart(block, 4)],
		["drops a part", (blocks, block) => blocks.dropPart(block)],
		["removes one", (blocks, block) => blocks.remove(block)],
	];
	test.each(CHANGES)("%s: at whatever write, all blocks are there, and found, afterwards", (_, change) => {
		let deaths = 0;
		for (let write = 0; ; write++) {
			const { main, one, two } = views(12);
			const block = make(one, "a");
			for (const cell of [1, 2, 3]) one.addPart(block, cell);
			one.remove(make(one, "gone"));
			one.addPart(make(one, "b"), 9);
			const dying = dyingBlocks(one, write);
			one.acquire();
			try {
				change(dying, block);
				break;
			} catch (error) {
				if (!(error instanceof Death)) throw error;
				deaths++;
			}
			main.freed(1, () => {});
			two.acquire();
			const left = named(two, "a");
			expect([0, block]).toContain(left);
			const parts = left === 0 ? [] : partsOf(two, left).map((part) => two.cells[part * BLOCK_CELLS + 3]);
			const whole = [1, 2, 3, 4];
			expect([0, 1, 2, 3].some((from) => [3, 4].some((to) => `${whole.slice(from, to)}` === `${parts}`))).toBe(true);
			expect(partsOf(two, named(two, "b"))).toHaveLength(1);
			const used = 2 + (left === 0 ? 0 : 1 + parts.length) + (named(two, "new") === 0 ? 0 : 1);
			for (let at = used; at < 12; at++) expect(make(two, `further ${at}`)).toBeGreaterThan(0);
			expect(make(two, "one too many")).toBe(0);
			two.release();
		}
		expect(deaths).toBeGreaterThan(2);
	});
});
