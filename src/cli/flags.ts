/** The command line's words → what to do. Pure; also read by main.ts before anything else is loaded. */
import { parseArgs } from "node:util";
import { didYouMean } from "../config/did-you-mean.ts";
import type { Flags, Role } from "../config/overlay.ts";
import { KEY_FLAGS, type Order, orderOf } from "./admin-args.ts";

/** What sets something for `start` and `check`; texts as they were typed. */
export interface StartOptions {
	readonly role: Role;
	readonly flags: Flags;
	readonly envFile?: string;
}

/** One command line, understood. */
export type Command =
	| { readonly do: "help" | "version" }
	| ({ readonly do: "start" | "check" | "health" | "suggest" } & StartOptions)
	| ({ readonly do: "agents" | "models" | "invite" /** The router's address. */; readonly url?: string } & StartOptions)
	| ({ readonly do: "office"; readonly order: Order; readonly url?: string } & StartOptions)
	| ({
			readonly do: "explain";
			readonly url?: string;
			readonly model: string /** A request's body. */;
			readonly file?: string;
	  } & StartOptions)
	| InitCommand;

/** `file`: `-` is stdout. `role`: whose unit or compose file. */
export interface InitCommand {
	readonly do: "init";
	readonly what: "example" | "schema" | "systemd" | "compose";
	readonly role: Role;
	readonly file: string;
}

/** The command line makes no sense. The message is one line for a person; the process exits with 2. */
export class UsageError extends Error {
	override readonly name = "UsageError";
}

const SUBCOMMANDS = ["check", "init", "health", "agents", "models", "explain", "keys", "usage", "why"] as const;
type Subcommand = "start" | (typeof SUBCOMMANDS)[number];

const text = (...commands: Subcommand[]) => ({ type: "string" as const, commands });
const toggle = (...commands: Subcommand[]) => ({ type: "boolean" as const, commands });
/** Commands that ask a router. */
const ASKING = ["agents", "models", "explain", "keys", "usage", "why"] as const;

const OPTIONS = {
	agent: toggle("start", "check", "health", "init"),
	standalone: toggle("start", "check", "health", "init"),
	config: text("start", "check", "health", "init", ...ASKING),
	host: text("start", "check", "health", ...ASKING),
	port: text("start", "check", "health", ...ASKING),
	url: text(...ASKING),
	"env-file": text("start", "check", "health", ...ASKING),
	model: text("start", "check"),
	// Of the agent; the other is a key's.
	name: text("start", "check", "keys"),
	gpus: text("start", "check"),
	devices: text("start", "check"),
	router: text("start", "check"),
	advertise: text("start", "check"),
	"vllm-url": text("start", "check"),
	"stop-containers": toggle("start", "check"),
	file: text("explain"),
	insecure: toggle("start", "check"),
	schema: toggle("init"),
	systemd: toggle("init"),
	compose: toggle("init"),
	stdout: toggle("init"),
	...(Object.fromEntries(KEY_FLAGS.filter((name) => name !== "name").map((name) => [name, text("keys")])) as Record<
		Exclude<(typeof KEY_FLAGS)[number], "name">,
		ReturnType<typeof text>
	>),
	overlap: text("keys"),
	by: text("usage"),
	from: text("usage"),
	to: text("usage"),
	csv: toggle("usage"),
	version: { ...toggle("start", ...SUBCOMMANDS), short: "v" },
	help: { ...toggle("start", ...SUBCOMMANDS), short: "h" },
} as const;
/** Commands of two words. */
const FURTHER: Readonly<Record<string, "invite" | "suggest">> = {
	"agents invite": "invite",
	"models suggest": "suggest",
};

