/** LangChain for Python, unmodified but for its base URL: its standard tests, objects by schema with both methods, named messages. */
import { expect } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { needing } from "./kit/needing.ts";
import { MODELS, startStrictVendors } from "./kit/strict-vendors.ts";
import { LANGCHAIN, LANGCHAIN_TESTS } from "./parts/langchain.ts";

const { test } = needing("langchain");

/** One of its tests. */
interface Case {
	/** Its class and name. */
	readonly name: string;
	readonly state: "passed" | "skipped" | "failed";
	/** What it said of its failure. */
	readonly text: string;
}

/** What a run of them came to. */
interface Run {
	readonly cases: readonly Case[];
	/** Words of the vendors, of which the router's translations deserve none. */
	readonly refusals: readonly string[];
}

/** All models are tried in one run: to load LangChain takes longer than the tests of one. */
const LONGEST_MS = 300_000;
let running: Promise<Run> | undefined;

async function run(): Promise<Run> {
	const vendors = await startStrictVendors();
	const scratch = mkdtempSync(join(tmpdir(), "router-langchain-"));
	const report = join(scratch, "report.xml");
	try {
		const flags = ["--quiet", "--tb=short", "-p", "no:cacheprovider", `--junitxml=${report}`];
		const child = Bun.spawn([LANGCHAIN.python, "-B", "-m", "pytest", ...flags, LANGCHAIN_TESTS], {
			cwd: scratch,
			env: {
				HOME: scratch,
				PATH: process.env["PATH"] ?? "",
				ROUTER_URL: vendors.router.url,
				MODELS: MODELS.join(","),
			},
			stdin: "ignore",
			stdout: "pipe",
			stderr: "pipe",
			timeout: LONGEST_MS,
		});
		const [out, err, code] = await Promise.all([
			new Response(child.stdout).text(),
			new Response(child.stderr).text(),
			child.exited,
		]);
		// 1: some failed, which are told one by one.
		if (code !== 0 && code !== 1) throw new Error(`pytest ended with ${code}:\n${out}\n${err}`);
		return { cases: casesIn(readFileSync(report, "utf8")), refusals: vendors.refusals() };
	} finally {
		await vendors.stop();
		rmSync(scratch, { recursive: true, force: true });
	}
}

/** The cases of a report in JUnit's format. */
function casesIn(junit: string): Case[] {
	const each = /<testcase classname="([^"]*)" name="([^"]*)"[^>]*?(?:\/>|>([\s\S]*?)<\/testcase>)/g;
	return [...junit.matchAll(each)].map(([, group, name, text = ""]) => ({
		name: `${group} ${name}`,
		state: /<(?:failure|error) /.test(text) ? "failed" : text.includes("<skipped ") ? "skipped" : "passed",
		text,
	}));
}

/** The model's name in those of classes. */
const slug = (model: string) => model.replace(/\W/g, "_");

test.each(MODELS)(
	"%s passes all that LangChain asks of a chat model",
	async (model) => {
		running ??= run();
		const { cases } = await running;
		const own = cases.filter(({ name }) => name.includes(`_${slug(model)}_`) || name.includes(`[${model}`));
		const failed = own.filter(({ state }) => state === "failed");
		expect(failed.map(({ name, text }) => `${name}\n${text}`)).toEqual([]);
		// Fewer: something else was run.
		expect(own.filter(({ state }) => state === "passed").length).toBeGreaterThan(80);
	},
	LONGEST_MS + 30_000,
);

test(
	"no vendor refused what the router made of LangChain's calls",
	async () => {
		running ??= run();
		expect((await running).refusals).toEqual([]);
	},
	LONGEST_MS,
);
