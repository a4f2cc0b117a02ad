/** `router connect` for each client: what is printed, written into an empty home and into one that is in use, and taken out again. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { parseDocument } from "yaml";
import { cli, directory } from "./kit/cli.ts";
import { home } from "./kit/connect.ts";

const KEY = "rk-of-the-test-1234567890";
const ROUTER = "http://router.test:8000";
/** A key that is given needs no router that answers. */
const WRITE = ["--url", "http://127.0.0.1:1", "--key", KEY, "--write"];
const URL = "http://127.0.0.1:1";

/** What each client's files hold afterwards, in an empty home with `--model local/qwen`. */
const WRITTEN: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
	"claude-code": {
		".claude/settings.json": {
			env: {
				ANTHROPIC_BASE_URL: URL,
				ANTHROPIC_AUTH_TOKEN: KEY,
				ANTHROPIC_MODEL: "local/qwen",
				ANTHROPIC_DEFAULT_FABLE_MODEL: "local/qwen",
				ANTHROPIC_DEFAULT_OPUS_MODEL: "local/qwen",
				ANTHROPIC_DEFAULT_SONNET_MODEL: "local/qwen",
				ANTHROPIC_DEFAULT_HAIKU_MODEL: "local/qwen",
			},
		},
	},
	codex: {
		".codex/.env": `ROUTER_API_KEY=${KEY}\n`,
		".codex/config.toml": {
			model: "local/qwen",
			model_provider: "router",
			model_providers: {
				router: { name: "Router", base_url: `${URL}/v1`, wire_api: "responses", env_key: "ROUTER_API_KEY" },
			},
		},
	},
	opencode: {
		".config/opencode/opencode.json": {
			$schema: "https://opencode.ai/config.json",
			model: "router/local/qwen",
			provider: {
				router: {
					npm: "@ai-sdk/openai-compatible",
					name: "Router",
					options: { baseURL: `${URL}/v1`, apiKey: KEY },
					models: { "local/qwen": { name: "local/qwen" } },
				},
			},
		},
	},
	"gemini-cli": {
		".gemini/.env": `GOOGLE_GEMINI_BASE_URL=${URL}\nGEMINI_API_KEY=${KEY}\nGEMINI_MODEL=local/qwen\n`,
		".gemini/settings.json": { security: { auth: { selectedType: "gemini-api-key" } } },
	},
	aider: {
		".aider.conf.yml": { "openai-api-base": `${URL}/v1`, "openai-api-key": KEY, model: "openai/local/qwen" },
	},
	continue: {
		".continue/config.yaml": {
			name: "Local Config",
			version: "1.0.0",
			schema: "v1",
			models: [
				{
					name: "local/qwen (router)",
					provider: "openai",
					model: "local/qwen",
					apiBase: `${URL}/v1`,
					apiKey: KEY,
					roles: ["chat", "edit", "apply"],
				},
			],
		},
	},
	"open-webui": { "open-webui.env": `OPENAI_API_BASE_URLS=${URL}/v1\nOPENAI_API_KEYS=${KEY}\n` },
};

/** Files of somebody who uses the client already, with comments and values of their own. */
const IN_USE: Readonly<Record<string, Readonly<Record<string, string>>>> = {
	"claude-code": {
		".claude/settings.json": '{\n\t"permissions": { "allow": ["Bash"] },\n\t"env": {\n\t\t"DEBUG": "1"\n\t}\n}\n',
	},
	codex: {
		".codex/config.toml": '# mine\napproval_policy = "on-request" # asks\n\n[mcp_servers.docs]\ncommand = "docs"\n',
		".codex/.env": "# mine\nFOO=1\n",
	},
	opencode: {
		".config/opencode/opencode.jsonc":
			'{\n  // mine\n  "theme": "dark",\n  "provider": {\n    "other": { "name": "Other", },\n  },\n}\n',
	},
	"gemini-cli": { ".gemini/settings.json": '{\n  "ui": { "theme": "GitHub" } // mine\n}\n', ".gemini/.env": "FOO=1\n" },
	aider: { ".aider.conf.yml": "# mine\nauto-commits: false\nread:\n  - CONVENTIONS.md\n" },
	continue: {
		".continue/config.yaml":
			"name: Mine\nversion: 0.0.1\nschema: v1\nmodels:\n  # the first\n  - name: Mine\n    provider: ollama\n    model: x\n\nrules:\n  - be short\n",
	},
	"open-webui": { "open-webui.env": "WEBUI_NAME=mine\n" },
};

