/**
 * The log: pino, in this process (its worker transports fail in a compiled binary), written as JSON lines to a file
 * and to stdout, where a terminal gets readable lines instead.
 */
import pino from "pino";
import { attemptFields, callLine, SERVER_ERROR } from "./call-line.ts";
import type { CallSettled, Sink } from "./events.ts";
import { createBatch } from "./log-batch.ts";
import { serializeError } from "./log-error.ts";
import { LogFile, type LogFileOptions } from "./log-file.ts";
import { prettyLine } from "./log-pretty.ts";
import { ShadowLines } from "./shadow-lines.ts";

/** Longest that `flush` waits for a stalled disk or pipe, ms. */
const FLUSH_MS = 2000;

/** How long the line of a call waits for others, ms, before the batch that a crash may lose; and how many wait at most: more would keep others waiting for longer than 1 ms. */
const CALLS_MS = 20;
const MOST_CALLS = 250;

/** Where the second copy of each line goes. `process.stdout` is one. */
export interface Stdout {
	readonly isTTY?: boolean | undefined;
	write(text: string, done: (cause?: Error | null) => void): unknown;
	on?(event: "error", listener: (cause: Error) => void): unknown;
}

/** What the log is made from. */
export interface LogOptions {
	/** Directory of the files. */
	readonly dir: string;
	/** `trace` … `error`, or `silent`. */
	readonly level: string;
	/** How many files of past days stay. */
	readonly keep: number;
	/** Names the file: `router.log` or `agent.log`. */
	readonly role: "router" | "agent";
	/** Default `process.stdout`; `false` for none. */
	readonly stdout?: Stdout | false;
	/** Called each time writing the file begins to fail; for the metrics. */
	readonly onFailure?: () => void;
	/** Who stalled where lines were dropped; the disk or the reader of stdout, unless given. */
	readonly reader?: string;
	/** Tests, and threads that have no file: see {@link LogFileOptions}. */
	readonly file?: Pick<LogFileOptions, "open" | "retryMs" | "full">;
}

/** The log of one role. */
export interface Log {
	/** For everything that is no call. Give an error as `{ err }`. */
	readonly logger: pino.Logger;
	/** One line a settled call; failed attempts at level debug; once why copies of calls can't be made. */
	readonly sink: Pick<Sink, "callSettled" | "attemptFailed" | "shadowDropped">;
	/**
	 * Opens the file, where no line has opened it yet. Returns the current file's absolute path; or, as a sentence that is already logged,
	 * why it could not be opened.
	 */
	open(): { readonly file?: string; readonly problem?: string };
	/** Takes lines that another thread of the process has made, each with its end. */
	take(lines: string): void;
	/** Resolves once every line logged so far is written. Waits 2 s at most, so that a stalled pipe can't hold a stop. */
	flush(): Promise<void>;
}

/**
 * The second net below never logging a secret in the first place. Top level and `headers` alone: wildcards such as
 * `*.token` cost a hundred times as much a line.
 */
const SECRETS = [
	"authorization",
	"proxy-authorization",
	"cookie",
	"set-cookie",
	"x-api-key",
	"api-key",
	"x-goog-api-key",
	"api_key",
	"apiKey",
	"token",
	"password",
	"secret",
].flatMap((name) => [`["${name}"]`, `headers["${name}"]`]);

/** The log. Its file is opened at the first line. Never throws: without a writable directory it goes on with stdout and says so. */
export function createLog(options: LogOptions): Log {
	const { role, level, stdout = process.stdout, reader = "the disk or the reader of stdout" } = options;
	const file = new LogFile({
		...options.file,
		dir: options.dir,
		name: role,
		keep: options.keep,
		onProblem(sentence) {
			options.onFailure?.();
			logger.error(sentence);
		},
		onRoom: () => sayDropped(),
		onRecovered: (path) => logger.info({ file: path }, "The log file can be written again."),
	});
	const terminal = stdout ? stdoutBatch(stdout, () => sayDropped()) : undefined;
	const put = (line: string) => {
		file.write(line);
		terminal?.write(line);
	};
	const calls = new CallLines(put);
	const logger = createLogger(level, (line) => {
		calls.write();
		put(line);
	});
	const copies = new ShadowLines(logger);
	const sayDropped = () => {
		const lines = file.dropped() + (terminal?.dropped() ?? 0);
		if (lines > 0) logger.warn({ lines }, `Log lines were dropped: ${reader} stalled.`);
	};
	/** Lines of calls that went well or failed by their caller's fault, and of those that an operator must look at. */
	const logsCalls = logger.isLevelEnabled("info");
	const logsServerErrors = logger.isLevelEnabled("warn");

	return {
		logger,
		open() {
			const problem = file.open();
			return problem === undefined ? { file: file.path } : { problem };
		},
		sink: {
			callSettled(call, at = Date.now()) {
				if (call.status >= SERVER_ERROR ? logsServerErrors : logsCalls) calls.add(call, at);
			},
			attemptFailed: (attempt) => logger.debug(attemptFields(attempt), "attempt failed"),
			shadowDropped: (model, to, why) => copies.dropped(model, to, why),
		},
		take(lines) {
			file.write(lines);
			terminal?.writeLines(lines);
		},
		async flush() {
			calls.write();
			sayDropped();
			await within(FLUSH_MS, Promise.all([file.flush(), terminal?.flush()]));
		},
	};
}

