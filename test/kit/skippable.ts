/** Tests of what not every machine has. CI has it all, and fails where a test was skipped. */
import { test } from "bun:test";

/** `test`, or where `program` is not installed a skipped one, with a printed line that says so. */
export function skippable(program: string): typeof test {
	if (Bun.which(program)) return test;
	console.log(`skipped, as there is no ${program} on this machine`);
	return test.skip as typeof test;
}
