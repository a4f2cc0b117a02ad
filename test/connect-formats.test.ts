/** Edits of other programs' settings files: what is set stands there, all else stays to the byte, and what is taken out is gone. */
import { describe, expect, test } from "bun:test";
import { DOTENV } from "../src/cli/connect/dotenv-format.ts";
import { JSONC } from "../src/cli/connect/jsonc-format.ts";
import { lineDiff, withoutSecret } from "../src/cli/connect/line-diff.ts";
import { edited, type SettingEdit, SettingsError, type SettingsFormat } from "../src/cli/connect/settings-format.ts";
import { TOML } from "../src/cli/connect/toml-format.ts";
import { YAML } from "../src/cli/connect/yaml-format.ts";

const ENV: SettingEdit[] = [
	{ path: ["env", "A"], value: "x" },
	{ path: ["env", "B"], value: "y" },
];
const PROVIDER: SettingEdit[] = [
	{ path: ["model"], value: "m" },
	{ path: ["providers", "router"], value: { name: "Router", base_url: "http://x/v1" } },
];
const MODEL: SettingEdit[] = [{ path: ["models", "r m"], value: { name: "r m", provider: "openai", roles: ["chat"] } }];
const MODEL_NAME: SettingEdit[] = [{ path: ["model"], value: "m" }];
const VARIABLES: SettingEdit[] = [
	{ path: ["A"], value: "http://x:1/v1" },
	{ path: ["C"], value: "a b" },
];

describe("a text that can't be edited safely is refused:", () => {
	test.each<[string, SettingsFormat, string, SettingEdit[], string]>([
		["JSON that ends early", JSONC, '{"env"', ENV, "is no JSON: line 1 can't be read"],
		["JSON with a word of its own", JSONC, '{\n"env": {\n"A": yes } }', ENV, "is no JSON: line 3 can't be read"],
		["JSON with more behind it", JSONC, "{}\n{}", ENV, "is no JSON: line 2 can't be read"],
		["a list", JSONC, "[]", ENV, "is no JSON object"],
		[
			"a text where a mapping should be",
			JSONC,
			'{"env": "A=1"}',
			ENV,
			'has something else where "A" would have to stand',
		],
		["JSON nested without end", JSONC, `${'{"a":'.repeat(5000)}1${"}".repeat(5000)}`, ENV, "is no JSON"],
		["TOML that ends early", TOML, "a =", PROVIDER, "is no TOML: "],
		["TOML with a table twice", TOML, "[a]\nx = 1\n[a]\n", PROVIDER, "is no TOML: "],
		["a table in dotted keys", TOML, 'providers.router.name = "x"\n', PROVIDER, "can't be edited safely"],
		["a table in one line", TOML, '[providers]\nrouter = { name = "x" }\n', PROVIDER, "can't be edited safely"],
		["YAML that ends early", YAML, "a: [", MODEL, "is no YAML: "],
		["YAML with a key twice", YAML, "a: 1\na: 2\n", MODEL, "is no YAML: "],
		["a list in YAML", YAML, "- 1\n", MODEL, "is no YAML mapping"],
		["YAML in braces", YAML, "{a: 1}\n", MODEL, "can't be edited safely"],
		["a list of models in brackets", YAML, "models: [{name: a}]\n", MODEL, "can't be edited safely"],
	])("%s", (_, format, text, edits, message) => {
		expect(() => edited(format, text, edits)).toThrow(SettingsError);
		expect(() => edited(format, text, edits)).toThrow(message);
	});
});