/** Understands the words after the program's name. Throws UsageError, naming the nearest right word. */
export function parseCommand(args: readonly string[]): Command {
	// What follows `--` is vLLM's own.
	const end = args.includes("--") ? args.indexOf("--") : args.length;
	const { tokens } = parseArgs({
		args: args.slice(0, end),
		options: OPTIONS,
		strict: false,
		allowPositionals: true,
		tokens: true,
	});
	const given: Given = {};
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
	if ("agent" in given && "standalone" in given) {
		throw new UsageError(
			"--agent and --standalone exclude each other: --standalone is router and agent in one process",
		);
	}
	const role = "agent" in given ? "agent" : "standalone" in given ? "standalone" : "router";
	if (command === "init") return initCommand(Object.keys(given), words, role, given.config);
	const asked = command === "explain" ? words.shift() : undefined;
	if (command === "explain" && asked === undefined)
		throw new UsageError("`explain` needs a model: router explain MODEL");
	const isOrder =
		command === "keys" ||
		command === "usage" ||
		command === "why" ||
		(command === "agents" && OFFICE.includes(words[0]!));
	const order = isOrder ? orderOf(command, words, given) : undefined;
	if (typeof order === "string") throw new UsageError(order);
	const more = FURTHER[`${command} ${words[0]}`];
	if (more) words.shift();
	noMore(words);
	if (more === "suggest" && given.url !== undefined) throw new UsageError("--url does not belong to `models suggest`");
	const shared: StartOptions & { url?: string } = {
		...(given.url !== undefined && { url: given.url }),
		role,
		flags: {
			...(given.config !== undefined && { config: given.config }),
			...(given.host !== undefined && { host: given.host }),
			...(given.port !== undefined && { port: given.port }),
			...("insecure" in given && { insecure: true }),
			...(order ? {} : agentFlags(role, given, end < args.length ? args.slice(end + 1) : undefined)),
		},
		...(given["env-file"] !== undefined && { envFile: given["env-file"] }),
	};
	if (command === "explain") {
		return { do: command, model: asked!, ...(given.file !== undefined && { file: given.file }), ...shared };
	}
	if (order) return { do: "office", order, ...shared };
	return { do: more ?? (command as Exclude<typeof command, "keys" | "usage" | "why">), ...shared };
}

type Given = Partial<Record<keyof typeof OPTIONS, string>>;

/** Flags of the agent alone, and those among them that say more of `--model`. */
const OF_AGENT = ["model", "name", "gpus", "devices", "router", "advertise", "vllm-url", "stop-containers"] as const;
const OF_MODEL = ["name", "gpus", "devices"] as const;

/** The agent's flags. Throws UsageError where there is no agent, or no model, that they could belong to. */
function agentFlags(role: Role, given: Given, args: readonly string[] | undefined): Flags {
	const stray = OF_AGENT.find((name) => name in given) ?? (args && "");
	if (role === "router" && stray !== undefined) {
		throw new UsageError(`--${stray} belongs to \`router --agent\` (or --standalone)`);
	}
	const lone = OF_MODEL.find((name) => name in given) ?? (args && "");
	if (!("model" in given) && lone !== undefined)
		throw new UsageError(`--${lone} says more of a --model; there is none`);
	const { model, name, gpus, devices, router, advertise, "vllm-url": vllmUrl } = given;
	const said = Object.entries({ model, name, gpus, devices, router, advertise, vllmUrl, args });
	return {
		...Object.fromEntries(said.filter(([, value]) => value !== undefined)),
		...("stop-containers" in given && { stopContainers: true }),
	};
}

function initCommand(given: readonly string[], words: string[], role: Role, config: string | undefined): InitCommand {
	const [what = "example", more] = (["schema", "systemd", "compose"] as const).filter((name) => given.includes(name));
	if (more) throw new UsageError(`--${what} and --${more} are two files: ask for one at a time`);
	if (role !== "router" && what !== "systemd" && what !== "compose") {
		throw new UsageError(`--${role} belongs to \`init\` with --systemd or --compose only: router.yaml is one for all`);
	}
	const isPrinted = what !== "example" || given.includes("stdout");
	const file = isPrinted ? "-" : (words.shift() ?? config ?? "router.yaml");
	noMore(words);
	return { do: "init", what, role, file };
}

/** What of `router agents …` is asked of the office. */
const OFFICE = ["invitations", "revoke"];

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
	const flags = Object.keys(OPTIONS);
	const hint = flags.includes(word) ? `did you mean "--${word}"?` : didYouMean(word, SUBCOMMANDS);
	throw new UsageError(
		`unknown command "${word}"; ${hint ?? `there are ${SUBCOMMANDS.join(", ")}, and none to start`}`,
	);
}

function noMore(words: readonly string[]): void {
	if (words[0] !== undefined) throw new UsageError(`"${words[0]}" is one word too many`);
}
