import { describe, expect, test } from "bun:test";
import { parseFile } from "../src/config/document.ts";
import { mistakeLine } from "../src/config/mistake.ts";

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

	test("a second document is refused", () => {
		expect(lines("log: {}\n---\nlog: {}\n").join()).toContain("only one document");
	});

	test("aliases of aliases that would fill memory are refused", () => {
		const names = [..."abcdefghi"];
		const bomb = names.map((name, at) => `${name}: &${name} [${Array(9).fill(at === 0 ? "x" : `*${names[at - 1]}`)}]`);
		expect(lines(bomb.join("\n"))).toEqual(["r.yaml: its aliases grow to too much (more than 100 of them)"]);
	});

	test("brackets nested a hundred thousand deep are refused in one line", () => {
		expect(lines(`a: ${"[".repeat(100_000)}`)).toEqual([expect.stringContaining("nested too deeply")]);
	});
});

describe("YAML that can be used", () => {
	test("an empty file says nothing", () => {
		expect(parseFile("", "r.yaml")).toMatchObject({ values: {}, mistakes: [] });
		expect(parseFile("# only a comment\n", "r.yaml")).toMatchObject({ values: {}, mistakes: [] });
	});

	test("a setting is found where it stands, through an alias too", () => {
		const file = parseFile("a: &x\n  port: 1\nb: *x\n", "r.yaml");
		expect(file.position(["a", "port"], "key")).toEqual({ line: 2, column: 3 });
		expect(file.position(["b", "port"], "value")).toEqual({ line: 2, column: 9 });
	});

	test("what does not stand in the file is placed at what holds it", () => {
		const file = parseFile("keys:\n  - name: a\n", "r.yaml");
		expect(file.position(["keys", 0, "key"], "value")).toEqual({ line: 2, column: 5 });
	});
});
