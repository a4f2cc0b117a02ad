/** The repository's Markdown: the README, CONTRIBUTING.md, the pages for users and the design.md of each room. */
import { join, resolve } from "node:path";

/** The repository's folder. */
export const ROOT = resolve(import.meta.dir, "../..");

/** A page's text, by its path in the repository. */
export const page = (path: string): Promise<string> => Bun.file(join(ROOT, path)).text();

/** The paths of all Markdown in the repository, as git would list them: packages and what is built apart. */
export async function pages(): Promise<string[]> {
	const found = await Array.fromAsync(new Bun.Glob("**/*.md").scan({ cwd: ROOT, dot: true }));
	return found.filter((path) => !/(?:^|\/)(?:node_modules|dist|\.git)\//.test(path)).sort();
}

/** Rows of every table of a page, as cells; heads and the lines below them included. */
export const rowsOf = (text: string): string[][] =>
	text
		.split("\n")
		.filter((line) => line.startsWith("| "))
		.map((line) =>
			line
				.slice(2, -2)
				.split(" | ")
				.map((cell) => cell.trim()),
		);
