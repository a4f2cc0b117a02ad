/** A prefix cache as vLLM's: full blocks of 16 tokens, each known by its tokens and by the block before it. */

const BLOCK = 16;

/** What a server has computed, and never drops. */
export class BlockCache {
	readonly #known = new Set<bigint>();

	/** How many of a prompt's first tokens need not be computed. The last one always is: what follows comes of it. */
	cached(tokens: readonly number[]): number {
		const hashes = chain(tokens.slice(0, -1));
		const unknown = hashes.findIndex((hash) => !this.#known.has(hash));
		return (unknown === -1 ? hashes.length : unknown) * BLOCK;
	}

	/** The prompt has been computed. */
	add(tokens: readonly number[]): void {
		for (const hash of chain(tokens)) this.#known.add(hash);
	}
}

/** A hash for each full block, of it and all before it. */
function chain(tokens: readonly number[]): bigint[] {
	const hashes: bigint[] = [];
	let hash = 0n;
	for (let end = BLOCK; end <= tokens.length; end += BLOCK) {
		hash = Bun.hash.wyhash(new Uint32Array(tokens.slice(end - BLOCK, end)), hash);
		hashes.push(hash);
	}
	return hashes;
}

/** Tokens of whole blocks. */
export const inBlocks = (tokens: number): number => Math.floor(tokens / BLOCK) * BLOCK;
