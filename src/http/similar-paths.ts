/** Which path a client that asked for an unknown one most likely meant. */
import { editDistance } from "../config/did-you-mean.ts";

/** Longer paths are answered with nothing: the cost is length × length, and the path comes from a client. */
const LONGEST = 128;
/** Most paths named. */
const MOST = 3;
/** Ranks: a typing mistake is nearer than a part of the path too many or too few. */
const SHIFTED = 100;

/**
 * The paths that are near, nearest first: those that differ from `path` by a letter in four of a segment at most, by slashes
 * alone, or by segments before them (`/chat/completions`, `/api/v1/models`); else the few right below it. To begin the same is
 * not near. Parameters are written `{name}`.
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

/** Where a path leads nowhere but has a few others right below it, those: `/health`. */
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

/** The lower the nearer; undefined: not near. */
function rankOf(wanted: readonly string[], pattern: readonly string[]): number | undefined {
	if (wanted.length === 0 || pattern.length === 0) return undefined;
	const mistakes = mistakesIn(wanted, pattern);
	if (mistakes !== undefined) return mistakes;
	if (pattern.some(isOpen)) return undefined;
	// Slashes left out, doubled or put elsewhere.
	if (Math.abs(wanted.length - pattern.length) === 1 && editDistance(wanted.join(""), pattern.join("")) <= 1) return 1;
	const [short, long] = wanted.length < pattern.length ? [wanted, pattern] : [pattern, wanted];
	const isShifted = short.every((part, at) => part === long[long.length - short.length + at]);
	return isShifted ? SHIFTED + long.length - short.length : undefined;
}

/** Letters that are wrong where each segment stands for one of the pattern's; undefined where one is another word. */
function mistakesIn(wanted: readonly string[], pattern: readonly string[]): number | undefined {
	const isLonger = pattern.at(-1) === "*" && wanted.length > pattern.length;
	if (wanted.length !== pattern.length && !isLonger) return undefined;
	let mistakes = 0;
	for (const [at, part] of pattern.entries()) {
		const word = wanted[at]!;
		if (isOpen(part) || part === word) continue;
		const distance = editDistance(word, part);
		if (distance > Math.max(1, Math.floor(part.length / 4)) || distance >= part.length) return undefined;
		mistakes += distance;
	}
	return mistakes;
}