const CLIENTS = Object.keys(WRITTEN);

/** A file's content by its format, so that only meaning counts. */
function read(file: string, text: string): unknown {
	if (/\.jsonc?$/.test(file)) return JSON.parse(text);
	if (file.endsWith(".toml")) return Bun.TOML.parse(text);
	return /\.ya?ml$/.test(file) ? parseDocument(text).toJSON() : text;
}

describe("a command line that is wrong ends with exit code 2 and says why:", () => {
	test.each([
		[[], "connect needs a client: router connect CLIENT, one of claude-code, "],
		[["claude"], 'unknown client "claude"; did you mean "claude-code"?'],
		[["constructor"], 'unknown client "constructor"; there are claude-code, codex, '],
		[["codex", "aider"], '"aider" is one word too many'],
		[["codex", "--write", "--undo"], "--write and --undo exclude each other"],
		[["codex", "--overwrite"], "--overwrite says more of --write; there is none"],
		[["codex", "--undo", "--model", "a"], "--model does not belong to --undo"],
		[["codex", "--undo", "--url", ROUTER], "--url does not belong to --undo"],
		[["codex", "--model", "a,b"], "codex takes one --model"],
		[["codex", "--model", "a b"], "--model must be a model's name"],
		[["codex", "--model", ","], "--model must be a model's name"],
		[["codex", "--name", "a"], "--name does not belong to `connect`"],
		[["codex", "--agent"], "--agent does not belong to `connect`"],
	])("%j", async (args, message) => {
		using at = home();
		const { code, stdout, stderr } = await at.connect(args);
		expect([code, stdout]).toEqual([2, ""]);
		expect(stderr).toStartWith(`router: ${message}`);
		expect(at.files()).toEqual({});
	});

	test("--write belongs to connect alone", async () => {
		using at = directory();
		expect((await cli(["keys", "--write"], { cwd: at.path })).stderr).toStartWith(
			"router: --write does not belong to `keys`",
		);
	});
});

