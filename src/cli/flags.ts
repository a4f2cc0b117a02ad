/** The words of the command line → the command. Pure; main.ts reads this file before anything else is loaded. */
import { parseArgs } from "node:util";
import { didYouMean } from "../config/did-you-mean.ts";
import type { Flags, Role } from "../config/overlay.ts";
import { type AdminCommand, parseAdminArgs } from "./admin-args.ts";
import { parseAgentFlags } from "./agent-flags.ts";
import { type ConnectOptions, parseConnectArgs } from "./connect/connect-args.ts";
import { FLAGS, PRINTED, type Printed, SHELLS, type ShellName, SUBCOMMANDS, type Subcommand } from "./flag-table.ts";
import { type ImportOptions, parseImportArgs } from "./import-args.ts";
import { parseRollArgs, type RollOptions } from "./roll-args.ts";

/** Flags of every command that reads a configuration; texts as they were typed. */
export interface StartOptions {
	readonly role: Role;
	readonly flags: Flags;
	readonly envFile?: string;
}

/** A parsed command line. */
export type Command =
	| { readonly do: "help" | "version" | "man" }
	| { readonly do: "completions"; readonly shell: ShellName }
	| Named<"check" | "health" | "suggest" | "doctor">
	| ({
			readonly do: "start" /** It takes the place of the router that runs on its data directory. */;
			readonly isReplacing?: true;
	  } & StartOptions)
	| ({
			readonly do: "upgrade" /** The new program; absent: the running one, as its file is now. */;
			readonly file?: string;
	  } & StartOptions)
	| (Named<"agents" | "models" | "invite"> & { /** The router's address. */ readonly url?: string })
	| ({ readonly do: "admin"; readonly admin: AdminCommand; readonly url?: string } & StartOptions)
	| ({ readonly do: "connect"; readonly connect: ConnectOptions; readonly url?: string } & StartOptions)
	| ({
			readonly do: "explain";
			readonly url?: string;
			readonly model: string /** A request's body. */;
			readonly file?: string /** Where it would be sent. */;
			readonly path?: string;
	  } & StartOptions)
	| ({ readonly do: "backup" | "restore" /** The backup, as it was typed. */; readonly file: string } & StartOptions)
	| ({ readonly do: "roll"; readonly roll: RollOptions; readonly url?: string } & StartOptions)
	| { readonly do: "docs"; readonly topic?: string }
	| ({ readonly do: "import" } & ImportOptions)
	| InitCommand;

/** A union member for each name, so that `do` discriminates them. */
type Named<Name extends string> = Name extends string ? { readonly do: Name } & StartOptions : never;

/** `file`: `-` is stdout. `role`: whose unit or compose file. */
export interface InitCommand {
	readonly do: "init";
	readonly what: "example" | Printed;
	readonly role: Role;
	readonly file: string;
}

/** The command line makes no sense. The message is one line for a person; the process exits with 2. */
export class UsageError extends Error {
	override readonly name = "UsageError";
}

/** Second words of commands. */
const SECOND_WORDS: Readonly<Record<string, readonly string[]>> = {
	agents: ["invite", "invitations", "revoke"],
	models: ["roll", "suggest"],
};
/** Commands of two words. */
const TWO_WORDS: Readonly<Record<string, "invite" | "suggest">> = {
	"agents invite": "invite",
	"models suggest": "suggest",
};

