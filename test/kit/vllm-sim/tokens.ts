/** A tokenizer that is none: pieces of up to five letters, so that lengths come close to a real one's. */

const PIECE = /<\|[a-z_]+\|>| ?[\p{L}\p{N}]{1,5}| ?[^\s\p{L}\p{N}]{1,2}|\s/gu;

/** The pieces of a text; joined they are the text again. */
export const tokenize = (text: string): string[] => text.match(PIECE) ?? [];

/** A stable number for a piece, below a vocabulary of 151,936. */
export const tokenId = (piece: string): number => Number(Bun.hash(piece) % 151_936n);

/** The names of full blocks: each by its own tokens and the name of the one before it, `before` for the first. */
export function blockHashes(tokens: readonly string[], size: number, before = 0n): bigint[] {
	const hashes: bigint[] = [];
	for (let at = 0; at + size <= tokens.length; at += size) {
		before = Bun.hash(tokens.slice(at, at + size).join("\u0000"), before) as bigint;
		hashes.push(before);
	}
	return hashes;
}
