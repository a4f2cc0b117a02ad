/**
 * The exceptions of vLLM's log: each with the process that raised it, its whole message and what it was raised from. vLLM runs
 * an API server, an engine and workers, whose lines interleave. Pure.
 */

/** An exception as a traceback ends with it. */
export interface LoggedException {
	/** `EngineCore_DP0`, `Worker_TP1`, `APIServer`; empty where the line names none. */
	readonly process: string;
	/** Index of the line that names it. */
	readonly at: number;
	/** That line and those of its message that follow it, without vLLM's prefixes. */
	readonly lines: readonly string[];
	/** The exception before it: the one that it was raised from (`isCause`), or that was being handled when it came up. */
	readonly before?: { readonly exception: LoggedException; readonly isCause: boolean } | undefined;
	/** Whether vLLM's logger wrote it: the process went on, at least for a moment. Python prints those that end the process itself. */
	readonly isLogged: boolean;
	/** `layers/linear.py, line 321: assert size % parts == 0`: where it was raised, as far as the traceback says. */
	readonly raisedAt?: string | undefined;
}

/** The prefix that names the process of vLLM; of several the last is the innermost. */
const PROCESS = /^(?:\(([^()]*?) ?pid=\d+[^()]*\) *)+/;
/** What vLLM's logger puts before each line of a record. */
const RECORD = /^([A-Z]+) [\d-]+ [\d:.,]+ (\[[^\]]+\]) ?/;
/** How an exception's line begins outside of a traceback that was read from its head. */
const EXCEPTION = /^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b(?::|$)/;
/** In a traceback any name will do: `queue.Empty`, `torch._dynamo.exc.Unsupported: …`. */
const ANY_EXCEPTION = /^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?::|$)/;
const TRACEBACK = /Traceback \(most recent call last\)/;
const DIRECT_CAUSE = /^The above exception was the direct cause/;
const CONTEXT = /^During handling of the above exception/;
/** Lines that belong to no exception's message: other output of the process. */
const FOREIGN =
	/^(?:Process \S+:|\[rank\d+\]:|\[[WIEF]\d{4}|frame #\d|Exception raised from |Exception ignored in|nanobind:|\S+\.py:\d+: \w*Warning|For debugging consider|CUDA kernel errors might|Compile with `TORCH|Search for `cuda|Device-side assertion|\[type=)/;
/** Longest message read, lines. */
const MAX_LINES = 12;

/** One line of the log, taken apart. */
export interface LogLine {
	readonly process: string;
	/** `INFO`, `ERROR`; empty for a line that no logger wrote. */
	readonly level: string;
	/** `[core.py:708]`; empty for a line that no logger wrote. */
	readonly source: string;
	readonly text: string;
}

/** `(EngineCore_DP0 pid=96) ERROR 09-01 12:00:00 [core.py:708] ValueError: …`, coloured or not, taken apart. */
export function logLine(line: string): LogLine {
	const bare = Bun.stripANSI(line);
	const [prefix = "", process = ""] = PROCESS.exec(bare) ?? [];
	const rest = bare.slice(prefix.length);
	const [head = "", level = "", source = ""] = RECORD.exec(rest) ?? [];
	return { process: process.trim(), level, source, text: rest.slice(head.length) };
}

/** One process's traceback that is being read. */
interface OpenTraceback {
	isReading: boolean;
	frame: string | undefined;
	/** The last exception, whose message may go on. */
	last: (LoggedException & { readonly lines: string[] }) | undefined;
	isMessageOpen: boolean;
	source: string;
	/** What the next exception follows. */
	before: LoggedException["before"];
}

/** The exceptions of a log, in the order in which they are named; of those that follow from each other the last, which has the others `before` it. */
export function exceptionsOf(lines: readonly LogLine[]): LoggedException[] {
	const found: LoggedException[] = [];
	const open = new Map<string, OpenTraceback>();
	lines.forEach((line, at) => {
		let state = open.get(line.process);
		if (!state) {
			state = {
				isReading: false,
				frame: undefined,
				last: undefined,
				isMessageOpen: false,
				source: "",
				before: undefined,
			};
			open.set(line.process, state);
		}
		const exception = readLine(state, line, at);
		if (exception) found.push(exception);
	});
	const followed = new Set(found.map(({ before }) => before?.exception));
	return found.filter((each) => !followed.has(each));
}

function readLine(state: OpenTraceback, line: LogLine, at: number): LoggedException | undefined {
	const { process, level, source } = line;
	// Exception groups draw their tree with bars.
	const text = line.text.replace(/^ *(?:\||\+-+(?: \d+ -+)?|\+) ?(?=\S| )/, "");
	if (/^(?:INFO|WARNING|DEBUG)$/.test(level) || source !== state.source) endMessage(state);
	state.source = source;
	if (/^(?:INFO|WARNING|DEBUG)$/.test(level)) return undefined;
	if (TRACEBACK.test(text)) {
		state.isReading = true;
		state.frame = undefined;
		endMessage(state);
		return undefined;
	}
	const isCause = DIRECT_CAUSE.test(text);
	if (isCause || CONTEXT.test(text)) {
		state.before = state.last && { exception: state.last, isCause };
		endMessage(state);
		return undefined;
	}
	if (/^ *File "/.test(text)) {
		endMessage(state);
		state.frame = frameOf(text);
		return undefined;
	}
	const isHead = state.isReading ? ANY_EXCEPTION.test(text) : EXCEPTION.test(text);
	if (isHead) {
		const { before, frame } = state;
		const last = {
			process,
			at,
			lines: [text],
			...(before && { before }),
			isLogged: level !== "",
			...(frame && { raisedAt: frame }),
		};
		Object.assign(state, { isReading: false, frame: undefined, before: undefined, last, isMessageOpen: true });
		return last;
	}
	if (state.isReading) state.frame = withCode(state.frame, text);
	else if (FOREIGN.test(text.trim())) endMessage(state);
	else if (state.isMessageOpen && state.last && state.last.lines.length < MAX_LINES && text.trim() !== "") {
		state.last.lines.push(text.trim());
	}
	return undefined;
}

function endMessage(state: OpenTraceback): void {
	state.isMessageOpen = false;
}

/** `  File "/usr/lib/python3/vllm/model/linear.py", line 321, in f` → `model/linear.py, line 321`. */
function frameOf(text: string): string | undefined {
	const [, file, line] = /File "([^"]+)", line (\d+)/.exec(text) ?? [];
	return file && `${file.split("/").slice(-2).join("/")}, line ${line}`;
}

/** The frame with the code at it, where that is the line after it. */
function withCode(frame: string | undefined, text: string): string | undefined {
	const code = text.trim();
	if (!frame || frame.includes(": ") || code === "" || /^[\^~]+$/.test(code)) return frame;
	return `${frame}: ${code}`;
}
