/** The README and the pages beside the code, against the code: their tables say what the program does. */
import { describe, expect, test } from "bun:test";
import type { TSchema } from "@sinclair/typebox";
import { agentMetrics, type MetricsSources } from "../src/agent/agent-metrics.ts";
import { helpText } from "../src/cli/help.ts";
import { ConfigSchema } from "../src/config/schema.ts";
import { settings } from "../src/config/schema-walk.ts";
import { CONFIG_VARIABLES } from "../src/config/variables.ts";
import { ERRORS } from "../src/errors.ts";
import { createMetrics } from "../src/telemetry/metrics.ts";
import { VENDORS } from "../src/vendors.ts";
import { page, pages, ROOT, rowsOf } from "./kit/pages.ts";

const HELP = helpText();
const readme = await page("README.md");
const settingsPage = await page("src/config/settings.md");
const metricsPage = await page("src/telemetry/metrics.md");
const rows = rowsOf(settingsPage);

test("the error table is the catalogue: every code, its status and what to do, and no other", async () => {
	const listed = [...(await page("src/errors.md")).matchAll(/^\| `(\w+)` \| (\d+) \| (.+) \|$/gm)].map(
		([, code, status, remedy]) => ({
			code,
			status: Number(status),
			remedy,
		}),
	);
	const catalogue = Object.entries(ERRORS).map(([code, { status, remedy }]) => ({
		code,
		status,
		remedy: String(remedy),
	}));
	expect(listed).toEqual(catalogue);
});

describe("the settings table", () => {
	for (const { path, schema } of settings(ConfigSchema)) {
		const name = path.join(".");
		test(`lists ${name} with its default and its variable`, () => {
			const row = rows.find(([cell]) => cell?.includes(`\`${name}\``));
			expect(row).toBeDefined();
			const [, fallback = "", variable = ""] = row ?? [];
			const isPlain = ["string", "number", "boolean"].includes(typeof schema["default"]);
			if (isPlain) expect(fallback).toContain(String(schema["default"]));
			if (schema["env"]) expect(variable).toContain(schema["env"]);
		});
	}
});

describe("the settings table lists every field of an entry, and no other, of", () => {
	/** The schema of what a list or a set of free names holds. */
	const entry = ({ items, patternProperties = {} }: TSchema): TSchema => items ?? Object.values(patternProperties)[0];
	const collections = settings(ConfigSchema).filter(
		({ schema }) => ["array", "object"].includes(schema.type) && entry(schema)["properties"],
	);

	test.each(collections.map(({ path, schema }) => [path.join("."), schema] as const))("%s", (name, schema) => {
		const row = rows.find(([cell]) => cell === `\`${name}\``) ?? [];
		const named = [...(row.at(-1) ?? "").matchAll(/`([a-z_]+)`/g)].map(([, field]) => field);
		const fields = Object.entries<TSchema>(entry(schema)["properties"]);
		expect(fields.map(([field]) => field).filter((field) => !named.includes(field))).toEqual([]);
		const inner = fields.flatMap(([, field]) => Object.keys(field["properties"] ?? {}));
		const known = [...fields.map(([field]) => field), ...inner];
		expect(named.filter((field) => !known.includes(field!))).toEqual([]);
	});
});

test("the settings table names flags that exist, and every flag that sets something", () => {
	const listed = [...settingsTable().matchAll(/`(--[a-z-]+)`/g)].map(([, flag]) => flag!);
	expect(listed.filter((flag) => !HELP.includes(flag))).toEqual([]);
	const explained = [...HELP.matchAll(/^ {2}(--[a-z-]+)/gm)].map(([, flag]) => flag!);
	const settingNothing = ["--replace", "--config", "--env-file", "--url", "--file", "--path"];
	expect(explained.filter((flag) => !listed.includes(flag) && !settingNothing.includes(flag))).toEqual([]);
});

test("the settings table names variables that are read, and no other", () => {
	const read = [
		...CONFIG_VARIABLES.map(({ name }) => name),
		"STATE_DIRECTORY",
		"LOGS_DIRECTORY",
		"AGENT_PORT",
		"NODE_EXTRA_CA_CERTS",
	];
	const listed = [...settingsTable().matchAll(/`([A-Z]+(?:_[A-Z]+)*)`/g)].map(([, name]) => name!);
	expect(listed.filter((name) => !read.includes(name))).toEqual([]);
	expect(CONFIG_VARIABLES.map(({ name }) => name).filter((name) => !settingsPage.includes(`\`${name}\``))).toEqual([]);
});

/** The settings table's text. */
function settingsTable(): string {
	const start = settingsPage.indexOf("| setting | default |");
	return settingsPage.slice(start, settingsPage.indexOf("\n\n", start));
}

describe("the upstream table", async () => {
	const upstreams = rowsOf(await page("src/providers/upstreams.md"));
	const short = rowsOf(readme);
	for (const [name, row] of Object.entries(VENDORS).filter(([, row]) => row.baseUrlVariable)) {
		test(`lists ${name} with its variables and its address`, () => {
			const cells = upstreams.find(([cell]) => cell === `\`${name}\``);
			if (!cells) throw new Error(`src/providers/upstreams.md has no row \`${name}\``);
			const line = cells.join(" ");
			for (const variable of [...row.keyVariables, row.baseUrlVariable]) expect(line).toContain(String(variable));
			if (row.baseUrl) expect(line).toContain(row.baseUrl);
		});

		test(`of the README lists ${name} with the same names and the variable it needs`, () => {
			const cells = short.find(([cell]) => cell === `\`${name}\``);
			if (!cells) throw new Error(`README.md has no row \`${name}\` under "Upstreams"`);
			const [, names, variable = ""] = cells;
			expect(names).toBe(upstreams.find(([cell]) => cell === `\`${name}\``)?.[1]);
			for (const { label } of row.prefixes) expect(names).toContain(`\`${label}\``);
			const needed = row.needsKey ? row.keyVariables : [row.baseUrlVariable!];
			expect(needed.filter((each) => !variable.includes(`\`${each}\``))).toEqual([]);
		});
	}
});

