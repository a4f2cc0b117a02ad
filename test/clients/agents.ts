/** Agents with a command line of their own, set up by `router connect`. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { cli } from "../kit/cli.ts";
import { type Client, packaged, runProcess, type Try } from "./client.ts";

/** Writes a client's settings as its user would have it done. */
async function connect(name: string, { url, key, model, home, folder }: Try): Promise<void> {
	const args = ["connect", name, "--url", url, "--key", key, "--model", model, "--write"];
	const env = {
		HOME: home,
		PATH: process.env["PATH"] ?? "",
		DATA_DIR: join(home, "data"),
		LOG_DIR: join(home, "logs"),
	};
	const { code, stdout, stderr } = await cli(args, { cwd: folder, env });
	if (code !== 0) throw new Error(`router connect ended with ${code}: ${stdout}\n${stderr}`);
}

function write(path: string, text: string): void {
	mkdirSync(dirname(path), { recursive: true });
	writeFileSync(path, text);
}

const platform = `${process.platform}-${process.arch}`;
/** The build that runs on processors of any age. */
const OPENCODE = packaged(`opencode-${platform}${process.arch === "x64" ? "-baseline" : ""}/bin/opencode`);
const CLAUDE = packaged(`@anthropic-ai/claude-code-${platform}/claude`);

/** Anthropic's: no telemetry, no updates. */
export const CLAUDE_ENV = {
	CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
	DISABLE_AUTOUPDATER: "1",
	// Its sandbox is the folder.
	IS_SANDBOX: "1",
};

/** Claude Code. */
export const claudeCode: Client = {
	name: "Claude Code",
	package: "@anthropic-ai/claude-code",
	async run(at) {
		await connect("claude-code", at);
		const prompt = at.prompt("Bash", (file) => ({ command: `cat ${file}`, description: "Reads a note" }));
		return runProcess([CLAUDE, "-p", prompt, "--dangerously-skip-permissions"], at, CLAUDE_ENV);
	},
};

/** Claude Code's own view of its context, for which it counts the tokens of each part of it: by real calls where nobody counts. */
export const claudeCodeContext: Client = {
	name: "Claude Code, /context",
	package: "@anthropic-ai/claude-code",
	async run(at) {
		await connect("claude-code", at);
		const before = await callsOf(at);
		const printed = await runProcess([CLAUDE, "-p", "/context"], at, CLAUDE_ENV);
		if ((await callsOf(at)) !== before) throw new Error("it made real calls to count tokens");
		return printed;
	},
	problem: (printed) =>
		/Context Usage[\s\S]*\btokens\b/i.test(printed) ? undefined : `shows no context: ${printed.slice(-500)}`,
};

/** Claude Code, which has the model find a title for what was said. */
export const claudeCodeTitle: Client = {
	name: "Claude Code, title",
	package: "@anthropic-ai/claude-code",
	async run(at) {
		const printed = await claudeCode.run(at);
		const renamed = await runProcess([CLAUDE, "--continue", "-p", "/rename"], at, CLAUDE_ENV);
		if (!/renamed to/i.test(renamed)) throw new Error(`found no title: ${renamed.slice(-500)}`);
		return printed;
	},
};

