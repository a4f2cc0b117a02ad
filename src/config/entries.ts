/** Lists of mappings in unchecked values. */
import type { Finding, Path } from "./config-error.ts";
import { isRecord } from "./document.ts";

/** A mapping of the file. */
export type ListedEntry = Record<string, unknown>;

/** The mappings of a list with their index. The schema reports entries of other types. */
export function entries(list: unknown): [number, ListedEntry][] {
	if (!Array.isArray(list)) return [];
	return [...list.entries()].filter((pair): pair is [number, ListedEntry] => isRecord(pair[1]));
}

/** A finding for each entry of the list at `path` whose `field` has the value of an earlier entry's. */
export function repeated(
	found: readonly [number, ListedEntry][],
	path: Path,
	field: string,
	message: string,
): Finding[] {
	const seen = new Set<string>();
	return found.flatMap(([index, entry]) => {
		const value = entry[field];
		if (typeof value !== "string") return [];
		const isFirst = !seen.has(value);
		seen.add(value);
		return isFirst ? [] : [{ path: [...path, index, field], message }];
	});
}