/** Resolves when the work is done, after so many ms at the latest. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
	const { promise: late, resolve } = Promise.withResolvers<void>();
	const timer = setTimeout(resolve, ms);
	await Promise.race([work, late]);
	clearTimeout(timer);
}

function createLogger(level: string, write: (line: string) => void): pino.Logger {
	const options: pino.LoggerOptions = {
		level,
		base: null,
		timestamp: pino.stdTimeFunctions.isoTime,
		formatters: { level: (label) => ({ level: label }) },
		serializers: { err: serializeError },
		redact: SECRETS,
	};
	return pino(options, { write });
}

/**
 * The lines of calls, made many in one go: that takes half of what single ones do between all else that a call does. Not by way of
 * pino, which takes several times as long for these twenty plain fields.
 */
class CallLines {
	#calls: CallSettled[] = [];
	/** When each of them settled, Unix time, ms. */
	#times: number[] = [];
	#timer: ReturnType<typeof setTimeout> | undefined;
	/** The moment that was formatted last: neighbours mostly have the same. */
	#formattedMs = Number.NaN;
	#formatted = "";

	constructor(private readonly put: (line: string) => void) {}

	add(call: CallSettled, at: number): void {
		this.#calls.push(call);
		this.#times.push(at);
		if (this.#calls.length >= MOST_CALLS) this.write();
		else this.#timer ??= setTimeout(() => this.write(), CALLS_MS);
	}

	/** Writes all that wait. */
	write(): void {
		clearTimeout(this.#timer);
		this.#timer = undefined;
		if (this.#calls.length === 0) return;
		const [calls, times] = [this.#calls, this.#times];
		this.#calls = [];
		this.#times = [];
		for (const [at, call] of calls.entries()) {
			this.put(`${JSON.stringify(callLine(call, this.#timeText(times[at]!)))}\n`);
		}
	}

	#timeText(ms: number): string {
		if (ms !== this.#formattedMs) this.#formatted = new Date(ms).toISOString();
		this.#formattedMs = ms;
		return this.#formatted;
	}
}

/** Whether the readers of streams have gone away, by stream: one listener each, however many logs of the process write to it. */
const readers = new WeakMap<Stdout, { isGone: boolean }>();

function readerOf(stdout: Stdout): { readonly isGone: boolean } {
	const known = readers.get(stdout);
	if (known) return known;
	const reader = { isGone: false };
	// Without a listener this event ends the process.
	stdout.on?.("error", () => {
		reader.isGone = true;
	});
	readers.set(stdout, reader);
	return reader;
}

/** Stdout as a batch: readable lines on a terminal, JSON otherwise. A reader that went away (EPIPE) ends it quietly. */
function stdoutBatch(stdout: Stdout, onRoom: () => void) {
	const reader = readerOf(stdout);
	const batch = createBatch((text, done) => {
		if (reader.isGone) return done();
		stdout.write(text, () => done());
	}, onRoom);
	// In one piece: taken apart and put together again they cost more than to write them.
	if (!stdout.isTTY) return { ...batch, writeLines: batch.write };
	const colour = !process.env["NO_COLOR"];
	const write = (line: string) => batch.write(prettyLine(line, colour));
	return {
		...batch,
		write,
		writeLines(lines: string) {
			for (const line of lines.match(/.*\n/g) ?? []) write(line);
		},
	};
}
