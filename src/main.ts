/**
 * The entry: raises Bun's limit of concurrent requests, then runs the command line.
 *
 * Bun's fetch takes 256 requests at a time per process, and an open stream holds one. Only BUN_CONFIG_MAX_HTTP_REQUESTS, which Bun
 * reads when the process starts, raises that. A process that starts a server without it therefore replaces itself, under the same
 * process id, with one that has it. Other commands skip that second start.
 */
import { startsServer } from "./cli/flags.ts";

const LIMIT = "BUN_CONFIG_MAX_HTTP_REQUESTS";
/** Bun takes no more. */
const MOST = "65535";

const words = process.argv.slice(2);
const isServer = startsServer(words);

if (isServer && !process.env[LIMIT]) {
	// argv is [bun, script, …]; a compiled binary has no script to name, and the first element must be there: it
	// is the program's name, and without it the first flag is eaten.
	const args = Bun.isStandaloneExecutable ? words : [...process.execArgv, ...process.argv.slice(1)];
	try {
		// Windows has no such call.
		if (!process.execve) throw new Error("this system can't");
		process.execve(process.execPath, [process.execPath, ...args], { ...process.env, [LIMIT]: MOST });
	} catch (error) {
		const reason = error instanceof Error ? error.message : "unknown reason";
		process.stderr.write(
			`router: at most 256 calls at once, as the process can't restart itself (${reason}); set ${LIMIT}=${MOST} for more\n`,
		);
	}
}

const { run } = await import("./cli.ts");
process.exitCode = await run(words, process.env);
// A server has flushed its log by now, and an open socket to an upstream must not keep the process alive. Other commands end by
// themselves: their output to a pipe may not be written yet.
if (isServer) process.exit();
