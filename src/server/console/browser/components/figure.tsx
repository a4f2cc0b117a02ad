/** One number that matters, with what it is and a line on it. */
import type { ComponentChildren } from "preact";

interface FigureProps {
	readonly label: string;
	readonly value: string;
	/** Behind the value, smaller: `/s`. */
	readonly unit?: string;
	readonly note?: ComponentChildren;
	/** Colours the value. */
	readonly tone?: "plain" | "bad";
}

/** The figure, as a term and its description: it stands in a `<dl>`. */
export function Figure({ label, value, unit, note, tone = "plain" }: FigureProps) {
	return (
		<div class="card figure">
			<dt>{label}</dt>
			<dd>
				<span class={`value ${tone}`}>
					{value}
					{unit !== undefined && <span class="unit">{unit}</span>}
				</span>
				{note !== undefined && <span class="note">{note}</span>}
			</dd>
		</div>
	);
}
