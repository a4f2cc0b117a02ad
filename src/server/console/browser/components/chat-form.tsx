/** What a call of the playground says. */
import { useState } from "preact/hooks";
import type { ChatDraft } from "../chat-call.ts";

interface DraftFieldsProps {
	readonly draft: ChatDraft;
	readonly change: (part: Partial<ChatDraft>) => void;
}

/** The fields. */
export function DraftFields({ draft, change }: DraftFieldsProps) {
	return (
		<>
			<DraftText name="system" label="System prompt" draft={draft} change={change} rows={2} />
			<DraftText name="prompt" label="Prompt" draft={draft} change={change} rows={4} />
			<ImageFields draft={draft} change={change} />
			<div class="pair">
				<DraftNumber name="temperature" label="Temperature" draft={draft} change={change} step="any" />
				<DraftNumber name="maxTokens" label="Most tokens of the answer" draft={draft} change={change} step="1" />
			</div>
			<p>
				<label class="check">
					<input
						type="checkbox"
						checked={draft.isStreamed}
						onChange={(event) => change({ isStreamed: event.currentTarget.checked })}
					/>{" "}
					Stream the answer
				</label>
			</p>
			<details>
				<summary>Tools and further fields</summary>
				<DraftText name="tools" label="Tools (JSON array)" draft={draft} change={change} rows={4} />
				<DraftText name="further" label="Further fields (JSON object)" draft={draft} change={change} rows={3} />
			</details>
		</>
	);
}

interface DraftTextProps extends DraftFieldsProps {
	readonly name: "system" | "prompt" | "tools" | "further";
	readonly label: string;
	readonly rows: number;
}

const DraftText = ({ name, label, rows, draft, change }: DraftTextProps) => (
	<div class="field">
		<label for={`draft-${name}`}>{label}</label>
		<textarea
			id={`draft-${name}`}
			rows={rows}
			value={draft[name]}
			onInput={(event) => change({ [name]: event.currentTarget.value })}
		/>
	</div>
);

interface DraftNumberProps extends DraftFieldsProps {
	readonly name: "temperature" | "maxTokens";
	readonly label: string;
	readonly step: string;
}

const DraftNumber = ({ name, label, step, draft, change }: DraftNumberProps) => (
	<div class="field">
		<label for={`draft-${name}`}>{label}</label>
		<input
			id={`draft-${name}`}
			type="number"
			min={0}
			step={step}
			placeholder="the model's own"
			value={draft[name]}
			onInput={(event) => change({ [name]: event.currentTarget.value })}
		/>
	</div>
);

/** A router takes bodies of 32 MB, unless it is configured otherwise, and base64 is a third longer. */
const MOST_IMAGE_BYTES = 20_000_000;

function ImageFields({ draft: { images }, change }: DraftFieldsProps) {
	const [problem, setProblem] = useState<string | undefined>();
	const read = async (files: readonly File[]) => {
		const bytes = files.reduce((sum, { size }) => sum + size, 0);
		setProblem(bytes > MOST_IMAGE_BYTES ? "These are more than 20 MB: take smaller ones." : undefined);
		change({ images: bytes > MOST_IMAGE_BYTES ? [] : await Promise.all(files.map(dataUrlOf)) });
	};
	return (
		<div class="field">
			<label for="draft-images">Images</label>
			<input
				id="draft-images"
				type="file"
				accept="image/*"
				multiple
				onChange={(event) => void read([...(event.currentTarget.files ?? [])])}
			/>
			{problem !== undefined && (
				<p class="problem" role="alert">
					{problem}
				</p>
			)}
			{images.length > 0 && (
				<span class="actions">
					{images.map((url, at) => (
						<img key={at} class="thumb" src={url} alt={`Of the prompt, ${at + 1}`} />
					))}
				</span>
			)}
		</div>
	);
}

/** The file as a `data:` URL. */
function dataUrlOf(file: File): Promise<string> {
	return new Promise((resolve, reject) => {
		const reader = new FileReader();
		reader.onload = () => resolve(String(reader.result));
		reader.onerror = () => reject(reader.error);
		reader.readAsDataURL(file);
	});
}
