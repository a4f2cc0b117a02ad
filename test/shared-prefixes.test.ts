/** Memory of what replicas have in their prefix caches: threads share it, and it is no larger than what targets are given prompts. */
import { expect, test } from "bun:test";
import { SharingThreads } from "../src/memory/recoverable-lock.ts";
import { MOST_SLABS, makePrefixes, PrefixSlabs } from "../src/routing/shared-prefixes.ts";

/** Views of two threads; a target's slot is its number. */
function twoThreads() {
	const memory = makePrefixes();
	const ids = new Int32Array(new SharedArrayBuffer(64));
	const targets = new Int32Array(new SharedArrayBuffer(4 * (MOST_SLABS + 8)));
	const view = (thread: number) =>
		new PrefixSlabs(memory, targets, new SharingThreads(ids, 0, thread), (number) => number);
	return { memory, slabOf: (number: number) => targets[number]! - 1, one: view(1), two: view(2) };
}

test("grows as targets are given prompts, and threads that saw it smaller see what is there", () => {
	const { memory, slabOf, one, two } = twoThreads();
	const { maxByteLength } = memory;
	const first = memory.byteLength;
	expect(first).toBeLessThan(maxByteLength / 30);
	for (let target = 0; target < 8; target++) (target % 2 ? one : two).use(target, target + 1);
	expect(memory.byteLength).toBe(first);
	// Beyond what there was: one thread makes room, and the other reads there.
	one.use(8, 9);
	expect(memory.byteLength).toBeGreaterThan(first);
	one.cache(slabOf(8)).add({ blocks: Int32Array.of(11, 12) });
	const known = (target: number) => [...two.cache(slabOf(target)).recent()].sort();
	expect([known(8), known(7)]).toEqual([[11, 12], []]);
	for (let target = 9; target < MOST_SLABS; target++) two.use(target, target + 1);
	expect(memory.byteLength).toBe(maxByteLength);
	expect(new Set(Array.from({ length: MOST_SLABS }, (_, target) => slabOf(target))).size).toBe(MOST_SLABS);
	// No more: the target that was given its last prompt longest ago gives its slab up, and what it knew is gone.
	one.use(0, 1_000);
	one.use(MOST_SLABS, 1_001);
	expect([memory.byteLength, slabOf(1)]).toEqual([maxByteLength, -1]);
	expect(slabOf(MOST_SLABS)).toBeGreaterThanOrEqual(0);
	expect(two.owners(1_001).slice(0, 2)).toEqual([MOST_SLABS, 0]);
});
