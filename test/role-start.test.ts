/** A role that can't start leaves nothing behind, nor does one that has ended. */
import { expect, spyOn, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "../src/config/load.ts";
import { surviveCrashes } from "../src/crash.ts";
import { startRouter } from "../src/server/router.ts";
import { directory } from "./kit/cli.ts";

const startIn = (cwd: string, port: number, env: Record<string, string> = {}) =>
	startRouter(load({ flags: { port: String(port), workers: "1" }, env: {}, cwd, role: "router" }), env);
const heard = () => ["SIGTERM", "SIGINT"].map((name) => process.listenerCount(name));

test("a router whose port is taken opens no log file and hears no signals: both are the first one's", async () => {
	using home = directory();
	using taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
	const before = heard();
	await expect(startIn(home.path, taken.port)).rejects.toThrow(`Port ${taken.port} on 127.0.0.1 is taken`);
	expect(existsSync(join(home.path, "logs"))).toBe(false);
	expect(heard()).toEqual(before);
});

test("a router whose port is taken logs nothing of a database that it can't read, and names no replica: both wait for the port", async () => {
	using home = directory({ "router.yaml": "redis: { url: redis://127.0.0.1:1 }" });
	mkdirSync(join(home.path, "data"));
	writeFileSync(join(home.path, "data/router.db"), "no database");
	using taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
	await expect(startIn(home.path, taken.port)).rejects.toThrow(`Port ${taken.port} on 127.0.0.1 is taken`);
	expect(existsSync(join(home.path, "logs"))).toBe(false);
	expect(existsSync(join(home.path, "data/replica.id"))).toBe(false);
	await (await startIn(home.path, 0)).stop();
	const [first = ""] = readFileSync(join(home.path, "logs/router.log"), "utf8").split("\n");
	expect(JSON.parse(first)).toMatchObject({ level: "error", msg: expect.stringContaining("router.db") });
	expect(existsSync(join(home.path, "data/replica.id"))).toBe(true);
});

test("a router that has ended hears no signals, and leaves crashes to those that run", async () => {
	const crash = crashHandler();
	using home = directory();
	/** How often the file tells of it; both write the same one. */
	const told = (name: string) =>
		readFileSync(join(home.path, "logs/router.log"), "utf8").split(`unhandled rejection: ${name}`).length - 1;
	const before = heard();
	const ended = await startIn(home.path, 0);
	const running = await startIn(home.path, 0, { ROUTER_SUCCESSOR: "1" });
	expect(heard()).toEqual(before.map((count) => count + 2));
	const printed = spyOn(process.stderr, "write").mockImplementation(() => true);
	try {
		crash(new TypeError("heard by both"));
		await ended.stop();
		crash(new RangeError("heard by one"));
		expect(printed).toHaveBeenCalledTimes(2);
		// Lines wait 20 ms for company: time enough for one that must not come.
		await Bun.sleep(200);
	} finally {
		printed.mockRestore();
		await running.stop();
	}
	expect([told("TypeError"), told("RangeError")]).toEqual([2, 1]);
	expect(heard()).toEqual(before);
});

/** The handler that a start gives the process for promises nobody awaited; the test's own process does without. */
function crashHandler(): (thrown: unknown) => void {
	const on = spyOn(process, "on").mockImplementation(() => process);
	try {
		surviveCrashes();
		return on.mock.calls.find(([name]) => String(name) === "unhandledRejection")![1] as (thrown: unknown) => void;
	} finally {
		on.mockRestore();
	}
}
