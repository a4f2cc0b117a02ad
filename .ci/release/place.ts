/** Where a release is written: what was there before is removed, so it has to be one. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** A line of the sums that `make release` writes: no other tool's list has it. */
const OURS = /^[0-9a-f]{64} {2}router-\S+\.provenance\.json$/m;

/** Why this directory must not be removed for a release; undefined where it may be, or is not there. */
export function whyKept(directory: string): string | undefined {
	try {
		const names = readdirSync(directory);
		if (names.length === 0) return undefined;
		if (names.includes("SHA256SUMS") && OURS.test(readFileSync(join(directory, "SHA256SUMS"), "utf8")))
			return undefined;
		return `${directory} holds something else than a release: name an empty directory, or a new one`;
	} catch (error) {
		const { code, message } = error as NodeJS.ErrnoException;
		return code === "ENOENT" ? undefined : `${directory} can't be written to: ${code ?? message}`;
	}
}
