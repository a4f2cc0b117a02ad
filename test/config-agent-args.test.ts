/** `args` of an agent's model that were written as for a shell: caught with the correction, whatever the role. */
import { describe, expect, test } from "bun:test";
import { argumentProblem } from "../src/config/agent-args.ts";
import { cli, directory } from "./kit/cli.ts";
import { configure, refusal } from "./kit/configure.ts";

const several = (words: string) =>
	`is one argument of several words, which vLLM does not know: each is an entry of its own, ${words}`;

describe("an argument that a shell would have split", () => {
	test.each([
		["--max-model-len 100", several('"--max-model-len", "100"')],
		["--max_model_len\t100\n", several('"--max_model_len", "100"')],
		[" --max-model-len  100", several('"--max-model-len", "100"')],
		["--max-model-len = 100", several('"--max-model-len", "100"')],
		["-tp 2", several('"-tp", "2"')],
		["--max-model-len 100 --enforce-eager", several('"--max-model-len", "100", "--enforce-eager"')],
		['--hf-overrides {"a": 1}', several('"--hf-overrides", "{\\"a\\": 1}"')],
		[`--hf-overrides '{"a": 1}'`, several('"--hf-overrides", "{\\"a\\": 1}"')],
		['--chat-template "a b"', several('"--chat-template", "a b"')],
		["--x-token secret-value", several('"--x-token", "…"')],
		["100 --foo", several('"100", "--foo"')],
		["100 --foo 2", several('"100", "--foo", "2"')],
		["secret-value --foo=secret", several('"…", "--foo=…"')],
		["--max-model-len=100 --foo", several('"--max-model-len=100", "--foo"')],
		["--x-token=secret-value --foo", several('"--x-token=…", "--foo"')],
		["--max-model-len=100 -tp=2", several('"--max-model-len=100", "-tp=2"')],
		["--max-model-len=100 -tp 2", several('"--max-model-len=100", "-tp", "2"')],
		["100 -tp 2", several('"100", "-tp", "2"')],
		['{"a": 1} --foo', several('"…", "--foo"')],
		['{"a": "secret"} --foo 2', several('"…", "--foo", "2"')],
		['--hf-overrides={"a": [1]} --foo=secret', several('"--hf-overrides=…", "--foo=…"')],
		["[1, 2] -tp 2", several('"…", "-tp", "2"')],
		["--max-model-len=1 00", "has a blank inside its number: write its digits in one"],
		["32 768", "has a blank inside its number: write its digits in one"],
		["—max-model-len", "begins with a dash that no keyboard has for flags: write --, two hyphens"],
		["–tp", "begins with a dash that no keyboard has for flags: write --, two hyphens"],
		["--enforce-eager ", 'has a blank around "--enforce-eager", which vLLM would take for a part of it: leave it out'],
		[
			`'{"method": "ngram"}'`,
			"has a shell's quotes around its JSON, which vLLM would take for a part of it: leave them out",
		],
		[`--hf-overrides='{"a": 1}'`, expect.stringContaining("has a shell's quotes")],
	])("%j is refused", (word, message) => expect(argumentProblem(word)).toEqual(message));

	test.each([
		"--max-model-len",
		"100",
		"-1",
		"-tp",
		"--max-model-len=100",
		"--chat-template={{ messages[0] }} and more",
		'--hf-overrides={"a": 1}',
		'{"method": "ngram", "num_speculative_tokens": 5}',
		"[1, 2]",
		"{% for message in messages %} -- {% endfor %}",
		"{{ bos }} --flag",
		'{"a": "} --foo"}',
		"a -x b",
		"- a list",
		"-a list item",
		"it's a 'text'",
		"a text with -- and a-b --",
		"--chat-template={% if x %} --flag {% endif %}",
		"'quoted --text'",
		"1.5",
		" 100",
		"/models/my template.jinja",
		"",
		" ",
	])("%j is one, and taken", (word) => expect(argumentProblem(word)).toBeUndefined());

	test("an endless one is answered in a line, and soon", () => {
		expect(argumentProblem(`--a x${" ".repeat(4000)}y`)!.length).toBeLessThan(400);
		expect(argumentProblem(`--a ${"x ".repeat(2000)}`)!.length).toBeLessThan(400);
	});

	test("is found in every role, with its line", () => {
		const yaml = 'agent:\n  models:\n    - model: gpt2\n      args: ["--seed", "1", "--max-model-len 100"]\n';
		for (const role of ["router", "agent", "standalone"] as const) {
			expect(refusal({ yaml, role })).toBe(
				`router.yaml:4:29 agent.models[0].args[2]: ${several('"--max-model-len", "100"')}`,
			);
		}
		expect(configure({ yaml: yaml.replace("len 100", "len=100"), role: "agent" }).config.agent.models).toHaveLength(1);
	});

	test.each([
		['"--max-model-len 100"', '["--max-model-len", "100"]'],
		['"-tp=2 --enforce-eager"', '["-tp=2", "--enforce-eager"]'],
		[`"--chat-template '/a b' --x-token abc"`, '["--chat-template", "…", "--x-token", "…"]'],
	])("all in one text, %s, are answered with the list", (written, list) => {
		expect(refusal({ yaml: `agent: { models: [{ model: gpt2, args: ${written} }] }`, role: "agent" })).toBe(
			`router.yaml:1:40 agent.models[0].args: must be a list, but is text; each word is an entry of its own: \`args: ${list}\``,
		);
	});

	test("is caught by `router check`, and behind `--`, too", async () => {
		using home = directory({ "router.yaml": 'agent: { models: [{ model: gpt2, args: ["--max-model-len 100"] }] }' });
		const inFile = await cli(["check", "--agent"], { cwd: home.path });
		expect([inFile.code, inFile.stderr]).toEqual([
			1,
			`router.yaml:1:41 agent.models[0].args[0]: ${several('"--max-model-len", "100"')}\n`,
		]);
		using empty = directory();
		const typed = await cli(["check", "--agent", "--model", "gpt2", "--", "--max-model-len 100"], { cwd: empty.path });
		expect(typed.code).toBe(1);
		expect(typed.stderr).toContain(several('"--max-model-len", "100"'));
	}, 30_000);

	test("what the agent sets itself is refused in one argument as in two", async () => {
		for (const word of ["--port 9000", "--served-model-name x", "--api-key secret-value", "--host=0.0.0.0"]) {
			using home = directory({ "router.yaml": `agent: { models: [{ model: gpt2, args: ["${word}"] }] }` });
			const { code, stderr } = await cli(["check", "--agent"], { cwd: home.path });
			expect(code).toBe(1);
			expect(stderr).toMatch(/agent\.models\[0\]\.args/);
			expect(stderr).not.toContain("secret-value");
		}
	}, 30_000);
});
