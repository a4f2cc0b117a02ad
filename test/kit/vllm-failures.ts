/** Logs of vLLM that fails, laid out as versions 0.32 and 0.33 print them: by its logger, by Python, and with the lines that only point at the error. */
import { expect } from "bun:test";
import type { Circumstances } from "../../src/agent/vllm/cause.ts";
import { diagnose } from "../../src/agent/vllm/vllm-log.ts";

const VLLM = "/usr/local/lib/python3.12/dist-packages/vllm";
/** Between two errors of a traceback: the later was raised from the earlier. */
export const CHAINED = "\nThe above exception was the direct cause of the following exception:\n";
/** Between two errors of a traceback: the later came up while the earlier was handled. */
export const HANDLED = "\nDuring handling of the above exception, another exception occurred:\n";

/** A Python traceback of these errors; between two of them CHAINED or HANDLED. */
export const traceback = (file: string, ...parts: string[]) =>
	parts
		.map((part) =>
			part === CHAINED || part === HANDLED
				? part
				: `Traceback (most recent call last):\n  File "${VLLM}/${file}", line 321, in run\n    self.step(batch)\n    ~~~~~~~~~^^^^^^^\n${part}`,
		)
		.join("\n");
/** A record of vLLM's logger: each of its lines has the prefix. */
export const record = (process: string, level: string, source: string, text: string) =>
	text.split("\n").map((line) => `(${process} pid=97) ${level} 11-29 16:04:11 [${source}] ${line}`);
/** The first line of a start. */
export const banner = record("APIServer", "INFO", "launcher.py:317", "vLLM API server version 0.32.0");
/** What the server says of an engine that did not come up. */
export const INIT_POINTER =
	"RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}";
/** What the API server prints at the end of every start whose engine failed. */
export const serverEnd = (pointer = INIT_POINTER) => traceback("v1/engine/utils.py", pointer).split("\n");
const WORKER_POINTER =
	"Exception: WorkerProc initialization failed due to an exception in a background process. See stack trace for root cause.";
const DEAD_POINTER =
	"vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.";

/** A start that fails in the engine's own process: logged, printed by Python once more, and pointed at. */
export const engineStart = (...errors: string[]) => [
	...banner,
	...record(
		"EngineCore",
		"ERROR",
		"core.py:1510",
		`EngineCore failed to start.\n${traceback("v1/engine/core.py", ...errors)}`,
	),
	"Process EngineCore:",
	...traceback("v1/engine/core.py", ...errors).split("\n"),
	...serverEnd(),
];
/** A start that fails in a worker: the engine only points at it, and so does the server. */
export const workerStart = (error: string, other = "") => [
	...banner,
	...record(
		"Worker_TP1",
		"ERROR",
		"multiproc_executor.py:953",
		`WorkerProc failed to start.\n${traceback("v1/executor/multiproc_executor.py", error)}`,
	),
	...(other
		? record(
				"Worker_TP0",
				"ERROR",
				"multiproc_executor.py:953",
				`WorkerProc failed to start.\n${traceback("v1/executor/multiproc_executor.py", other)}`,
			)
		: []),
	...record("Worker_TP0", "INFO", "multiproc_executor.py:880", "Parent process exited, terminating worker"),
	...record(
		"EngineCore",
		"ERROR",
		"core.py:1510",
		`EngineCore failed to start.\n${traceback("v1/engine/core.py", WORKER_POINTER)}`,
	),
	...serverEnd(),
];
/** A start that the API server itself gives up, before there is an engine. */
export const serverStart = (...errors: string[]) => [
	...banner,
	...traceback("entrypoints/launchers/launcher.py", ...errors).split("\n"),
];
/** An engine that dies while it serves, and the calls that it takes along. */
export const engineDeath = (error: string, calls = 3) => [
	...banner,
	...record("APIServer", "INFO", "launcher.py:80", "Application startup complete."),
	...record("EngineCore", "ERROR", "dump_input.py:72", "Dumping input data for V1 LLM engine"),
	...record(
		"EngineCore",
		"ERROR",
		"core.py:1512",
		`EngineCore encountered a fatal error.\n${traceback("v1/engine/core.py", error)}`,
	),
	...record(
		"APIServer",
		"ERROR",
		"async_llm.py:906",
		`AsyncLLM output_handler failed.\n${traceback("v1/engine/async_llm.py", DEAD_POINTER)}`,
	),
	...Array.from({ length: calls }, () =>
		record(
			"APIServer",
			"ERROR",
			"serving.py:410",
			`Error in chat completion stream generator.\n${traceback("v1/engine/async_llm.py", DEAD_POINTER)}`,
		),
	).flat(),
];
/** A configuration that vLLM refuses; `words` begin with two blanks, as pydantic prints them. */
export const pydantic = (subject: string, words: string) =>
	`pydantic_core._pydantic_core.ValidationError: 1 validation error for ${subject}\n${words} [type=value_error, input_value=ArgsKwargs((), {'model': ...}), input_type=ArgsKwargs]\n    For further information visit https://errors.pydantic.dev/2.12/v/value_error`;

const POINTERS =
	/root cause|stack ?trace|EngineDeadError|encountered an issue|background process|validation errors? for|undefined|NaN/i;

/** One failure: its log, what is said of it, and what is known besides. */
export type FailedStart = readonly [
	what: string,
	log: readonly string[],
	reason: RegExp,
	fix: RegExp,
	known?: Circumstances,
];

/** What is said of the failure, and that it is the cause, not the line that points at it. */
export function expectCause(...[, log, reason, fix, known = {}]: FailedStart): void {
	const found = diagnose(log, known);
	expect(found?.reason).toMatch(reason);
	expect(found?.fix).toMatch(fix);
	expect(`${found?.reason} ${found?.fix}`).not.toMatch(POINTERS);
}
