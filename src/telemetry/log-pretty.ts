/** A log line for a person at a terminal: time, level, message, then what else there is. */

const COLOURS: Record<string, string> = { warn: "\x1b[33m", error: "\x1b[31m", fatal: "\x1b[31m", debug: "\x1b[2m" };
const RESET = "\x1b[0m";

/**
 * One JSON line as readable text with a trailing newline; a stack follows on lines of its own. What is no JSON
 * comes back as it is.
 * @param colour whether the terminal shows ANSI colours
 */
export function prettyLine(json: string, colour: boolean): string {
	let line: Record<string, unknown>;
	try {
		line = JSON.parse(json);
	} catch {
		return json;
	}
	const { level, time, msg, err, ...rest } = line;
	const clock = typeof time === "string" ? time.slice(11, 19) : "";
	const tag = String(level).toUpperCase().padEnd(5);
	const head = `${clock} ${tint(tag, colour ? COLOURS[String(level)] : undefined)} ${plain(String(msg ?? ""))}`;
	const fields = Object.entries(rest).map(([name, value]) => `${name}=${show(value)}`);
	const stack = err && typeof err === "object" && "stack" in err ? `\n${plain(String(err.stack))}` : "";
	return `${[head, ...fields].join(" ")}${stack}\n`;
}

function tint(text: string, colour: string | undefined): string {
	return colour ? `${colour}${text}${RESET}` : text;
}

function show(value: unknown): string {
	const text = typeof value === "string" ? value : JSON.stringify(value);
	return plain(/[\s"=]/.test(text) ? JSON.stringify(text) : text);
}

/** Control characters never reach the terminal: a client's model name could otherwise move its cursor or retitle it. */
function plain(text: string): string {
	// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
	return text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, "");
}