/** An agent without models, containers or GPUs. */
const NO_MODELS: MetricsSources = {
	registry: { all: () => [] },
	statuses: { of: () => ({ state: "stopped" }) },
	traffic: { waiting: () => ({ count: 0 }), running: () => 0 },
	gpus: { reading: { gpus: [] } },
	engine: { problem: undefined },
	inventory: { items: [] },
};

test("the metrics table names metrics that exist, all of them but the process's own", async () => {
	const text = (await createMetrics("router").text()) + (await agentMetrics(NO_MODELS).text());
	const existing = [...text.matchAll(/^# TYPE (router_\w+)/gm)].map(([, name]) => String(name));
	const listed = [...metricsPage.matchAll(/^\| (`router_[^|]+) \|/gm)].flatMap(([, cell]) =>
		[...String(cell).matchAll(/`(router_\w+)`/g)].map(([, name]) => String(name)),
	);
	expect(listed.filter((name) => !existing.includes(name))).toEqual([]);
	expect(existing.filter((name) => !listed.includes(name) && !/process|nodejs|info/.test(name))).toEqual([]);
});

describe("no page speaks of what isn't there:", async () => {
	const current = (await pages()).filter((file) => file !== "CHANGELOG.md");
	const named = async (pattern: RegExp) =>
		(await Promise.all(current.map(page))).flatMap((text) => [...text.matchAll(pattern)].map(([, name]) => name!));

	test("commands", async () => {
		const commands = await named(/(?:`|^\$ |^)router ([a-z]+)/gm);
		expect(new Set(commands).size).toBeGreaterThan(8);
		expect(commands.filter((command) => !HELP.includes(`  router ${command}`))).toEqual([]);
	});

	test("targets of make", async () => {
		const targets = await named(/(?:`|^)make ([a-z-]+)/gm);
		const makefile = await page("Makefile");
		expect(targets.filter((target) => !new RegExp(`^${target}:`, "m").test(makefile))).toEqual([]);
	});

	test("settings", async () => {
		const known = settings(ConfigSchema).map(({ path }) => path.join("."));
		const sections = new Set(known.map((name) => name.split(".")[0]!));
		const isFile = (name: string) => /\.(?:ts|md|json|log|lock)$/.test(name);
		const dotted = (await named(/`([a-z_]+(?:\.[a-z_]+)+)`/g))
			// The last is a field of answers.
			.filter((name) => sections.has(name.split(".")[0]!) && !isFile(name) && name !== "usage.cost");
		expect(new Set(dotted).size).toBeGreaterThan(50);
		const isKnown = (name: string) => known.some((setting) => setting === name || setting.startsWith(`${name}.`));
		expect(dotted.filter((name) => !isKnown(name))).toEqual([]);
	});
});

test("each message of troubleshooting.md is one that the program prints, each code one of the catalogue", async () => {
	const files = [...new Bun.Glob("src/**/*.ts").scanSync({ cwd: ROOT })];
	const sources = (await Promise.all(files.map(page))).join("\n");
	const codes = rowsOf(await page("src/troubleshooting.md")).flatMap(([symptom]) =>
		[...symptom!.matchAll(/`([^`]+)`/g)].map(([, code]) => code!),
	);
	const isPrinted = (message: string) =>
		// An address stands for what is put in there.
		message.split(/…|\d+(?:\.\d+){3}/).every((part) => sources.includes(part.trim()));
	expect(codes.length).toBeGreaterThan(8);
	expect(codes.filter((code) => !Object.hasOwn(ERRORS, code) && !isPrinted(code))).toEqual([]);
});

test("the README's figures of speed are the bench page's", async () => {
	const speed = await page("test/bench/speed.md");
	const measured = rowsOf(speed);
	const table = readme.slice(readme.indexOf("| load | CPU"));
	const quoted = rowsOf(table.slice(0, table.indexOf("\n\n"))).slice(2);
	expect(quoted.length).toBeGreaterThan(3);
	for (const [load, cpu, ratio, nginx, p50, relayP50] of quoted) {
		const first = measured.findIndex(([cell]) => cell === load);
		const [relay, proxy, router] = measured.slice(first, first + 3);
		// The router's own ratio and nginx's stand with their spread behind them.
		const figures = [router?.[6], router?.[7]?.split(" ")[0], proxy?.[7]?.split(" ")[0], router?.[3], relay?.[3]];
		expect([load, cpu, ratio, nginx, p50, relayP50]).toEqual([load, ...figures]);
	}
	const start = (text: string) => text.match(/^Start to ready .+$/gm);
	expect(start(readme)).toHaveLength(1);
	expect(start(readme)).toEqual(start(speed));
});

test("no placeholder was left in it", async () => {
	for (const file of await pages()) expect((await page(file)).match(/^[A-Z]+_[A-Z_]+$/gm)).toBeNull();
});
