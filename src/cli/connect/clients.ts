/** What each client needs to use a router: which files it reads, and which values in them. Pure but for looking which of its files exist. */
import { join } from "node:path";
import type { Environment } from "../../config/interpolate.ts";
import { StartError } from "../../errors.ts";
import type { ClientName } from "./connect-args.ts";
import { homeOf } from "./connect-record.ts";
import type { ClientSetting, FileSettings } from "./settings-merge.ts";

/** What a client needs. */
export interface ClientPlan {
	readonly files: readonly FileSettings[];
	/** The same as environment variables, for one shell; absent where the client reads none. */
	readonly variables?: Readonly<Record<string, string>>;
	/** How it is started then. */
	readonly start: string;
	readonly notes?: readonly string[];
}

/** What is known of the router and of the user's machine. */
export interface ClientContext {
	/** The router's URL, without `/v1` and without a closing slash. */
	readonly url: string;
	/** Undefined where the router needs none. */
	readonly key: string | undefined;
	/** The first is the one to start with; none leaves it to the client. */
	readonly models: readonly string[];
	readonly env: Environment;
	readonly cwd: string;
	readonly exists: (path: string) => boolean;
}

/** A client. */
export interface ConnectedClient {
	/** Names of models that it asks for of itself; absent where it has to be told one. */
	readonly family?: RegExp;
	/** Throws StartError where its files leave no way to do it. */
	plan(context: ClientContext): ClientPlan;
}

/** Clients refuse to start without any key. */
const NO_KEY = "unused-without-keys";
const PROVIDER = "router";

const claudeCode: ConnectedClient = {
	family: /claude/i,
	plan({ url, key = NO_KEY, models: [model], env }) {
		// Which of them it asks for depends on the task: all lead to the one model.
		const tiers = ["MODEL", ...["FABLE", "OPUS", "SONNET", "HAIKU"].map((tier) => `DEFAULT_${tier}_MODEL`)];
		const essential = { ANTHROPIC_BASE_URL: url, ANTHROPIC_AUTH_TOKEN: key };
		const optional: Record<string, string> =
			model === undefined ? {} : Object.fromEntries(tiers.map((name) => [`ANTHROPIC_${name}`, model]));
		const beside = { path: ["env", "ANTHROPIC_API_KEY"], effect: "is sent beside this router's key" };
		const cloud = ["BEDROCK", "VERTEX", "FOUNDRY"].map((name) => ({
			path: ["env", `CLAUDE_CODE_USE_${name}`],
			effect: "sends calls there instead",
		}));
		return {
			files: [
				{
					path: join(env["CLAUDE_CONFIG_DIR"] || join(homeOf(env), ".claude"), "settings.json"),
					format: "jsonc",
					settings: [...variablesOf(essential, true, "env"), ...variablesOf(optional, false, "env")],
					rivals: [beside, ...cloud],
				},
			],
			variables: { ...essential, ...optional },
			start: "claude",
		};
	},
};

const codex: ConnectedClient = {
	family: /^(?:openai\/)?(?:gpt-|codex)/i,
	plan({ url, key, models: [model], env }) {
		const home = env["CODEX_HOME"] || join(homeOf(env), ".codex");
		const provider = {
			name: "Router",
			base_url: `${url}/v1`,
			wire_api: "responses",
			// Codex reads the variable from its own .env, too.
			...(key !== undefined && { env_key: "ROUTER_API_KEY" }),
		};
		const instead = `start it as: codex -c model_provider=${PROVIDER}${model === undefined ? "" : ` --model ${model}`}`;
		const config: FileSettings = {
			path: join(home, "config.toml"),
			format: "toml",
			settings: [
				...(model === undefined ? [] : [{ path: ["model"], value: model, instead }]),
				{ path: ["model_provider"], value: PROVIDER, instead },
				{ path: ["model_providers", PROVIDER], value: provider, isEssential: true },
			],
			rivals: [{ path: ["profile"], effect: "is refused by Codex 0.134 and newer" }],
		};
		const secrets: FileSettings[] =
			key === undefined
				? []
				: [{ path: join(home, ".env"), format: "dotenv", settings: variablesOf({ ROUTER_API_KEY: key }, true) }];
		return { files: [...secrets, config], start: "codex" };
	},
};

const opencode: ConnectedClient = {
	plan({ url, key, models, env, exists }) {
		const names = models.length > 0 ? models : ["MODEL"];
		const provider = {
			npm: "@ai-sdk/openai-compatible",
			name: "Router",
			options: { baseURL: `${url}/v1`, ...(key !== undefined && { apiKey: key }) },
			models: Object.fromEntries(names.map((model) => [model, { name: model }])),
		};
		const first = names[0];
		return {
			files: [
				{
					path: opencodeFile(env, exists),
					format: "jsonc",
					settings: [
						{ path: ["$schema"], value: "https://opencode.ai/config.json", isForNewFile: true },
						{ path: ["provider", PROVIDER], value: provider, isEssential: true },
						{
							path: ["model"],
							value: `${PROVIDER}/${first}`,
							instead: `start it as: opencode --model ${PROVIDER}/${first}`,
						},
					],
				},
			],
			start: "opencode",
		};
	},
};

