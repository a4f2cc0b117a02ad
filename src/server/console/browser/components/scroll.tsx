/** What may be wider than the window: it scrolls by itself, also for who has no mouse. */
import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import { CopyButton } from "./copy-button.tsx";

interface ScrollProps {
	/** What it is, for who can't see it. */
	readonly label: string;
	readonly children: ComponentChildren;
}

/** A table, mostly. */
export const Scroll = ({ label, children }: ScrollProps) => (
	// biome-ignore lint/a11y/noNoninteractiveTabindex: without it there is no way to scroll it by keyboard.
	<section class="scroll" tabIndex={0} aria-label={label}>
		{children}
	</section>
);

/** Text as it is typed or written, and a button that copies it. */
export function Code({ text }: { readonly text: string }) {
	const place = useRef<HTMLPreElement>(null);
	return (
		<>
			{/* biome-ignore lint/a11y/noNoninteractiveTabindex: without it there is no way to scroll it by keyboard. */}
			<pre ref={place} tabIndex={0}>
				{text}
			</pre>
			<div class="actions copy">
				<CopyButton text={text} select={() => getSelection()?.selectAllChildren(place.current!)} />
			</div>
		</>
	);
}
