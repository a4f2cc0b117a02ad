/** Playground: models called by hand, one or two side by side, and the call as programs make it. */
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, askJson, useAnswer } from "../api.ts";
import { CODE_LANGUAGES, type CodeLanguage, callCode } from "../call-code.ts";
import { type ChatDraft, type ChatReply, chatBody, chatCall, NO_REPLY } from "../chat-call.ts";
import { DraftFields } from "../components/chat-form.tsx";
import { ReplyCard } from "../components/chat-reply.tsx";
import { Code } from "../components/scroll.tsx";
import type { Page } from "../page.ts";

/** The page. */
export const page: Page = { path: "playground", title: "Playground", order: 60, Component: Playground };

const FIRST_DRAFT: ChatDraft = {
	system: "",
	prompt: "Say hello.",
	images: [],
	isStreamed: true,
	temperature: "",
	maxTokens: "",
	tools: "",
	further: "",
};
const SIDES = ["left", "right"] as const;

/** A call, and what has come of it. */
interface Run {
	readonly model: string;
	readonly reply: ChatReply;
	readonly isRunning: boolean;
}

function Playground() {
	const [bearer, setBearer] = useState("");
	const [models, setModels] = useState<readonly [string, string]>(["", ""]);
	const [draft, setDraft] = useState(FIRST_DRAFT);
	const { runs, problem, send, stop } = useRuns(draft, bearer);
	const isRunning = runs.some((run) => run.isRunning);
	const asked = models.filter((model) => model.trim() !== "");
	const submit = (event: Event) => {
		event.preventDefault();
		send(asked);
	};
	return (
		<div class="stack">
			<form class="card" onSubmit={submit} onKeyDown={sendByKey} aria-label="Call">
				<Targets models={models} setModels={setModels} bearer={bearer} setBearer={setBearer} />
				<DraftFields draft={draft} change={(part) => setDraft((before) => ({ ...before, ...part }))} />
				{problem !== undefined && (
					<p class="problem" role="alert">
						{problem}
					</p>
				)}
				<div class="actions">
					<button type="submit" class="primary" disabled={isRunning}>
						Send
					</button>
					<button type="button" disabled={!isRunning} onClick={stop}>
						Stop
					</button>
					<span class="note">Ctrl+Enter or ⌘Enter sends, too.</span>
				</div>
			</form>
			{runs.length > 0 && (
				<div class="replies">
					{runs.map(({ model, reply, isRunning: runs }, at) => (
						<ReplyCard key={SIDES[at]} side={SIDES[at]!} model={model} reply={reply} isRunning={runs} />
					))}
				</div>
			)}
			<CallAsCode draft={draft} model={asked[0] ?? "MODEL"} />
		</div>
	);
}

/** In a text of several lines Enter alone begins another one. */
function sendByKey(event: KeyboardEvent): void {
	if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
	event.preventDefault();
	const form = event.currentTarget as HTMLFormElement;
	// As a click would: fields that are missing are said, and what runs is left alone.
	form.querySelector<HTMLButtonElement>("button[type=submit]")!.click();
}

interface TargetsProps {
	readonly models: readonly [string, string];
	readonly setModels: (models: readonly [string, string]) => void;
	readonly bearer: string;
	readonly setBearer: (bearer: string) => void;
}

function Targets({ models: [left, right], setModels, bearer, setBearer }: TargetsProps) {
	const known = useModels(bearer);
	return (
		<>
			<div class="pair">
				<BearerField change={setBearer} />
				<ModelField id="model-left" label="Model" value={left} change={(name) => setModels([name, right])} isRequired />
				<ModelField
					id="model-right"
					label="Beside it (may be empty)"
					value={right}
					change={(name) => setModels([left, name])}
				/>
			</div>
			<datalist id="known-models">
				{known.map((name) => (
					<option key={name} value={name} />
				))}
			</datalist>
		</>
	);
}

