/** vLLM's log → what went wrong, and how far a start is. Pure. */

import { shortText } from "../../short-text.ts";
import type { Problem } from "../problem.ts";
import type { Circumstances } from "./cause.ts";
import { CAUSES, exitCause } from "./vllm-causes.ts";
import { exceptionsOf, type LoggedException, type LogLine, logLine } from "./vllm-traceback.ts";

/** How far a start is. */
export interface LoadProgress {
	readonly phase: "downloading" | "loading" | "compiling" | "profiling" | "capturing" | "ready";
	/** 0 … 100 within the phase, where the log has it. */
	readonly percent?: number;
}

/**
 * What went wrong, by the log's lines, oldest first: the root cause, which stands above the lines that only point at it. Undefined
 * for a log that names no error: a container that was stopped, or that still runs.
 */
export function diagnose(lines: readonly string[], known: Circumstances = {}): Problem | undefined {
	if (known.oomKilled) return exitCause(lines, known);
	const log = lastRun(lines.map(logLine));
	// Information and warnings are no reason, such as a retry or a feature that the GPU lacks.
	const plain = log.filter(({ level }) => !/^(?:INFO|WARNING|DEBUG)$/.test(level)).map(({ text }) => text);
	const root = rootException(log, known);
	if (root) {
		const chain = raisedFrom(root);
		// The exception's own lines first: another process's may be of an error that it recovered from.
		const own = chain.flatMap((each) => [...each.lines, messageOf(each)]);
		return causeIn(own, plain, known) ?? { reason: shortened(messageOf(chain[0]!)), fix: SEE_LOG };
	}
	const found = (hasSurvived(known) ? undefined : causeIn(plain, plain, known)) ?? exitCause(plain, known);
	if (found) return found;
	const pointed = plain.map((line) => line.trim()).findLast((line) => POINTER.test(line));
	return pointed === undefined ? undefined : pointedAt(pointed);
}

const SEE_LOG = "the model's log has the lines around it; look the message up in vLLM's issues";

/** A container that somebody started again has the lines of both runs. */
function lastRun(log: readonly LogLine[]): readonly LogLine[] {
	const start = log.findLastIndex(({ text }) => /vLLM API server version/.test(text));
	return start < 0 ? log : log.slice(start);
}

/** The first cause of the table that one of these lines names; of several lines the newest. */
function causeIn(lines: readonly string[], all: readonly string[], known: Circumstances): Problem | undefined {
	for (const { pattern, explain } of CAUSES) {
		// The newest line: an earlier error may be one that the same container recovered from.
		for (let at = lines.length - 1; at >= 0; at--) {
			const found = pattern.exec(lines[at]!);
			if (found) return explain(found, { lines: all, ...known });
		}
	}
	return undefined;
}

/** Words that point at an error elsewhere in the log; they are never the reason. */
const POINTER =
	/Engine core initialization failed|Frontend process failed during engine core|(?:stack ?trace|root cause)[^.]*above|see (?:the )?(?:stack ?trace|root cause)|stack ?trace for (?:the )?root cause|please check the stack|EngineDeadError|EngineCore encountered an issue|WorkerProc initialization failed|died unexpectedly|failed to be inspected|^SystemExit|^KeyboardInterrupt|CancelledError|check the logs for more details|Error raised in subprocess/i;
/** What the death of one process does to the others: the reason only where nothing else is named. */
const CONSEQUENCE =
	/^(?:\w+\.)*(?:BrokenPipeError|EOFError|ConnectionResetError|ConnectionError|ZMQError|TimeoutError: RPC call)|zmq\.error|cannot schedule new futures|Connection closed by peer|Connection reset by peer|remote process exited|Socket Timeout|^RuntimeError: cancelled|^RuntimeError: Executor failed|DistBackendError|DistNetworkError|CalledProcessError/;
/** From here on the engine or a worker is lost; what is raised next is why. */
const FATAL =
	/EngineCore failed to start|EngineCore encountered a fatal error|EngineCore hit an exception|WorkerProc (?:failed|hit an exception)|Error executing method|AsyncLLM output_handler failed|Error in inspecting model architecture/;

function isPointer({ lines }: LoggedException): boolean {
	return POINTER.test(lines.join(" "));
}

function isReason(each: LoggedException): boolean {
	return !isPointer(each) && !CONSEQUENCE.test(each.lines[0]!);
}

/** It, or the last one before it that is a reason: an error on the way out must not hide what led to it. */
function reasonIn(each: LoggedException): LoggedException | undefined {
	if (isReason(each)) return each;
	return each.before && reasonIn(each.before.exception);
}

/** It, after those that it was explicitly raised from. */
function raisedFrom(each: LoggedException): LoggedException[] {
	const { before } = each;
	return before?.isCause && isReason(before.exception) ? [...raisedFrom(before.exception), each] : [each];
}

