/** Replacing a model's containers while it serves. */
import { Dialog } from "./dialog.tsx";

interface RollDialogProps {
	readonly model: string;
	readonly onClose: () => void;
	/** @param body of `POST /models/{name}/roll` */
	readonly onRoll: (body: object) => void;
}

/** Asks by what, and how much the first new container gets. */
export function RollDialog({ model, onClose, onRoll }: RollDialogProps) {
	const submit = (event: Event) => {
		event.preventDefault();
		const form = new FormData(event.currentTarget as HTMLFormElement);
		const given = ["image", "canary"].flatMap((name) => {
			const text = String(form.get(name) ?? "").trim();
			return text === "" ? [] : [[name, text]];
		});
		onRoll(Object.fromEntries(given));
	};
	return (
		<Dialog title={`Roll ${model}`} onClose={onClose}>
			<p>
				A first new container gets a share of the calls. Where it answers as well as the old ones they are replaced, one
				after the other; else it goes, and the old ones stay.
			</p>
			<form onSubmit={submit}>
				<div class="field">
					<label for="roll-image">Image (empty: as configured)</label>
					<input
						id="roll-image"
						name="image"
						placeholder="vllm/vllm-openai:v0.33.0"
						pattern="[A-Za-z0-9][\w.\/:@\-]*"
					/>
				</div>
				<div class="field">
					<label for="roll-canary">Share of calls for the first (empty: as configured)</label>
					<input id="roll-canary" name="canary" placeholder="10%" pattern="\d+(\.\d+)?%" />
				</div>
				<div class="actions">
					<button type="submit" class="primary">
						Roll
					</button>
					<button type="button" onClick={onClose}>
						Cancel
					</button>
				</div>
			</form>
		</Dialog>
	);
}
