/** The parts of the page that `router doctor` prints, and the page of them. Pure. */

/** A part of the page. */
export interface PagePart {
	readonly title: string;
	/** Lines of text; each row of facts is one. */
	readonly lines: readonly string[];
	/** What looks wrong, each with what to do about it. */
	readonly wrong?: readonly string[];
}

/** The page of its parts, what looks wrong last, where a terminal shows it. Pure. */
export function pageOf(parts: readonly PagePart[]): string {
	const wrong = parts.flatMap((part) => part.wrong ?? []);
	const texts = parts.map(({ title, lines }) => [title, ...lines.map((line) => `  ${line}`)].join("\n"));
	const verdict =
		wrong.length === 0 ? "Nothing looks wrong" : ["What looks wrong", ...wrong.map((line) => `  - ${line}`)].join("\n");
	return `${[...texts, verdict].join("\n\n")}\n`;
}