/** The exception that began it, with what it was raised from; undefined where none is named. */
function rootException(log: readonly LogLine[], known: Circumstances): LoggedException | undefined {
	const all = exceptionsOf(log);
	const reasons = all.flatMap((each) => reasonIn(each) ?? []);
	const consequences = all.filter((each) => !isPointer(each));
	const from = lastFatal(log, all);
	if (from !== undefined) {
		const isLater = ({ at }: LoggedException) => at > from;
		return reasons.find(isLater) ?? workerError(all.filter(isLater)) ?? consequences.find(isLater);
	}
	if (hasSurvived(known)) return undefined;
	return reasons.findLast(({ isLogged }) => !isLogged) ?? reasons.at(-1) ?? workerError(all) ?? consequences.at(-1);
}

/** It was killed, or ended as it was told to: what it logged before then it had survived. */
function hasSurvived({ exitCode }: Circumstances): boolean {
	return exitCode !== undefined && (exitCode === 0 || exitCode > 128);
}

/** Where the last failure begins: at the first fatal line after the failure before it was reported. */
function lastFatal(log: readonly LogLine[], all: readonly LoggedException[]): number | undefined {
	const fatal = log.flatMap(({ text, level }, at) => (level !== "INFO" && FATAL.test(text) ? [at] : []));
	const reports = all.filter((each) => /Engine core initialization failed/.test(each.lines[0]!)).map(({ at }) => at);
	const before = reports.filter((at) => fatal.some((each) => each > at)).at(-1) ?? -1;
	return fatal.find((at) => at > before);
}

/** `RuntimeError: Worker failed with error 'X', please check …` repeats X of a worker whose own lines are lost. */
function workerError(all: readonly LoggedException[]): LoggedException | undefined {
	for (const each of all) {
		const [, words] = /Worker failed with error '(.+?)', please check/.exec(each.lines.join(" ")) ?? [];
		if (words) return { process: each.process, at: each.at, lines: [words], isLogged: each.isLogged };
	}
	return undefined;
}

/** Its message on one line, with the part of a validation error that says something. */
function messageOf({ lines, raisedAt }: LoggedException): string {
	const [head = "", ...rest] = lines;
	const [, subject] = /validation errors? for (\S+)/.exec(head) ?? [];
	if (subject) {
		const [line = ""] = rest;
		const [, words] = /^(?:Value error|Assertion failed), (.*)/.exec(line) ?? [];
		// Without "Value error" the field's name stands on a line of its own.
		const told = words ?? [line, rest[1]].filter(Boolean).join(": ");
		return `${subject}: ${told.replace(/ *\[type=.*$/, "")}`;
	}
	const [, name = head, words = ""] = /^([\w.]+): ?(.*)$/.exec(head) ?? [];
	if (words === "" && rest.length === 0 && /^[\w.]+:?$/.test(head)) return raisedAt ? `${name} at ${raisedAt}` : head;
	if (/^(?:KeyError)$/.test(name) && raisedAt) return `${head} at ${raisedAt}`;
	return words === "" || /[:(,]$/.test(words) ? [head, ...rest].join(" ") : head;
}

const MAX_MESSAGE = 300;

/** A reason is a clause, and a remedy follows it. */
const shortened = (message: string): string => shortText(message, MAX_MESSAGE).replace(/\.$/, "");

/** Nothing but the pointer is left: the error itself was never logged, or is no longer in the log. */
function pointedAt(pointer: string): Problem {
	const [, name] = /(?:core proc|Worker proc) (\S+?),? died/.exec(pointer) ?? [];
	return {
		reason: `vLLM's engine${name ? ` (${name})` : ""} ended, and its log does not say why`,
		fix: "see its whole log (GET /models/{name}/logs?tail=10000), and `dmesg` for the kernel's out-of-memory killer",
	};
}

/** `(EngineCore_DP0 pid=96) ERROR 09-01 12:00:00 [core.py:708] ValueError: …`, coloured or not → `ValueError: …`. */
export function plainLine(line: string): string {
	return logLine(line).text;
}
const PHASES: readonly (readonly [pattern: RegExp, phase: LoadProgress["phase"]])[] = [
	[/Application startup complete|Uvicorn running on/, "ready"],
	[/init engine \(profile|Graph capturing finished|Capturing CUDA graphs?/i, "capturing"],
	[/GPU KV cache size|Available KV cache memory|Memory profiling takes|Maximum concurrency for/i, "profiling"],
	[
		/torch\.compile (?:takes|took)|Dynamo bytecode transform|Compiling a graph|Using cache directory: .*torch_compile/i,
		"compiling",
	],
	[
		/Loading (?:safetensors|pt) checkpoint shards|Starting to load model|Loading weights took|Model loading took/i,
		"loading",
	],
	[/Time spent downloading weights|Downloading|Fetching \d+ files|\.safetensors: +\d+%/i, "downloading"],
];

/** The progress that a line of a starting vLLM reports; undefined for all other lines. */
export function progressOf(line: string): LoadProgress | undefined {
	const plain = plainLine(line);
	const phase = PHASES.find(([pattern]) => pattern.test(plain))?.[1];
	if (!phase) return undefined;
	const percent = Number(/(?:shards|graphs[^:]*|files|safetensors): +(\d+)%/i.exec(plain)?.[1] ?? Number.NaN);
	return { phase, ...(percent >= 0 && percent <= 100 && { percent }) };
}
