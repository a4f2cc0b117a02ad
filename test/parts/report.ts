/** What a run of the tests left out, from bun's own report in JUnit's format. */
import { mark } from "../kit/needing.ts";
import { PARTS, type Part, type PartName, problemOf } from "./table.ts";

/** How many tests were skipped: by the part they need, and for reasons of their own. */
export interface Skipped {
	readonly byPart: ReadonlyMap<PartName, number>;
	readonly others: number;
}

/** Reads the report. A `describe` that is skipped with its hooks counts a test without a name, which is none. */
export function skippedIn(junit: string): Skipped {
	const byPart = new Map<PartName, number>();
	let others = 0;
	for (const [, name = "", group = ""] of junit.matchAll(
		/<testcase name="([^"]*)" classname="([^"]*)"[^>]*[^/]>\s*<skipped/g,
	)) {
		if (name === "(unnamed)") continue;
		const part = (Object.keys(PARTS) as PartName[]).find((each) => `${name}\n${group}`.includes(mark(each)));
		if (part) byPart.set(part, (byPart.get(part) ?? 0) + 1);
		else others++;
	}
	return { byPart, others };
}

/** One line a missing part: how many tests it kept from running, why, and how to get it. */
export function lines({ byPart, others }: Skipped, problem: typeof problemOf = problemOf): string[] {
	const told = [...byPart].map(([name, tests]) => {
		const { what, how }: Part = PARTS[name];
		return `skipped ${count(tests)} of ${what}: ${problem(name) ?? "it was missing"} (${how})`;
	});
	return others > 0 ? [...told, `skipped ${count(others)} for reasons of their own`] : told;
}

const count = (tests: number) => (tests === 1 ? "1 test" : `${tests} tests`);
