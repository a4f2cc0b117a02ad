/** The router that the present one is compared with: of which commit, and its binary. */
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { removeFolder, temporaryFolder } from "./processes.ts";

const ROOT = resolve(import.meta.dir, "../..");
/** What decides about the binary. */
const SOURCES = ["src", "package.json", "bun.lock"];

/** A router to compare with. */
export interface Base {
	/** The tag, or the commit's short id. */
	readonly name: string;
	readonly binary: string;
}

/** What a command said; throws with its error where it failed. */
function run(command: readonly string[], cwd = ROOT): string {
	const { exitCode, stdout, stderr } = Bun.spawnSync([...command], { cwd, stdin: "ignore" });
	if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr.toString().trim() || `exit code ${exitCode}`}`);
	return stdout.toString().trim();
}

/** What `git` said; undefined where it failed, for instance since there is no tag. */
function asked(...command: string[]): string | undefined {
	try {
		return run(["git", ...command]) || undefined;
	} catch {
		return undefined;
	}
}

/**
 * The commit to compare with: BENCH_BASE; else the last tag; else, while there is none, what these sources grew from:
 * HEAD where they are changed, where main has gone no further the point at which this branch left it, else the commit
 * before the last that changed them.
 */
export function chooseBase(
	wanted: string | undefined,
	git: (...command: string[]) => string | undefined = asked,
): string | undefined {
	if (wanted) return wanted;
	const tag = git("describe", "--tags", "--abbrev=0");
	if (tag) return tag;
	if (git("status", "--porcelain", "--", ...SOURCES)) return "HEAD";
	const head = git("rev-parse", "HEAD");
	const left = git("merge-base", "HEAD", "main");
	if (left && left !== head && git("diff", "--name-only", left, "HEAD", "--", ...SOURCES)) return left;
	const last = git("log", "-1", "--format=%H", "--", ...SOURCES);
	return last && git("rev-parse", "--verify", "--quiet", `${last}^`);
}

/** Builds the router of `commit` away from the checkout. */
function build(commit: string, binary: string): void {
	const folder = temporaryFolder();
	try {
		const tree = join(folder, "tree");
		mkdirSync(tree);
		run(["sh", "-c", 'git archive "$1" | tar -x -C "$2"', "sh", commit, tree]);
		const isSame = run(["git", "diff", "--name-only", commit, "--", "bun.lock"]) === "";
		if (isSame) symlinkSync(join(ROOT, "node_modules"), join(tree, "node_modules"));
		else run(["sh", ".ci/setup"], tree);
		run([process.execPath, "--no-env-file", "--silent", "run", "build"], tree);
		mkdirSync(join(binary, ".."), { recursive: true });
		// Under another name first: a bench that is ended in between leaves no half of a binary.
		run(["cp", join(tree, "dist/router"), `${binary}.new`]);
		renameSync(`${binary}.new`, binary);
	} finally {
		removeFolder(folder);
	}
}

/** The commits whose binaries are kept. */
const KEPT = 3;

/**
 * The binary of the commit that {@link chooseBase} chose, built once and kept in `~/.cache/router-bench` (XDG_CACHE_HOME).
 * Undefined, with one line of why on stderr, where there is nothing to compare with.
 */
export function prepareBase(): Base | undefined {
	const wanted = process.env["BENCH_BASE"];
	if (wanted === "off") return undefined;
	try {
		const ref = chooseBase(wanted);
		if (!ref) throw new Error("this is no git checkout, or one of a single commit");
		const commit = run(["git", "rev-parse", "--verify", `${ref}^{commit}`]);
		const cache = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "router-bench");
		const binary = join(cache, commit, "router");
		if (!existsSync(binary)) {
			console.error(`bench: building the router of ${ref} to compare with`);
			build(commit, binary);
			const old = run(["ls", "-t", cache]).split("\n").slice(KEPT);
			for (const name of old) rmSync(join(cache, name), { recursive: true, force: true });
		}
		const isName = /^[\w.-]+$/.test(ref) && ref !== "HEAD" && !commit.startsWith(ref);
		return { name: isName ? ref : commit.slice(0, 7), binary };
	} catch (error) {
		console.error(`bench: no older router to compare with (BENCH_BASE): ${(error as Error).message}`);
		return undefined;
	}
}
