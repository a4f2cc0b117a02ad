/** The command line: does what the words ask and says in one line what went wrong. */
import { type Command, parseCommand, type StartOptions, UsageError } from "./cli/flags.ts";
import { HELP } from "./cli/help.ts";
import { ConfigError, located, mistakeLine } from "./config/config-error.ts";
import type { Environment } from "./config/interpolate.ts";
import type { Loaded } from "./config/load.ts";
import { VERSION } from "./version.ts";

/** Exit codes; sysexits has finer ones that no one tells apart. */
const GOOD = 0;
const FAILED = 1;
const USAGE = 2;

const out = (text: string) => process.stdout.write(text);
const complain = (text: string) => process.stderr.write(`${text}\n`);

/**
 * Runs one command line (`args`: the words after the program's name) and resolves with the exit code: 0, 1 where it
 * failed, 2 where the command line is wrong. A start resolves when the server has ended. Never rejects.
 */
export async function run(args: readonly string[], env: Environment): Promise<number> {
	try {
		return await perform(parseCommand(args), env);
	} catch (error) {
		if (error instanceof UsageError) {
			complain(`router: ${error.message}\nTry \`router --help\`.`);
			return USAGE;
		}
		complain(failure(error));
		return FAILED;
	}
}

// What a command needs is loaded when it is asked for: `--version` takes 20 ms, the server's modules take 100.
async function perform(command: Command, env: Environment): Promise<number> {
	const cwd = process.cwd();
	switch (command.do) {
		case "help":
			out(HELP);
			return GOOD;
		case "version":
			out(`${VERSION}\n`);
			return GOOD;
		case "init": {
			const { initText, writeExample } = await import("./cli/init.ts");
			out(command.file === "-" ? initText(command) : writeExample(command.file, cwd));
			return GOOD;
		}
		case "check": {
			const { loaded, variables } = await configuration(command, env, cwd);
			const { check } = await import("./cli/check.ts");
			out(await locating(loaded, check(loaded, variables)));
			return GOOD;
		}
		case "health": {
			const { loaded } = await configuration(command, env, cwd);
			const { healthCommand } = await import("./cli/health-command.ts");
			out(await healthCommand(loaded));
			return GOOD;
		}
		case "agents":
		case "models": {
			const { loaded, variables } = await configuration(command, env, cwd);
			const { agentsTable, modelsTable } = await import("./cli/agents.ts");
			const table = command.do === "agents" ? agentsTable : modelsTable;
			out(await table(command.url, loaded.config, variables));
			return GOOD;
		}
		case "explain": {
			const { loaded } = await configuration(command, env, cwd);
			const { explainText } = await import("./cli/explain-command.ts");
			out(await explainText(command, loaded.config, cwd));
			return GOOD;
		}
		case "invite": {
			const { loaded } = await configuration(command, env, cwd);
			const { invite } = await import("./cli/invite.ts");
			const { line, note } = invite(command.url, loaded.config);
			out(line);
			if (note !== undefined) complain(note);
			return GOOD;
		}
		case "office": {
			const { loaded } = await configuration(command, env, cwd);
			const { takeOrder } = await import("./cli/admin.ts");
			const { text, note } = await takeOrder(command.order, command.url, loaded.config);
			out(text);
			if (note !== undefined) complain(note);
			return GOOD;
		}
		case "suggest": {
			const { suggest } = await import("./cli/suggest.ts");
			const { text, note } = await suggest(env);
			out(text);
			if (note !== undefined) complain(note);
			return GOOD;
		}
		case "start": {
			const { loaded, variables } = await configuration(command, env, cwd);
			const { start } = await import("./cli/start.ts");
			return await locating(loaded, start(loaded, variables, out));
		}
	}
}

async function configuration(
	{ role, flags, envFile }: StartOptions,
	env: Environment,
	cwd: string,
): Promise<{ loaded: Loaded; variables: Environment }> {
	const { load } = await import("./config/load.ts");
	// An empty variable counts as unset, here and for everyone who is handed these.
	let variables: Environment = Object.fromEntries(Object.entries(env).filter(([, value]) => value));
	if (envFile !== undefined) {
		const { withEnvFile } = await import("./cli/env-file.ts");
		variables = withEnvFile(variables, envFile, cwd);
	}
	const { FURTHER_VARIABLES } = await import("./cli/further-variables.ts");
	const loaded = load({ flags, env: variables, cwd, role, variables: FURTHER_VARIABLES });
	for (const warning of loaded.warnings) complain(`warning: ${mistakeLine(warning)}`);
	return { loaded, variables: loaded.env };
}

/** What was to be done with a configuration; a mistake that only showed then is told with its place. */
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
