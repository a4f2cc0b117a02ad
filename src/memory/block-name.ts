/** Names of blocks of shared memory: `shared-blocks.ts` finds a block by one. */

/** A name as the index has it: its hash, of 128 bits, and where a thread has last seen its block. */
export class BlockName {
	block = 0;

	constructor(
		readonly first: number,
		readonly second: number,
		readonly third: number,
		readonly fourth: number,
	) {}

	/** For another process. */
	get text(): string {
		return [this.first, this.second, this.third, this.fourth].join(".");
	}

	/** The name of that text. */
	static of(text: string): BlockName {
		return BlockName.in(text.split(".").map(Number), 0);
	}

	/** The name whose hash begins there. */
	static in(hashes: ArrayLike<number>, at: number): BlockName {
		return new BlockName(hashes[at] ?? 0, hashes[at + 1] ?? 0, hashes[at + 2] ?? 0, hashes[at + 3] ?? 0);
	}
}

/** A name's hash by four such seeds, of 32 bits each. */
export const hashesOf = (seeds: readonly number[], kind: number, text: string): readonly number[] =>
	seeds.map((seed) => Bun.hash.xxHash32(text, (seed + kind) >>> 0) | 0);
