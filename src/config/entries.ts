/** Lists of mappings, as far as they are sound. */

import type { Finding, Path } from "./config-error.ts";
import { isRecord } from "./document.ts";

/** A mapping of the file. */
export type ListedEntry = Record<string, unknown>;

/** The mappings of a list under their index; what else stands in it the schema has refused. */
export function entries(list: unknown): [number, ListedEntry][] {
	if (!Array.isArray(list)) return [];
	return [...list.entries()].filter((pair): pair is [number, ListedEntry] => isRecord(pair[1]));
}

/** A finding for each entry of the list at `path` whose `field` says what an earlier one's does. */
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
