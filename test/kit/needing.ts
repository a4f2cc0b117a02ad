/** Tests of what not every machine has: skipped where it is missing, with its name behind theirs. CI may skip none. */
import * as bun from "bun:test";
import { type PartName, problemOf } from "../parts/table.ts";

/** What a test file imports from `bun:test`, to import from here instead. */
export type Needing = Pick<typeof bun, "test" | "describe" | "beforeAll" | "beforeEach" | "afterAll" | "afterEach">;

/** Stands behind the name of a skipped test, so that ../parts/report.ts can count them. */
export const mark = (name: PartName): string => ` [needs ${name}]`;

/**
 * The functions of `bun:test`, or where the part is missing such as skip every test and run no hook. A file whose every
 * test needs it takes all of them from here; the whole file may also use the plain `describe` around.
 * Throws where `CI=true` and the part is missing.
 */
export function needing(name: PartName): Needing {
	const problem = problemOf(name);
	if (problem === undefined) return bun;
	if (process.env["CI"] === "true") throw new Error(`CI may skip no test, and these need ${name}: ${problem}`);
	const none = () => {};
	return {
		test: marked(bun.test.skip, mark(name)) as typeof bun.test,
		describe: marked(bun.describe.skip, mark(name)) as typeof bun.describe,
		beforeAll: none,
		beforeEach: none,
		afterAll: none,
		afterEach: none,
	};
}

type Declare = (name: string, ...rest: never[]) => void;
type Skip = Declare & { each(rows: readonly unknown[]): Declare };

/** `test.skip` or `describe.skip` that puts the mark behind every name, `each` included. */
function marked(skip: unknown, suffix: string): unknown {
	const behind =
		(declare: Declare) =>
		(name: string, ...rest: never[]) =>
			declare(name + suffix, ...rest);
	// bun's `each` wants its own `this`.
	const each = (rows: readonly unknown[]) => behind((skip as Skip).each(rows));
	return Object.assign(behind(skip as Declare), { each });
}
