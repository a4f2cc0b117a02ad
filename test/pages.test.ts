/** The pages: no dead link, none that nobody finds, and `router docs` has all that are for users. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import { docsText } from "../src/cli/docs.ts";
import { page, pages, ROOT, rowsOf } from "./kit/pages.ts";

const files = await pages();
const texts = new Map(await Promise.all(files.map(async (file) => [file, await page(file)] as const)));
const text = (file: string) => texts.get(file) ?? "";
const readme = text("README.md");

/** A text without its blocks of code, where `[…](…)` and `#` mean something else. */
const prose = (of: string) => of.replace(/^```[\s\S]*?^```/gm, "");

/** Headings without their `#`, in order; `level` 2 is `##`. */
const headings = (of: string, level?: number) =>
	[...prose(of).matchAll(/^(#{1,6}) (.+)$/gm)]
		.filter(([, marks]) => level === undefined || marks!.length === level)
		.map(([, , title]) => title!);

/** The anchor that a heading gets on a page of a code host. */
const anchor = (heading: string) =>
	heading
		.toLowerCase()
		.replace(/[^\p{L}\p{N} _-]/gu, "")
		.replaceAll(" ", "-");

/** What a page links to in the repository: a file's path, and an anchor on it. */
const links = (file: string) =>
	[...prose(text(file)).matchAll(/\]\(([^)\s]+)\)/g)]
		.map(([, target]) => target!)
		.filter((target) => !/^[a-z]+:/.test(target))
		.map((target) => {
			const [path = "", fragment] = target.split("#");
			return { target, path: path === "" ? file : normalize(join(dirname(file), path)), fragment };
		});

test("no link leads nowhere, neither to a file nor to a heading", () => {
	const dead = files.flatMap((file) =>
		links(file)
			.filter(
				({ path, fragment }) =>
					!existsSync(join(ROOT, path)) ||
					(fragment !== undefined && !headings(text(path)).map(anchor).includes(fragment)),
			)
			.map(({ target }) => `${file}: ${target}`),
	);
	expect(dead).toEqual([]);
	expect(files.flatMap(links).length).toBeGreaterThan(50);
});

test("a link that is called like a file leads to that file", () => {
	const wrong = files.flatMap((file) =>
		[...prose(text(file)).matchAll(/\[([^\]]+\.(?:ts|md))\]\(([^)]+)\)/g)]
			.filter(([, label, target]) => !`/${target}`.endsWith(`/${label}`))
			.map(([link]) => `${file}: ${link}`),
	);
	expect(wrong).toEqual([]);
});

test("no source file is named that isn't there", () => {
	const sources = [...new Bun.Glob("{src,test,.ci}/**/*.ts").scanSync({ cwd: ROOT, dot: true })];
	// What changed once is told with the names of then.
	const current = files.filter((file) => file !== "CHANGELOG.md");
	const unknown = current.flatMap((file) =>
		// Links are looked at by the others.
		[
			...text(file)
				.replace(/\[[^\]]+\]\([^)]+\)/g, "")
				.matchAll(/(?<![\w/.<…-])[\w-]+(?:\/[\w-]+)*\.ts\b/g),
		]
			.map(([name]) => name)
			.filter((name) => {
				const room = `${dirname(file)}/`;
				const isThere = [name, `src/${name}`, normalize(`${room}${name}`)].some((path) => sources.includes(path));
				return !isThere && !sources.some((path) => path.startsWith(room) && path.endsWith(`/${name}`));
			})
			.map((name) => `${file}: ${name}`),
	);
	expect(unknown).toEqual([]);
});

