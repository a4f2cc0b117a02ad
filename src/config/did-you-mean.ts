/** Suggestions for a mistyped name: of a setting, a flag, a subcommand or a model. */

/** Longest word that gets suggestions: the cost is length × length, and the word may come from a client. */
const LONGEST = 128;

/**
 * The candidates that are close to `word`, closest first, at most `most` of them (default 3).
 *
 * Close means: one edit in three letters at most (an edit is a letter added, left out,
 * changed or swapped with its neighbour; case does not count), or one contains the
 * other from its beginning (`qwen3` → `qwen3-8b`). Empty where nothing is close, and
 * for a word of more than 128 characters. Never throws.
 */
export function nearest(word: string, candidates: Iterable<string>, most = 3): string[] {
	if (word === "" || word.length > LONGEST) return [];
	const wanted = word.toLowerCase();
	const found: { candidate: string; rank: number }[] = [];
	for (const candidate of new Set(candidates)) {
		const rank = rankOf(wanted, candidate.toLowerCase());
		if (rank !== undefined) found.push({ candidate, rank });
	}
	// The sort is stable: equally close candidates stay in their order.
	found.sort((a, b) => a.rank - b.rank);
	return found.slice(0, most).map((entry) => entry.candidate);
}

/** `did you mean "port"?`, or undefined where nothing is close. */
export function didYouMean(word: string, candidates: Iterable<string>): string | undefined {
	const [closest] = nearest(word, candidates, 1);
	return closest === undefined ? undefined : `did you mean "${closest}"?`;
}

/** The lower the closer; undefined: not close. */
function rankOf(word: string, candidate: string): number | undefined {
	if (candidate.length > LONGEST) return undefined;
	const allowed = Math.max(1, Math.floor(Math.max(word.length, candidate.length) / 3));
	if (Math.abs(word.length - candidate.length) <= allowed) {
		const distance = editDistance(word, candidate);
		// `ab` and `xy` share nothing: as many edits as letters is another word.
		if (distance <= allowed && distance < word.length) return distance;
	}
	const [short, long] = word.length < candidate.length ? [word, candidate] : [candidate, word];
	// Behind every real edit: a common beginning is weaker evidence than a typing mistake.
	if (short.length >= 3 && long.startsWith(short)) return LONGEST + long.length - short.length;
	return undefined;
}

/** Optimal string alignment distance (Damerau–Levenshtein without repeated edits of one place). Costs length × length. */
export function editDistance(a: string, b: string): number {
	let beforeLast: number[] = [];
	let last = Array.from({ length: b.length + 1 }, (_, column) => column);
	for (let row = 1; row <= a.length; row++) {
		const current = [row];
		for (let column = 1; column <= b.length; column++) {
			const same = a[row - 1] === b[column - 1];
			let cost = Math.min(last[column]! + 1, current[column - 1]! + 1, last[column - 1]! + (same ? 0 : 1));
			if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
				cost = Math.min(cost, beforeLast[column - 2]! + 1);
			}
			current.push(cost);
		}
		beforeLast = last;
		last = current;
	}
	return last[b.length]!;
}
