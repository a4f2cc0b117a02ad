/** What is asked or shown of one model, over the page. */
import { modelPath } from "../agent-list.ts";
import { Dialog } from "./dialog.tsx";
import { LogView } from "./log-view.tsx";
import { RollDialog } from "./roll-dialog.tsx";

/** Which one. */
export interface ShownDialog {
	readonly what: "unload" | "roll" | "log";
	readonly model: string;
	/** Of a log: which container's, where there are several. */
	readonly replica?: number;
}

interface ModelDialogProps {
	readonly agent: string;
	readonly shown: ShownDialog;
	/** Has the agent do it. */
	readonly order: (model: string, what: string, body?: object) => Promise<void>;
	readonly close: () => void;
}

/** The dialog. */
export function ModelDialog({ agent, shown: { what, model, replica }, order, close }: ModelDialogProps) {
	if (what === "roll") {
		return <RollDialog model={model} onClose={close} onRoll={(body) => void order(model, "roll", body)} />;
	}
	if (what === "log") {
		const [title, query] = replica === undefined ? ["", ""] : [` #${replica}`, `&replica=${replica}`];
		return (
			<Dialog title={`Log of ${model}${title}`} onClose={close} isWide>
				<LogView path={modelPath(agent, model, `logs?follow=1&tail=200${query}`)} />
				<div class="actions">
					<button type="button" onClick={close}>
						Close
					</button>
				</div>
			</Dialog>
		);
	}
	return (
		<Dialog title={`Unload ${model}?`} onClose={close}>
			<p>
				Calls that run there finish first. Its memory is free then. An on-demand model is loaded again by its next call.
			</p>
			<div class="actions">
				<button type="button" class="danger" onClick={() => void order(model, "unload")}>
					Unload
				</button>
				<button type="button" onClick={close}>
					Cancel
				</button>
			</div>
		</Dialog>
	);
}
