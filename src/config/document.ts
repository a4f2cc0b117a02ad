/** `router.yaml` as text → its values, and the position of each in the file. */
import {
	type Document,
	isAlias,
	isMap,
	isNode,
	isScalar,
	isSeq,
	LineCounter,
	type Node,
	type Pair,
	parseDocument,
} from "yaml";
import type { Mistake, Path } from "./config-error.ts";
import { NO_ANCHOR, syntaxProblems, type TextProblem } from "./syntax-problems.ts";

/** A position in the file; both count from 1. */
export interface Position {
	readonly line: number;
	readonly column: number;
}

/** A parsed file. */
export interface ParsedFile {
	/** The plain values; `{}` for an empty file or one with mistakes in its syntax; of several documents the first one's. */
	readonly values: Record<string, unknown>;
	/** The file has nothing but comments: not even `{}`. */
	readonly isEmpty: boolean;
	/** Mistakes in the YAML itself. */
	readonly mistakes: Mistake[];
	/** The key at `path` (`key`) or its value (`value`); the nearest thing above it that exists, where it does not. */
	position(path: Path, of: "key" | "value"): Position | undefined;
}

/** Uses of one anchor, times those inside it: a hundred million would fill memory ("billion laughs"). */
const MOST_ALIASES = 1_000;

/**
 * YAML 1.2 even if a `%YAML` line says otherwise: in 1.1 `no` is false, `1:20` is 80, and `!!set` and `!!omap` make what is neither
 * a list nor a mapping. Merge keys are of 1.1, too, and all that is known of it: compose's users expect them.
 */
const YAML_OPTIONS = { schema: "core", merge: true, resolveKnownTags: false } as const;

/** Parses the text of a configuration file. `file` is its name as the user wrote it. Never throws. */
export function parseFile(text: string, file: string): ParsedFile {
	const lineCounter = new LineCounter();
	const at = (offset: number): Position => {
		const { line, col } = lineCounter.linePos(offset);
		return { line, column: col };
	};
	let document: Document.Parsed;
	try {
		document = parseDocument(text, { lineCounter, prettyErrors: false, ...YAML_OPTIONS });
	} catch (error) {
		if (!(error instanceof RangeError)) throw error;
		return broken({ file, path: "", message: "is nested too deeply to read" });
	}
	const errors = [...document.errors, ...document.warnings];
	const problems = errors.length > 0 ? syntaxProblems(document, errors, text) : problemsOf(document);
	const mistakes = problems.map(({ offset, message }): Mistake => ({ file, ...at(offset), path: "", message }));
	// What the first of several documents holds says whose file it is.
	const isReadable = errors.length > 0 && errors.every(({ code }) => code === "MULTIPLE_DOCS");
	if (mistakes.length > 0 && !isReadable) return broken(...mistakes);

	let content: unknown;
	try {
		content = document.toJS({ maxAliasCount: MOST_ALIASES });
	} catch (error) {
		if (!(error instanceof ReferenceError || error instanceof RangeError)) throw error;
		return broken({ file, path: "", message: `its aliases grow to too much (more than ${MOST_ALIASES} of them)` });
	}
	const values = content ?? {};
	if (!isRecord(values)) {
		return broken({
			file,
			line: 1,
			column: 1,
			path: "",
			message: "must hold settings, as in `server: { port: 8000 }`",
		});
	}
	return {
		values,
		isEmpty: content === null || content === undefined,
		mistakes,
		position(path, of) {
			const offset = offsetOf(document, path, of);
			return offset === undefined ? undefined : at(offset);
		},
	};
}

/** A mapping of YAML, as JavaScript sees it. */
export function isRecord(value: unknown): value is Record<string, unknown> {
	return typeof value === "object" && value !== null && !Array.isArray(value);
}

function broken(...mistakes: Mistake[]): ParsedFile {
	return { values: {}, isEmpty: false, mistakes, position: () => undefined };
}

function offsetOf(document: Document.Parsed, path: Path, of: "key" | "value"): number | undefined {
	let node: unknown = document.contents;
	let offset = start(node);
	for (const [index, part] of path.entries()) {
		if (isAlias(node)) node = node.resolve(document);
		const last = index === path.length - 1;
		if (isMap(node)) {
			const pair = pairOf(document, node, String(part));
			if (!pair) break;
			node = pair.value;
			// An empty value has no position of its own.
			const empty = isScalar(node) && node.value === null;
			offset = (last && of === "key") || empty || !node ? start(pair.key) : start(node);
		} else if (isSeq(node)) {
			node = node.items[Number(part)];
			if (node === undefined) break;
			offset = start(node);
		} else break;
	}
	return offset;
}

