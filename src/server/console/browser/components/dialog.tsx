/** A question over the page, which has to be answered or closed first. The browser keeps the focus inside and gives it back. */
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
	useEffect(() => {
		element.current!.showModal();
	}, []);
	return (
		<dialog ref={element} class={isWide ? "wide" : ""} aria-labelledby={id} onClose={onClose}>
			<h2 id={id}>{title}</h2>
			{children}
		</dialog>
	);
}
