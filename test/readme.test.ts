/** The README against the code: its tables say what the program does. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { TSchema } from "@sinclair/typebox";
import { agentMetrics } from "../src/agent/agent-metrics.ts";
import { HELP } from "../src/cli/help.ts";
import { ConfigSchema } from "../src/config/schema.ts";
import { settings } from "../src/config/schema-walk.ts";
import { CONFIG_VARIABLES } from "../src/config/variables.ts";
import { ERRORS } from "../src/errors.ts";
import { createMetrics } from "../src/telemetry/metrics.ts";
import { VENDORS } from "../src/vendors.ts";

const readme = await Bun.file(join(import.meta.dir, "..", "README.md")).text();

/** Rows of every table, as cells. */
const rows = readme
	.split("\n")
	.filter((line) => line.startsWith("| "))
	.map((line) =>
		line
			.slice(2, -2)
			.split(" | ")
			.map((cell) => cell.trim()),
	);

test("the error table is the catalogue: every code, its status and what to do, and no other", () => {
	const start = readme.indexOf("## Errors");
	const section = readme.slice(start, readme.indexOf("\n## ", start + 1));
	const listed = [...section.matchAll(/^\| `(\w+)` \| (\d+) \| (.+) \|$/gm)].map(([, code, status, remedy]) => ({
		code,
		status: Number(status),
		remedy,
	}));
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
	const start = readme.indexOf("| setting | default |");
	const table = readme.slice(start, readme.indexOf("\n\n", start));
	const listed = [...table.matchAll(/`(--[a-z-]+)`/g)].map(([, flag]) => flag!);
	expect(listed.filter((flag) => !HELP.includes(flag))).toEqual([]);
	const explained = [...HELP.matchAll(/^ {2}(--[a-z-]+)/gm)].map(([, flag]) => flag!);
	const settingNothing = ["--config", "--env-file", "--url", "--file"];
	expect(explained.filter((flag) => !listed.includes(flag) && !settingNothing.includes(flag))).toEqual([]);
});

test("the settings table names variables that are read, and no other", () => {
	const start = readme.indexOf("| setting | default |");
	const table = readme.slice(start, readme.indexOf("\n\n", start));
	const read = [
		...CONFIG_VARIABLES.map(({ name }) => name),
		"STATE_DIRECTORY",
		"LOGS_DIRECTORY",
		"AGENT_PORT",
		"NODE_EXTRA_CA_CERTS",
	];
	const listed = [...table.matchAll(/`([A-Z]+(?:_[A-Z]+)*)`/g)].map(([, name]) => name!);
	expect(listed.filter((name) => !read.includes(name))).toEqual([]);
	expect(CONFIG_VARIABLES.map(({ name }) => name).filter((name) => !readme.includes(`\`${name}\``))).toEqual([]);
});

describe("the upstream table", () => {
	for (const [name, row] of Object.entries(VENDORS).filter(([, row]) => row.baseUrlVariable)) {
		test(`lists ${name} with its variables and its address`, () => {
			const cells = rows.find(([cell]) => cell === `\`${name}\``);
			const line = cells?.join(" ") ?? "";
			for (const variable of [...row.keyVariables, row.baseUrlVariable]) expect(line).toContain(String(variable));
			if (row.baseUrl) expect(line).toContain(row.baseUrl);
		});
	}
});

test("the metrics table names metrics that exist, all of them but the process's own", async () => {
	const text = (await createMetrics("router").text()) + (await agentMetrics().text());
	const existing = [...text.matchAll(/^# TYPE (router_\w+)/gm)].map(([, name]) => String(name));
	const listed = [...readme.matchAll(/^\| (`router_[^|]+) \|/gm)].flatMap(([, cell]) =>
		[...String(cell).matchAll(/`(router_\w+)`/g)].map(([, name]) => String(name)),
	);
	expect(listed.filter((name) => !existing.includes(name))).toEqual([]);
	expect(existing.filter((name) => !listed.includes(name) && !/process|nodejs|info/.test(name))).toEqual([]);
});

test("no placeholder was left in it", () => {
	expect(readme.match(/^[A-Z]+_[A-Z_]+$/gm)).toBeNull();
});
