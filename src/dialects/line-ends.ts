/** What JSON may hold as it is, and clients that read lines take for the end of one. */

/** Beyond `\n` and `\r`, which JSON escapes: Python's `splitlines`, by which its HTTP clients read streams, ends a line at each of these, too. */
const LINE_ENDS = /[\u0085\u2028\u2029]/g;

/** The JSON on one line for everybody: those characters, which stand in its texts alone, become escapes. */
export function onOneLine(json: string): string {
	return json.replace(LINE_ENDS, (end) => `\\u${end.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
