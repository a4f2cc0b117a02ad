/**
 * Programs the agent runs: the Docker CLI and `nvidia-smi`. The one place that spawns; argument arrays only, no shell.
 * What a program prints is always read to its end, as an unread pipe stops the program or fills our memory.
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

/** More than this of one stream is read, but not kept: `inspect` of a hundred containers is 1 MB. */
const MAX_OUTPUT = 16 * 1024 * 1024;

/** Runs `words` to the end, whatever its exit code. Rejects with a CommandFailure where the program is missing or outlives `deadlineMs`. */
export async function runCommand(
	words: readonly string[],
	{ env, deadlineMs }: { env: Environment; deadlineMs: number },
): Promise<CommandResult> {
	const child = spawn(words, env);
	let isLate = false;
	const timer = setTimeout(() => {
		isLate = true;
		child.kill("SIGKILL");
	}, deadlineMs);
	try {
		const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), child.exited]);
		if (isLate) throw new CommandFailure("timeout", `${words[0]} did not end within ${deadlineMs / 1000} s`);
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
 * Runs `words` and yields its lines as they come. The program is killed when `signal` fires (then it throws
 * CommandFailure `aborted`), when it prints nothing for `silenceMs` (`timeout`), and when the reader stops. Throws
 * `exit` after the last line where it ends with another code than 0.
 */
export async function* commandLines(
	words: readonly string[],
	{ env, signal, silenceMs }: { env: Environment; signal?: AbortSignal; silenceMs?: number },
): AsyncGenerator<CommandLine> {
	if (signal?.aborted) throw new CommandFailure("aborted", `${words[0]} was not started`);
	const child = spawn(words, env);
	let isSilent = false;
	let timer: ReturnType<typeof setTimeout> | undefined;
	const kill = () => child.kill("SIGKILL");
	const listen = () => {
		clearTimeout(timer);
		if (silenceMs === undefined) return;
		timer = setTimeout(() => {
			isSilent = true;
			kill();
		}, silenceMs);
	};
	signal?.addEventListener("abort", kill, { once: true });
	listen();
	try {
		for await (const line of mergeLines({ stdout: splitLines(child.stdout), stderr: splitLines(child.stderr) })) {
			// What the reader does between two lines is no silence of the program.
			clearTimeout(timer);
			yield line;
			listen();
		}
		const code = await child.exited;
		if (signal?.aborted) throw new CommandFailure("aborted", `${words[0]} was stopped`);
		if (isSilent) throw new CommandFailure("timeout", `${words[0]} said nothing for ${silenceMs! / 1000} s`);
		if (code !== 0) throw new CommandFailure("exit", `${words[0]} ended with ${code}`);
	} finally {
		clearTimeout(timer);
		signal?.removeEventListener("abort", kill);
		kill();
	}
}

function spawn(words: readonly string[], env: Environment) {
	try {
		return Bun.spawn([...words], { env: { ...env }, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
	} catch (error) {
		// A missing program throws synchronously (runtime traps, "Libraries"). Bun names the reason by `code`.
		const code = (error as NodeJS.ErrnoException).code ?? "unknown reason";
		throw new CommandFailure("missing", `${words[0]} can't be run (${code})`);
	}
}

async function text(stream: ReadableStream<Uint8Array>): Promise<string> {
	const decoder = new TextDecoder();
	let kept = "";
	for await (const bytes of stream) {
		if (kept.length < MAX_OUTPUT) kept += decoder.decode(bytes, { stream: true });
	}
	return kept + decoder.decode();
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
 * Both streams' lines as they come. Reads no further than its reader: at most one line of each is held. No
 * `Promise.race`: one more reaction on the quiet stream's promise for every line of the other would add up for months.
 */
export async function* mergeLines<Name extends string>(
	streams: Record<Name, AsyncIterable<string>>,
): AsyncGenerator<{ from: Name; line: string }> {
	const held: { from: Name; line: string; taken: () => void }[] = [];
	const names = Object.keys(streams) as Name[];
	let open = names.length;
	let failure: { error: unknown } | undefined;
	let wake = () => {};
	const pump = async (from: Name) => {
		try {
			for await (const line of streams[from]) {
				await new Promise<void>((taken) => {
					held.push({ from, line, taken });
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
		const next = held.shift();
		if (next) {
			yield { from: next.from, line: next.line };
			next.taken();
		} else if (failure) throw failure.error;
		else if (open === 0) return;
		else {
			await new Promise<void>((resolve) => {
				wake = resolve;
			});
		}
	}
}
