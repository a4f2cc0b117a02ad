/** Suggestions for an unknown path. */
import { editDistance } from "../config/did-you-mean.ts";

/** Longest path that gets suggestions: the cost is length × length, and the path comes from a client. */
const LONGEST = 128;
/** Most paths suggested. */
const MOST = 3;
/** Rank of a path with a segment too many or too few: behind every typing mistake. */
const SHIFTED = 100;

/**
 * The similar paths, most similar first: those that differ from `path` by at most a letter in four of a segment, by slashes
 * alone, or by leading segments (`/chat/completions`, `/api/v1/models`); else the few right below it. A common beginning is
 * not enough. Parameters are written `{name}`.
 */
export function similarPaths(path: string, patterns: Iterable<string>): string[] {
	if (path.length > LONGEST) return [];
	const wanted = segmentsOf(path.toLowerCase());
	const found: { shown: string; rank: number }[] = [];
	for (const pattern of new Set(patterns)) {
		const rank = rankOf(wanted, segmentsOf(pattern));
		if (rank !== undefined) found.push({ shown: pattern.replace(/:(\w+)/g, "{$1}").replace("*", "{name}"), rank });
	}
	found.sort((a, b) => a.rank - b.rank);
	return found.length > 0 ? found.slice(0, MOST).map(({ shown }) => shown) : childrenOf(wanted, patterns);
}

/** The paths right below an unknown one, where they are few: `/health`. */
function childrenOf(wanted: readonly string[], patterns: Iterable<string>): string[] {
	const below = [...new Set(patterns)].filter((pattern) => {
		const parts = segmentsOf(pattern);
		const isChild = wanted.length > 0 && parts.length === wanted.length + 1 && !parts.some(isOpen);
		return isChild && wanted.every((part, at) => part === parts[at]);
	});
	return below.length <= MOST ? below : [];
}

const segmentsOf = (path: string): string[] => path.split("/").filter((part) => part !== "");
const isOpen = (part: string): boolean => part === "*" || part.startsWith(":");

/** The lower the more similar; undefined: not similar. */
function rankOf(wanted: readonly string[], pattern: readonly string[]): number | undefined {
	if (wanted.length === 0 || pattern.length === 0) return undefined;
	const distance = distanceOf(wanted, pattern);
	if (distance !== undefined) return distance;
	if (pattern.some(isOpen)) return undefined;
	// Slashes left out, doubled or put elsewhere.
	if (Math.abs(wanted.length - pattern.length) === 1 && editDistance(wanted.join(""), pattern.join("")) <= 1) return 1;
	const [short, long] = wanted.length < pattern.length ? [wanted, pattern] : [pattern, wanted];
	const isShifted = short.every((part, at) => part === long[long.length - short.length + at]);
	return isShifted ? SHIFTED + long.length - short.length : undefined;
}

/** The edit distance, segment by segment; undefined where a segment is another word. */
function distanceOf(wanted: readonly string[], pattern: readonly string[]): number | undefined {
	const isLonger = pattern.at(-1) === "*" && wanted.length > pattern.length;
	if (wanted.length !== pattern.length && !isLonger) return undefined;
	let distance = 0;
	for (const [at, part] of pattern.entries()) {
		const word = wanted[at]!;
		if (isOpen(part) || part === word) continue;
		const edits = editDistance(word, part);
		if (edits > Math.max(1, Math.floor(part.length / 4)) || edits >= part.length) return undefined;
		distance += edits;
	}
	return distance;
}
