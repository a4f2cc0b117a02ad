import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { VERSION } from "../src/version.ts";
import { cli, directory } from "./kit/cli.ts";

describe("what goes wrong", () => {
	test("in the command line is one line and exit code 2", async () => {
		using home = directory();
		expect(await cli(["--prot", "1"], { cwd: home.path })).toEqual({
			code: 2,
			stdout: "",
			stderr: 'router: unknown flag --prot; did you mean "--port"?\nTry `router --help`.\n',
		});
	});

	test("in the configuration stops check and start alike: a line a mistake, exit code 1", async () => {
		using home = directory({ "router.yaml": "server:\n  prt: 1\nlog: { keep: 0 }\n" });
		const expected = {
			code: 1,
			stdout: "",
			stderr:
				'router.yaml:2:3 server.prt: unknown setting; did you mean "port"?\n' +
				"router.yaml:3:14 log.keep: must be a whole number from 1 to 3650\n",
		};
		for (const args of [["check"], ["check", "--agent"], [], ["--agent"]]) {
			expect(await cli(args, { cwd: home.path })).toEqual(expected);
		}
	});

	test("in the --env-file stops a start", async () => {
		using home = directory();
		const { code, stderr } = await cli(["--env-file", "none.env"], { cwd: home.path });
		expect([code, stderr]).toEqual([1, "none.env: there is no such file (named by --env-file)\n"]);
	});
});

describe("router init", () => {
	test("leaves a file that exists as it is", async () => {
		using home = directory({ "router.yaml": "mine" });
		const { code, stderr } = await cli(["init"], { cwd: home.path });
		expect(code).toBe(1);
		expect(stderr).toStartWith("router: router.yaml exists already and was left as it is");
		expect(readFileSync(join(home.path, "router.yaml"), "utf8")).toBe("mine");
	});

	test("says in one line that a file can't be written", async () => {
		using home = directory();
		const { code, stderr } = await cli(["init", "no/such/dir.yaml"], { cwd: home.path });
		expect([code, stderr.split("\n")]).toEqual([1, [expect.stringContaining("can't be written (ENOENT)"), ""]]);
	});

	test("writes a file that check takes", async () => {
		using home = directory();
		expect((await cli(["init"], { cwd: home.path })).code).toBe(0);
		expect(await cli(["check"], { cwd: home.path })).toMatchObject({ code: 0, stderr: "" });
	});

	test("prints example and schema without writing anything", async () => {
		using home = directory();
		expect((await cli(["init", "-"], { cwd: home.path })).stdout).toContain("server:\n");
		expect(JSON.parse((await cli(["init", "--schema"], { cwd: home.path })).stdout)).toHaveProperty("$schema");
		expect(existsSync(join(home.path, "router.yaml"))).toBe(false);
	});
});

test("--version and --help answer", async () => {
	using home = directory({ "router.yaml": "broken: [" });
	expect(await cli(["--version"], { cwd: home.path })).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: "" });
	expect((await cli(["--help"], { cwd: home.path })).stdout).toContain("--standalone");
});

test.each([
	["--rpm", "abc", '--rpm must be a whole number, but is "abc"'],
	["--tpm", "1.5", '--tpm must be a whole number, but is "1.5"'],
	["--input", "0x10", '--input must be a whole number, but is "0x10"'],
	["--concurrency", "0", "--concurrency must be 1 or more"],
	["--budget", "abc", "--budget must be USD, a slash, and day, month or total: 50/month"],
	["--budget", "0x10/day", "--budget must be USD, a slash, and day, month or total: 50/month"],
])("a limit of a new key that is none is told for what it is: %s %s", async (flag, value, said) => {
	using home = directory({ "router.yaml": "data_dir: ./data" });
	const { code, stderr } = await cli(["keys", "create", "--name", "a", flag, value], { cwd: home.path });
	expect([code, stderr.trim()]).toEqual([1, expect.stringContaining(said)]);
});
