/** Tables on a terminal. */

/** Rows with their columns aligned, two spaces between; the last column runs free. With a line end, if there are rows. */
export function table(rows: readonly (readonly string[])[]): string {
	const columns = Math.max(0, ...rows.map((row) => row.length));
	const widths = Array.from({ length: columns }, (_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
	const line = (row: readonly string[]) =>
		row
			.map((cell, at) => cell.padEnd(widths[at] ?? 0))
			.join("  ")
			.trimEnd();
	return rows.map((row) => `${line(row)}\n`).join("");
}

/** Text from the network on one line, without control characters that a terminal would obey. */
export function plainText(text: unknown): string {
	// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is taken out
	return String(text ?? "").replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ");
}
