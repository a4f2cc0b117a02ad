/** What the words and flags of the command line mean, a line each, for shells and the manual page. The compiler asks for a text for each flag and command. */
import { IMPORT_FORMATS } from "../config/import/formats.ts";
import { CLIENT_NAMES } from "./connect/connect-args.ts";
import { topics } from "./docs.ts";
import { FLAGS, SHELLS, SUBCOMMANDS } from "./flag-table.ts";
import { FORMAT_NAMES } from "./import-args.ts";

/** A flag's name, without its dashes. */
export type FlagName = keyof typeof FLAGS;

/** What there is to say of a flag. */
export interface FlagText {
	readonly text: string;
	/** Of one that has a value, what that is. */
	readonly value?: string;
	/** The values that there are, or that it names a file. */
	readonly values?: readonly string[] | "file";
	readonly short?: string;
	/** What it is to commands to which it means different things. */
	readonly commands?: { readonly [command in Subcommand]?: Pick<FlagText, "text" | "value" | "values"> };
}

type Subcommand = (typeof SUBCOMMANDS)[number];

const TEXTS = {
	agent: { text: "the agent on a GPU host, in the place of the router" },
	standalone: { text: "router and agent in one process" },
	replace: { text: "take the place of the router that runs on this data directory" },
	config: {
		value: "FILE",
		values: "file",
		text: "configuration (else ROUTER_CONFIG, else ./router.yaml where there is one)",
	},
	host: { value: "ADDRESS", text: "address to listen on" },
	port: { value: "PORT", text: "port to listen on; 0 picks a free one" },
	url: { value: "URL", text: "the router to ask, in the place of this machine's" },
	"env-file": { value: "FILE", values: "file", text: "KEY=VALUE lines; variables that are set already win" },
	model: {
		value: "MODEL",
		text: "of the agent: run this model in a vLLM container; connect: the client's model; replay: calls of this one",
	},
	name: { value: "NAME", text: "what callers call the agent's model; keys create: the key's name" },
	gpus: { value: "N", text: "GPUs that the agent's model spans; 0 runs on the CPU" },
	devices: { value: "NUMBERS", text: "GPUs that the agent's model may use: 0,1" },
	router: { value: "URL", text: "the router that the agent joins" },
	advertise: { value: "URL", text: "where the router reaches this agent" },
	"vllm-url": { value: "URL", text: "serve a vLLM that already runs" },
	tunnel: { text: "the router calls this agent through a connection that the agent opens" },
	"stop-containers": { text: "stop the containers when the agent stops" },
	file: { value: "FILE", values: "file", text: "explain: a request as JSON; - is stdin" },
	path: { value: "PATH", text: "explain: where it would be sent, /v1/messages" },
	image: { value: "IMAGE", text: "models roll: another image" },
	canary: { value: "SHARE", text: "models roll: the share of calls that a first container gets, 10%" },
	"no-wait": { text: "models roll: order it from all agents at once" },
	workers: { value: "N", text: "threads that answer calls, or auto" },
	insecure: { text: "listen beyond loopback without any key" },
	schema: { text: "print the JSON Schema of router.yaml" },
	systemd: { text: "print a systemd unit" },
	"systemd-socket": { text: "print a systemd unit of the router's port" },
	compose: { text: "print a compose file" },
	kubernetes: { text: "print manifests for Kubernetes" },
	grafana: { text: "print a dashboard for Grafana" },
	"prometheus-rules": { text: "print recording and alerting rules for Prometheus" },
	stdout: { text: "init, import: print the file in the place of writing it" },
	keys: { value: "FILE", values: "file", text: "import: virtual keys of LiteLLM, as its /key/list answers them" },
	team: { value: "TEAM", text: "keys create, change: whose usage it counts as, too" },
	models: { value: "NAMES", text: "keys create, change: models that it may use, comma separated" },
	rpm: { value: "N", text: "keys create, change: calls a minute" },
	tpm: { value: "N", text: "keys create, change: tokens a minute" },
	concurrency: { value: "N", text: "keys create, change: calls at once" },
	input: { value: "N", text: "keys create, change: tokens of the longest prompt" },
	"session-usd": { value: "USD", text: "keys create, change: what each session of it may spend" },
	budget: { value: "USD/TIME", text: "keys create, change: what it may spend, 50/month" },
	role: { value: "ROLE", values: ["viewer"], text: "keys create: a key that sees the console and makes no calls" },
	"engine-fields": { text: "keys create, change: it may send what steers an inference server itself" },
	"no-engine-fields": { text: "keys change: it may not any more" },
	"trace-contents": { text: "keys create, change: its prompts and answers go to whoever collects traces" },
	"no-trace-contents": { text: "keys change: they do not any more" },
	overlap: { value: "DURATION", text: "keys rotate: how long the old secret stays good, 24h" },
	key: { value: "KEY", text: "connect: the client's key; - is stdin" },
	write: { text: "connect: write the client's settings" },
	overwrite: { text: "connect: replace values of somebody else, too" },
	undo: { text: "connect: take out what was written" },
	by: {
		value: "FIELDS",
		values: ["key", "team", "user", "model", "provider", "day"],
		text: "usage: what it is summed by, comma separated",
	},
	from: { value: "DAY", text: "usage: the first day, 2026-01-31; replay: the first time" },
	to: {
		value: "DAY|FILE",
		text: "usage: the last day; replay: the last time; upgrade: the new program",
		commands: {
			usage: { value: "DAY", text: "the last day" },
			replay: { value: "DAY", text: "the last time" },
			upgrade: { value: "FILE", values: "file", text: "the new program" },
		},
	},
	csv: { text: "usage: as CSV" },
	focus: { text: "usage: as CSV of the FinOps Open Cost and Usage Specification" },
	hourly: { text: "usage --focus: by the hour" },
	json: { text: "replay: as JSON" },
	policy: {
		value: "POLICY",
		values: ["balanced", "order", "cheapest", "fastest"],
		text: "replay: how targets would be put in order",
	},
	version: { short: "v", text: "print the version" },
	help: { short: "h", text: "print what there is" },
} as const satisfies Readonly<Record<string, FlagText>>;

