/** The process of a new version, started beside this one with the same words and environment, less what this one set for itself. */
import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { withoutOwn } from "../../start-environment.ts";

/** A process that was started. */
export interface NewProcess {
	readonly pid: number;
	/** Resolves with how it ended: `with 1`, `by SIGSEGV`. */
	readonly ended: Promise<string>;
	/** Ends it, at once. */
	kill(): void;
}

/** The flag by which it knows what for. */
const FLAG = "--replace";

/** A process, and the command lines of it and of the first process, as Linux has them: words that end with a zero byte each; "" where not known. */
interface Started {
	readonly pid: number;
	readonly ppid: number;
	readonly own: string;
	readonly first: string;
}

/**
 * Why no child of this process can take its place: a container ends with its first process, which this one is, or an init (`docker run --init`,
 * tini, dumb-init) that was told to start this one and ends with it. Undefined where nothing of that is known.
 */
export function containerProblem({ pid, ppid, own, first }: Started): string | undefined {
	const isStartedByFirst = ppid === 1 && own !== "" && first.endsWith(`\0${own}`);
	if (pid !== 1 && !isStartedByFirst) return undefined;
	const what = pid === 1 ? "the first process of its container, which" : "what its container was started for, which";
	return `This router is ${what} ends with it: start a container with the new image and \`--replace\` beside it, on the same network namespace and data directory.`;
}

function commandLine(process: "self" | "1"): string {
	try {
		return readFileSync(`/proc/${process}/cmdline`, "utf8");
	} catch {
		// Another system, or one that hides other users' processes.
		return "";
	}
}

/** Why this program can't be started in this process's place; undefined where nothing is known against it. */
export function programProblem(file: string): string | undefined {
	const { pid, ppid } = process;
	const problem = containerProblem({ pid, ppid, own: commandLine("self"), first: commandLine("1") });
	if (problem) return problem;
	try {
		if (!statSync(file).isFile()) return `${file} is no file.`;
		accessSync(file, constants.X_OK);
		return undefined;
	} catch (error) {
		return `${file} can't be started (${(error as NodeJS.ErrnoException).code}).`;
	}
}

/**
 * Starts it. What it prints goes where this process's output goes.
 * @param file the program; absent: that of this process, as its file is now
 * @param inherited descriptor of the socket that was opened for this process, which the new one gets as systemd would give it
 * @throws what the system says where it can't be started
 */
export function startNewProcess(file?: string, inherited?: number): NewProcess {
	const words = process.argv.slice(2).filter((word) => word !== FLAG);
	const end = words.indexOf("--");
	// What follows `--` is not the router's.
	words.splice(end === -1 ? words.length : end, 0, FLAG);
	const source = Bun.isStandaloneExecutable ? [] : [...process.execArgv, process.argv[1]!];
	const program = file === undefined ? [process.execPath, ...source] : [resolve(file)];
	const passed =
		inherited === undefined ? {} : { LISTEN_FDS: "1", LISTEN_PID: String(process.pid), LISTEN_FDNAMES: "" };
	const env = { ...withoutOwn(process.env), ...passed };
	const output = ["ignore", "inherit", "inherit"] as const;
	const child = Bun.spawn([...program, ...words], {
		env,
		stdio: inherited === undefined ? [...output] : [...output, inherited],
	});
	// This process ends before that one.
	child.unref();
	return {
		pid: child.pid,
		ended: child.exited.then((code) => (child.signalCode ? `by ${child.signalCode}` : `with ${code}`)),
		kill: () => child.kill("SIGKILL"),
	};
}
