/** What is asked before a key is made, rotated or revoked, and its secret, shown this once. */
import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";
import { ApiError, askJson } from "../api.ts";
import { keyChangeBody, type ListedKey, type MadeSecret, newKeyBody } from "../key-list.ts";
import { CopyButton } from "./copy-button.tsx";
import { Dialog } from "./dialog.tsx";

interface KeyFormProps {
	readonly title: string;
	/** On the button that does it. */
	readonly verb: string;
	readonly isDangerous?: boolean;
	/** Does it. What it throws is shown, and the form stays. */
	readonly onSend: (form: FormData) => Promise<void>;
	readonly onClose: () => void;
	readonly children: ComponentChildren;
}

function KeyForm({ title, verb, isDangerous = false, onSend, onClose, children }: KeyFormProps) {
	const [problem, setProblem] = useState<string | undefined>();
	const [isBusy, setIsBusy] = useState(false);
	const submit = async (event: Event) => {
		event.preventDefault();
		const form = new FormData(event.currentTarget as HTMLFormElement);
		setIsBusy(true);
		setProblem(undefined);
		try {
			await onSend(form);
		} catch (error) {
			setProblem(error instanceof ApiError ? error.message : String(error));
			setIsBusy(false);
		}
	};
	return (
		<Dialog title={title} onClose={onClose}>
			<form onSubmit={(event) => void submit(event)}>
				{children}
				{problem !== undefined && (
					<p class="problem" role="alert">
						{problem}
					</p>
				)}
				<div class="actions">
					<button type="submit" class={isDangerous ? "danger" : "primary"} disabled={isBusy}>
						{verb}
					</button>
					<button type="button" onClick={onClose}>
						Cancel
					</button>
				</div>
			</form>
		</Dialog>
	);
}

interface NewKeyProps {
	readonly onMade: (made: MadeSecret) => void;
	readonly onClose: () => void;
}

const LIMITS = [
	["rpm", "Calls a minute"],
	["tpm", "Tokens a minute"],
	["concurrency", "Calls at once"],
	["input", "Longest input, tokens"],
] as const;

const PERIODS = [
	["month", "a month"],
	["day", "a day"],
	["total", "ever"],
] as const;

/** Asks what a new key may do. */
export function NewKeyDialog({ onMade, onClose }: NewKeyProps) {
	const [isViewer, setIsViewer] = useState(false);
	const send = async (form: FormData) =>
		onMade(await askJson<MadeSecret>("admin/keys", { method: "POST", body: newKeyBody(form) }));
	return (
		<KeyForm title="Make a key" verb="Make" onSend={send} onClose={onClose}>
			<KeyText name="name" label="Name" isRequired />
			<KeyText name="team" label="Team (may be empty)" />
			<p>
				<label class="check">
					<input
						type="checkbox"
						name="viewer"
						checked={isViewer}
						onChange={(event) => setIsViewer(event.currentTarget.checked)}
					/>{" "}
					It sees this console and makes no calls
				</label>
			</p>
			{!isViewer && <CallersFields />}
		</KeyForm>
	);
}

/** @param listed the key that they are of; absent of a new one */
function CallersFields({ listed }: { readonly listed?: ListedKey }) {
	const models = listed?.models.includes("*") ? "" : (listed?.models.join(", ") ?? "");
	return (
		<>
			<KeyText name="models" label="Models (empty: all)" placeholder="fast, local/*" value={models} />
			<div class="pair">
				{LIMITS.map(([name, label]) => (
					<div class="field" key={name}>
						<label for={`new-key-${name}`}>{label}</label>
						<input
							id={`new-key-${name}`}
							name={name}
							type="number"
							min={1}
							step={1}
							placeholder="no limit"
							defaultValue={listed?.limits[name] ?? ""}
						/>
					</div>
				))}
				<div class="field">
					<label for="new-key-session_usd">A session in 24 hours, USD</label>
					<input
						id="new-key-session_usd"
						name="session_usd"
						type="number"
						min={0}
						step="any"
						placeholder="no limit"
						defaultValue={listed?.limits.session_usd ?? ""}
					/>
				</div>
				<div class="field">
					<label for="new-key-usd">Budget, USD</label>
					<input
						id="new-key-usd"
						name="usd"
						type="number"
						min={0}
						step="any"
						placeholder="none"
						defaultValue={listed?.budget?.usd ?? ""}
					/>
				</div>
				<div class="field">
					<label for="new-key-per">Budget is for</label>
					<select id="new-key-per" name="per">
						{PERIODS.map(([value, text]) => (
							<option key={value} value={value} selected={value === (listed?.budget?.per ?? "month")}>
								{text}
							</option>
						))}
					</select>
				</div>
			</div>
			<TracedContents isTraced={listed?.trace_contents ?? false} />
		</>
	);
}

