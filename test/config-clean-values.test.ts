/** Keys and addresses as people paste them: cleaned with a warning, or refused with one; by name, never with their value. */
import { describe, expect, test } from "bun:test";
import { cleanList, cleanValue, type ValueKind } from "../src/config/clean-value.ts";
import { mistakeLine } from "../src/config/config-error.ts";
import { type ConfigInput, configure, refusal } from "./kit/configure.ts";

const KEY = "sk-abc123DEF";

describe("a key that is none", () => {
	const REFERENCE = "that nothing has resolved: put the value itself there";
	test.each([
		["${OPENAI_API_KEY}", `is a reference ($\{…}) ${REFERENCE}`],
		["${OPENAI_API_KEY:-none}", "is a reference (${…})"],
		["Bearer-${KEY}", "is a reference"],
		['"${OPENAI_API_KEY}"', "is a reference"],
		["$OPENAI_API_KEY", "is a reference ($NAME)"],
		["$(OPENAI_API_KEY)", "is a reference ($(…))"],
		["{{ .Values.key }}", "is a reference ({{…}})"],
		["%OPENAI_API_KEY%", "is a reference (%NAME%)"],
		["os.environ/OPENAI_API_KEY", "is a reference (os.environ/NAME)"],
		["os.environ['OPENAI_API_KEY']", "is a reference (os.environ/NAME)"],
		["process.env.OPENAI_API_KEY", "is a reference (os.environ/NAME)"],
		["env:OPENAI_API_KEY", "is a reference (env:NAME)"],
		["op://vault/openai/key", "is a reference (op://…)"],
		["@Microsoft.KeyVault(SecretUri=x)", "is a reference"],
		["<your-api-key>", "is a reference (<…>)"],
		[`OPENAI_API_KEY=${KEY}`, "is a whole NAME=value: leave the name out"],
		[`export OPENAI_API_KEY=${KEY}`, "is a whole NAME=value"],
		[`OPENAI_API_KEY="${KEY}"`, "is a whole NAME=value"],
		[`Bearer ${KEY}`, "is a header (`Bearer …` or the like): leave all but the key out"],
		[`Authorization: Bearer ${KEY}`, "is a header"],
		[`api-key: ${KEY}`, "is a header"],
		[`${KEY}\n${KEY}`, "has a line break inside"],
		[`${KEY}\r\n${KEY}`, "has a line break inside"],
		["sk-abc 123", "has a space, or a character that can't be seen, inside"],
		["sk-abc\u00a0123", "has a space"],
		["sk-abc\u200b123", "has a space, or a character that can't be seen"],
		[`"${KEY}`, "has a quote at one end only"],
		[`${KEY}'`, "has a quote at one end only"],
		["sk-abc”123", "has a character that no key has"],
		["schlüssel", "has a character that no key has"],
		[" ", "has nothing in it but spaces or quotes"],
		['""', "has nothing in it but spaces or quotes"],
		["\ufeff\r\n", "has nothing in it but spaces or quotes"],
	])("%j is refused", (given, problem) => {
		const found = cleanValue(given, "secret");
		expect(found.problem).toStartWith(problem);
		expect(found.problem).not.toMatch(/abc|OPENAI|vault/);
	});
});

describe("what came along with a key is taken off, and said", () => {
	test.each([
		[`"${KEY}"`, "has quotes around it"],
		[`'${KEY}'`, "has quotes around it"],
		[`\`${KEY}\``, "has quotes around it"],
		[`“${KEY}”`, "has quotes around it"],
		[`${KEY}\r`, "has a carriage return around it"],
		[`${KEY}\r\n`, "has a carriage return around it"],
		[`${KEY}\n`, "has a line end around it"],
		[` ${KEY} `, "has spaces around it"],
		[`\u00a0${KEY}`, "has spaces around it"],
		[`\ufeff${KEY}`, "has a byte order mark around it"],
		[`"${KEY}"\r`, "has quotes and a carriage return around it"],
		[`" ${KEY}"`, "has quotes around it"],
	])("%j", (given, removed) => expect(cleanValue(given, "secret")).toEqual({ text: KEY, removed }));

	test.each([
		KEY,
		"AB_CD_EF==",
		"A_B-c=d",
		"$2b$10$abcdefgh",
		"rk-aGk=",
		'a"b',
		"sha256:00ff",
		"bearer-of-news",
		"env-key-1",
		"os.environment-key",
	])("%j is a key as it is", (key) => expect(cleanValue(key, "secret")).toEqual({ text: key }));
});

