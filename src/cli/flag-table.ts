/** All commands and flags there are, and which flag belongs to which command. */
import { KEY_SETTINGS, KEY_SWITCHES } from "./admin-args.ts";

/** Commands besides the start. */
export const SUBCOMMANDS = [
	"check",
	"doctor",
	"init",
	"import",
	"health",
	"agents",
	"models",
	"explain",
	"keys",
	"usage",
	"why",
	"replay",
	"connect",
	"upgrade",
	"backup",
	"restore",
	"docs",
	"completions",
	"man",
] as const;
/** Shells that there are completions for. */
export const SHELLS = ["bash", "zsh", "fish"] as const;
/** One of them. */
export type ShellName = (typeof SHELLS)[number];
/** What the words of a command line can ask for. */
export type Subcommand = "start" | (typeof SUBCOMMANDS)[number];

const text = (...commands: Subcommand[]) => ({ type: "string" as const, commands });
const toggle = (...commands: Subcommand[]) => ({ type: "boolean" as const, commands });
const each = <Name extends string, Flag>(names: readonly Name[], flag: Flag) =>
	Object.fromEntries(names.map((name) => [name, flag])) as Record<Name, Flag>;
/** What `init` prints besides the example, by flag. */
export const PRINTED = [
	"schema",
	"systemd",
	"systemd-socket",
	"compose",
	"kubernetes",
	"grafana",
	"prometheus-rules",
] as const;
/** One of them. */
export type Printed = (typeof PRINTED)[number];
/** Commands that ask a running router. */
const REMOTE = ["agents", "models", "explain", "keys", "usage", "why", "connect"] as const;

/** Flags by their names: whether they have a value, and the commands that they belong to. */
export const FLAGS = {
	agent: toggle("start", "check", "doctor", "health", "init"),
	standalone: toggle("start", "check", "doctor", "health", "init"),
	replace: toggle("start"),
	config: text("start", "check", "doctor", "health", "init", "replay", "upgrade", "backup", "restore", ...REMOTE),
	host: text("start", "check", "doctor", "health", ...REMOTE),
	port: text("start", "check", "doctor", "health", ...REMOTE),
	url: text(...REMOTE),
	"env-file": text("start", "check", "doctor", "health", "replay", "upgrade", "backup", "restore", ...REMOTE),
	// Of the agent; the others are a client's, and a call's.
	model: text("start", "check", "connect", "replay"),
	// Of the agent; the other is a key's.
	name: text("start", "check", "keys"),
	gpus: text("start", "check"),
	devices: text("start", "check"),
	router: text("start", "check"),
	advertise: text("start", "check"),
	"vllm-url": text("start", "check"),
	tunnel: toggle("start", "check"),
	"stop-containers": toggle("start", "check"),
	file: text("explain"),
	path: text("explain"),
	// Of `models roll`.
	image: text("models"),
	canary: text("models"),
	"no-wait": toggle("models"),
	workers: text("start", "check", "doctor"),
	insecure: toggle("start", "check", "doctor"),
	...each(PRINTED, toggle("init")),
	stdout: toggle("init", "import"),
	keys: text("import"),
	...each(KEY_SETTINGS, text("keys")),
	...each(KEY_SWITCHES, toggle("keys")),
	overlap: text("keys"),
	key: text("connect"),
	write: toggle("connect"),
	overwrite: toggle("connect"),
	undo: toggle("connect"),
	by: text("usage"),
	from: text("usage", "replay"),
	// Of `usage` and `replay` a day; the other is a program.
	to: text("usage", "replay", "upgrade"),
	csv: toggle("usage"),
	policy: text("replay"),
	json: toggle("replay"),
	focus: toggle("usage"),
	hourly: toggle("usage"),
	version: { ...toggle("start", ...SUBCOMMANDS), short: "v" },
	help: { ...toggle("start", ...SUBCOMMANDS), short: "h" },
} as const;
