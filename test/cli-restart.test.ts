/**
 * Trap: "256 requests in flight per process, and an open stream holds a slot". Only BUN_CONFIG_MAX_HTTP_REQUESTS at
 * process start lifts it. A preloaded file tells of every time the process (re)starts; the start itself then fails on a
 * missing file, so that no server is needed.
 */
import { describe, expect, test } from "bun:test";
import { totalmem } from "node:os";
import { join } from "node:path";
import { withOwn, withoutOwn } from "../src/start-environment.ts";
import { cli, directory } from "./kit/cli.ts";

const PROBE =
	"console.log(JSON.stringify([process.pid, process.env.BUN_CONFIG_MAX_HTTP_REQUESTS ?? null, process.argv.slice(2)]))";

async function starts(args: string[], env: Record<string, string> = {}): Promise<unknown[][]> {
	using home = directory({ "probe.ts": PROBE });
	const { stdout } = await cli(args, { cwd: home.path, env, bun: ["--preload", join(home.path, "probe.ts")] });
	const told = stdout.split("\n").filter((line) => line.startsWith("["));
	return told.map((line) => JSON.parse(line));
}

/** What the process that starts says of a variable. */
async function startsWith(name: string, env: Record<string, string> = {}): Promise<string[]> {
	using home = directory({ "probe.ts": `console.log("[" + (process.env[${JSON.stringify(name)}] ?? "none"))` });
	const args = ["--config", "none.yaml"];
	const { stdout } = await cli(args, { cwd: home.path, env, bun: ["--preload", join(home.path, "probe.ts")] });
	return stdout.split("\n").filter((line) => line.startsWith("["));
}

describe("trap: 256 requests in flight per process", () => {
	const args = ["--agent", "--config", "none.yaml"];

	test("a start without the variable restarts with it, keeping process id, flags and bun's own flags", async () => {
		const [first, second, ...more] = await starts(args);
		expect(first?.slice(1)).toEqual([null, args]);
		expect(second).toEqual([first?.[0], "65535", args]);
		expect(more).toEqual([]);
	});

	test("a start with the variable keeps what the user set", async () => {
		const told = await starts(args, { BUN_CONFIG_MAX_HTTP_REQUESTS: "300" });
		expect(told.map((start) => start[1])).toEqual(["300"]);
	});

	test("a command that opens no connection does not restart", async () => {
		for (const words of [["--version"], ["--help"], ["check", "--config", "none.yaml"], ["--wrong"]]) {
			expect(await starts(words)).toHaveLength(1);
		}
	});
});

test("freed memory is given back once a second, or as often as the user set", async () => {
	const name = "MIMALLOC_PURGE_HOLES_MIN_INTERVAL";
	expect(await startsWith(name)).toEqual(["[none", "[1000"]);
	expect(await startsWith(name, { [name]: "50" })).toEqual(["[50", "[50"]);
});

describe("the memory that the engine is told of", () => {
	const name = "BUN_JSC_forceRAMSize";
	const enough = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY) > 4 * 1024 ** 3;

	test("is 4 GiB where there is more, and is left alone where there is less", async () => {
		expect(await startsWith(name)).toEqual(["[none", enough ? "[4294967296" : "[none"]);
	});

	test("is what the user set", async () => {
		expect(await startsWith(name, { [name]: "2000000000" })).toEqual(["[2000000000", "[2000000000"]);
	});
});

test("a process that is started by another one gets none of what that one set for itself, and all that the user set", () => {
	const user = { HOME: "/root", BUN_JSC_forceRAMSize: "2000000000" };
	const env = withOwn(user, { BUN_JSC_forceRAMSize: "4294967296", BUN_CONFIG_MAX_HTTP_REQUESTS: "65535" });
	expect(env).toMatchObject({ ...user, BUN_CONFIG_MAX_HTTP_REQUESTS: "65535" });
	expect(withoutOwn(env)).toEqual(user);
	// A user who sets the number of requests has the process start once.
	const once = { ...user, BUN_CONFIG_MAX_HTTP_REQUESTS: "300" };
	expect(withoutOwn(once)).toEqual(once);
});
