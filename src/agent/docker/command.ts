/**
 * Runs programs: the Docker CLI and `nvidia-smi`; no other file spawns. Argument arrays only, no shell. Output is always read to
 * its end: an unread pipe stops the program or fills the memory.
 */
import type { Environment } from "../../config/interpolate.ts";

/** A program that could not run, or not to its end. */
export class CommandFailure extends Error {
	override readonly name = "CommandFailure";
	constructor(
		/** `missing`: there is no such program, or it may not be run. `exit`: another exit code than 0, of `commandLines` only. */
		readonly kind: "missing" | "timeout" | "aborted" | "exit",
		message: string,
	) {
		super(message);
	}
}

/** How a program ended, and what it printed. */
export interface CommandResult {
	/** 128 + n for a program that signal n ended, as shells have it. */
	readonly code: number;
	readonly stdout: string;
	readonly stderr: string;
}

/** Longest output that is returned of one stream, characters; the rest is read and dropped. */
const MAX_OUTPUT = 16 * 1024 * 1024;

/** Runs `argv` to its end, whatever its exit code. Rejects with a CommandFailure where the program is missing or outlives `deadlineMs`. */
export async function runCommand(
	argv: readonly string[],
	{ env, deadlineMs }: { env: Environment; deadlineMs: number },
): Promise<CommandResult> {
	const child = spawn(argv, env);
	let isLate = false;
	const timer = setTimeout(() => {
		isLate = true;
		child.kill("SIGKILL");
	}, deadlineMs);
	try {
		const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), child.exited]);
		if (isLate) throw new CommandFailure("timeout", `${argv[0]} did not end within ${deadlineMs / 1000} s`);
		return { code, stdout, stderr };
	} finally {
		clearTimeout(timer);
	}
}

/** One line that a program printed. */
export interface CommandLine {
	readonly from: "stdout" | "stderr";
	readonly line: string;
}

/**
 * Runs `argv` and yields its lines as they come. The program is killed when `signal` fires (then it throws
 * CommandFailure `aborted`), when it prints nothing for `silenceMs` (`timeout`), and when the reader stops. Throws
 * `exit` after the last line where it ends with another code than 0.
 */
export async function* commandLines(
	argv: readonly string[],
	{ env, signal, silenceMs }: { env: Environment; signal?: AbortSignal; silenceMs?: number },
): AsyncGenerator<CommandLine> {
	if (signal?.aborted) throw new CommandFailure("aborted", `${argv[0]} was not started`);
	const child = spawn(argv, env);
	let isSilent = false;
	let timer: ReturnType<typeof setTimeout> | undefined;
	const kill = () => child.kill("SIGKILL");
	const restartTimer = () => {
		clearTimeout(timer);
		if (silenceMs === undefined) return;
		timer = setTimeout(() => {
			isSilent = true;
			kill();
		}, silenceMs);
	};
	signal?.addEventListener("abort", kill, { once: true });
	restartTimer();
	try {
		for await (const line of mergeLines({ stdout: splitLines(child.stdout), stderr: splitLines(child.stderr) })) {
			// The reader's own time between two lines is no silence of the program.
			clearTimeout(timer);
			yield line;
			restartTimer();
		}
		const code = await child.exited;
		if (signal?.aborted) throw new CommandFailure("aborted", `${argv[0]} was stopped`);
		if (isSilent) throw new CommandFailure("timeout", `${argv[0]} said nothing for ${silenceMs! / 1000} s`);
		if (code !== 0) throw new CommandFailure("exit", `${argv[0]} ended with ${code}`);
	} finally {
		clearTimeout(timer);
		signal?.removeEventListener("abort", kill);
		kill();
	}
}

function spawn(argv: readonly string[], env: Environment) {
	try {
		return Bun.spawn([...argv], { env: { ...env }, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
	} catch (error) {
		// Bun throws synchronously where there is no such program; `code` is the reason.
		const code = (error as NodeJS.ErrnoException).code ?? "unknown reason";
		throw new CommandFailure("missing", `${argv[0]} can't be run (${code})`);
	}
}

async function text(stream: ReadableStream<Uint8Array>): Promise<string> {
	const decoder = new TextDecoder();
	let output = "";
	for await (const bytes of stream) {
		if (output.length < MAX_OUTPUT) output += decoder.decode(bytes, { stream: true });
	}
	return output + decoder.decode();
}

/** A longer line is cut here: a program may print one without end. */
const MAX_LINE = 16 * 1024;

/** The lines of a UTF-8 stream. `\r` ends one too: that is how progress bars are drawn. Empty lines are left out. */
export async function* splitLines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
	const decoder = new TextDecoder();
	let rest = "";
	for await (const bytes of stream) {
		const parts = (rest + decoder.decode(bytes, { stream: true })).split(/[\r\n]+/);
		rest = parts.pop()!.slice(0, MAX_LINE);
		for (const part of parts) if (part !== "") yield part.slice(0, MAX_LINE);
	}
	rest += decoder.decode();
	if (rest !== "") yield rest;
}

/**
 * Both streams' lines as they come. Reads no further than its reader: at most one line of each is buffered. No
 * `Promise.race`: one more reaction on the quiet stream's promise for every line of the other would add up for months.
 */
export async function* mergeLines<Name extends string>(
	streams: Record<Name, AsyncIterable<string>>,
): AsyncGenerator<{ from: Name; line: string }> {
	const buffered: { from: Name; line: string; resume: () => void }[] = [];
	const names = Object.keys(streams) as Name[];
	let open = names.length;
	let failure: { error: unknown } | undefined;
	let wake = () => {};
	const pump = async (from: Name) => {
		try {
			for await (const line of streams[from]) {
				await new Promise<void>((resume) => {
					buffered.push({ from, line, resume });
					wake();
				});
			}
		} catch (error) {
			failure ??= { error };
		}
		open -= 1;
		wake();
	};
	for (const name of names) void pump(name);
	for (;;) {
		const next = buffered.shift();
		if (next) {
			yield { from: next.from, line: next.line };
			next.resume();
		} else if (failure) throw failure.error;
		else if (open === 0) return;
		else {
			await new Promise<void>((resolve) => {
				wake = resolve;
			});
		}
	}
}
