/** The README against the code: its tables say what the program does. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { agentMetrics } from "../src/agent/agent-metrics.ts";
import { ConfigSchema } from "../src/config/schema.ts";
import { settings } from "../src/config/walk.ts";
import { ERRORS } from "../src/errors.ts";
import { TABLE } from "../src/providers/table.ts";
import { createMetrics } from "../src/telemetry/metrics.ts";

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

describe("the upstream table", () => {
	for (const [name, row] of Object.entries(TABLE).filter(([, row]) => row.baseUrlVariable)) {
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
