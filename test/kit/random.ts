/** Random values that are the same on every run, for tests that try many inputs. */

/** A source of randomness; the same seed gives the same values. */
export interface Random {
	/** 0 to 1. */
	next(): number;
	/** A whole number from 0 to `below` - 1. */
	below(below: number): number;
	/** One of these. */
	pick<T>(options: readonly T[]): T;
}

/** Mulberry32: 32 bits of state, public domain. */
export function random(seed: number): Random {
	let state = seed >>> 0;
	const next = () => {
		state = (state + 0x6d2b79f5) >>> 0;
		let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
		mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
		return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
	};
	const below = (limit: number) => Math.floor(next() * limit);
	return { next, below, pick: (options) => options[below(options.length)]! };
}
