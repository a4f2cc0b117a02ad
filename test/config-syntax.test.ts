import { describe, expect, test } from "bun:test";
import { mistakeLine } from "../src/config/config-error.ts";
import { parseFile } from "../src/config/document.ts";

const lines = (text: string) => parseFile(text, "r.yaml").mistakes.map(mistakeLine);

describe("YAML that can't be used", () => {
	test("a setting that stands there twice is refused with its place", () => {
		expect(lines("server:\n  port: 1\n  port: 2\n")).toEqual(["r.yaml:3:3: this setting stands here twice; keep one"]);
	});

	test("a tab as indentation is called that", () => {
		expect(lines("server:\n\tport: 1\n").join()).toContain("indented with a tab");
	});

	test("an unclosed quote has a place, and the text behind it is not shown", () => {
		const [line] = lines('keys: "sk-secret\n');
		expect(line).toMatch(/^r.yaml:\d+:\d+: /);
		expect(line).not.toContain("sk-secret");
	});

	test("a list or a word instead of settings is refused", () => {
		expect(lines("- a\n")[0]).toContain("must hold settings");
		expect(lines("hello\n")[0]).toContain("must hold settings");
	});

	test.each([
		["a: { <<: 1 }", "1:6: a merge key (<<) takes a mapping"],
		["a: &x b\nc:\n  <<: *x\n", "3:3: a merge key (<<) takes a mapping"],
		["a: &x { b: 1 }\nc: { <<: [*x, 1] }", "2:6: a merge key (<<) takes a mapping"],
		["a: { '<<': { b: 1 } }", "1:6: a merge key (<<) is written without quotes"],
		["a: &x { b: 1 }\nc: { <<: *x, d: 1, d: 2 }", "2:20: this setting stands here twice"],
		["a: &x [*x]", "1:8: this alias stands inside what it stands for"],
		["a: &x { b: { c: *x } }", "1:17: this alias stands inside what it stands for"],
		["a: &x { <<: *x }", "1:13: this alias stands inside what it stands for"],
		["a: { __proto__: { b: 1 } }", "1:6: nothing can have this name"],
		["? [a]\n: b", "1:3: a name must be plain text"],
		["? { a: b }\n: c", "1:3: a name must be plain text"],
		["a: {{ NAME }}", "1:5: {{…}} is a template of another program"],
		["a: { : 1 }", "1:5: a name must be plain text"],
		["a: &x b\n*x : c", "2:1: a name must be plain text"],
		["a: { 1: b, '1': c }", "1:12: this setting stands here twice"],
		["a: { true: b, 'true': c }", "1:15: this setting stands here twice"],
		["a: !!set { b }", "1:4: tags (!name) are not known here"],
		["a: !!omap [b: 1]", "1:4: tags (!name) are not known here"],
		["a: !!binary aGk=", "1:4: tags (!name) are not known here"],
	])("%j holds what has no shape of its own", (text, line) => {
		expect(lines(text)).toEqual([expect.stringContaining(`r.yaml:${line}`)]);
	});

	test.each([
		["models:\n  - name: *-latest\n", "2:11"],
		["models: [{ name: *gpt, targets: [b/c] }]", "1:18"],
		["a: *later\nb: &later 1", "1:4"],
		["a: { <<: *none }", "1:10"],
		["a: &x { b: 1 }\nc: { <<: [*x, *none] }", "2:15"],
		["prices:\n  *: { input: 1 }\n", "2:4"],
		["prices:\n  *gpt*: { input: 1 }\n", "2:8"],
		["prices:\n  *gpt : { input: 1 }\n", "2:3"],
		["prices: { *: { input: 1 } }", "1:12"],
	])("%j has an alias of no anchor: a name that begins with a star wants quotes", (text, where) => {
		const words = 'unknown alias, no anchor has its name; text that begins with * or & needs quotes: "*fast"';
		expect(lines(text)).toEqual([`r.yaml:${where}: ${words}`]);
	});

	test.each([
		['a: "C:\\models"', "1:7: a \\ in double quotes begins an escape that is not known; write \\\\"],
		["a: !!str *b", "1:10: an alias (*name) has a tag or an anchor of its own; text that begins with * needs quotes"],
		["a: 1\n%b\n", "2:1: "],
		["a: &b &c d", "1:7: one value has two anchors; text that begins with & needs quotes"],
	])("%j is answered in words, not by the parser's code", (text, words) => {
		expect(lines(text)[0]).toStartWith(`r.yaml:${words}`);
		expect(lines(text).join()).not.toMatch(/[A-Z]{3}_/);
	});

	test.each([
		["keys:\n  - { name: a, key: ${A} }\n  - { name: b, key: ${B} }\n", ["2:21", "3:21"]],
		["a: [${A}, b]\n", ["1:5"]],
		["a: { b: https://${A}/x, c: 1 }\nd: 1\n", ["1:17"]],
	])("%j has references that want quotes, and each is told once", (text, places) => {
		const message = '${…} needs quotes inside { } and [ ]: "${NAME}"';
		expect(lines(text)).toEqual(places.map((place) => `r.yaml:${place}: ${message}`));
	});

	test.each([
		["server:\n  port: 8000\n   host: a\n", "2:9: the next line is indented further than this one"],
		["a: 1\n  b: 2\n", "1:4: the next line is indented further than this one"],
		["a: b: c\n", "1:4: two settings stand on one line"],
		['{ "a": 1 "b": 2 }', "1:8: this can't stand inside { } or [ ]: a , is missing before it"],
		["[server]\nport = 1\n", "2:1: this does not belong here"],
		["- a\nb: c\nd: e\n", "2:1: this does not belong here"],
	])("%j is answered once", (text, words) => expect(lines(text)).toEqual([expect.stringContaining(`r.yaml:${words}`)]));

	test("a second document is refused", () => {
		expect(lines("log: {}\n---\nlog: {}\n").join()).toContain("only one document");
	});

	test("aliases of aliases that would fill memory are refused", () => {
		const names = [..."abcdefghi"];
		const bomb = names.map((name, at) => `${name}: &${name} [${Array(9).fill(at === 0 ? "x" : `*${names[at - 1]}`)}]`);
		expect(lines(bomb.join("\n"))).toEqual(["r.yaml: its aliases grow to too much (more than 1000 of them)"]);
	});

	test("mappings merged into each other that would fill memory are refused", () => {
		const names = [..."abcdefghijkl"];
		const merged = (at: number) => `{ x: { <<: *${names[at]} }, y: { <<: *${names[at]} }, z: { <<: *${names[at]} } }`;
		const bomb = names.map((name, at) => `${name}: &${name} ${at === 0 ? "{ b: 1 }" : merged(at - 1)}`);
		expect(lines(bomb.join("\n"))).toEqual(["r.yaml: its aliases grow to too much (more than 1000 of them)"]);
	});

	test("brackets nested a hundred thousand deep are refused in one line", () => {
		expect(lines(`a: ${"[".repeat(100_000)}`)).toEqual([expect.stringContaining("nested too deeply")]);
	});
});

