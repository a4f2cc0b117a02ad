import { describe, expect, test } from "bun:test";
import { parseEnvFile, withEnvFile } from "../src/cli/env-file.ts";
import { directory } from "./kit/cli.ts";

const parsed = (text: string) => parseEnvFile(text, ".env");

describe("an --env-file that can't be used", () => {
	test("is named where it is missing", () => {
		using home = directory();
		expect(() => withEnvFile({}, "none.env", home.path)).toThrow(
			"none.env: there is no such file (named by --env-file)",
		);
	});

	test("has every wrong line named, and none quoted", () => {
		let message = "";
		try {
			parsed("A=1\nsk-secret\nB=\"sk-secret\nC='x'y\n");
		} catch (error) {
			message = (error as Error).message;
		}
		expect(message).toBe(
			[
				".env:2: is no KEY=VALUE line",
				".env:3: the quotes around the value of B do not match",
				".env:4: the quotes around the value of C do not match",
			].join("\n"),
		);
	});
});

describe("an --env-file", () => {
	test("has plain, exported and quoted values, comments and empty lines", () => {
		const text = [
			"\uFEFF# a comment",
			"",
			"PLAIN = one two  # said",
			"HASH=a#b",
			"export EXPORTED=x",
			'DOUBLE="a\\n\\"b\\" # no comment" # comment',
			"SINGLE='a\\n$B'",
			"EMPTY=",
			"EQUALS=a=b",
		].join("\r\n");
		expect(parsed(text)).toEqual({
			PLAIN: "one two",
			HASH: "a#b",
			EXPORTED: "x",
			DOUBLE: 'a\n"b" # no comment',
			SINGLE: "a\\n$B",
			EMPTY: "",
			EQUALS: "a=b",
		});
	});

	test("gives way to variables that are set, not to empty ones", () => {
		using home = directory({ ".env": "A=file\nB=file\nC=file\n" });
		expect(withEnvFile({ A: "set", B: "" }, ".env", home.path)).toEqual({ A: "set", B: "file", C: "file" });
	});
});
