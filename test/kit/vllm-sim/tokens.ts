/** A tokenizer that is none: pieces of up to five letters, so that lengths come close to a real one's. */

const PIECE = /<\|[a-z_]+\|>| ?[\p{L}\p{N}]{1,5}| ?[^\s\p{L}\p{N}]{1,2}|\s/gu;

/** The pieces of a text; joined they are the text again. */
export const tokenize = (text: string): string[] => text.match(PIECE) ?? [];

/** A token that is given by its number. */
const NUMBERED = /^<\|id_(\d+)\|>$/;

/** A stable number for a piece, below a vocabulary of 151,936. */
export const tokenId = (piece: string): number =>
	Number(NUMBERED.exec(piece)?.[1] ?? (Bun.hash(piece) as bigint) % 151_936n);

/** A piece of which nothing is known but its number. */
export const pieceOf = (id: number): string => `<|id_${id}|>`;

/** The names of full blocks: each by its own tokens and the name of the one before it, `before` for the first. */
export function blockHashes(tokens: readonly string[], size: number, before = 0n): bigint[] {
	const hashes: bigint[] = [];
	for (let at = 0; at + size <= tokens.length; at += size) {
		before = Bun.hash(
			tokens
				.slice(at, at + size)
				.map(tokenId)
				.join(),
			before,
		) as bigint;
		hashes.push(before);
	}
	return hashes;
}
