/** Copies a text; where the browser does not let the page, it is selected for who copies it by hand. */
import { useState } from "preact/hooks";

interface CopyButtonProps {
	readonly text: string;
	/** Selects it where it stands. */
	readonly select: () => void;
	/** The one thing to do here. */
	readonly isPrimary?: boolean;
}

/** The button, and behind it what came of it. */
export function CopyButton({ text, select, isPrimary = false }: CopyButtonProps) {
	const [said, setSaid] = useState("");
	const copy = async () => {
		select();
		try {
			// Browsers give the clipboard to pages of HTTPS and of localhost alone.
			await navigator.clipboard.writeText(text);
			setSaid("Copied.");
		} catch {
			setSaid("The browser doesn't let this page copy: it is selected, press Ctrl+C or ⌘C.");
		}
	};
	return (
		<>
			<button type="button" class={isPrimary ? "primary" : "quiet"} onClick={() => void copy()}>
				Copy
			</button>
			<span class="note" role="status">
				{said}
			</span>
		</>
	);
}
