/** A question over the page, which has to be answered or closed first. The browser keeps the focus inside, and at its end it is back where it was. */
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

interface DialogProps {
	readonly title: string;
	/** Escape, or a button of `children`. */
	readonly onClose: () => void;
	/** For what needs room. */
	readonly isWide?: boolean;
	readonly children: ComponentChildren;
}

/** The dialog, open for as long as it is rendered. */
export function Dialog({ title, onClose, isWide = false, children }: DialogProps) {
	const element = useRef<HTMLDialogElement>(null);
	const id = useId();
	const isLeft = useRef(false);
	useEffect(() => {
		const dialog = element.current!;
		dialog.showModal();
		return () => {
			isLeft.current = true;
			// The browser gives the focus back at a close, and not where the element goes.
			dialog.close();
		};
	}, []);
	return (
		<dialog ref={element} class={isWide ? "wide" : ""} aria-labelledby={id} onClose={() => isLeft.current || onClose()}>
			<h2 id={id}>{title}</h2>
			{children}
		</dialog>
	);
}