describe.each(CLIENTS)("%s", (client) => {
	test("prints what it needs, and changes nothing", async () => {
		using at = home();
		const { code, stdout } = await at.connect([client, "--url", `${URL}/v1/`, "--model", "local/qwen"]);
		expect(code).toBe(0);
		expect(stdout).toContain(URL);
		expect(stdout).not.toContain("/v1/v1");
		for (const [file] of Object.entries(WRITTEN[client]!)) expect(stdout).toContain(`${join(at.path, file)}\n\n  `);
		if (client !== "open-webui") expect(stdout).toContain("local/qwen");
		expect(stdout).toContain("YOUR-KEY");
		expect(at.files()).toEqual({});
	});

	test("finds what it needs in an empty home, readable by its owner alone, and nothing after --undo", async () => {
		using at = home();
		const written = await at.connect([client, ...WRITE, ...(client === "open-webui" ? [] : ["--model", "local/qwen"])]);
		expect([written.code, written.stdout + written.stderr]).toEqual([0, expect.not.stringContaining(KEY)]);
		const found = Object.entries(at.files()).map(([file, text]) => [file, read(file, text)]);
		expect(Object.fromEntries(found)).toEqual(WRITTEN[client]);
		for (const [file] of found) expect([file, at.mode(String(file))]).toEqual([file, "600"]);
		const undone = await at.connect([client, "--undo"]);
		expect([undone.code, undone.stderr]).toEqual([0, ""]);
		expect(at.files()).toEqual({});
		expect((await at.connect([client, "--undo"])).stdout).toStartWith(`Nothing was written for ${client} `);
	});

	test("keeps what its user has, gets ours beside it, and has only theirs after --undo", async () => {
		using at = home(IN_USE[client]);
		const before = at.files();
		const { code } = await at.connect([
			client,
			...WRITE,
			...(client === "open-webui" ? [] : ["--model", "local/qwen"]),
		]);
		expect(code).toBe(0);
		const after = at.files();
		for (const [file, text] of Object.entries(before)) {
			const words = text.match(/[\w.-]+/g) ?? [];
			expect(words.filter((word) => !after[file]?.includes(word))).toEqual([]);
			expect(after[`${file}.router-backup`]).toBe(text);
			expect(at.mode(`${file}.router-backup`)).toBe("600");
		}
		expect(Object.values(after).join("")).toContain(URL);
		await at.connect([client, "--undo"]);
		expect(at.files()).toEqual(before);
	});

	test("has only its user's values after --undo in files that were edited since", async () => {
		using at = home(IN_USE[client]);
		const before = at.files();
		await at.connect([client, ...WRITE, ...(client === "open-webui" ? [] : ["--model", "local/qwen"])]);
		const comment = (file: string) => (/\.jsonc?$/.test(file) ? "// edited\n" : "# edited\n");
		for (const file of Object.keys(before)) at.write(file, at.read(file) + comment(file));
		const { code, stderr } = await at.connect([client, "--undo"]);
		expect(code).toBe(0);
		expect(stderr).toContain("the backups stay");
		for (const [file, text] of Object.entries(before)) expect(at.read(file)).toBe(text + comment(file));
	});

	test("is written once: the same again changes nothing", async () => {
		using at = home(IN_USE[client]);
		const args = [client, ...WRITE, ...(client === "open-webui" ? [] : ["--model", "local/qwen"])];
		await at.connect(args);
		const once = at.files();
		const { code, stdout } = await at.connect(args);
		expect([code, stdout]).toEqual([0, expect.stringContaining("has all of it already")]);
		expect(at.files()).toEqual(once);
	});
});

describe("a client's own variables say where its files are:", () => {
	test.each([
		["claude-code", "CLAUDE_CONFIG_DIR", "conf", "conf/settings.json"],
		["codex", "CODEX_HOME", "conf", "conf/config.toml"],
		["opencode", "XDG_CONFIG_HOME", "conf", "conf/opencode/opencode.json"],
		["opencode", "OPENCODE_CONFIG_DIR", "conf", "conf/opencode.json"],
		["opencode", "OPENCODE_CONFIG", "conf/own.json", "conf/own.json"],
		["gemini-cli", "GEMINI_CLI_HOME", "conf", "conf/.gemini/.env"],
		["continue", "CONTINUE_GLOBAL_DIR", "conf", "conf/config.yaml"],
	])("%s has %s", async (client, variable, value, file) => {
		using at = home();
		const env = { [variable]: join(at.path, value) };
		const { code } = await at.connect([client, ...WRITE, "--model", "local/qwen"], env);
		expect([code, Object.keys(at.files())]).toEqual([0, expect.arrayContaining([file])]);
		// --undo knows where it was written, whatever the variables say by then.
		await at.connect([client, "--undo"]);
		expect(at.files()).toEqual({});
	});
});

test("opencode and Continue take several models, the first to start with", async () => {
	using at = home();
	for (const client of ["opencode", "continue"]) await at.connect([client, ...WRITE, "--model", "a,b/c"]);
	const { model, provider } = JSON.parse(at.read(".config/opencode/opencode.json"));
	expect([model, Object.keys(provider.router.models)]).toEqual(["router/a", ["a", "b/c"]]);
	const { models } = parseDocument(at.read(".continue/config.yaml")).toJSON();
	expect(models.map((each: { name: string }) => each.name)).toEqual(["a (router)", "b/c (router)"]);
});

test("Continue's old configuration is not hidden behind a new one", async () => {
	using at = home({ ".continue/config.json": "{}" });
	const { code, stderr } = await at.connect(["continue", ...WRITE, "--model", "a"]);
	expect([code, stderr]).toEqual([1, expect.stringContaining("config.json is in use, and Continue reads it no more")]);
	expect(Object.keys(at.files())).toEqual([".continue/config.json"]);
});
