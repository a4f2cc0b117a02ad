/** The command line: carries a command out, and says in one line what went wrong. */
import { type Command, parseCommand, type StartOptions, UsageError } from "./cli/flags.ts";
import { helpText } from "./cli/help.ts";
import { ConfigError, located, mistakeLine } from "./config/config-error.ts";
import type { Environment } from "./config/interpolate.ts";
import type { Loaded } from "./config/load.ts";
import { VERSION } from "./version.ts";

/** Exit codes. Those of sysexits.h are finer, and scripts do not use them. */
const SUCCESS = 0;
const FAILED = 1;
const USAGE = 2;

const out = (text: string) => process.stdout.write(text);
const printError = (text: string) => process.stderr.write(`${text}\n`);
const print = ({ text, note }: Output) => {
	out(text);
	if (note !== undefined) printError(note);
};

/**
 * Runs one command line (`args`: the words after the program's name) and resolves with the exit code: 0, 1 where it
 * failed, 2 where the command line is wrong. A start resolves when the server has ended. Never rejects.
 */
export async function run(args: readonly string[], env: Environment): Promise<number> {
	try {
		return await perform(parseCommand(args), env);
	} catch (error) {
		if (error instanceof UsageError) {
			printError(`router: ${error.message}\nTry \`router --help\`.`);
			return USAGE;
		}
		printError(failure(error));
		return FAILED;
	}
}

/** Carries a command out. What it needs is loaded only then, so that `--version` does not wait for the server's modules. */
async function perform(command: Command, env: Environment): Promise<number> {
	const cwd = process.cwd();
	switch (command.do) {
		case "start": {
			const { loaded, variables } = await configuration(command, env, cwd);
			const { start } = await import("./cli/start.ts");
			return await locating(loaded, start(loaded, command.isReplacing ? replacing(variables) : variables, out));
		}
		case "upgrade": {
			const { loaded } = await configuration(command, env, cwd);
			const { upgradeCommand } = await import("./cli/upgrade-command.ts");
			out(await upgradeCommand(loaded.config, command.file, printError));
			return SUCCESS;
		}
		case "doctor": {
			const { doctorPage } = await import("./cli/doctor/doctor.ts");
			out(await doctorPage({ load: () => configuration(command, env, cwd), env }));
			return SUCCESS;
		}
		case "roll": {
			const { loaded } = await configuration(command, env, cwd);
			const { rollModel } = await import("./cli/roll-command.ts");
			await rollModel(command.roll, command.url, loaded.config, (line) => out(`${line}\n`));
			return SUCCESS;
		}
		case "check":
		case "health":
		case "agents":
		case "models":
		case "explain":
		case "invite":
		case "connect":
		case "admin":
		case "backup":
		case "restore":
			print(await outputOf(command, await configuration(command, env, cwd), cwd));
			return SUCCESS;
		default:
			print(await outputAlone(command, env, cwd));
			return SUCCESS;
	}
}

/** The output of a command that reads no configuration of the router's. */
async function outputAlone(command: Alone, env: Environment, cwd: string): Promise<Output> {
	switch (command.do) {
		case "help":
			return { text: helpText() };
		case "version":
			return { text: `${VERSION}\n` };
		case "completions": {
			const { completions } = await import("./cli/completions.ts");
			return { text: completions(command.shell) };
		}
		case "man": {
			const { manPage } = await import("./cli/man-page.ts");
			return { text: manPage() };
		}
		case "docs": {
			const { docsText } = await import("./cli/docs.ts");
			return { text: docsText(command.topic) };
		}
		case "init": {
			const { initText, writeExample } = await import("./cli/init.ts");
			return { text: command.file === "-" ? initText(command) : writeExample(command.file, cwd) };
		}
		case "import": {
			const { importCommand } = await import("./cli/import-command.ts");
			return importCommand(command, cwd);
		}
		case "suggest": {
			const { suggest } = await import("./cli/suggest.ts");
			return await suggest(env);
		}
	}
}