/** By their names. */
export const FLAG_TEXTS: { readonly [name in FlagName]: FlagText } = TEXTS;

/** All flags, in the order of their table. */
export const FLAG_NAMES = Object.keys(FLAGS) as readonly FlagName[];

/** What there is to say of a flag behind a command. @param command "" is the start */
export function flagText(name: FlagName, command: string): FlagText {
	const text = FLAG_TEXTS[name];
	return { ...text, ...text.commands?.[command as Subcommand] };
}

/** A word, and what it does. */
interface WordText {
	readonly name: string;
	readonly text: string;
}

/** A command, and what may stand behind it. */
export interface CommandWords extends WordText {
	/** Empty where any word, or none, may. */
	readonly words: readonly WordText[];
}

const COMMANDS: {
	readonly [name in Subcommand]: { readonly text: string; readonly words?: Readonly<Record<string, string>> };
} = {
	check: { text: "say what would run, and every mistake in the configuration" },
	import: {
		text: "write a router.yaml from another program's file",
		words: Object.fromEntries(FORMAT_NAMES.map((name) => [name, `a file of ${IMPORT_FORMATS[name].title}`])),
	},
	doctor: { text: "print facts for a report of a fault, without secrets, and what looks wrong" },
	init: { text: "write a commented router.yaml, or print another file" },
	health: { text: "exit 0 if the router of this configuration takes calls, else 1" },
	agents: {
		text: "list the agents of a running router",
		words: {
			invite: "make a token for agents",
			invitations: "list those tokens",
			revoke: "take one back",
		},
	},
	models: {
		text: "list the models of a running router",
		words: { roll: "replace a model's containers while they serve", suggest: "list models that fit this host's GPUs" },
	},
	explain: { text: "where a running router would send a call, and why" },
	keys: {
		text: "list the keys",
		words: {
			list: "list the keys",
			create: "make a key; print its secret, once",
			change: "change what a key may do",
			rotate: "give a key a new secret",
			revoke: "take a key back",
		},
	},
	usage: { text: "calls, tokens and cost" },
	replay: { text: "what another policy would have done with past calls" },
	backup: { text: "write the data directory to one file, while the router runs" },
	restore: { text: "add what a backup has and the data directory lacks" },
	upgrade: { text: "have another program take the running router's place" },
	why: { text: "where a past call went, why, and what it cost" },
	connect: {
		text: "what a client needs to use this router",
		words: Object.fromEntries(CLIENT_NAMES.map((name) => [name, `settings of ${name}`])),
	},
	docs: { text: "print a page of the documentation", words: Object.fromEntries(topics()) },
	completions: {
		text: "print what has a shell complete commands and flags",
		words: Object.fromEntries(SHELLS.map((name) => [name, `for ${name}`])),
	},
	man: { text: "print the manual page" },
};

/** All commands, the start first, whose name is "". */
export function commandWords(): readonly CommandWords[] {
	const commands = SUBCOMMANDS.map((name) => {
		const { text, words = {} } = COMMANDS[name];
		return { name, text, words: Object.entries(words).map(([word, about]) => ({ name: word, text: about })) };
	});
	return [
		{ name: "", text: "start the router", words: commands.map(({ name, text }) => ({ name, text })) },
		...commands,
	];
}

/** Flags of a command. @param command "" is the start */
export function commandFlags(command: string): readonly FlagName[] {
	const of = command === "" ? "start" : command;
	return FLAG_NAMES.filter((name) => (FLAGS[name].commands as readonly string[]).includes(of));
}