test("a design.md names types, functions and members that its room has", async () => {
	const sources = [...new Bun.Glob("src/**/*.ts").scanSync({ cwd: ROOT })];
	for (const file of files.filter((each) => basename(each) === "design.md")) {
		const inRoom = sources.filter((each) => each.startsWith(`${dirname(file)}/`)).map(page);
		const room = (await Promise.all(inRoom)).join("\n");
		const inProse = prose(text(file)).matchAll(/`((?:[a-z]+[A-Z]|[A-Z][a-z])\w*)(?![\w-])/g);
		const anywhere = text(file).matchAll(/\b([A-Z][a-z]{2,}[A-Z]\w*)/g);
		const named = [...inProse, ...anywhere].map(([, name]) => name!);
		const unknown = named.filter((name) => !new RegExp(`\\b${name}\\b`).test(room));
		expect([file, unknown]).toEqual([file, []]);
	}
});

/** Words of old that stood for things the field has names for. */
const METAPHORS =
	/\b(?:house|office|desk|doors?|gates?|turnstile|deeds|young|patience|hasty|unwell|stealth|setbacks?|transcript|misfortunes?)\b/gi;

test("a page speaks in the field's words", () => {
	const current = files.filter((file) => file !== "CHANGELOG.md");
	expect(current.flatMap((file) => (text(file).match(METAPHORS) ?? []).map((word) => `${file}: ${word}`))).toEqual([]);
});

test("the README links each page, or a page that it links does", () => {
	const found = new Set(["README.md"]);
	// A set that grows while it is walked is walked to its end.
	for (const file of found) for (const { path } of links(file)) if (texts.has(path)) found.add(path);
	expect(files.filter((file) => !found.has(file) && file !== "CHANGELOG.md")).toEqual([]);
});

describe("the README", () => {
	test("has at most 260 lines", () => {
		expect(readme.split("\n").length).toBeLessThanOrEqual(260);
	});

	test("lists its headings as its contents", () => {
		const [before = "", after = ""] = readme.split("## Contents\n");
		expect(headings(before, 2)).toEqual([]);
		const list = after.slice(0, after.indexOf("\n## "));
		const expected = headings(after, 2).map((title) => `- [${title}](#${anchor(title)})`);
		expect(list.trim().split("\n")).toEqual(expected);
	});

	test("lists each topic with its page and what that is about", () => {
		const listed = rowsOf(readme).filter(([, cell]) => /^\[.+\.md\]\(/.test(cell ?? ""));
		const topics = listed.filter(([topic]) => topic !== "").map(([topic, cell]) => [topic, cell]);
		const printed = [...docsText().matchAll(/^ {2}(\S+) +(.+)$/gm)];
		const expected = printed.map(([, topic, about]) => {
			const file = files.find((each) => each.startsWith("src/") && basename(each) === `${topic}.md`);
			return [`\`${topic}\``, `[${file}](${file}): ${about}`];
		});
		expect(topics).toEqual(expected);
	});
});

describe("a page for users", () => {
	const forUsers = files.filter((file) => /^(?:src|test)\//.test(file) && basename(file) !== "design.md");

	test.each(forUsers)("%s says first for whom it is and about what, in one line", (file) => {
		const [title, blank, sentence, next] = text(file).split("\n");
		expect(title).toMatch(/^# \S/);
		expect([blank, next]).toEqual(["", ""]);
		expect(sentence).toMatch(/^For whoever [^:]+: [^:]+\.$/);
		expect(sentence!.length).toBeLessThanOrEqual(130);
		expect(text(file)).toEndWith("\n");
		expect(headings(text(file), 1)).toHaveLength(1);
	});

	test("is a topic where it stands in src/, under the name of its file, as it is there", () => {
		const inSources = forUsers.filter((file) => file.startsWith("src/"));
		expect(inSources.length).toBeGreaterThan(10);
		const topics = [...docsText().matchAll(/^ {2}(\S+) /gm)].map(([, topic]) => topic!);
		expect(topics.sort()).toEqual(inSources.map((file) => basename(file, ".md")).sort());
		for (const file of inSources) expect(docsText(basename(file, ".md"))).toBe(text(file));
	});
});
