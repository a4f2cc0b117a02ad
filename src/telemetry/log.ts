/**
 * The log: pino, in this process (its worker transports fail in a compiled binary), written as JSON lines to a file
 * and to stdout, where a terminal gets readable lines instead.
 */
import pino from "pino";
import { attemptFields, callLine, SERVER_ERROR } from "./call-line.ts";
import type { CallSettled, Sink } from "./events.ts";
import { createBatch } from "./log-batch.ts";
import { serializeError } from "./log-error.ts";
import { createLogFile, type LogFileOptions } from "./log-file.ts";
import { prettyLine } from "./log-pretty.ts";

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
	/** How many past days are kept. */
	readonly keep: number;
	/** Names the file: `router.log` or `agent.log`. */
	readonly role: "router" | "agent";
	/** `process.stdout` unless told otherwise; `false` for none. */
	readonly stdout?: Stdout | false;
	/** Told each time writing the file begins to fail; for the metrics. */
	readonly onFailure?: () => void;
	/** Tests: see {@link LogFileOptions}. */
	readonly file?: Pick<LogFileOptions, "open" | "retryMs">;
}

/** The log of one role. */
export interface Log {
	/** For everything that is no call. Give an error as `{ err }`. */
	readonly logger: pino.Logger;
	/** One line a settled call; failed attempts at level debug. */
	readonly sink: Pick<Sink, "callSettled" | "attemptFailed">;
	/**
	 * Opens the file, where no line has opened it yet. Returns the current file's absolute path; or, as a sentence that is already logged,
	 * why it could not be opened.
	 */
	open(): { readonly file?: string; readonly problem?: string };
	/** Resolves once every line logged so far is written. Waits 2 s at most, so that a stalled pipe can't hold a stop. */
	flush(): Promise<void>;
}

/**
 * The second net below never logging a secret in the first place. Top level and `headers` alone: wildcards such as
 * `*.token` cost 20 µs a line (pino 10.4, measured), these 0.2 µs.
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
	const { role, level, stdout = process.stdout } = options;
	const file = createLogFile({
		...options.file,
		dir: options.dir,
		name: role,
		keep: options.keep,
		onProblem(sentence) {
			options.onFailure?.();
			logger.error(sentence);
		},
		onRecovered: (path) => logger.info({ file: path }, "The log file can be written again."),
	});
	const terminal = stdout ? stdoutBatch(stdout) : undefined;
	const put = (line: string) => {
		file.write(line);
		terminal?.write(line);
	};
	const calls = callLines(put);
	const destination = {
		write(line: string) {
			calls.tell();
			put(line);
		},
	};
	const logger = pino(
		{
			level,
			base: null,
			timestamp: pino.stdTimeFunctions.isoTime,
			formatters: { level: (label) => ({ level: label }) },
			serializers: { err: serializeError },
			redact: SECRETS,
		},
		destination,
	);
	/** Of a call that went well or ill by its caller's fault, and of one that somebody must look at. */
	const logsCalls = logger.isLevelEnabled("info");
	const logsServerErrors = logger.isLevelEnabled("warn");

	return {
		logger,
		open() {
			const problem = file.open();
			return problem === undefined ? { file: file.path } : { problem };
		},
		sink: {
			callSettled(call) {
				if (call.status >= SERVER_ERROR ? logsServerErrors : logsCalls) calls.add(call);
			},
			attemptFailed: (attempt) => logger.debug(attemptFields(attempt), "attempt failed"),
		},
		async flush() {
			calls.tell();
			const lost = file.dropped() + (terminal?.dropped() ?? 0);
			if (lost > 0) logger.warn({ lines: lost }, "Log lines were dropped: the disk or the reader of stdout stalled.");
			const written = Promise.all([file.flush(), terminal?.flush()]);
			const { promise: late, resolve } = Promise.withResolvers<void>();
			const timer = setTimeout(resolve, FLUSH_MS);
			await Promise.race([written, late]);
			clearTimeout(timer);
		},
	};
}

/**
 * The lines of calls, made many in one go: that takes half of what single ones do between all else that a call does. Not by way of
 * pino, which takes 6 µs for these twenty plain fields.
 */
function callLines(put: (line: string) => void) {
	let calls: CallSettled[] = [];
	let times: number[] = [];
	let timer: ReturnType<typeof setTimeout> | undefined;
	let lastMs = Number.NaN;
	let last = "";
	const timeOf = (ms: number) => {
		if (ms !== lastMs) last = new Date(ms).toISOString();
		lastMs = ms;
		return last;
	};
	const tell = () => {
		clearTimeout(timer);
		timer = undefined;
		if (calls.length === 0) return;
		const told = calls;
		const at = times;
		calls = [];
		times = [];
		told.forEach((call, index) => {
			put(`${JSON.stringify(callLine(call, timeOf(at[index]!)))}\n`);
		});
	};
	return {
		tell,
		add(call: CallSettled) {
			calls.push(call);
			times.push(Date.now());
			if (calls.length >= MOST_CALLS) tell();
			else timer ??= setTimeout(tell, CALLS_MS);
		},
	};
}

/** Stdout as a batch: readable lines on a terminal, JSON otherwise. A reader that went away (EPIPE) ends it quietly. */
function stdoutBatch(stdout: Stdout) {
	let gone = false;
	// Unheard, this event would end the process.
	stdout.on?.("error", () => {
		gone = true;
	});
	const batch = createBatch((text, done) => {
		if (gone) return done();
		stdout.write(text, () => done());
	});
	if (!stdout.isTTY) return batch;
	const colour = !process.env["NO_COLOR"];
	return { ...batch, write: (line: string) => batch.write(prettyLine(line, colour)) };
}
