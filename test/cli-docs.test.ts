/** `router docs`: the pages of the repository, from a program that has no repository beside it. */
import { describe, expect, test } from "bun:test";
import { basename } from "node:path";
import { cli, directory } from "./kit/cli.ts";
import { page, pages } from "./kit/pages.ts";

describe("an unknown topic ends with exit code 2 and", () => {
	test.each([
		["setings", 'did you mean "settings"?'],
		["Errors", 'did you mean "errors"?'],
		["settings.md", 'did you mean "settings"?'],
		["limits", 'did you mean "keys-and-limits"?'],
		["gpu", 'did you mean "gpu-hosts"?'],
		["constructor", "there are calls, upstreams, "],
	])("names the ones that %s may mean", async (topic, hint) => {
		using home = directory();
		const { code, stdout, stderr } = await cli(["docs", topic], { cwd: home.path });
		expect([code, stdout]).toEqual([2, ""]);
		expect(stderr).toStartWith(`router: there is no topic "${topic}"; ${hint}`);
	});
});

test.each([
	[["docs", "errors", "settings"], '"settings" is one word too many'],
	[["docs", "--port", "1"], "--port does not belong to `docs`"],
	[["docs", "--agent"], "--agent does not belong to `docs`"],
])("%j is a command line that is wrong", async (args, message) => {
	using home = directory();
	expect(await cli(args, { cwd: home.path })).toEqual({
		code: 2,
		stdout: "",
		stderr: `router: ${message}\nTry \`router --help\`.\n`,
	});
});

test("without a topic it lists all of them, a line each", async () => {
	using home = directory();
	const { code, stdout, stderr } = await cli(["docs"], { cwd: home.path });
	expect([code, stderr]).toEqual([0, ""]);
	const listed = [...stdout.matchAll(/^ {2}(\S+) +\S.+$/gm)].map(([, topic]) => topic);
	const inSources = (await pages()).filter((file) => file.startsWith("src/") && !file.endsWith("/design.md"));
	expect(listed.toSorted()).toEqual(inSources.map((file) => basename(file, ".md")).toSorted());
});

test("a topic's page comes as it is in the repository, whatever the configuration", async () => {
	using home = directory({ "router.yaml": "broken: [" });
	const expected = { code: 0, stdout: await page("src/config/settings.md"), stderr: "" };
	expect(await cli(["docs", "settings"], { cwd: home.path })).toEqual(expected);
});

test("--help names it", async () => {
	using home = directory();
	expect((await cli(["--help"], { cwd: home.path })).stdout).toContain("router docs [TOPIC]");
});
