/** The command line's words → what to do. Pure; also read by main.ts before anything else is loaded. */
import { parseArgs } from "node:util";
import { didYouMean } from "../config/nearest.ts";
import type { Flags, Role } from "../config/overlay.ts";

/** What sets something for `start` and `check`; texts as they were typed. */
export interface StartOptions {
	readonly role: Role;
	readonly flags: Flags;
	readonly envFile?: string;
}

/** One command line, understood. */
export type Command =
	| { readonly do: "help" | "version" }
	| ({ readonly do: "start" | "check" | "health" } & StartOptions)
	| ({ readonly do: "agents" | "models" | "invite" /** The router's address. */; readonly url?: string } & StartOptions)
	| ({
			readonly do: "explain";
			readonly url?: string;
			readonly model: string /** A request's body. */;
			readonly file?: string;
	  } & StartOptions)
	| { readonly do: "init"; readonly what: "example" | "schema" /** `-`: stdout. */; readonly file: string };

/** The command line makes no sense. The message is one line for a person; the process exits with 2. */
export class UsageError extends Error {
	override readonly name = "UsageError";
}

type Subcommand = "start" | "check" | "health" | "init" | "agents" | "models" | "explain";

const text = (...commands: Subcommand[]) => ({ type: "string" as const, commands });
const toggle = (...commands: Subcommand[]) => ({ type: "boolean" as const, commands });

const OPTIONS = {
	agent: toggle("start", "check", "health"),
	standalone: toggle("start", "check", "health"),
	config: text("start", "check", "health", "init", "agents", "models", "explain"),
	host: text("start", "check", "health", "agents", "models", "explain"),
	port: text("start", "check", "health", "agents", "models", "explain"),
	url: text("agents", "models", "explain"),
	"env-file": text("start", "check", "health", "agents", "models", "explain"),
	file: text("explain"),
	insecure: toggle("start", "check"),
	schema: toggle("init"),
	stdout: toggle("init"),
	version: { ...toggle("start", "check", "health", "init", "agents", "models", "explain"), short: "v" },
	help: { ...toggle("start", "check", "health", "init", "agents", "models", "explain"), short: "h" },
} as const;
const SUBCOMMANDS = ["check", "init", "health", "agents", "models", "explain"] as const;

/** Understands the words after the program's name. Throws UsageError, naming the nearest right word. */
export function parseCommand(args: readonly string[]): Command {
	const { tokens } = parseArgs({
		args: [...args],
		options: OPTIONS,
		strict: false,
		allowPositionals: true,
		tokens: true,
	});
	const given: Partial<Record<keyof typeof OPTIONS, string>> = {};
	const words: string[] = [];
	for (const token of tokens) {
		if (token.kind === "positional") words.push(token.value);
		if (token.kind !== "option") continue;
		const name = known(token.name, token.rawName);
		given[name] = OPTIONS[name].type === "string" ? value(token) : noValue(token);
	}
	if ("help" in given) return { do: "help" };
	if ("version" in given) return { do: "version" };

	const command = subcommand(words.shift());
	for (const name of Object.keys(given) as (keyof typeof OPTIONS)[]) {
		if (!(OPTIONS[name].commands as readonly string[]).includes(command)) {
			throw new UsageError(`--${name} does not belong to ${command === "start" ? "a plain start" : `\`${command}\``}`);
		}
	}
	if (command === "init") {
		const file = "stdout" in given || "schema" in given ? "-" : (words.shift() ?? given.config ?? "router.yaml");
		noMore(words);
		return { do: "init", what: "schema" in given ? "schema" : "example", file };
	}
	const model = command === "explain" ? words.shift() : undefined;
	if (command === "explain" && model === undefined)
		throw new UsageError("`explain` needs a model: router explain MODEL");
	const isInvitation = command === "agents" && words[0] === "invite";
	if (isInvitation) words.shift();
	noMore(words);
	if ("agent" in given && "standalone" in given) {
		throw new UsageError(
			"--agent and --standalone exclude each other: --standalone is router and agent in one process",
		);
	}
	const shared: StartOptions & { url?: string } = {
		...(given.url !== undefined && { url: given.url }),
		role: "agent" in given ? "agent" : "standalone" in given ? "standalone" : "router",
		flags: {
			...(given.config !== undefined && { config: given.config }),
			...(given.host !== undefined && { host: given.host }),
			...(given.port !== undefined && { port: given.port }),
			...("insecure" in given && { insecure: true }),
		},
		...(given["env-file"] !== undefined && { envFile: given["env-file"] }),
	};
	if (command === "explain") {
		return { do: command, model: model!, ...(given.file !== undefined && { file: given.file }), ...shared };
	}
	return { do: isInvitation ? "invite" : command, ...shared };
}

/** Whether this command line starts a server, which is what needs the raised fetch limit. False for one that is wrong. */
export function startsServer(args: readonly string[]): boolean {
	try {
		return parseCommand(args).do === "start";
	} catch (error) {
		// cli.ts parses again and tells what is wrong.
		if (error instanceof UsageError) return false;
		throw error;
	}
}

interface OptionToken {
	readonly rawName: string;
	readonly value?: string | undefined;
	readonly inlineValue?: boolean | undefined;
}

function known(name: string, rawName: string): keyof typeof OPTIONS {
	if (Object.hasOwn(OPTIONS, name)) return name as keyof typeof OPTIONS;
	const hint = didYouMean(name, Object.keys(OPTIONS))?.replace('"', '"--');
	throw new UsageError(`unknown flag ${rawName}${hint ? `; ${hint}` : ""}`);
}

function value(token: OptionToken): string {
	// `--host --port 1` would take "--port" as the host.
	const isFlag = token.inlineValue !== true && token.value?.startsWith("-") && token.value !== "-";
	if (!token.value || isFlag) throw new UsageError(`${token.rawName} needs a value: ${token.rawName}=…`);
	return token.value;
}

function noValue(token: OptionToken): string {
	if (token.value !== undefined) throw new UsageError(`${token.rawName} takes no value`);
	return "";
}

function subcommand(word: string | undefined): Subcommand {
	if (word === undefined) return "start";
	const found = SUBCOMMANDS.find((name) => name === word);
	if (found) return found;
	const flags = Object.keys(OPTIONS);
	const hint = flags.includes(word) ? `did you mean "--${word}"?` : didYouMean(word, SUBCOMMANDS);
	throw new UsageError(
		`unknown command "${word}"; ${hint ?? "there are check, init, health, agents, models and explain, and none to start"}`,
	);
}

function noMore(words: readonly string[]): void {
	if (words[0] !== undefined) throw new UsageError(`"${words[0]}" is one word too many`);
}