/** Asks whether prompts and answers leave the router, and says what that means once they would. */
function TracedContents({ isTraced }: { readonly isTraced: boolean }) {
	const [isAsked, setIsAsked] = useState(isTraced);
	return (
		<div class="field">
			<label class="check">
				<input
					type="checkbox"
					name="trace_contents"
					checked={isAsked}
					aria-describedby="traced-contents"
					onChange={(event) => setIsAsked(event.currentTarget.checked)}
				/>{" "}
				Send its prompts and answers to the collector of traces
			</label>
			<span id="traced-contents" class={isAsked ? "warn" : "note"} role="status">
				{isAsked
					? "Whoever reads the traces then reads what is asked with this key and what is answered: tell those who use it. Nothing is sent where OTEL_EXPORTER_OTLP_ENDPOINT is not set, or of traces that are not sampled."
					: "Traces have times, tokens and costs, and no contents."}
			</span>
		</div>
	);
}

interface KeyTextProps {
	readonly name: string;
	readonly label: string;
	readonly isRequired?: boolean;
	readonly placeholder?: string;
	readonly value?: string;
}

const KeyText = ({ name, label, isRequired = false, placeholder, value }: KeyTextProps) => (
	<div class="field">
		<label for={`new-key-${name}`}>{label}</label>
		<input
			id={`new-key-${name}`}
			name={name}
			required={isRequired}
			placeholder={placeholder ?? ""}
			defaultValue={value ?? ""}
			autocomplete="off"
		/>
	</div>
);

interface OfKeyProps {
	readonly listed: ListedKey;
	readonly onClose: () => void;
}

interface ChangedProps {
	readonly onChanged: (warning: string | undefined) => void;
}

const pathOf = ({ id }: ListedKey, what: string) => `admin/keys/${encodeURIComponent(id)}/${what}`;

/** Asks what a key may do from now on. @param onChanged with what to know of it */
export function ChangeKeyDialog({ listed, onChanged, onClose }: OfKeyProps & ChangedProps) {
	const send = async (form: FormData) => {
		const body = listed.role === "viewer" ? { team: keyChangeBody(form)["team"] } : keyChangeBody(form);
		const { warning } = await askJson<{ readonly warning?: string }>(pathOf(listed, "change"), {
			method: "POST",
			body,
		});
		onChanged(warning);
	};
	return (
		<KeyForm title={`Change ${listed.name}`} verb="Change" onSend={send} onClose={onClose}>
			<KeyText name="team" label="Team (may be empty)" value={listed.team ?? ""} />
			{listed.role !== "viewer" && <CallersFields listed={listed} />}
			<p class="note">It holds from the next call on; calls under way go on.</p>
		</KeyForm>
	);
}

/** Asks how long the old secret stays good. */
export function RotateKeyDialog({ listed, onMade, onClose }: OfKeyProps & Pick<NewKeyProps, "onMade">) {
	const send = async (form: FormData) => {
		const overlap = String(form.get("overlap") ?? "").trim();
		const body = overlap === "" ? {} : { overlap };
		onMade(await askJson<MadeSecret>(pathOf(listed, "rotate"), { method: "POST", body }));
	};
	return (
		<KeyForm title={`Rotate ${listed.name}?`} verb="Rotate" onSend={send} onClose={onClose}>
			<p>It gets a new secret, and keeps its name, limits and what it has spent.</p>
			<div class="field">
				<label for="rotate-overlap">The old secret stays good for (empty: not any more)</label>
				<input id="rotate-overlap" name="overlap" defaultValue="24h" autocomplete="off" />
			</div>
		</KeyForm>
	);
}

/** Asks whether it is to be so. @param onChanged with what to know of it */
export function RevokeKeyDialog({ listed, onChanged, onClose }: OfKeyProps & ChangedProps) {
	const send = async () => {
		const { warning } = await askJson<{ readonly warning?: string }>(pathOf(listed, "revoke"), { method: "POST" });
		onChanged(warning);
	};
	return (
		<KeyForm title={`Revoke ${listed.name}?`} verb="Revoke" isDangerous onSend={send} onClose={onClose}>
			<p>Calls with it are refused from now on. It can't be made good again; what it has used stays in the sums.</p>
		</KeyForm>
	);
}

/** Shows a secret, which is in memory for as long as this is open. */
export function SecretDialog({ made, onClose }: { readonly made: MadeSecret; readonly onClose: () => void }) {
	const input = useRef<HTMLInputElement>(null);
	return (
		<Dialog title={`The secret of ${made.key.name}`} onClose={onClose}>
			<p>It is shown this once. The router keeps its hash alone.</p>
			<div class="field">
				<label for="new-secret">Secret</label>
				<input id="new-secret" ref={input} class="secret" value={made.secret} readOnly autocomplete="off" />
			</div>
			{made.warning !== undefined && <p class="warn">{made.warning}</p>}
			<div class="actions">
				<CopyButton text={made.secret} select={() => input.current!.select()} isPrimary />
				<button type="button" onClick={onClose}>
					Done
				</button>
			</div>
		</Dialog>
	);
}