/** The pair of this name in a mapping, or in what its merge keys bring in. */
function pairOf(document: Document, map: unknown, name: string): Pair | undefined {
	const node = isAlias(map) ? map.resolve(document) : map;
	if (isSeq(node)) return firstOf(node.items, (item) => pairOf(document, item, name));
	if (!isMap(node)) return undefined;
	const own = node.items.find(({ key }) => isScalar(key) && !isMerge(key) && String(key.value) === name);
	return own ?? firstOf(node.items, ({ key, value }) => (isMerge(key) ? pairOf(document, value, name) : undefined));
}

function firstOf<T, R>(items: readonly T[], look: (item: T) => R | undefined): R | undefined {
	for (const item of items) {
		const found = look(item);
		if (found !== undefined) return found;
	}
	return undefined;
}

/** Whether a name is `<<`, which the parser makes a symbol of. */
const isMerge = (key: unknown): boolean => isScalar(key) && typeof key.value === "symbol";

function start(node: unknown): number | undefined {
	return (node as Node | null | undefined)?.range?.[0];
}

/** Where the walk through a document is. */
interface Walk {
	readonly found: TextProblem[];
	/** By name: the last before this place. */
	readonly anchors: Map<string, Node>;
	/** What this place is in. */
	readonly around: Set<unknown>;
}

/**
 * What the parser accepts and no configuration can be made of, down the file. Names that no setting can have, or that two have: it turns
 * names into text, and the last of two equal ones wins. Aliases of nothing further up, and those inside what they stand for: a value
 * without end.
 */
function problemsOf(document: Document): TextProblem[] {
	const walk: Walk = { found: [], anchors: new Map(), around: new Set() };
	visitNode(document.contents, walk);
	return walk.found;
}

function visitNode(node: unknown, walk: Walk): void {
	const { found, anchors, around } = walk;
	if (isAlias(node)) {
		const anchored = anchors.get(node.source);
		const message = anchored === undefined ? NO_ANCHOR : around.has(anchored) ? ENDLESS : undefined;
		if (message !== undefined) found.push({ offset: start(node) ?? 0, message });
		return;
	}
	if (isNode(node) && node.anchor !== undefined) anchors.set(node.anchor, node);
	if (!isSeq(node) && !isMap(node)) return;
	around.add(node);
	if (isSeq(node)) for (const item of node.items) visitNode(item, walk);
	else visitPairs(node.items, start(node) ?? 0, walk);
	around.delete(node);
}

function visitPairs(pairs: readonly Pair[], offset: number, walk: Walk): void {
	const seen = new Set<string>();
	for (const { key, value } of pairs) {
		const name = isScalar(key) && key.value !== null ? String(key.value) : undefined;
		const message = isMerge(key) ? mergeProblem(value, walk) : nameProblem(key, name, walk, { seen, offset });
		if (message !== undefined) walk.found.push({ offset: start(key) ?? offset, message });
		if (name !== undefined && !isMerge(key)) seen.add(name);
		if (isScalar(key) && key.anchor !== undefined) walk.anchors.set(key.anchor, key);
		visitNode(value, walk);
	}
}

const TEMPLATE = '{{…}} is a template of another program, which nothing fills in here: a variable is written "${NAME}"';
const ENDLESS = "this alias stands inside what it stands for, which would have no end";

/** What `<<` can't bring in. */
function mergeProblem(value: unknown, { anchors }: Walk): string | undefined {
	// Of an alias that has no anchor something else is said.
	const meant = (node: unknown) => (isAlias(node) && anchors.has(node.source) ? anchors.get(node.source) : node);
	const isMapping = (node: unknown) => isMap(meant(node)) || isAlias(meant(node));
	const sources = meant(value);
	if (isMapping(sources) || (isSeq(sources) && sources.items.every(isMapping))) return undefined;
	return "a merge key (<<) takes a mapping, an alias of one (*name), or a list of them";
}

function nameProblem(
	key: unknown,
	name: string | undefined,
	{ anchors }: Walk,
	{ seen, offset }: { readonly seen: ReadonlySet<string>; readonly offset: number },
): string | undefined {
	if (isMap(key) && start(key) === offset + 1) return TEMPLATE;
	if (isAlias(key) && !anchors.has(key.source)) return NO_ANCHOR;
	if (name === undefined)
		return "a name must be plain text, followed by a colon; neither nothing, a list, a mapping nor an alias";
	if (name === "<<") return "a merge key (<<) is written without quotes";
	if (name === "__proto__") return "nothing can have this name; choose another";
	return seen.has(name) ? "this setting stands here twice; keep one" : undefined;
}
