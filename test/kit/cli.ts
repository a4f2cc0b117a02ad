/** Runs the command line as the real process it is, in a directory of its own. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command } from "./router.ts";

/** What a command did. */
export interface Outcome {
	readonly code: number;
	readonly stdout: string;
	readonly stderr: string;
}

/** A new empty directory with `files` in it; `using` removes it. */
export function directory(files: Record<string, string> = {}): { path: string; [Symbol.dispose](): void } {
	const path = mkdtempSync(join(tmpdir(), "router-test-"));
	for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
	return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/**
 * Runs `router …args` in `cwd`, with no variable but `env`, until it ends. `bun`: flags for bun itself, in front of the
 * source; without them the binary is run where `ROUTER_TEST=binary`.
 */
export async function cli(
	args: readonly string[],
	{ cwd, env = {}, bun = [] }: { cwd: string; env?: Record<string, string>; bun?: readonly string[] },
): Promise<Outcome> {
	const [program, ...script] = command(
		bun.length === 0 && process.env["ROUTER_TEST"] === "binary" ? "binary" : "source",
	);
	const child = Bun.spawn([program!, ...bun, ...script, ...args], { cwd, env, stdout: "pipe", stderr: "pipe" });
	const [stdout, stderr, code] = await Promise.all([
		new Response(child.stdout).text(),
		new Response(child.stderr).text(),
		child.exited,
	]);
	return { code, stdout, stderr };
}
