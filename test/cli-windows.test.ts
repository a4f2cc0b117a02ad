/** What differs on Windows, where Bun's router is built for but cannot be run here: what the process lacks there is said. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { start } from "../src/cli/start.ts";
import { load } from "../src/config/load.ts";
import { cli, directory } from "./kit/cli.ts";

test.each(["agent", "standalone"] as const)(
	"the role %s does not start on Windows, and says where it does",
	async (role) => {
		using home = directory();
		const loaded = load({ flags: { port: "0" }, env: {}, cwd: home.path, role });
		const printed: string[] = [];
		const outcome = start(loaded, {}, (text) => printed.push(text), "win32");
		await expect(outcome).rejects.toThrow("The agent does not run on Windows");
		await expect(outcome).rejects.toThrow("Start `router --agent` on a Linux host");
		expect(printed).toEqual([]);
	},
);

test("a process that can't restart itself says what that costs and which variable to set, and starts all the same", async () => {
	using home = directory({ "windows.ts": "process.execve = undefined;" });
	const { stderr } = await cli(["--config", "none.yaml"], {
		cwd: home.path,
		bun: ["--preload", join(home.path, "windows.ts")],
	});
	expect(stderr).toContain(
		"at most 256 calls at once, as the process can't restart itself (this system can't); set BUN_CONFIG_MAX_HTTP_REQUESTS=65535",
	);
	// The start goes on, to the file that is missing.
	expect(stderr).toContain("none.yaml");
});