/** Commands that print a text made from the configuration, or from a running router's answer. */
type Query = Extract<
	Command,
	{
		readonly do:
			| "check"
			| "health"
			| "agents"
			| "models"
			| "explain"
			| "invite"
			| "connect"
			| "admin"
			| "backup"
			| "restore";
	}
>;
/** Commands that need neither. */
type Alone = Exclude<Command, Query | { readonly do: "start" | "roll" | "upgrade" | "doctor" }>;
/** The output of a command: for stdout, and a note for the user, for stderr. */
interface Output {
	readonly text: string;
	readonly note?: string | undefined;
}

async function outputOf(command: Query, { loaded, variables }: Configuration, cwd: string): Promise<Output> {
	const { config } = loaded;
	switch (command.do) {
		case "check": {
			const { check } = await import("./cli/check.ts");
			return { text: await locating(loaded, check(loaded, variables)) };
		}
		case "health": {
			const { healthCommand } = await import("./cli/health-command.ts");
			return { text: await healthCommand(loaded) };
		}
		case "agents":
		case "models": {
			const { agentsTable, modelsTable } = await import("./cli/agents.ts");
			const table = command.do === "agents" ? agentsTable : modelsTable;
			return { text: await table(command.url, config, variables) };
		}
		case "explain": {
			const { explainText } = await import("./cli/explain-command.ts");
			return { text: await explainText(command, config, cwd) };
		}
		case "invite": {
			const { invite } = await import("./cli/invite.ts");
			return invite(command.url, config);
		}
		case "connect": {
			const { connectClient } = await import("./cli/connect/connect.ts");
			return await connectClient(command.connect, command.url, { config, env: variables, cwd });
		}
		case "backup":
		case "restore": {
			const { backUpCommand, restoreCommand } = await import("./cli/backup-command.ts");
			return { text: (command.do === "backup" ? backUpCommand : restoreCommand)(command.file, config, cwd) };
		}
		case "admin": {
			const { runAdminCommand } = await import("./cli/admin.ts");
			return await runAdminCommand(command.admin, command.url, config);
		}
	}
}

/** The environment of a router that takes another one's place. */
const replacing = (variables: Environment): Environment => ({ ...variables, ROUTER_REPLACE: "1" });

interface Configuration {
	readonly loaded: Loaded;
	/** The environment, with what an env file adds. */
	readonly variables: Environment;
}

async function configuration(
	{ role, flags, envFile }: StartOptions,
	env: Environment,
	cwd: string,
): Promise<Configuration> {
	const { load, UnusableConfig } = await import("./config/load.ts");
	// An empty variable counts as unset, for every later step, too.
	let variables: Environment = Object.fromEntries(Object.entries(env).filter(([, value]) => value));
	if (envFile !== undefined) {
		const { withEnvFile } = await import("./cli/env-file.ts");
		variables = withEnvFile(variables, envFile, cwd);
	}
	const { upstreamVariables } = await import("./cli/upstream-variables.ts");
	let loaded: Loaded;
	try {
		loaded = load({ flags, env: variables, cwd, role, variables: upstreamVariables() });
	} catch (error) {
		if (!(error instanceof UnusableConfig)) throw error;
		const { withFurtherMistakes } = await import("./cli/check.ts");
		throw await withFurtherMistakes(error, role);
	}
	for (const warning of loaded.warnings) printError(`warning: ${mistakeLine(warning)}`);
	return { loaded, variables: loaded.env };
}

/** The result of a step that uses a configuration; a mistake in the file that only shows there is thrown with its line. */
async function locating<T>(loaded: Loaded, done: Promise<T>): Promise<T> {
	try {
		return await done;
	} catch (error) {
		throw located(error, loaded.locate);
	}
}

/** One line for a person (one a mistake for a configuration); never a stack. */
function failure(error: unknown): string {
	if (error instanceof ConfigError) return error.message;
	return `router: ${error instanceof Error ? error.message : "failed for an unknown reason"}`;
}