describe("what is set goes in, and all else stays, in", () => {
	test.each<[string, SettingsFormat, SettingEdit[], string, string]>([
		["a mapping that is null in JSON", JSONC, ENV, '{"env": null}', '{"env": {\n  "A": "x",\n  "B": "y"\n}}'],
		["a table behind a byte order mark", TOML, MODEL_NAME, "\uFEFF[a]\nb = 1\n", '\uFEFFmodel = "m"\n\n[a]\nb = 1\n'],
		["a byte order mark alone", TOML, MODEL_NAME, "\uFEFF", '\uFEFFmodel = "m"\n'],
		[
			"a list that is null in YAML",
			YAML,
			MODEL,
			"models:\nrules: []\n",
			'models:\n  - name: "r m"\n    provider: "openai"\n    roles: ["chat"]\nrules: []\n',
		],
		["an empty JSON", JSONC, ENV, "", '{\n  "env": {\n    "A": "x",\n    "B": "y"\n  }\n}\n'],
		["JSON in one line", JSONC, ENV, '{"env":{"A":"1"}}', '{"env":{"A":"x", "B": "y"}}'],
		[
			"JSON with tabs and a comment behind its last value",
			JSONC,
			ENV,
			'{\n\t"a": 1 // c\n}\n',
			'{\n\t"a": 1, // c\n\t"env": {\n\t\t"A": "x",\n\t\t"B": "y"\n\t}\n}\n',
		],
		[
			"JSON with comments and closing commas",
			JSONC,
			ENV,
			'// top\n{\n  // in\n  "env": {\n    "Z": "1", /* c */\n  },\n  "q": [1,2,]\n}\n',
			'// top\n{\n  // in\n  "env": {\n    "Z": "1", /* c */\n    "A": "x",\n    "B": "y",\n  },\n  "q": [1,2,]\n}\n',
		],
		[
			"JSON with a mark of its byte order and Windows' line ends",
			JSONC,
			ENV,
			'\uFEFF{\r\n  "a": 1\r\n}\r\n',
			'\uFEFF{\r\n  "a": 1,\r\n  "env": {\r\n    "A": "x",\r\n    "B": "y"\r\n  }\r\n}\r\n',
		],
		[
			"an empty TOML",
			TOML,
			PROVIDER,
			"",
			'model = "m"\n\n[providers.router]\nname = "Router"\nbase_url = "http://x/v1"\n',
		],
		[
			"TOML whose texts look like tables",
			TOML,
			PROVIDER,
			'# head\nx = 1\n\n# about a\n[a]\nb = """\n[fake]\nmodel = 1\n"""\n[[l]]\nx=[1,\n# ]\n2]',
			'# head\nx = 1\nmodel = "m"\n\n# about a\n[a]\nb = """\n[fake]\nmodel = 1\n"""\n[[l]]\nx=[1,\n# ]\n2]\n\n[providers.router]\nname = "Router"\nbase_url = "http://x/v1"\n',
		],
		[
			"TOML that has some of it",
			TOML,
			PROVIDER,
			'model = "old" # c\n[providers.router]\nname = "q" # mine\nold = 1\n\n[z]\nmodel = "z"\n',
			'model = "m" # c\n[providers.router]\nname = "Router" # mine\nbase_url = "http://x/v1"\n\n[z]\nmodel = "z"\n',
		],
		["an empty YAML", YAML, MODEL, "", 'models:\n  - name: "r m"\n    provider: "openai"\n    roles: ["chat"]\n'],
		[
			"YAML with a list and comments",
			YAML,
			MODEL,
			"models:\n  - name: a # c\n    x:\n      - 1\n\n# tail\nfoo: 1\n",
			'models:\n  - name: a # c\n    x:\n      - 1\n  - name: "r m"\n    provider: "openai"\n    roles: ["chat"]\n\n# tail\nfoo: 1\n',
		],
		[
			"YAML whose list is not indented",
			YAML,
			MODEL,
			"models:\n- name: a\n- name: b",
			'models:\n- name: a\n- name: b\n- name: "r m"\n  provider: "openai"\n  roles: ["chat"]',
		],
		[
			"YAML behind a text of several lines",
			YAML,
			[{ path: ["model"], value: "openai/m" }],
			"a: |\n  text\n  more\n# end\n",
			'a: |\n  text\n  more\n# end\nmodel: "openai/m"\n',
		],
		[
			"variables, the last of a name being the one that counts",
			DOTENV,
			VARIABLES,
			"# c\nA=0\nexport A='1' # d\nJUNK\nB=2\r\n",
			'# c\nA=0\nA=http://x:1/v1\nJUNK\nB=2\r\nC="a b"\r\n',
		],
	])("%s", (_, format, edits, before, after) => {
		expect(edited(format, before, edits)).toBe(after);
		// What is there already is set to the same text.
		expect(edited(format, after, edits)).toBe(after);
	});
});

describe("what is taken out leaves the text from before in", () => {
	test.each<[string, SettingsFormat, SettingEdit[], string]>([
		["JSON in one line", JSONC, ENV, '{"a":1, "env": {"Z":"1"}}'],
		["JSON with comments", JSONC, ENV, '{\n  // c\n  "env": {\n    "Z": "1"\n  },\n  "m": 1\n}'],
		["JSON with closing commas", JSONC, ENV, '{\n  "env": {\n    "Z": "1",\n  },\n}\n'],
		["an empty mapping", JSONC, ENV, '{\n  "env": {},\n  "m": 1\n}'],
		["TOML", TOML, PROVIDER, "# head\nx = 1\n\n# about a\n[a]\nb = 1\n"],
		["YAML", YAML, MODEL, "models:\n  - name: a # c\n    x:\n      - 1\n\n# tail\nfoo: 1\n"],
		["YAML with an empty list", YAML, MODEL, "models: []\nz: 1\n"],
		["variables", DOTENV, VARIABLES, "# c\nB=2\r\n"],
	])("%s", (_, format, edits, before) => {
		const out = edits.map(({ path }) => ({ path, value: undefined }));
		expect(edited(format, edited(format, before, edits), out)).toBe(before);
		expect(edited(format, before, out)).toBe(before);
	});
});

describe("a diff", () => {
	test("shows changed lines with their numbers, and none of the others", () => {
		expect(lineDiff("a\nb\nc\nd\n", "a\nB\nc\nd\ne\n")).toBe("@@ -2 +2 @@\n-b\n+B\n@@ -5 +5 @@\n+e\n");
		expect(lineDiff("a\n", "a\n")).toBe("");
	});

	test("shows of a secret its first characters", () => {
		expect(lineDiff('{"apiKey": "sk-one-secret"}', '{"apiKey": "rk-two-secret"}')).toBe(
			'@@ -1 +1 @@\n-{"apiKey": "sk-o…"}\n+{"apiKey": "rk-t…"}\n',
		);
		expect(withoutSecret("OPENAI_API_KEYS=rk-two-secret")).toBe("OPENAI_API_KEYS=rk-t…");
		expect(withoutSecret('"ANTHROPIC_AUTH_TOKEN": "rk-two-secret",')).toBe('"ANTHROPIC_AUTH_TOKEN": "rk-t…",');
	});

	test("shows what is called like a secret and is none", () => {
		for (const line of ['env_key = "ROUTER_API_KEY"', "max_tokens: 8192", '"keybinds": {'])
			expect(withoutSecret(line)).toBe(line);
	});
});
