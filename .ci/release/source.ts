/** The source that is compiled: its commit, and a sum of its own for where there is no repository. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Origin } from "./provenance.ts";

/** What reaches the executable: the sources, the versions of all packages, and the flags of the build. */
const COMPILED = ["src/**/*", ".ci/*.ts", "package.json", "bun.lock", "tsconfig.json", ".ci/release/bun.lock"];

/** SHA-256 in hexadecimal. */
export const sha256 = (bytes: string | Uint8Array): string =>
	new Bun.CryptoHasher("sha256").update(bytes).digest("hex");

/** SHA-256 over names and contents of what is compiled, in the order of the names. */
export function sourceSum(root: string): string {
	const names = COMPILED.flatMap((each) => [...new Bun.Glob(each).scanSync({ cwd: root, dot: true })]);
	const lines = names.sort().map((name) => `${sha256(readFileSync(join(root, name)))}  ${name}\n`);
	return sha256(lines.join(""));
}

/** The commit of a checkout and when it was made (ISO 8601); `undefined` where it is none, or there is no git. */
export function commitOf(root: string): (NonNullable<Origin["commit"]> & { readonly when: string }) | undefined {
	if (!Bun.which("git")) return undefined;
	const git = (...args: string[]) => {
		const { success, stdout } = Bun.spawnSync(["git", "-C", root, ...args], { stderr: "ignore" });
		return success ? stdout.toString().trim() : undefined;
	};
	// A tarball unpacked inside somebody's repository is not that repository's.
	if (git("rev-parse", "--show-prefix") !== "") return undefined;
	const [id, seconds] = git("log", "-1", "--format=%H %ct")?.split(" ") ?? [];
	if (!id || !seconds) return undefined;
	return {
		id,
		isChanged: git("status", "--porcelain", "--untracked-files=no") !== "",
		when: `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}Z`,
	};
}
