/** What tests need of a machine: installed where that may be, else skipped and told at the end; CI may skip nothing. */
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { needing } from "./kit/needing.ts";
import { type Host, install } from "./parts/install.ts";
import { lines, skippedIn } from "./parts/report.ts";
import { OF_TESTS, PARTS, type Part } from "./parts/table.ts";

const ROOT = join(import.meta.dir, "..");
const dir = mkdtempSync(join(tmpdir(), "router-parts-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Holds no program, so nothing can be installed either. */
const PATH = join(dir, "bin");
mkdirSync(PATH);

/** Runs a script of ours to its end. */
async function bun(args: string[], env: Record<string, string>) {
	const child = Bun.spawn([process.execPath, "--no-env-file", ...args], {
		cwd: ROOT,
		env: { HOME: dir, TMPDIR: dir, ...env },
		stdout: "pipe",
		stderr: "pipe",
	});
	const [out, err, code] = await Promise.all([
		new Response(child.stdout).text(),
		new Response(child.stderr).text(),
		child.exited,
	]);
	return { code, text: out + err };
}

describe("a run of the tests on a machine that has no part", () => {
	const file = join(ROOT, "test/parts-example.test.ts");
	afterAll(() => rmSync(file, { force: true }));
	const example = `
		import { test as it } from "bun:test";
		import { needing } from "./kit/needing.ts";
		const { test, describe, beforeAll } = needing("redis");
		beforeAll(() => { throw new Error("a hook ran"); });
		test("a & b", () => { throw new Error("it ran"); });
		test.each([1, 2])("number %p", () => { throw new Error("it ran"); });
		describe("a group", () => { test("in it", () => { throw new Error("it ran"); }); });
		needing("docker").describe("a container", () => { it("starts", () => {}); });
	`;

	test("skips them, runs no hook of theirs, and ends with a line for each part", async () => {
		writeFileSync(file, example);
		const { code, text } = await bun(["test/parts/run.ts", file], { PATH });
		expect(text).not.toContain("it ran");
		expect(text).not.toContain("a hook ran");
		expect(code).toBe(0);
		expect(text.trim().split("\n").slice(-2)).toEqual([
			"skipped 4 tests of Redis: redis-server is not installed (apt-get install redis-server)",
			expect.stringMatching(
				/^skipped 1 test of a Docker Engine of the tests' own: .+ \(Linux, root, and apt-get install /,
			),
		]);
	}, 60_000);

	test("fails in CI, which names the part", async () => {
		writeFileSync(file, example);
		const { code, text } = await bun(["test/parts/run.ts", file], { PATH, CI: "true" });
		expect(code).not.toBe(0);
		expect(text).toContain("CI may skip no test, and these need redis: redis-server is not installed");
	}, 60_000);

	test("that skips for a reason of its own fails in CI, too", async () => {
		writeFileSync(file, 'import { test } from "bun:test"; test.skip("a", () => {}); test("b", () => {});');
		const skipped = await bun(["test/parts/run.ts", file], { PATH });
		expect(skipped.text.trim().split("\n").at(-1)).toBe("skipped 1 test for reasons of their own");
		expect(skipped.code).toBe(0);
		expect(await bun(["test/parts/run.ts", file], { PATH, CI: "true" })).toMatchObject({
			code: 1,
			text: expect.stringContaining("CI may skip no test"),
		});
	}, 60_000);
});

needing("docker").describe("a run of the tests where a container starts", () => {
	const file = join(ROOT, "test/parts-container.test.ts");
	afterAll(() => rmSync(file, { force: true }));

	test("runs those that need one", async () => {
		writeFileSync(
			file,
			`import { test } from "bun:test";
			import { needing } from "./kit/needing.ts";
			needing("docker").test("it ran", () => {});
			test("another", () => {});`,
		);
		const { code, text } = await bun(["test/parts/run.ts", file], { PATH: process.env["PATH"]!, TMPDIR: tmpdir() });
		expect(text).not.toContain("skip");
		expect(code).toBe(0);
	}, 120_000);
});

describe("the report", () => {
	test("counts what is named, not the nameless test that bun makes of a skipped group with hooks", () => {
		const junit = `
			<testcase name="a [needs redis]" classname="" time="0" file="a.test.ts" line="6" assertions="0">
				<skipped />
			</testcase>
			<testcase name="(unnamed)" classname="g [needs docker]" time="0." file="a.test.ts" assertions="0">
				<skipped />
			</testcase>
			<testcase name="b &amp; c" classname="deep &gt; g [needs docker]" time="0" file="a.test.ts" assertions="0">
				<skipped />
			</testcase>
			<testcase name="ran" classname="g" time="0.1" file="a.test.ts" line="9" assertions="1" />
			<testcase name="alone" classname="" time="0" file="a.test.ts" assertions="0">
				<skipped />
			</testcase>`;
		const { byPart, others } = skippedIn(junit);
		expect([...byPart]).toEqual([
			["redis", 1],
			["docker", 1],
		]);
		expect(others).toBe(1);
		expect(lines({ byPart, others }, () => "none")).toEqual([
			"skipped 1 test of Redis: none (apt-get install redis-server)",
			"skipped 1 test of a Docker Engine of the tests' own: none (Linux, root, and apt-get install docker.io iproute2)",
			"skipped 1 test for reasons of their own",
		]);
	});

	test("every part says how to get it", () => {
		for (const { what, how } of Object.values(PARTS) as Part[]) expect([what, how]).not.toContain("");
	});
});

describe("the install", () => {
	const policy = join(dir, "policy-rc.d");
	/** A machine that knows these packages and installs those, and what was asked of it. */
	function machine(over: Partial<Host> & { known?: RegExp; works?: RegExp } = {}) {
		const { known = /./, works = /./, ...rest } = over;
		const seen = { calls: [] as string[], said: [] as string[], policies: new Set<boolean>() };
		const there = new Set<string>();
		const host: Host = {
			mayInstall: true,
			missing: (name) => Object.keys(PARTS[name].programs).filter((program) => !there.has(program)),
			policy,
			say: (line) => void seen.said.push(line),
			async run(...command) {
				if (command[0] === "apt-cache") return { code: known.test(command.at(-1)!) ? 0 : 100, output: "" };
				seen.calls.push(command.join(" "));
				if (command[1] !== "install") return { code: 0, output: "" };
				seen.policies.add(existsSync(policy));
				const packages = command.slice(command.indexOf("DPkg::Lock::Timeout=300") + 1);
				if (!packages.every((each) => works.test(each))) return { code: 100, output: "E: broken\n" };
				for (const each of packages) there.add(each);
				return { code: 0, output: "" };
			},
			...rest,
		};
		return { host, seen };
	}
	const INSTALL = "apt-get install -qq --yes --no-install-recommends -o DPkg::Lock::Timeout=300";

	test("where it may not install asks nothing of the machine, and gives what is missing", async () => {
		const { host, seen } = machine({ mayInstall: false });
		expect(await install(["jq", "wrk"], host)).toEqual(["jq", "wrk"]);
		expect(seen).toMatchObject({ calls: [], said: [] });
	});

	test("of what is there asks nothing", async () => {
		const { host, seen } = machine({ missing: () => [] });
		expect(await install(OF_TESTS, host)).toEqual([]);
		expect(seen).toMatchObject({ calls: [], said: [] });
	});

	test("goes on to the others where one can't be had, and says what failed", async () => {
		const { host, seen } = machine({ works: /wrk|curl/ });
		expect(await install(["wrk", "jq", "curl"], host)).toEqual(["jq"]);
		const one = (name: string) => `${INSTALL} ${name}`;
		expect(seen.calls).toEqual(["apt-get update -qq", one("wrk jq curl"), one("wrk"), one("jq"), one("curl")]);
		expect(seen.said.slice(1)).toEqual([`${one("jq")} failed:\nE: broken`]);
	});

	test("takes each package once, by the first name that the distribution knows, in one go", async () => {
		const trixie = machine();
		await install(OF_TESTS, trixie.host);
		const [, call] = trixie.seen.calls;
		expect(call).toBe(
			`${INSTALL} redis-server docker.io docker-cli iproute2 tar podman uidmap slirp4netns passt netavark iptables util-linux nftables docker-compose systemd chromium nginx prometheus zsh fish mandoc`,
		);
		const bookworm = machine({ known: /^(?!docker-cli)/ });
		await install(["docker", "ip"], bookworm.host);
		expect(bookworm.seen.calls[1]).toBe(`${INSTALL} docker.io iproute2 tar`);
	});

	test("lets no service start, and leaves a policy of the machine's as it is", async () => {
		const first = machine();
		await install(["wrk"], first.host);
		expect([...first.seen.policies]).toEqual([true]);
		expect(existsSync(policy)).toBe(false);
		writeFileSync(policy, "its own");
		await install(["wrk"], machine().host);
		expect(readFileSync(policy, "utf8")).toBe("its own");
		rmSync(policy);
	});

	test("refuses a part that the table does not have, and says which it has", async () => {
		const { code, text } = await bun(["test/parts/install.ts", "emacs"], { PATH: "/nowhere" });
		expect(code).toBe(2);
		expect(text).toMatch(/no part is called emacs; there are redis, docker, /);
	});

	test("on the command line says what is missing, and fails in CI", async () => {
		const text = "missing: jq (apt-get install jq)\n";
		expect(await bun(["test/parts/install.ts", "jq"], { PATH })).toEqual({ code: 0, text });
		expect(await bun(["test/parts/install.ts", "jq"], { PATH, CI: "true" })).toEqual({ code: 1, text });
	});
});
