/** vLLM's log: its lines go to standard output, uvicorn's and tqdm's to standard error. */

const pad = (n: number) => String(n).padStart(2, "0");

/** `INFO 11-24 05:42:01 [file.py:12] …`, in front of it the process that speaks. */
export function line(
	process: "APIServer" | "EngineCore" | "Worker",
	level: string,
	where: string,
	text: string,
): string {
	const now = new Date();
	const stamp = `${pad(now.getMonth() + 1)}-${pad(now.getDate())} ${pad(now.getHours())}:${pad(now.getMinutes())}:${pad(now.getSeconds())}`;
	const who = { APIServer: "APIServer pid=1", EngineCore: "EngineCore_DP0 pid=97", Worker: "Worker_TP0 pid=103" }[
		process
	];
	return text
		.split("\n")
		.map((part) => `(${who}) ${level} ${stamp} [${where}] ${part}`)
		.join("\n");
}

/** Of vLLM's own loggers. */
export const say = (text: string): void => void process.stdout.write(`${text}\n`);
/** Of uvicorn, tqdm and Python's tracebacks. */
export const err = (text: string): void => void process.stderr.write(`${text}\n`);

/** The engine's process, level INFO. */
export const engine = (where: string, text: string): void => say(line("EngineCore", "INFO", where, text));
/** The HTTP server's process, level INFO. */
export const api = (where: string, text: string): void => say(line("APIServer", "INFO", where, text));
