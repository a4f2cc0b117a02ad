/** The source of the product as data: its files, their imports, exports and functions. Of code as Biome formats it. */
import { join, relative, resolve } from "node:path";

const ROOT = resolve(import.meta.dir, "../..");

const COMMENT = /\/\*[\s\S]*?\*\/|(?<![:"'`\\])\/\/.*$/gm;

/** A file of `src/` or `test/`. */
export interface SourceFile {
	/** Its path below that folder. */
	readonly file: string;
	readonly text: string;
	/** The text without comments, and they alone. */
	readonly code: string;
	readonly comments: string;
}

/** The TypeScript files of a folder of the repository, without declarations of other packages; JSX included. */
export async function sourcesOf(folder: "src" | "test"): Promise<SourceFile[]> {
	const root = join(ROOT, folder);
	const files = [...new Bun.Glob("**/*.{ts,tsx}").scanSync(root)].filter((file) => !file.endsWith(".d.ts")).sort();
	return await Promise.all(
		files.map(async (file) => {
			const text = await Bun.file(join(root, file)).text();
			return { file, text, code: text.replace(COMMENT, ""), comments: (text.match(COMMENT) ?? []).join("\n") };
		}),
	);
}

/** Paths below the folder that a file imports, types and `await import(…)` included. */
export function importsOf({ file, text }: SourceFile): string[] {
	const found = text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"(\.[^"]+)"/g);
	return [...found]
		.map(([, path]) => relative("/", resolve("/", file, "..", path!)))
		.filter((path) => !path.startsWith(".."));
}

/** The groups of files that import each other, directly or through others. */
export function circles(sources: readonly SourceFile[]): string[][] {
	const imports = new Map(sources.map((source) => [source.file, importsOf(source)]));
	const reached = new Map([...imports.keys()].map((file) => [file, reachedFrom(file, imports)]));
	const inCircles = [...reached].filter(([file, others]) => others.has(file));
	const groups = inCircles.map(([file, others]) =>
		inCircles.filter(([other, back]) => others.has(other) && back.has(file)).map(([other]) => other),
	);
	return [...new Map(groups.map((group) => [group.join(" "), group])).values()];
}

function reachedFrom(file: string, imports: ReadonlyMap<string, readonly string[]>): Set<string> {
	const found = new Set<string>(imports.get(file));
	// A set that grows while it is walked is walked to its end.
	for (const each of found) for (const next of imports.get(each) ?? []) found.add(next);
	return found;
}

/** The names that a file declares and exports. */
export function exportsOf({ code }: SourceFile): string[] {
	const declared =
		/^export (?:declare )?(?:async )?(?:abstract )?(?:function\*?|const|let|class|interface|type|enum) (\w+)/gm;
	// Overloads of a function are one declaration.
	return [...new Set([...code.matchAll(declared)].map(([, name]) => name!))];
}

/** A function with a body, and its length from the first line of its head to the closing brace. */
export interface SourceFunction {
	readonly head: string;
	/** Of the head; counts from 1. */
	readonly line: number;
	readonly lines: number;
}

/** The functions of a text, those inside others included: by the brace at the end of the head, and the one at the same indentation. */
export function functionsIn(text: string): SourceFunction[] {
	const lines = text.split("\n");
	const indentAt = (at: number) => /^\t*/.exec(lines[at]!)![0].length;
	return lines.flatMap((line, at) => {
		if (!/(?:=> |\)(?:: .+)? )\{$/.test(line) || /^\s*(?:\} )?(?:if|for|while|switch|else|catch)\b/.test(line))
			return [];
		const indent = indentAt(at);
		let first = at;
		// A head of several lines ends with its closing parenthesis and begins at the same indentation.
		if (/^\s*\)/.test(line)) {
			do first--;
			while (first > 0 && indentAt(first) > indent);
		}
		let last = at + 1;
		while (last < lines.length - 1 && !(indentAt(last) === indent && /^\t*\}/.test(lines[last]!))) last++;
		return [{ head: lines[first]!.trim(), line: first + 1, lines: last - first + 1 }];
	});
}
