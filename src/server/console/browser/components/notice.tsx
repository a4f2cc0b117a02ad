/** A state of a page that is no content: nothing there yet, something failed, the connection is lost. It says what to do. */
import type { ComponentChildren } from "preact";

interface NoticeProps {
	/** `error` is read out at once, the others when there is time. */
	readonly kind: "empty" | "error" | "warning";
	readonly title: string;
	readonly children?: ComponentChildren;
}

/** The notice. */
export function Notice({ kind, title, children }: NoticeProps) {
	return (
		<div class={`notice ${kind}`} role={kind === "error" ? "alert" : "status"}>
			<h2>{title}</h2>
			{children}
		</div>
	);
}
