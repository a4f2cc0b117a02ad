/** `router connect` and files that belong to somebody: what is theirs stays, and what can't be edited is named. */
import { describe, expect, test } from "bun:test";
import { chmodSync, existsSync, lstatSync, mkdirSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readFound } from "../src/cli/connect/settings-file.ts";
import { type Home, home } from "./kit/connect.ts";

const KEY = "rk-of-the-test-1234567890";
const URL = "http://127.0.0.1:1";
const WRITE = ["--url", URL, "--key", KEY, "--write"];
const SETTINGS = ".claude/settings.json";
const connect = (at: Home, ...further: string[]) => at.connect(["claude-code", ...WRITE, ...further]);
const settings = (at: Home) => JSON.parse(at.read(SETTINGS));

describe("a file is named and left as it is where it", () => {
	test.each<[string, string, RegExp]>([
		["is no JSON", '{"env": ', /settings\.json is no JSON: line 1 can't be read \(it was left as it is\)/],
		["is no object", "[1]", /settings\.json is no JSON object/],
		["is no text", "{}\0", /settings\.json is no UTF-8 text, and was left as it is/],
		[
			"has something else for a mapping",
			'{"env": "A=1"}',
			/settings\.json has something else where "ANTHROPIC_BASE_URL" would have to stand/,
		],
	])("%s", async (_, text, message) => {
		using at = home({ [SETTINGS]: text });
		const { code, stdout, stderr } = await connect(at);
		expect([code, stdout]).toEqual([1, ""]);
		expect(stderr).toMatch(message);
		expect(at.files()).toEqual({ [SETTINGS]: text });
	});

	test("is read-only, and with --undo", async () => {
		using at = home({ [SETTINGS]: "{}\n" });
		chmodSync(join(at.path, SETTINGS), 0o444);
		const refused = await connect(at);
		expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("settings.json is read-only")]);
		expect(at.files()).toEqual({ [SETTINGS]: "{}\n" });
		chmodSync(join(at.path, SETTINGS), 0o644);
		await connect(at);
		const written = at.read(SETTINGS);
		chmodSync(join(at.path, SETTINGS), 0o444);
		expect((await at.connect(["claude-code", "--undo"])).code).toBe(1);
		expect([at.read(SETTINGS), at.mode(SETTINGS)]).toEqual([written, "444"]);
		chmodSync(join(at.path, SETTINGS), 0o600);
		expect((await at.connect(["claude-code", "--undo"])).code).toBe(0);
		expect(at.read(SETTINGS)).toBe("{}\n");
	});

	test("is a folder", async () => {
		using at = home();
		mkdirSync(join(at.path, SETTINGS), { recursive: true });
		const { code, stderr } = await connect(at);
		expect([code, stderr]).toEqual([1, expect.stringContaining("settings.json is no file, and was left as it is")]);
	});

	test("can't be read", () => {
		using at = home({ [SETTINGS]: "{}" });
		const file = join(at.path, SETTINGS);
		chmodSync(file, 0);
		for (const folder of [at.path, join(at.path, ".claude")]) chmodSync(folder, 0o755);
		const asRoot = process.getuid?.() === 0;
		// Root reads what nobody may: it is somebody else for as long as the file is read.
		if (asRoot) process.seteuid?.(65_534);
		try {
			expect(() => readFound(file)).toThrow(`${file} can't be read (EACCES)`);
		} finally {
			if (asRoot) process.seteuid?.(0);
		}
	});

	test("is a link that leads in a circle", async () => {
		using at = home();
		mkdirSync(join(at.path, ".claude"));
		symlinkSync("settings.json", join(at.path, SETTINGS));
		const { code, stderr } = await connect(at);
		expect([code, stderr]).toEqual([1, expect.stringContaining("settings.json can't be read (ELOOP)")]);
	});

	test("lies below a file", async () => {
		using at = home({ ".claude": "mine" });
		const { code, stderr } = await connect(at);
		expect([code, stderr]).toEqual([1, expect.stringMatching(/settings\.json can't be (?:read|written) \(ENOTDIR\)/)]);
		expect(at.files()).toEqual({ ".claude": "mine" });
	});
});

describe("somebody else's", () => {
	const foreign = `${JSON.stringify({ env: { ANTHROPIC_BASE_URL: "https://other.test", ANTHROPIC_AUTH_TOKEN: "sk-of-another" } }, null, 2)}\n`;

	test("address or key is named, without the key, and nothing is written", async () => {
		using at = home({ [SETTINGS]: foreign });
		const { code, stdout, stderr } = await connect(at);
		expect([code, stdout]).toEqual([1, ""]);
		expect(stderr).toContain('settings.json has env.ANTHROPIC_BASE_URL = "https://other.test" already');
		expect(stderr).toContain("--overwrite replaces it");
		expect(stderr).not.toContain("sk-of-another");
		expect(at.files()).toEqual({ [SETTINGS]: foreign });
	});

	test("address or key is replaced where --overwrite says so, and comes back with --undo, in an edited file, too", async () => {
		using at = home({ [SETTINGS]: foreign });
		const { code, stdout } = await connect(at, "--overwrite");
		expect([code, stdout]).toEqual([0, expect.not.stringContaining("sk-of-another")]);
		expect(settings(at).env).toEqual({ ANTHROPIC_BASE_URL: URL, ANTHROPIC_AUTH_TOKEN: KEY });
		at.write(SETTINGS, at.read(SETTINGS).replace("{", '{\n  "theme": "dark",'));
		await at.connect(["claude-code", "--undo"]);
		expect(settings(at)).toEqual({ theme: "dark", ...JSON.parse(foreign) });
	});

	test("model is named and left, with the rest written and a way to start all the same", async () => {
		using at = home({ ".codex/config.toml": 'model = "gpt-6"\nmodel_provider = "azure"\n' });
		const { code, stderr } = await at.connect(["codex", ...WRITE, "--model", "local/qwen"]);
		expect(code).toBe(0);
		expect(stderr).toContain(
			'config.toml has model_provider = "azure" already, which is left: --overwrite replaces it; else start it as: codex -c model_provider=router --model local/qwen.',
		);
		const config = Bun.TOML.parse(at.read(".codex/config.toml"));
		expect(config).toMatchObject({
			model: "gpt-6",
			model_provider: "azure",
			model_providers: { router: { name: "Router" } },
		});
		await at.connect(["codex", "--undo"]);
		expect(at.read(".codex/config.toml")).toBe('model = "gpt-6"\nmodel_provider = "azure"\n');
	});

	test("values that send calls or keys elsewhere are named", async () => {
		using at = home({ [SETTINGS]: '{"env": {"ANTHROPIC_API_KEY": "x", "CLAUDE_CODE_USE_BEDROCK": "1"}}' });
		const { stderr } = await connect(at);
		expect(stderr).toContain("env.CLAUDE_CODE_USE_BEDROCK is set, which sends calls there instead.");
		expect(stderr).toContain("env.ANTHROPIC_API_KEY is set, which is sent beside this router's key.");
	});

	test("value that is empty is nobody's: it is replaced, and is empty again after --undo", async () => {
		using at = home({
			".aider.conf.yml": "openai-api-key:\nmodel: ~\nauto-commits: false\n",
			".gemini/.env": "GEMINI_API_KEY=\n",
			".gemini/settings.json": '{"security": null}\n',
		});
		const before = at.files();
		for (const client of ["aider", "gemini-cli"]) {
			const { code, stderr } = await at.connect([client, ...WRITE, "--model", "m"]);
			expect([code, stderr]).toEqual([0, expect.not.stringContaining("already")]);
		}
		expect(at.read(".aider.conf.yml")).toContain(`openai-api-key: "${KEY}"\nmodel: "openai/m"\n`);
		expect(at.read(".gemini/.env")).toContain(`GEMINI_API_KEY=${KEY}\n`);
		for (const client of ["aider", "gemini-cli"]) await at.connect([client, "--undo"]);
		expect(at.files()).toEqual(before);
	});

	test("values that are what we need are used, and are still theirs after --undo", async () => {
		const same = `{"env": {"ANTHROPIC_BASE_URL": "${URL}"}}`;
		using at = home({ [SETTINGS]: same });
		expect((await connect(at)).code).toBe(0);
		expect(settings(at).env).toEqual({ ANTHROPIC_BASE_URL: URL, ANTHROPIC_AUTH_TOKEN: KEY });
		at.write(SETTINGS, `${at.read(SETTINGS)}\n`);
		await at.connect(["claude-code", "--undo"]);
		expect(JSON.parse(at.read(SETTINGS))).toEqual(JSON.parse(same));
	});

	test("print names what a write would leave", async () => {
		using at = home({ [SETTINGS]: foreign });
		const { code, stderr } = await at.connect(["claude-code", "--url", URL]);
		expect([code, stderr]).toEqual([
			0,
			expect.stringContaining('has env.ANTHROPIC_BASE_URL = "https://other.test" already.'),
		]);
	});
});

describe("after --undo", () => {
	test("a value that was changed since is left and named", async () => {
		using at = home();
		await connect(at, "--model", "a");
		at.write(SETTINGS, at.read(SETTINGS).replace('"ANTHROPIC_MODEL": "a"', '"ANTHROPIC_MODEL": "mine"'));
		const { code, stderr } = await at.connect(["claude-code", "--undo"]);
		expect([code, stderr]).toEqual([
			0,
			expect.stringContaining("env.ANTHROPIC_MODEL was changed since it was written, and is left."),
		]);
		expect(settings(at)).toEqual({ env: { ANTHROPIC_MODEL: "mine" } });
	});

	test("a provider of ours that got further entries is gone, and one with another address is not", async () => {
		const config = ".codex/config.toml";
		using at = home();
		await at.connect(["codex", ...WRITE]);
		const written = at.read(config);
		at.write(
			config,
			written.replace("[model_providers.router]\n", "[model_providers.router]\nrequest_max_retries = 2\n"),
		);
		await at.connect(["codex", "--undo"]);
		expect(existsSync(join(at.path, config))).toBe(false);
		await at.connect(["codex", ...WRITE]);
		at.write(config, written.replace(URL, "http://mine.test"));
		await at.connect(["codex", "--undo"]);
		expect(Bun.TOML.parse(at.read(config))).toMatchObject({
			model_providers: { router: { base_url: "http://mine.test/v1" } },
		});
	});

	test("a file that we began and its user went on with has theirs, and what it can't be without", async () => {
		using at = home();
		await at.connect(["continue", ...WRITE, "--model", "a"]);
		at.write(".continue/config.yaml", `${at.read(".continue/config.yaml")}rules:\n  - be short\n`);
		await at.connect(["continue", "--undo"]);
		expect(at.read(".continue/config.yaml")).toBe(
			'name: "Local Config"\nversion: "1.0.0"\nschema: "v1"\nrules:\n  - be short\n',
		);
	});

	test("a file that is gone is said to be", async () => {
		using at = home();
		await connect(at);
		await Bun.file(join(at.path, SETTINGS)).delete();
		expect((await at.connect(["claude-code", "--undo"])).stdout).toContain("settings.json is gone.");
	});

	test("a file that can't be read any more stays recorded", async () => {
		using at = home();
		await connect(at);
		const written = at.read(SETTINGS);
		at.write(SETTINGS, "{");
		expect((await at.connect(["claude-code", "--undo"])).code).toBe(1);
		at.write(SETTINGS, written);
		expect((await at.connect(["claude-code", "--undo"])).code).toBe(0);
		expect(at.files()).toEqual({});
	});

	test("of several writes none is left", async () => {
		const before = '{"theme": "dark"}';
		using at = home({ [SETTINGS]: before });
		await connect(at, "--model", "a");
		await connect(at, "--model", "b");
		expect(settings(at).env.ANTHROPIC_MODEL).toBe("b");
		await connect(at);
		expect(settings(at).env).toEqual({ ANTHROPIC_BASE_URL: URL, ANTHROPIC_AUTH_TOKEN: KEY });
		await at.connect(["claude-code", "--undo"]);
		expect(at.files()).toEqual({ [SETTINGS]: before });
	});

	test("a record that can't be read is named", async () => {
		using at = home();
		await connect(at);
		writeFileSync(join(at.path, ".local/state/router/connect-claude-code.json"), "{");
		const { code, stderr } = await at.connect(["claude-code", "--undo"]);
		expect([code, stderr]).toEqual([
			1,
			expect.stringContaining("connect-claude-code.json, the record of what was written, can't be read"),
		]);
	});
});

describe("the file itself", () => {
	test("is written where a link leads, and the link stays", async () => {
		using at = home({ "dotfiles/claude.json": "{}" });
		mkdirSync(join(at.path, ".claude"));
		symlinkSync("../dotfiles/claude.json", join(at.path, SETTINGS));
		await connect(at);
		expect(readlinkSync(join(at.path, SETTINGS))).toBe("../dotfiles/claude.json");
		expect(lstatSync(join(at.path, "dotfiles/claude.json")).isFile()).toBe(true);
		expect(settings(at).env.ANTHROPIC_AUTH_TOKEN).toBe(KEY);
		await at.connect(["claude-code", "--undo"]);
		expect(at.read("dotfiles/claude.json")).toBe("{}");
		expect(lstatSync(join(at.path, SETTINGS)).isSymbolicLink()).toBe(true);
	});

	test("is made where a link leads to nothing yet", async () => {
		using at = home();
		mkdirSync(join(at.path, ".claude"));
		symlinkSync("../dotfiles/claude.json", join(at.path, SETTINGS));
		expect((await connect(at)).code).toBe(0);
		expect(JSON.parse(at.read("dotfiles/claude.json")).env.ANTHROPIC_AUTH_TOKEN).toBe(KEY);
	});

	test("is readable by its owner alone once it holds a key, which is said; and as it was after --undo", async () => {
		using at = home({ [SETTINGS]: "{}" });
		chmodSync(join(at.path, SETTINGS), 0o664);
		expect((await connect(at)).stdout).toContain("(0600, was 0664)");
		expect(at.mode(SETTINGS)).toBe("600");
		await at.connect(["claude-code", "--undo"]);
		expect(at.mode(SETTINGS)).toBe("664");
	});

	test("has the permissions that it had where no key is in it", async () => {
		using at = home();
		at.write(".codex/config.toml", "x = 1\n");
		chmodSync(join(at.path, ".codex/config.toml"), 0o640);
		await at.connect(["codex", ...WRITE]);
		expect([at.mode(".codex/config.toml"), at.mode(".codex/.env")]).toEqual(["640", "600"]);
	});

	test("has a backup for each write, none of them replaced", async () => {
		using at = home({ [SETTINGS]: "{}", [`${SETTINGS}.router-backup`]: "somebody's" });
		await connect(at);
		expect(at.read(`${SETTINGS}.router-backup`)).toBe("somebody's");
		expect(at.read(`${SETTINGS}.router-backup-2`)).toBe("{}");
	});

	test("is shown as a diff, with keys cut short", async () => {
		using at = home({ [SETTINGS]: '{\n  "theme": "dark"\n}\n' });
		const { stdout } = await connect(at);
		expect(stdout).toContain('-  "theme": "dark"\n+  "theme": "dark",\n+  "env": {\n');
		expect(stdout).toContain('+    "ANTHROPIC_AUTH_TOKEN": "rk-o…"\n');
		expect(stdout).not.toContain(KEY);
	});
});
