/** Trap: "Install unhandledRejection and uncaughtException handlers: log, keep serving, count". */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { directory } from "./kit/cli.ts";

const CRASH = join(import.meta.dir, "../src/crash.ts");

describe("trap: unhandledRejection and uncaughtException", () => {
	test("neither ends the process, and each is counted and told in one line without its message", async () => {
		using home = directory({
			"crash.ts": `
				import { onCrash, surviveCrashes } from ${JSON.stringify(CRASH)};
				const seen = [];
				onCrash((kind) => {
					seen.push(kind);
					if (seen.length === 3) console.log(seen.sort().join());
				});
				surviveCrashes();
				setTimeout(() => { throw new TypeError("sk-secret"); }, 1);
				setTimeout(() => { void Promise.reject(new RangeError("sk-secret")); }, 5);
				setTimeout(() => { throw "sk-secret"; }, 10);
			`,
		});
		const child = Bun.spawn([process.execPath, join(home.path, "crash.ts")], { stdout: "pipe", stderr: "pipe" });
		const [stdout, stderr, code] = await Promise.all([
			new Response(child.stdout).text(),
			new Response(child.stderr).text(),
			child.exited,
		]);
		expect([code, stdout]).toEqual([0, "exception,exception,rejection\n"]);
		expect(stderr).not.toContain("sk-secret");
		// Which timer of a busy machine fires first is not the point.
		expect(stderr.trimEnd().split("\n").sort()).toEqual([
			expect.stringMatching(/^uncaught TypeError at \S+crash.ts:9:\d+; the process goes on$/),
			"uncaught string; the process goes on",
			expect.stringMatching(/^unhandled rejection: RangeError at \S+crash.ts:10:\d+; the process goes on$/),
		]);
	});
});
