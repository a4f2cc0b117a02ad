/** A thread that dies while it holds the lock, without one: its view of shared memory lets only so many writes happen. */
import type { SharedBlocks } from "../../src/memory/shared-blocks.ts";

/** What is thrown at the write that does not happen any more. */
export class Death extends Error {}

/** Has a view die at this write, from 0: it is that view which is returned. The lock that it holds then stays held. */
export function dyingBlocks(blocks: SharedBlocks, write: number): SharedBlocks {
	let left = write;
	let isDead = false;
	const step = () => {
		if (left-- > 0) return;
		isDead = true;
		throw new Death();
	};
	const dying = <A extends Int32Array | Float64Array>(array: A): A =>
		new Proxy(array, {
			set(target, key, value) {
				step();
				return Reflect.set(target, key, value, target);
			},
			get(target, key) {
				const found: unknown = Reflect.get(target, key, target);
				if (typeof found !== "function") return found;
				return (...all: unknown[]) => {
					step();
					return found.apply(target, all);
				};
			},
		});
	const release = blocks.release.bind(blocks);
	blocks.release = () => {
		if (!isDead) release();
	};
	return Object.assign(blocks, { cells: dying(blocks.cells), numbers: dying(blocks.numbers) });
}