/** Parses the words after the program's name. Throws UsageError, with the nearest valid word. */
export function parseCommand(args: readonly string[]): Command {
	// The words after `--` are vLLM's own.
	const end = args.includes("--") ? args.indexOf("--") : args.length;
	const { given, words } = split(args.slice(0, end));
	if ("help" in given) return { do: "help" };
	if ("version" in given) return { do: "version" };

	const command = subcommand(words.shift());
	const role = roleFor(command, given);
	if (command === "docs") return docsCommand(words);
	if (command === "completions" || command === "man") return shellCommand(command, words);
	if (command === "import") return { do: "import", ...wellFormed(parseImportArgs(words, given)) };
	if (command === "init") return initCommand(Object.keys(given), words, role, given.config);
	const model = command === "explain" ? words.shift() : undefined;
	if (command === "explain" && model === undefined) {
		throw new UsageError("`explain` needs a model: router explain MODEL");
	}
	const isOfBackup = command === "backup" || command === "restore";
	const file = isOfBackup ? words.shift() : given.file;
	if (isOfBackup && file === undefined) throw new UsageError(`\`${command}\` needs a file: router ${command} FILE`);
	const admin = adminCommand(command, words, given);
	const connect = command === "connect" ? wellFormed(parseConnectArgs(words, given)) : undefined;
	const roll = command === "models" ? wellFormed(parseRollArgs(words, given)) : undefined;
	const twoWords = TWO_WORDS[`${command} ${words[0]}`];
	if (twoWords) words.shift();
	noMore(words, SECOND_WORDS[command]);
	if (twoWords === "suggest" && given.url !== undefined) {
		throw new UsageError("--url does not belong to `models suggest`");
	}
	const vllmArgs = end < args.length ? args.slice(end + 1) : undefined;
	const shared: StartOptions & { url?: string } = {
		...(given.url !== undefined && { url: given.url }),
		role,
		flags: {
			...(given.config !== undefined && { config: given.config }),
			...(given.host !== undefined && { host: given.host }),
			...(given.port !== undefined && { port: given.port }),
			...(given.workers !== undefined && { workers: given.workers }),
			...("insecure" in given && { insecure: true }),
			...(admin || connect ? {} : wellFormed(parseAgentFlags(role, given, vllmArgs))),
		},
		...(given["env-file"] !== undefined && { envFile: given["env-file"] }),
	};
	if (command === "explain") return { do: command, model: model!, ...askedFor(given), ...shared };
	if (isOfBackup) return { do: command, file: file!, ...shared };
	if (command === "start") return { do: command, ...("replace" in given && { isReplacing: true }), ...shared };
	if (command === "upgrade") return { do: command, ...(given.to !== undefined && { file: given.to }), ...shared };
	if (admin) return { do: "admin", admin, ...shared };
	if (connect) return { do: "connect", connect, ...shared };
	if (roll) return { do: "roll", roll, ...shared };
	return { do: twoWords ?? (command as Exclude<typeof command, (typeof ADMIN)[number] | "connect">), ...shared };
}

/** The flags that are given, with their values, and the other words. */
function split(args: string[]): { given: Given; words: string[] } {
	const { tokens } = parseArgs({ args, options: FLAGS, strict: false, allowPositionals: true, tokens: true });
	const given: Given = {};
	const words: string[] = [];
	for (const token of tokens) {
		if (token.kind === "positional") words.push(token.value);
		if (token.kind !== "option") continue;
		const name = known(token.name, token.rawName);
		given[name] = FLAGS[name].type === "string" ? value(token) : noValue(token);
	}
	return { given, words };
}