/** The file that opencode reads last of those that are the user's own: what stands there counts. */
function opencodeFile(env: Environment, exists: (path: string) => boolean): string {
	if (env["OPENCODE_CONFIG"]) return env["OPENCODE_CONFIG"];
	const folder = env["OPENCODE_CONFIG_DIR"] || join(env["XDG_CONFIG_HOME"] || join(homeOf(env), ".config"), "opencode");
	const files = ["opencode.jsonc", "opencode.json"].map((name) => join(folder, name));
	return files.find(exists) ?? files[1]!;
}

const geminiCli: ConnectedClient = {
	family: /gemini/i,
	plan({ url, key = NO_KEY, models: [model], env }) {
		const folder = join(env["GEMINI_CLI_HOME"] || homeOf(env), ".gemini");
		const essential = { GOOGLE_GEMINI_BASE_URL: url, GEMINI_API_KEY: key };
		const optional = model === undefined ? {} : { GEMINI_MODEL: model };
		const login = {
			path: ["security", "auth", "selectedType"],
			value: "gemini-api-key",
			instead: "until it is gemini-api-key the other login goes before the key: /auth in gemini changes it",
		};
		return {
			files: [
				{
					path: join(folder, ".env"),
					format: "dotenv",
					settings: [...variablesOf(essential, true), ...variablesOf(optional, false)],
				},
				{ path: join(folder, "settings.json"), format: "jsonc", settings: [login] },
			],
			variables: { ...essential, ...optional },
			start: "gemini",
			notes: ["gemini reads that .env in folders that it trusts, and where no folder above has an .env of its own."],
		};
	},
};

const aider: ConnectedClient = {
	plan({ url, key = NO_KEY, models: [model = "MODEL"], env }) {
		const named = `openai/${model}`;
		return {
			files: [
				{
					path: join(homeOf(env), ".aider.conf.yml"),
					format: "yaml",
					settings: [
						{ path: ["openai-api-base"], value: `${url}/v1`, isEssential: true },
						{ path: ["openai-api-key"], value: key, isEssential: true },
						{ path: ["model"], value: named, instead: `start it as: aider --model ${named}` },
					],
				},
			],
			variables: { OPENAI_API_BASE: `${url}/v1`, OPENAI_API_KEY: key, AIDER_MODEL: named },
			start: "aider",
		};
	},
};

const continueDev: ConnectedClient = {
	plan({ url, key = NO_KEY, models, env, exists }) {
		const folder = env["CONTINUE_GLOBAL_DIR"] || join(homeOf(env), ".continue");
		const path = join(folder, "config.yaml");
		const old = join(folder, "config.json");
		if (!exists(path) && exists(old)) {
			throw new StartError(
				`${old} is in use, and Continue reads it no more once there is a config.yaml: turn it into one first`,
			);
		}
		const head = { name: "Local Config", version: "1.0.0", schema: "v1" };
		const names = models.length > 0 ? models : ["MODEL"];
		return {
			files: [
				{
					path,
					format: "yaml",
					settings: [
						...Object.entries(head).map(([name, value]) => ({ path: [name], value, isForNewFile: true })),
						...names.map((model) => continueModel(`${url}/v1`, key, model)),
					],
				},
			],
			start: "the editor, or cn",
		};
	},
};

function continueModel(apiBase: string, apiKey: string, model: string): ClientSetting {
	const name = `${model} (router)`;
	const value = { name, provider: "openai", model, apiBase, apiKey, roles: ["chat", "edit", "apply"] };
	return { path: ["models", name], value, isEssential: true };
}

const openWebui: ConnectedClient = {
	family: /./,
	plan({ url, key = NO_KEY, cwd }) {
		const variables = { OPENAI_API_BASE_URLS: `${url}/v1`, OPENAI_API_KEYS: key };
		const host = new URL(url).hostname;
		const isLoopback = /^(?:localhost|127\..*|\[::1\])$/.test(host);
		const notes = [
			"Open WebUI reads them at its first start only: later Admin Panel > Settings > Connections has them, or ENABLE_PERSISTENT_CONFIG=False.",
		];
		if (isLoopback) {
			notes.push(
				`In a container ${host} is the container itself: take an address of this host that the router listens on, with --url.`,
			);
		}
		return {
			files: [{ path: join(cwd, "open-webui.env"), format: "dotenv", settings: variablesOf(variables, true) }],
			variables,
			start: "open-webui serve, or docker run --env-file open-webui.env …",
			notes,
		};
	},
};

/** Variables as settings, `within` a mapping. */
function variablesOf(
	variables: Readonly<Record<string, string>>,
	isEssential: boolean,
	within?: string,
): ClientSetting[] {
	return Object.entries(variables).map(([name, value]) => ({
		path: within === undefined ? [name] : [within, name],
		value,
		isEssential,
	}));
}

/** By name. */
export const CLIENTS: Readonly<Record<ClientName, ConnectedClient>> = {
	"claude-code": claudeCode,
	codex,
	opencode,
	"gemini-cli": geminiCli,
	aider,
	continue: continueDev,
	"open-webui": openWebui,
};