describe("other kinds", () => {
	test("a header may hold quotes, spaces and Bearer, and no reference or line break", () => {
		for (const good of ['"etag"', `Bearer ${KEY}`, "our chat", "A_B=c", ""])
			expect(cleanValue(good, "header")).toEqual({ text: good });
		expect(cleanValue("our chat\r", "header")).toEqual({
			text: "our chat",
			removed: "has a carriage return around it",
		});
		for (const bad of ["Bearer ${KEY}", "a\nb"]) expect(cleanValue(bad, "header").problem).toBeString();
	});

	test("an address may hold any letter, and no space", () => {
		expect(cleanValue("https://bücher.example/v1", "address")).toEqual({ text: "https://bücher.example/v1" });
		expect(cleanValue('"https://a.example/v1"\r', "address").text).toBe("https://a.example/v1");
		for (const bad of ["https://a .example", "OPENAI_BASE_URL=https://a.example", "https://${HOST}/v1"])
			expect(cleanValue(bad, "address").problem).toBeString();
	});

	test("a list is mended as a whole and part by part, and names a part by its number", () => {
		for (const given of ['"key-one,key-two"', '"key-one","key-two"', "key-one, 'key-two',"])
			expect(cleanList(given, "secret")).toEqual({ text: "key-one,key-two", removed: "has quotes around it" });
		for (const given of ["key-one,key-two", "key-one, key-two", ",key-one,,key-two,"])
			expect(cleanList(given, "secret")).toEqual({ text: "key-one,key-two" });
		expect(cleanList("key-one,key-two\r", "secret").removed).toBe("has a carriage return around it");
		expect(cleanList("key-one,Bearer key-two", "secret").problem).toStartWith("is, in number 2, a header");
		expect(cleanList("Bearer key-two", "secret").problem).toStartWith("is a header");
		for (const given of [",", " , ", '"",""'])
			expect(cleanList(given, "secret").problem).toStartWith("has nothing in it");
	});
});