/** The calls that were sent last. Leaving the page stops them. */
function useRuns(draft: ChatDraft, bearer: string) {
	const [runs, setRuns] = useState<readonly Run[]>([]);
	const [problem, setProblem] = useState<string | undefined>();
	const stopping = useRef<AbortController | undefined>(undefined);
	const stop = () => stopping.current?.abort();
	useEffect(() => stop, []);
	const send = (models: readonly string[]) => {
		setProblem(undefined);
		let bodies: readonly Record<string, unknown>[];
		try {
			bodies = models.map((model) => chatBody(draft, model.trim()));
		} catch (error) {
			setProblem(error instanceof Error ? error.message : String(error));
			return;
		}
		const controller = new AbortController();
		stopping.current = controller;
		setRuns(models.map((model) => ({ model, reply: NO_REPLY, isRunning: true })));
		for (const [at, body] of bodies.entries()) {
			const change = (changed: (run: Run) => Run) =>
				setRuns((before) => before.map((run, each) => (each === at ? changed(run) : run)));
			chatCall(body, bearer, controller.signal, (reply) => change((run) => ({ ...run, reply })))
				.catch((error: unknown) => {
					const said = controller.signal.aborted
						? "Stopped."
						: error instanceof ApiError
							? error.message
							: `The answer broke off: ${String(error)}`;
					change((run) => ({ ...run, reply: { ...run.reply, problem: said } }));
				})
				.finally(() => change((run) => ({ ...run, isRunning: false })));
		}
	};
	return { runs, problem, send, stop };
}

/** Names of the models that the key may call; without keys, of all. */
function useModels(bearer: string): readonly string[] {
	const [names, setNames] = useState<readonly string[]>([]);
	const keys = useAnswer<{ readonly data: readonly unknown[] }>("admin/keys");
	const isAsked = bearer !== "" || keys.data?.data.length === 0;
	useEffect(() => {
		if (!isAsked) return;
		const leaving = new AbortController();
		askJson<{ readonly data: readonly { readonly id: string }[] }>("v1/models", { key: bearer, signal: leaving.signal })
			.then(({ data }) => setNames(data.map(({ id }) => id)))
			// What is wrong with the key is told where a call is made with it.
			.catch(() => setNames([]));
		return () => leaving.abort();
	}, [bearer, isAsked]);
	return names;
}

/** Asks for the key that pays. Told of it when it has been typed, not at each letter. */
const BearerField = ({ change }: { readonly change: (bearer: string) => void }) => (
	<div class="field">
		<label for="caller-key">Key that pays</label>
		<input
			id="caller-key"
			type="password"
			autocomplete="off"
			placeholder="none where none is needed"
			aria-describedby="caller-key-note"
			onChange={(event) => change(event.currentTarget.value.trim())}
		/>
		<span id="caller-key-note" class="note">
			A key for calls: its limits and budget hold. It is forgotten when you leave this page; your sign-in calls no
			models.
		</span>
	</div>
);

interface ModelFieldProps {
	readonly id: string;
	readonly label: string;
	readonly value: string;
	readonly change: (name: string) => void;
	readonly isRequired?: boolean;
}

const ModelField = ({ id, label, value, change, isRequired = false }: ModelFieldProps) => (
	<div class="field">
		<label for={id}>{label}</label>
		<input
			id={id}
			list="known-models"
			value={value}
			required={isRequired}
			autocomplete="off"
			onInput={(event) => change(event.currentTarget.value)}
		/>
	</div>
);

function CallAsCode({ draft, model }: { readonly draft: ChatDraft; readonly model: string }) {
	const [language, setLanguage] = useState<CodeLanguage>("curl");
	const base = new URL("v1", document.baseURI).href;
	let text: string;
	try {
		text = callCode(language, base, chatBody(draft, model));
	} catch (error) {
		text = error instanceof Error ? error.message : String(error);
	}
	return (
		<section class="card" aria-labelledby="as-code">
			<div class="head">
				<h2 id="as-code">The call as code</h2>
				{CODE_LANGUAGES.map((each) => (
					<button
						key={each}
						type="button"
						class="quiet"
						aria-pressed={each === language}
						onClick={() => setLanguage(each)}
					>
						{each}
					</button>
				))}
			</div>
			<Code text={text} />
		</section>
	);
}
