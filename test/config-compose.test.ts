/** What users of compose expect of a YAML file: references with defaults, merge keys, names of their own at the top. */
import { describe, expect, test } from "bun:test";
import { Ajv } from "ajv";
import { jsonSchema } from "../src/config/json-schema.ts";
import { configure, refusal } from "./kit/configure.ts";

describe("a reference with something behind the name", () => {
	const dir = (text: string, env: Record<string, string> = {}) =>
		configure({ yaml: `log: { dir: ${JSON.stringify(text)} }`, env })
			.config.log.dir.split("/")
			.pop();
	const refused = (text: string, env: Record<string, string> = {}) =>
		refusal({ yaml: `log: { dir: ${JSON.stringify(text)} }`, env });

	test.each([
		["${A:?set it to the log's directory}", "the environment variable A is not set: set it to the log's directory"],
		["${A?}", "the environment variable A is not set"],
		["${A:-${B}}", "the environment variable B is not set"],
		["${A:-${B:?no B}}", "the environment variable B is not set: no B"],
		["${A:-${B}", "has a ${ that is never closed"],
		["${A:-}", "is empty"],
		["${A:+a}", "is empty"],
		["${A:=a}", "has a ${…} that holds no variable's name"],
		[`${"${A:-".repeat(100)}x${"}".repeat(100)}`, "has references nested too deeply"],
	])("%s is refused where nothing is set", (text, words) => {
		expect(refused(text)).toContain(`router.yaml:1:13 log.dir: ${words}`);
	});

	test("an endless message is cut", () => {
		expect(refused(`\${A:?${"x".repeat(5000)}}`).length).toBeLessThan(400);
	});

	test.each([
		["${A:-b}", {}, "b"],
		["${A-b}", {}, "b"],
		["${A:-b}", { A: "" }, "b"],
		["${A-b}", { A: "" }, "b"],
		["${A:-b}", { A: "a" }, "a"],
		["${A:?no A}", { A: "a" }, "a"],
		["${A:+b}", { A: "a" }, "b"],
		["x${A:+b}", {}, "x"],
		["${A:-${B:-c}}-d", {}, "c-d"],
		["${A:-${B:-c}}-d", { B: "b" }, "b-d"],
		["${A:-b}${C:-d}", {}, "bd"],
		["${A:--b}", {}, "-b"],
		["$${A:-b}", {}, "${A:-b}"],
		["${A:-b}", { A: "${C}" }, "${C}"],
	])("%s with %j is %s", (text, env, result) => {
		expect(dir(text, env as Record<string, string>)).toBe(result);
	});

	test("may give a number, and what it gives is held to what the setting takes", () => {
		expect(configure({ yaml: "server: { port: '${PORT_OF_IT:-9000}' }" }).config.server.port).toBe(9000);
		expect(refusal({ yaml: "server: { port: '${PORT_OF_IT:-many}' }" })).toContain("must be a whole number");
	});

	test("may be a secret, and a message shows none", () => {
		const yaml = 'keys: [{ name: a, key: "${KEY_A:-sk-12}" }]';
		expect(refusal({ yaml })).toContain("keys[0].key: must be text, at least 8 characters");
		expect(refusal({ yaml })).not.toContain("sk-12");
	});
});

describe("merge keys and names that begin with x-", () => {
	test("a mistake in what was merged is said once for each setting it reached, where it was written", () => {
		const yaml = "x-slow: &slow\n  timeouts: { stal: 5m }\nproviders:\n  openai: { <<: *slow }\n";
		expect(refusal({ yaml })).toBe(
			'router.yaml:2:15 providers.openai.timeouts.stal: unknown setting; did you mean "stall"?',
		);
	});

	test("below the top a name with x- is a setting like any other", () => {
		expect(refusal({ yaml: "log: { x-mine: 1 }" })).toBe(
			"router.yaml:1:8 log.x-mine: unknown setting; names with x- are left alone at the top of the file only",
		);
		expect(configure({ yaml: "providers: { openrouter: { headers: { x-title: t } } }" }).config.providers).toEqual({
			openrouter: { headers: { "x-title": "t" } },
		});
	});

	test("nothing is looked for in a name with x-: it may hold what is set nowhere", () => {
		expect(configure({ yaml: 'x-mine: { a: "${NOT_SET}", b: [1] }\nlog: { level: warn }' }).config.log.level).toBe(
			"warn",
		);
	});

	test("settings of several providers are written once", () => {
		const { providers } = configure({
			yaml: [
				"x-box: &box",
				"  type: vllm",
				"  timeouts: { stall: 2m }",
				"providers:",
				'  one: { <<: *box, base_url: "http://10.0.0.1:8000/v1" }',
				'  two: { <<: *box, base_url: "http://10.0.0.2:8000/v1", timeouts: { stall: 1m } }',
			].join("\n"),
		}).config;
		expect(providers["one"]).toEqual({
			type: "vllm",
			timeouts: { stall: 120_000 },
			base_url: "http://10.0.0.1:8000/v1",
		});
		expect(providers["two"]?.timeouts).toEqual({ stall: 60_000 });
	});

	test("the JSON Schema for editors lets them be, and no other name", () => {
		const fits = new Ajv({ strict: false }).compile(jsonSchema());
		expect(fits({ "x-mine": { a: 1 }, log: { level: "warn" } })).toBe(true);
		expect(fits({ mine: { a: 1 } })).toBe(false);
	});

	test("`router check` says where a merged setting comes from", () => {
		const { sources } = configure({ yaml: "x-log: &log\n  level: warn\nlog:\n  <<: *log\n" });
		expect(sources.of(["log", "level"])).toEqual({ from: "file", file: "router.yaml", line: 2 });
	});
});