describe("YAML that can be used", () => {
	test("an empty file says nothing", () => {
		expect(parseFile("", "r.yaml")).toMatchObject({ values: {}, mistakes: [] });
		for (const text of ["# only a comment\n", "---\n", "null", "~\n"])
			expect(parseFile(text, "r.yaml")).toMatchObject({ values: {}, mistakes: [], isEmpty: true });
		expect(parseFile("{}", "r.yaml").isEmpty).toBe(false);
	});

	test("words and numbers are those of YAML 1.2, whatever a %YAML line says", () => {
		const text = "a: no\nb: 1:20\nc: 0o10\nd: 2024-01-01\n";
		const values = { a: "no", b: "1:20", c: 8, d: "2024-01-01" };
		for (const directive of ["", "%YAML 1.1\n---\n", "%YAML 1.2\n---\n"])
			expect(parseFile(directive + text, "r.yaml")).toMatchObject({ values, mistakes: [] });
	});

	test("a setting is found where it stands, through an alias too", () => {
		const file = parseFile("a: &x\n  port: 1\nb: *x\n", "r.yaml");
		expect(file.position(["a", "port"], "key")).toEqual({ line: 2, column: 3 });
		expect(file.position(["b", "port"], "value")).toEqual({ line: 2, column: 9 });
	});

	test("a merge key brings in what is not set beside it: of several mappings the first that has it", () => {
		const text =
			"a: &a { b: 1, c: 1, d: 1 }\ne: &e { c: 2, f: 2 }\ng:\n  <<: [*e, *a]\n  f: 3\nh: { i: 4, <<: { i: 5, j: 5 } }\n";
		expect(parseFile(text, "r.yaml")).toMatchObject({
			values: { g: { b: 1, c: 2, d: 1, f: 3 }, h: { i: 4, j: 5 } },
			mistakes: [],
		});
	});

	test("a name may have an anchor", () =>
		expect(parseFile("&a b: 1\nc: [*a]\n", "r.yaml")).toMatchObject({ values: { b: 1, c: ["b"] }, mistakes: [] }));

	test("an anchor may be used as often as a large file has entries", () => {
		const text = `a: &a { b: 1 }\nc:\n${"  - { <<: *a }\n".repeat(600)}`;
		expect(parseFile(text, "r.yaml").values["c"]).toHaveLength(600);
	});

	test("what a merge key brought in is found where it was written", () => {
		const file = parseFile("a: &x\n  port: 1\nb:\n  <<: [{ host: h }, *x]\n", "r.yaml");
		expect(file.position(["b", "port"], "key")).toEqual({ line: 2, column: 3 });
		expect(file.position(["b", "host"], "value")).toEqual({ line: 4, column: 16 });
	});

	test("what does not stand in the file is placed at what holds it", () => {
		const file = parseFile("keys:\n  - name: a\n", "r.yaml");
		expect(file.position(["keys", 0, "key"], "value")).toEqual({ line: 2, column: 5 });
	});
});
