/** The names in `router.yaml` that no setting can have, or that two have. */
import { type Document, isMap, isScalar, isSeq } from "yaml";

/** One of them: where it stands, as an offset into the text, and what is wrong. */
export interface WrongName {
	readonly offset: number;
	readonly message: string;
}

/** All of them, down the file. The parser takes each: it turns names into text, and then the last of two equal ones wins. */
export function wrongNames(document: Document.Parsed): WrongName[] {
	const wrong: WrongName[] = [];
	const look = (node: unknown): void => {
		if (isSeq(node)) node.items.forEach(look);
		if (!isMap(node)) return;
		const seen = new Set<string>();
		for (const { key, value } of node.items) {
			const name = isScalar(key) && key.value !== null ? String(key.value) : undefined;
			const message = problemOf(name, seen);
			const offset = (key as { range?: [number, number, number] } | null)?.range?.[0] ?? node.range?.[0] ?? 0;
			if (message !== undefined) wrong.push({ offset, message });
			if (name !== undefined) seen.add(name);
			look(value);
		}
	};
	look(document.contents);
	return wrong;
}

function problemOf(name: string | undefined, seen: ReadonlySet<string>): string | undefined {
	if (name === undefined)
		return "a name must be plain text, followed by a colon; neither nothing, a list, a mapping nor an alias";
	if (name === "<<")
		return "merge keys (<<) are not known here; write the settings out, or use an alias for the whole mapping";
	if (name === "__proto__") return "nothing can have this name; choose another";
	return seen.has(name) ? "this setting stands here twice; keep one" : undefined;
}
