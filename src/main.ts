/**
 * The entry: sets what Bun reads when the process starts, then runs the command line.
 *
 * Bun's fetch takes 256 requests at a time per process, and an open stream holds one. Only BUN_CONFIG_MAX_HTTP_REQUESTS raises that. On a
 * machine with much memory the engine lets garbage pile up for longer, which takes a router more memory and no less time: it is told of
 * 4 GiB. Its allocator gives freed memory back ten times a second, a thread's work at each: once a second is enough. A process that starts a server
 * without the first therefore replaces itself, under the same process id, with one that has all three.
 * Other commands skip that second start.
 *
 * A compiled executable is cut at its `import()`s (`--splitting`), so that the first process reads this file and the flags alone: what stands at
 * the top of a file is made as soon as a part with it is loaded, needed or not. Its worker threads begin here, too. Its source is minified but for names,
 * and its source maps are in it (`source-maps.ts`): errors name classes, functions, files and lines as they are here.
 */
import { totalmem } from "node:os";
import { startsServer } from "./cli/flags.ts";
import { withOwn } from "./start-environment.ts";

const LIMIT = "BUN_CONFIG_MAX_HTTP_REQUESTS";
/** Bun takes no more. */
const MOST = "65535";

const HEAP = "BUN_JSC_forceRAMSize";
/** Bytes. */
const HEAP_MEMORY = 4 * 1024 ** 3;
/** What the process may use, bytes: a container's limit counts. */
const memory = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY);

/** How long freed memory within pages that are in use is kept, ms. */
const PURGE = { MIMALLOC_PURGE_HOLES_MIN_INTERVAL: "1000" };

if (Bun.isMainThread) {
	const words = process.argv.slice(2);
	const isServer = startsServer(words);

	if (isServer && !process.env[LIMIT]) {
		// argv is [bun, script, …]; a compiled binary has no script to name, and the first element must be there: it
		// is the program's name, and without it the first flag is eaten.
		const args = Bun.isStandaloneExecutable ? words : [...process.execArgv, ...process.argv.slice(1)];
		try {
			// Windows has no such call.
			if (!process.execve) throw new Error("this system can't");
			const heap = memory > HEAP_MEMORY ? { [HEAP]: String(HEAP_MEMORY) } : {};
			const env = withOwn({ ...process.env, [LIMIT]: undefined }, { ...PURGE, ...heap, [LIMIT]: MOST });
			// Sockets that systemd has opened for this process (LISTEN_FDS) are to be there afterwards, too.
			const replace = process.env["LISTEN_FDS"] ? (await import("./execve.ts")).execve : process.execve;
			replace(process.execPath, [process.execPath, ...args], env);
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
} else {
	await import("./server/threads/worker-thread.ts");
}