/** Calls that a model was asked, by the router's own count. */
async function callsOf({ url }: Try): Promise<number> {
	const text = await (await fetch(`${url}/metrics`)).text();
	return [...text.matchAll(/^router_requests_total\{.*\} (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** What keeps Codex from calling home. */
const CODEX_CONFIG = `check_for_update_on_startup = false

[analytics]
enabled = false

[feedback]
enabled = false

# Its list of plugins comes from GitHub.
[features]
plugins = false
apps = false
`;
const CODEX = [process.execPath, packaged("@openai/codex/bin/codex.js"), "exec", "--skip-git-repo-check"];
const CODEX_FREE = "--dangerously-bypass-approvals-and-sandbox";
const codexPrompt = ({ prompt }: Try) => prompt("exec_command", (file) => ({ cmd: `cat ${file}` }));

/** Codex with a provider of its own, which calls by HTTP. @param more settings that it is started with */
async function codexOverHttp(at: Try, ...more: string[]): Promise<string> {
	write(join(at.home, ".codex/config.toml"), CODEX_CONFIG);
	await connect("codex", at);
	return runProcess([...CODEX, CODEX_FREE, ...more, codexPrompt(at)], at);
}

/** Codex as one who has OpenAI's key, and another address for it: it calls over a WebSocket. */
async function codexOverSocket(at: Try, ...more: string[]): Promise<string> {
	const address = `openai_base_url = "${at.url}/v1"\nmodel = "${at.model}"\n`;
	write(join(at.home, ".codex/config.toml"), address + CODEX_CONFIG);
	write(join(at.home, ".codex/auth.json"), JSON.stringify({ auth_mode: "apikey", OPENAI_API_KEY: at.key }));
	const printed = await runProcess([...CODEX, CODEX_FREE, ...more, codexPrompt(at)], at);
	if (/falling back|reconnecting/i.test(printed)) throw new Error(`it left the WebSocket: ${printed.slice(-1500)}`);
	return printed;
}

/** So little that each turn ends with a summary. */
const SHORT = ["-c", "model_auto_compact_token_limit=10"];

/** Throws unless its own record of the session says that it has compacted. */
async function compacted(at: Try, printed: Promise<string>): Promise<string> {
	const said = await printed;
	const sessions = [...new Bun.Glob("**/*.jsonl").scanSync({ cwd: join(at.home, ".codex/sessions"), absolute: true })];
	const records = sessions.map((path) => readFileSync(path, "utf8")).join("");
	if (!records.includes('"type":"compacted"')) throw new Error(`it never compacted: ${said.slice(-1500)}`);
	return said;
}

const codexRow = (name: string, run: Client["run"]): Client => ({ name, package: "@openai/codex", run });

/** Codex, over each wire, and with a conversation that is summed up at each turn. */
export const CODEX_ROWS: readonly Client[] = [
	codexRow("Codex, HTTP", (at) => codexOverHttp(at)),
	codexRow("Codex, HTTP, compacting", (at) => compacted(at, codexOverHttp(at, ...SHORT))),
	codexRow("Codex, WebSocket", (at) => codexOverSocket(at)),
	codexRow("Codex, WebSocket, compacting", (at) => compacted(at, codexOverSocket(at, ...SHORT))),
];

/** What keeps gemini-cli from calling home. */
const GEMINI_SETTINGS = JSON.stringify({
	privacy: { usageStatisticsEnabled: false },
	telemetry: { enabled: false },
	general: { enableAutoUpdate: false, enableAutoUpdateNotification: false },
});

/** Google's agent. */
export const geminiCli: Client = {
	name: "gemini-cli",
	package: "@google/gemini-cli",
	async run(at) {
		write(join(at.home, ".gemini/settings.json"), GEMINI_SETTINGS);
		await connect("gemini-cli", at);
		const prompt = at.prompt("run_shell_command", (file) => ({ command: `cat ${file}`, description: "Reads a note" }));
		const program = [process.execPath, packaged("@google/gemini-cli/bundle/gemini.js")];
		return runProcess([...program, "-p", prompt, "--yolo"], at, { GEMINI_CLI_TRUST_WORKSPACE: "true" });
	},
};

/** What keeps opencode from calling home: updates, its list of models, its own plugins, servers of languages. */
const OPENCODE_ENV = {
	OPENCODE_DISABLE_AUTOUPDATE: "1",
	OPENCODE_DISABLE_MODELS_FETCH: "1",
	OPENCODE_DISABLE_DEFAULT_PLUGINS: "1",
	OPENCODE_DISABLE_LSP_DOWNLOAD: "1",
	// It installs its types for plugins.
	NPM_CONFIG_REGISTRY: "http://127.0.0.1:9",
};

/** opencode, which calls `/v1/chat/completions`. */
export const opencode: Client = {
	name: "opencode",
	package: "opencode-ai",
	async run(at) {
		await connect("opencode", at);
		const prompt = at.prompt("bash", (file) => ({ command: `cat ${file}`, description: "Reads a note" }));
		return runProcess([OPENCODE, "run", prompt], at, OPENCODE_ENV);
	},
};
