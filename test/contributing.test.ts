/** CONTRIBUTING.md against the tree: its map, its walk, its import order, and what the package needs. */
import { describe, expect, test } from "bun:test";
import { dirname } from "node:path";
import packageJson from "../package.json";
import { ROWS } from "./kit/import-order.ts";
import { page, ROOT, rowsOf } from "./kit/pages.ts";

const contributing = await page("CONTRIBUTING.md");

/** The text behind a heading `## …`, up to the next one of that level. */
function section(title: string): string {
	const start = contributing.indexOf(`\n## ${title}\n`);
	expect(start).toBeGreaterThan(0);
	return contributing.slice(start, contributing.indexOf("\n## ", start + 1));
}

test("the list of contents is its headings", () => {
	const titles = (level: string) =>
		[...contributing.matchAll(new RegExp(`^${level} (.+)$`, "gm"))].map(([, title]) => title!);
	const list = contributing.slice(0, contributing.indexOf("\n## "));
	const listed = [...list.matchAll(/^- \[([^\]]+)\]\(#/gm)].map(([, title]) => title!);
	expect(listed).toEqual(titles("##"));
	const further = [...list.matchAll(/(?<!^-) \[([^\]]+)\]\(#/gm)].map(([, title]) => title!.toLowerCase());
	expect(further).toEqual(titles("###").map((title) => title.toLowerCase()));
});

/** Folders below the root that hold source files themselves. */
function folders(pattern: string): string[] {
	const files = [...new Bun.Glob(pattern).scanSync({ cwd: ROOT, dot: true })];
	return [...new Set(files.map((file) => `${dirname(file)}/`))].sort();
}

describe("the map", () => {
	const rows = rowsOf(section("The map"));

	test("has a row for each room with source files, and for no other", () => {
		const listed = rows.map(([room]) => room?.match(/^`(src\/.*)`$/)?.[1]).filter((room) => room !== undefined);
		expect(listed.toSorted()).toEqual(folders("src/**/*.{ts,tsx}"));
	});

	test("says for each what lives there and a file of its own to start at", () => {
		for (const [room, what, start] of rows.filter(([cell]) => cell?.startsWith("`src/"))) {
			expect(what!.length).toBeGreaterThan(10);
			expect(start).toContain(`](${room!.slice(1, -1)}`);
		}
	});

	test("links each design.md", () => {
		const designs = [...new Bun.Glob("src/**/design.md").scanSync({ cwd: ROOT })];
		expect(designs.filter((file) => !section("The map").includes(`](${file})`))).toEqual([]);
	});
});

test("the import order is the one that the imports are tested by", () => {
	const [, line = ""] = section("The import order").match(/^```\n(.+)\n```$/m) ?? [];
	const order = line.split(" → ").map((row) => row.split(" | ").map((room) => (room === "src" ? "" : room)));
	expect(order.toReversed()).toEqual(ROWS.map((row) => [...row]));
});

test("the walk has ten steps, each with a file to read", () => {
	const steps = section("The walk of a call")
		.split(/^\d+\. /m)
		.slice(1);
	expect(steps).toHaveLength(10);
	expect(steps.filter((step) => !/\]\(src\/[\w/-]+\.ts\)/.test(step))).toEqual([]);
});

test("each target of make is named, and no other", async () => {
	const makefile = await page("Makefile");
	const targets = [...makefile.matchAll(/^([a-z][a-z-]*):/gm)].map(([, name]) => name!);
	const named = [...section("Run, check, test").matchAll(/`make ([a-z-]+)/g)].map(([, name]) => name!);
	expect(targets.filter((name) => name !== "clean" && !named.includes(name))).toEqual([]);
	expect(named.filter((name) => !targets.includes(name))).toEqual([]);
});

test("each package that the binary holds is listed with what it is for, and no other", () => {
	const listed = rowsOf(section("Dependencies")).flatMap(([cell]) =>
		[...cell!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!),
	);
	expect(listed.toSorted()).toEqual(Object.keys(packageJson.dependencies).toSorted());
});
