import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { report } from "../src/cli/check.ts";
import { localUrl, withAgentUrl } from "../src/cli/local-url.ts";
import { load } from "../src/config/load.ts";
import type { Role } from "../src/config/overlay.ts";
import { withoutCredentials } from "../src/config/shown-value.ts";
import { certificate } from "./kit/certificate.ts";
import { cli, directory } from "./kit/cli.ts";

const YAML = `server: { port: 81, drain: 90s }
keys:
  - { name: team-a, key: "\${TEAM_KEY}" }
providers:
  openai: { api_key: sk-openai-secret, headers: { x-secret: header-secret } }
  box: { type: vllm, base_url: "http://user:url-secret@box/v1?token=query-secret" }
`;

function reported(role: Role): string {
	using home = directory({ "router.yaml": YAML });
	const env = { TEAM_KEY: "team-secret", ROUTER_API_KEYS: "another-secret", VLLM_API_KEY: "vllm-secret" };
	const loaded = load({ flags: { host: "::1" }, env, cwd: home.path, role });
	return report(loaded, []);
}

const row = (text: string, setting: string) =>
	text
		.split("\n")
		.find((line) => line.trim().startsWith(`${setting} `))
		?.trim()
		.split(/\s{2,}/);

describe("router check", () => {
	test("shows no secret, wherever it was written", () => {
		const text = reported("standalone");
		expect(text).not.toContain("secret\n");
		expect(text).not.toMatch(/(openai|header|url|query|team|another|vllm)-secret/);
		expect(row(text, "keys[0].key")).toEqual(["keys[0].key", "********", "router.yaml:3"]);
		expect(row(text, "providers.box.base_url")?.[1]).toBe("http://********@box/v1?********");
	});

	test("says where each setting comes from, with its unit", () => {
		const text = reported("router");
		expect(row(text, "server.host")).toEqual(["server.host", "::1", "--host"]);
		expect(row(text, "server.port")).toEqual(["server.port", "81", "router.yaml:1"]);
		expect(row(text, "server.drain")).toEqual(["server.drain", "90s", "router.yaml:1"]);
		expect(row(text, "server.body_limit")).toEqual(["server.body_limit", "32MB", "default"]);
		expect(row(text, "keys[1].key")).toEqual(["keys[1].key", "********", "ROUTER_API_KEYS"]);
	});

	test("refuses a base URL that leads back to this router, as a start would", async () => {
		using home = directory();
		const env = { ANTHROPIC_BASE_URL: "http://localhost:8000", ANTHROPIC_API_KEY: "sk-secret" };
		const { code, stdout, stderr } = await cli(["check"], { cwd: home.path, env });
		expect([code, stdout]).toEqual([1, ""]);
		expect(stderr).toContain("ANTHROPIC_BASE_URL (providers.anthropic.base_url) leads back to this very router");
	});

	test("tells every target that leads nowhere with its place, as a start does", async () => {
		using home = directory({
			"router.yaml": `providers:
  mybox: { type: vllm, base_url: "http://127.0.0.1:1" }
models:
  - name: fast
    targets: [nosuch/x, mybx/y]
    fallback: [{ provider: opnai, model: z }]
  - { name: slow, targets: [fsat] }
  - { name: late, targets: [slow, mybox/] }
`,
		});
		const declare = "declare it under `providers:`.";
		const expected = [
			`router.yaml:5:15 models[0].targets[0]: there is no provider "nosuch"; ${declare}`,
			`router.yaml:5:25 models[0].targets[1]: there is no provider "mybx"; did you mean "mybox"? Else ${declare}`,
			`router.yaml:6:28 models[0].fallback[0].provider: there is no provider "opnai"; did you mean "openai"? Else ${declare}`,
			`router.yaml:7:29 models[1].targets[0]: there is no model "fsat"; did you mean "fast"? Else name its provider, too: \`provider/model\`.`,
			`router.yaml:8:35 models[2].targets[1]: "mybox/" names no model behind its provider.`,
			"",
		].join("\n");
		for (const args of [["check"], []]) {
			const { code, stderr } = await cli(args, { cwd: home.path });
			expect([code, stderr]).toEqual([1, expected]);
		}
	});

	test("refuses what a start would refuse: a target that leads nowhere, an open port without keys, a CA file that is not there", async () => {
		using home = directory({
			"target.yaml": "models: [{ name: fast, targets: [nowhere/x] }]",
			"door.yaml": "server: { host: 0.0.0.0 }",
			"ca.yaml": "ca_file: missing.pem",
			"dummy.yaml": "providers: { dummy: { type: vllm, base_url: http://localhost:1 } }",
		});
		const said = async (file: string) => {
			const { code, stdout, stderr } = await cli(["check", "--config", file], { cwd: home.path });
			expect([code, stdout]).toEqual([1, ""]);
			return stderr;
		};
		expect(await said("target.yaml")).toContain("nowhere");
		expect(await said("door.yaml")).toContain("0.0.0.0 without a key");
		expect(await said("ca.yaml")).toContain("missing.pem");
		expect(await said("dummy.yaml")).toContain("built-in model's name");
	});

	test.each([
		[
			"an address that leads back to it",
			[],
			{ VLLM_BASE_URL: "http://localhost:5000" },
			/agent\.vllm_url\) leads back/,
		],
		["an address with a fragment", [], { VLLM_BASE_URL: "http://localhost:8001/#v1" }, /VLLM_BASE_URL/],
		["an open port", ["agent.yaml"], {}, /0\.0\.0\.0 without a key.*ROUTER_AGENT_TOKEN/],
		[
			"an open port behind a router with keys",
			["agent.yaml"],
			{ ROUTER_API_KEYS: "router-secret" },
			/ROUTER_AGENT_TOKEN/,
		],
	] as [string, string[], Record<string, string>, RegExp][])(
		"refuses what the agent's start would refuse, in both roles that start one: %s",
		async (_, [file], env, words) => {
			using home = directory({ "agent.yaml": "agent: { host: 0.0.0.0 }" });
			for (const role of ["--agent", "--standalone"]) {
				const args = ["check", role, ...(file ? ["--config", file] : [])];
				const { code, stdout, stderr } = await cli(args, { cwd: home.path, env });
				expect([code, stdout]).toEqual([1, ""]);
				expect(stderr).toMatch(words);
			}
		},
	);

	test("refuses a TLS key that belongs to another certificate, and takes it for the agent, which serves no TLS", async () => {
		using home = directory({
			"cert.pem": certificate("one").cert,
			"key.pem": certificate("two").key,
			"router.yaml": "server: { tls: { cert: cert.pem, key: key.pem } }",
		});
		expect((await cli(["check"], { cwd: home.path })).stderr).toContain("does not belong to the certificate");
		expect((await cli(["check", "--agent"], { cwd: home.path })).code).toBe(0);
	});

	test.each(["router", "agent", "standalone"])("writes nothing, whatever %s would open", async (role) => {
		using home = directory({
			"router.yaml": `redis: { url: "redis://127.0.0.1:1" }
agent: { router: "http://127.0.0.1:1", models: [{ name: qwen, model: Qwen/Qwen3-8B }] }
`,
		});
		const { code, stderr } = await cli(["check", ...(role === "router" ? [] : [`--${role}`])], { cwd: home.path });
		expect([code, stderr]).toEqual([0, ""]);
		expect(readdirSync(home.path)).toEqual(["router.yaml"]);
	});

	test("shows a role what belongs to it", () => {
		expect(reported("router")).not.toContain("agent.docker");
		expect(reported("agent")).toContain("agent.docker");
		expect(reported("agent")).not.toContain("providers");
		expect(reported("standalone")).toContain("agent.docker");
	});

	test("says which providers are ready and which variable the others lack", async () => {
		using home = directory();
		const { code, stdout } = await cli(["check"], { cwd: home.path, env: { OPENAI_API_KEY: "sk-secret" } });
		expect(code).toBe(0);
		expect(row(stdout, "openai")).toEqual(["openai", "ready", expect.stringContaining("https://")]);
		expect(row(stdout, "anthropic")).toEqual(["anthropic", "no key", "set ANTHROPIC_API_KEY"]);
		expect(stdout).not.toContain("sk-secret");
		expect(stdout).not.toContain("without a key");
	});

	test("says which targets of models can't be asked, and which variable they want, as `router doctor` does", async () => {
		const models = `models:
  - { name: fast, targets: [openai/gpt-5-mini, { provider: llm-d, model: qwen }], fallback: [claude-opus-4-5] }
  - { name: "any/*", targets: ["openrouter/*"] }
`;
		using home = directory({ "router.yaml": models });
		const env = { ANTHROPIC_API_KEY: "sk-secret" };
		const lines = [
			"fast: openai/gpt-5-mini can't be asked until OPENAI_API_KEY is set",
			"fast: llm-d/qwen can't be asked until LLMD_BASE_URL is set",
		];
		const checked = await cli(["check"], { cwd: home.path, env });
		expect(checked.code).toBe(0);
		expect(checked.stdout).toContain(
			["", "Targets without a key or an address", ...lines.map((line) => `  ${line}`), ""].join("\n"),
		);
		expect((await cli(["doctor"], { cwd: home.path, env })).stdout).toContain(
			lines.map((line) => `  - ${line}`).join("\n"),
		);
	});
});

describe("an address", () => {
	test("is shown without user, password, query and fragment", () => {
		expect(withoutCredentials("https://u:p@h/v1?k=1")).toBe("https://********@h/v1?********");
		expect(withoutCredentials("https://h/v1#k")).toBe("https://h/v1?********");
		expect(withoutCredentials("https://h/a@b")).toBe("https://h/a@b");
	});

	test("of the agent in the same process is the router's local one, unless another is named", () => {
		expect(localUrl({ host: "::", port: 5000 })).toBe("http://127.0.0.1:5000");
		expect(localUrl({ host: "::1", port: 5000 })).toBe("http://[::1]:5000");
		expect(withAgentUrl({}, "http://a")).toEqual({ LOCAL_AGENT_URL: "http://a" });
		expect(withAgentUrl({ LOCAL_AGENT_URL: "http://b" }, "http://a")).toEqual({ LOCAL_AGENT_URL: "http://b" });
		expect(withAgentUrl({}, undefined)).toEqual({});
	});
});
