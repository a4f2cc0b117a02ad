/** What a start and `router check` print of keys that were pasted with something around them; what is sent upstream is without. */
import { afterEach, describe, expect, test } from "bun:test";
import { cli, directory } from "./kit/cli.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

let router: RunningRouter | undefined;
afterEach(async () => {
	await router?.stop();
	router = undefined;
});

describe("router check", () => {
	test("names what it mends, and shows no value", async () => {
		using home = directory();
		const env = { OPENAI_API_KEY: '"sk-of-openai"', XAI_BASE_URL: "https://xai.example/v1\r" };
		const { code, stdout, stderr } = await cli(["check"], { cwd: home.path, env });
		expect([code, stderr.trimEnd().split("\n")]).toEqual([
			0,
			[
				"warning: the environment variable OPENAI_API_KEY has quotes around it; it is read without",
				"warning: the environment variable XAI_BASE_URL has a carriage return around it; it is read without",
			],
		]);
		expect(stdout).toMatch(/openai +ready/);
		expect(stdout + stderr).not.toContain("sk-of");
	});

	test.each([
		["ANTHROPIC_API_KEY", "os.environ/ANTHROPIC_API_KEY", "is a reference (os.environ/NAME)"],
		["GOOGLE_API_KEY", "GOOGLE_API_KEY=AIza-1", "is a whole NAME=value"],
		["ROUTER_API_KEYS", ",", "has nothing in it but commas"],
		["ROUTER_AGENT_TOKEN", "Bearer abc", "is a header"],
		["LLMD_BASE_URL", "http://$(LLMD_HOST)/v1", "is a reference ($(…))"],
		["HTTPS_PROXY", "${PROXY}", "is a reference"],
	])("refuses %s that is no value, in one line", async (name, value, problem) => {
		using home = directory();
		const { code, stdout, stderr } = await cli(["check"], { cwd: home.path, env: { [name]: value } });
		expect([code, stdout, stderr.trimEnd().split("\n").length]).toEqual([1, "", 1]);
		expect(stderr).toStartWith(`the environment variable ${name} ${problem}`);
		if (value !== ",") expect(stderr).not.toContain(value);
	});
});

test("what goes upstream, and what lets clients in, is the key without what was around it", async () => {
	const seen: (string | null)[] = [];
	const upstream = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		fetch: (request) => {
			seen.push(request.headers.get("authorization"));
			return Response.json({
				choices: [{ index: 0, message: { role: "assistant", content: "hi" }, finish_reason: "stop" }],
			});
		},
	});
	try {
		router = await startRouter({
			env: {
				OPENAI_API_KEY: "'sk-of-openai'\r\n",
				OPENAI_BASE_URL: ` "http://127.0.0.1:${upstream.port}/v1"`,
				ROUTER_API_KEYS: '"key-of-one"',
			},
		});
		const answer = await fetch(`${router.url}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json", "api-key": "key-of-one" },
			body: JSON.stringify({ model: "gpt-5-mini", messages: [{ role: "user", content: "hi" }] }),
		});
		expect([answer.status, seen]).toEqual([200, ["Bearer sk-of-openai"]]);
		expect(router.output()).toContain(
			"warning: the environment variable OPENAI_API_KEY has quotes and a carriage return around it",
		);
		expect(router.output()).not.toMatch(/sk-of|key-of/);
	} finally {
		await upstream.stop(true);
	}
});
