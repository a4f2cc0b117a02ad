/** What changed in a file, line by line, for a terminal. Pure. */

/** Longer parts are shown as replaced altogether: the table of the comparison has a cell for each pair of lines. */
const MOST_CELLS = 4_000_000;
/** A name that a secret follows. */
const SECRET = /(?:(?<!env_)key|token|secret|password|authorization|bearer)\w*["']?\s*[:=]\s*["']?/i;

/**
 * The changed lines with their numbers, `-` for the old and `+` for the new ones; empty where nothing changed. A secret is shown by its
 * first characters. No other line is shown: it may hold secrets of somebody else.
 */
export function lineDiff(before: string, after: string): string {
	const old = linesOf(before);
	const now = linesOf(after);
	let start = 0;
	while (start < old.length && start < now.length && old[start] === now[start]) start++;
	let end = 0;
	while (end < old.length - start && end < now.length - start && old.at(-1 - end) === now.at(-1 - end)) end++;
	const changes = compared(old.slice(start, old.length - end), now.slice(start, now.length - end));
	const shown: string[] = [];
	let [oldLine, newLine] = [start, start];
	let isInside = false;
	for (const { sign, line } of changes) {
		if (sign !== " " && !isInside) shown.push(`@@ -${oldLine + 1} +${newLine + 1} @@\n`);
		if (sign !== " ") shown.push(`${sign}${withoutSecret(line)}\n`);
		isInside = sign !== " ";
		if (sign !== "+") oldLine++;
		if (sign !== "-") newLine++;
	}
	return shown.join("");
}

/** A line of a settings file with the value of a secret cut to its first characters. */
export function withoutSecret(line: string): string {
	const match = SECRET.exec(line);
	if (!match) return line;
	const at = match.index + match[0].length;
	return (
		line.slice(0, at) +
		line.slice(at).replace(/^([\w-]{0,4})[^\s"',}\]]*/, (secret, first) => (secret.length > 4 ? `${first}…` : secret))
	);
}

interface Line {
	readonly sign: " " | "-" | "+";
	readonly line: string;
}

function linesOf(text: string): string[] {
	const lines = text.split(/\r?\n/);
	if (lines.at(-1) === "") lines.pop();
	return lines;
}

/** By the longest common subsequence. */
function compared(old: readonly string[], now: readonly string[]): Line[] {
	const width = now.length + 1;
	const removed = (lines: readonly string[]) => lines.map((line) => ({ sign: "-" as const, line }));
	const added = (lines: readonly string[]) => lines.map((line) => ({ sign: "+" as const, line }));
	if ((old.length + 1) * width > MOST_CELLS) return [...removed(old), ...added(now)];
	const common = new Uint32Array((old.length + 1) * width);
	for (let row = old.length - 1; row >= 0; row--) {
		for (let column = now.length - 1; column >= 0; column--) {
			const at = row * width + column;
			common[at] =
				old[row] === now[column] ? common[at + width + 1]! + 1 : Math.max(common[at + width]!, common[at + 1]!);
		}
	}
	const lines: Line[] = [];
	let [row, column] = [0, 0];
	while (row < old.length && column < now.length) {
		const at = row * width + column;
		if (old[row] === now[column]) {
			lines.push({ sign: " ", line: old[row]! });
			row++;
			column++;
		} else if (common[at + width]! >= common[at + 1]!) lines.push({ sign: "-", line: old[row++]! });
		else lines.push({ sign: "+", line: now[column++]! });
	}
	return [...lines, ...removed(old.slice(row)), ...added(now.slice(column))];
}