describe("at the start", () => {
	const warnings = (input: ConfigInput) => configure(input).warnings.map(mistakeLine);
	const OTHERS = [
		{ name: "OPENAI_API_KEY", kind: "secret" as ValueKind },
		{ name: "OPENAI_BASE_URL", kind: "address" as ValueKind },
	];

	test.each([
		"ROUTER_API_KEYS",
		"ROUTER_ADMIN_KEYS",
		"ROUTER_AGENT_TOKEN",
		"REDIS_URL",
		"ROUTER_CA_FILE",
		"HOST",
		"OPENAI_API_KEY",
		"OPENAI_BASE_URL",
	])("%s that is a reference is refused by name", (name) => {
		const line = refusal({ env: { [name]: "${SECRET_NAME}" }, variables: OTHERS });
		expect(line).toBe(
			`the environment variable ${name} is a reference ($\{…}) that nothing has resolved: put the value itself there`,
		);
	});

	test("a variable with something around it is read without, and named", () => {
		const env = {
			ROUTER_API_KEYS: '"key-of-one","key-of-two"',
			ROUTER_AGENT_TOKEN: "token-of-agents\r",
			REDIS_URL: "'redis://:pass@host:6379/0'",
			PORT: '"81"\r',
			LOG_LEVEL: "warn ",
			OPENAI_API_KEY: "“sk-of-openai”",
			OPENAI_BASE_URL: "https://a.example/v1\n",
		};
		const loaded = configure({ env, variables: OTHERS });
		expect(loaded.config.keys.map(({ key }) => key)).toEqual(["key-of-one", "key-of-two"]);
		expect(loaded.config).toMatchObject({
			server: { port: 81 },
			log: { level: "warn" },
			redis: { url: "redis://:pass@host:6379/0" },
		});
		expect(loaded.env).toMatchObject({
			ROUTER_AGENT_TOKEN: "token-of-agents",
			OPENAI_API_KEY: "sk-of-openai",
			OPENAI_BASE_URL: "https://a.example/v1",
		});
		const lines = loaded.warnings.map(mistakeLine);
		expect(lines).toHaveLength(Object.keys(env).length);
		expect(lines).toContain("the environment variable ROUTER_API_KEYS has quotes around it; it is read without");
		expect(lines).toContain(
			"the environment variable PORT has quotes and a carriage return around it; it is read without",
		);
		expect(lines.join()).not.toMatch(/key-of|token-of|pass|sk-of/);
	});

	test.each([
		[
			"keys: [{ name: a, key: '\"key-of-one\"' }]",
			"router.yaml:1:24 keys[0].key: has quotes around it; it is read without",
		],
		[
			"providers: { openai: { api_key: 'sk-1 ' } }",
			"router.yaml:1:33 providers.openai.api_key: has spaces around it; it is read without",
		],
		[
			'providers: { openai: { api_keys: ["sk-1\\r"] } }',
			"router.yaml:1:35 providers.openai.api_keys[0]: has a carriage return around it; it is read without",
		],
		[
			"providers: { openai: { base_url: '\"https://a.example\"' } }",
			"router.yaml:1:34 providers.openai.base_url: has quotes around it; it is read without",
		],
		['agent: { hf_token: "hf_1\\n" }', "router.yaml:1:20 agent.hf_token: has a line end around it; it is read without"],
	])("%s is cleaned, and named with its place", (yaml, line) => expect(warnings({ yaml })).toEqual([line]));

	test.each([
		["keys: [{ name: a, key: os.environ/TEAM_KEY }]", "router.yaml:1:24 keys[0].key: is a reference (os.environ/NAME)"],
		["admin: { keys: [{ name: a, key: 'Bearer key-of-one' }] }", "router.yaml:1:33 admin.keys[0].key: is a header"],
		[
			"providers: { openai: { api_key: OPENAI_API_KEY=sk-1 } }",
			"router.yaml:1:33 providers.openai.api_key: is a whole NAME=value",
		],
		[
			"providers: { openai: { headers: { x-a: 'os.environ/X' } } }",
			"router.yaml:1:40 providers.openai.headers.x-a: is a reference",
		],
		[
			"providers: { openai: { base_url: 'https://$(HOST)/v1' } }",
			"router.yaml:1:34 providers.openai.base_url: is a reference",
		],
		[
			"redis: { url: 'redis://h:6379 ${REST}' }",
			"router.yaml:1:15 redis.url: the environment variable REST is not set",
		],
		["agent: { vllm_api_key: '%VLLM%' }", "router.yaml:1:24 agent.vllm_api_key: is a reference"],
	])("%s is refused with its place", (yaml, line) => {
		const said = refusal({ yaml });
		expect(said).toStartWith(line);
		expect(said.split("\n")).toHaveLength(1);
		expect(said).not.toMatch(/TEAM_KEY|key-of|sk-1/);
	});

	test("what a file or a variable gives to a setting is cleaned like the setting itself", () => {
		const yaml = 'keys: [{ name: a, key: "${file:a.txt}" }, { name: b, key: "${B}" }]';
		const files = { "router.yaml": yaml, "a.txt": "\ufeffkey-of-one\r\n" };
		const { config, warnings: found } = configure({ files, env: { B: '"key-of-two"' } });
		expect(config.keys.map(({ key }) => key)).toEqual(["key-of-one", "key-of-two"]);
		expect(found.map(({ path }) => path)).toEqual(["keys[0].key", "keys[1].key"]);
		expect(refusal({ files: { ...files, "a.txt": "key-of-one\nkey-of-two\n" }, env: { B: "key-of-two" } })).toContain(
			"keys[0].key: has a line break inside",
		);
	});

	test("a ${ that the file says is meant as it stands is; one that a variable brings is not", () => {
		const key = (text: string) => `keys: [{ name: a, key: '${text}' }]`;
		expect(configure({ yaml: key("ab$${cd}efg") }).config.keys[0]?.key).toBe("ab${cd}efg");
		expect(refusal({ yaml: key("${A}"), env: { A: "${TEAM_KEY}" } })).toContain("keys[0].key: is a reference");
	});

	test("an empty variable is unset, as ever, and nothing is said of what is sound", () => {
		const env = { ROUTER_API_KEYS: "", OPENAI_API_KEY: "", REDIS_URL: "" };
		expect([warnings({ env, variables: OTHERS }), configure({ env }).config.keys]).toEqual([[], []]);
		expect(warnings({ env: { ROUTER_API_KEYS: "key-of-one, key-of-two,", PORT: "1" } })).toEqual([]);
	});
});