/** The role that the flags ask for. Throws UsageError where a flag does not belong to the command. */
function roleFor(command: Subcommand, given: Given): Role {
	for (const name of Object.keys(given) as (keyof typeof FLAGS)[]) {
		if (!(FLAGS[name].commands as readonly string[]).includes(command)) {
			throw new UsageError(`--${name} does not belong to ${command === "start" ? "a plain start" : `\`${command}\``}`);
		}
	}
	if ("agent" in given && "standalone" in given) {
		throw new UsageError(
			"--agent and --standalone exclude each other: --standalone is router and agent in one process",
		);
	}
	if ("agent" in given && "replace" in given) {
		throw new UsageError(
			"--replace belongs to the router: an agent that is restarted leaves its models' containers running",
		);
	}
	if ("agent" in given && "workers" in given) throw new UsageError("--workers belongs to the router");
	return "agent" in given ? "agent" : "standalone" in given ? "standalone" : "router";
}

/** The administration command that these words are; undefined where they are none. Throws UsageError. */
function adminCommand(command: Subcommand, words: string[], given: Given): AdminCommand | undefined {
	const of = command === "agents" && AGENT_ADMIN.includes(words[0]!) ? command : ADMIN.find((name) => name === command);
	return of && wellFormed(parseAdminArgs(of, words, given));
}

/** What was parsed. Throws UsageError where that is a message. */
function wellFormed<T>(parsed: T | string): T {
	if (typeof parsed === "string") throw new UsageError(parsed);
	return parsed;
}

/** What is asked of `explain`: a request's body, and where it would be sent. */
const askedFor = ({ file, path }: Given) => ({
	...(file !== undefined && { file }),
	...(path !== undefined && { path }),
});

type Given = Partial<Record<keyof typeof FLAGS, string>>;

function docsCommand(words: string[]): Command {
	const topic = words.shift();
	noMore(words);
	return { do: "docs", ...(topic !== undefined && { topic }) };
}

function shellCommand(command: "completions" | "man", words: string[]): Command {
	const word = command === "completions" ? words.shift() : undefined;
	const shell = SHELLS.find((name) => name === word);
	noMore(words);
	if (command === "man") return { do: command };
	if (shell) return { do: command, shell };
	throw new UsageError(`\`completions\` needs a shell: router completions ${SHELLS.join("|")}`);
}

function initCommand(given: readonly string[], words: string[], role: Role, config: string | undefined): InitCommand {
	const [what = "example", more] = PRINTED.filter((name) => given.includes(name));
	if (more) throw new UsageError(`--${what} and --${more} are two files: ask for one at a time`);
	if (role !== "router" && what !== "systemd" && what !== "compose") {
		throw new UsageError(`--${role} belongs to \`init\` with --systemd or --compose only: router.yaml is one for all`);
	}
	const isPrinted = what !== "example" || given.includes("stdout");
	const file = isPrinted ? "-" : (words.shift() ?? config ?? "router.yaml");
	noMore(words);
	return { do: "init", what, role, file };
}

/** Commands of administration, and the words after `router agents` that make it one. */
const ADMIN = ["keys", "usage", "why", "replay"] as const;
const AGENT_ADMIN = ["invitations", "revoke"];

/** Whether this command line starts a server, which is what needs the raised fetch limit. False for one that is wrong. */
export function startsServer(args: readonly string[]): boolean {
	try {
		return parseCommand(args).do === "start";
	} catch (error) {
		// cli.ts parses again and prints the error.
		if (error instanceof UsageError) return false;
		throw error;
	}
}

interface OptionToken {
	readonly rawName: string;
	readonly value?: string | undefined;
	readonly inlineValue?: boolean | undefined;
}

function known(name: string, rawName: string): keyof typeof FLAGS {
	if (Object.hasOwn(FLAGS, name)) return name as keyof typeof FLAGS;
	const hint = didYouMean(name, Object.keys(FLAGS))?.replace('"', '"--');
	throw new UsageError(`unknown flag ${rawName}${hint ? `; ${hint}` : ""}`);
}

function value(token: OptionToken): string {
	if (token.inlineValue !== true && token.value && /^-\.?\d/.test(token.value)) {
		throw new UsageError(`${token.rawName} takes no negative number, as ${token.value.slice(0, 40)} is one`);
	}
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
	const flags = Object.keys(FLAGS);
	const hint = flags.includes(word) ? `did you mean "--${word}"?` : didYouMean(word, SUBCOMMANDS);
	throw new UsageError(
		`unknown command "${word}"; ${hint ?? `there are ${SUBCOMMANDS.join(", ")}, and none to start`}`,
	);
}

function noMore(words: readonly string[], known: readonly string[] = []): void {
	const hint = didYouMean(words[0] ?? "", known);
	const meant = hint === undefined ? "" : `; ${hint}`;
	if (words[0] !== undefined) throw new UsageError(`"${words[0]}" is one word too many${meant}`);
}
