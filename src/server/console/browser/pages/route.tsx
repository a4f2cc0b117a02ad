/** Route: where a call would go and why, without making it. */

import { useState } from "preact/hooks";
import { FactList } from "../components/fact-list.tsx";
import "../call-pages.css";
import { ApiError, askJson } from "../api.ts";
import { CandidateTable } from "../components/candidate-table.tsx";
import { Notice } from "../components/notice.tsx";
import { countText, durationText } from "../format.ts";
import type { Page } from "../page.ts";
import type { PastCandidate } from "../past-call.ts";

/** The page. */
export const page: Page = { path: "route", title: "Route", order: 50, Component: RoutePage };

/** What `POST /v1/route` answers. */
interface DryRun {
	readonly model: string;
	readonly route: string;
	readonly policy: string;
	readonly max_wait_ms?: number;
	readonly call: {
		readonly operation: string;
		readonly stream: boolean;
		readonly tokens: number;
		readonly max_tokens?: number;
		readonly needs: readonly string[];
		readonly has_session: boolean;
	};
	readonly suspicion?: string;
	readonly candidates: readonly PastCandidate[];
}

const EXAMPLE = JSON.stringify({ model: "", messages: [{ role: "user", content: "hi" }] }, undefined, 2);

function RoutePage() {
	const [found, setFound] = useState<DryRun | undefined>();
	const [problem, setProblem] = useState<string | undefined>();
	const [isBusy, setIsBusy] = useState(false);
	const submit = async (event: SubmitEvent) => {
		event.preventDefault();
		const form = new FormData(event.currentTarget as HTMLFormElement);
		setIsBusy(true);
		setProblem(undefined);
		setFound(undefined);
		try {
			const body = bodyOf(String(form.get("body")), String(form.get("model")).trim());
			const path = String(form.get("path")).trim();
			const url = path === "" ? "v1/route" : `v1/route?path=${encodeURIComponent(path)}`;
			setFound(await askJson<DryRun>(url, { method: "POST", body, key: String(form.get("key")) }));
		} catch (error) {
			setProblem(error instanceof ApiError || error instanceof SyntaxError ? error.message : String(error));
		} finally {
			setIsBusy(false);
		}
	};
	return (
		<div class="stack">
			<form class="card" onSubmit={(event) => void submit(event)}>
				<CallFields />
				<div class="actions">
					<button type="submit" class="primary" disabled={isBusy}>
						Where would it go?
					</button>
				</div>
				<p class="note">
					Nobody is called. Which call it is the body's fields say, or a path such as /v1/messages or
					/v1/images/generations; the key decides what the call may use, and is kept nowhere.
				</p>
			</form>
			{problem !== undefined && (
				<Notice kind="error" title="It would go nowhere">
					<p>{problem}</p>
				</Notice>
			)}
			{found && <Answer found={found} />}
		</div>
	);
}

/** What is asked about: whose call, where, and its body. */
function CallFields() {
	return (
		<>
			<div class="search-fields">
				<label class="field">
					Model
					<input name="model" placeholder="that of the body" autocomplete="off" spellcheck={false} />
				</label>
				<label class="field">
					Path of the call
					<input name="path" placeholder="as the body's fields say" autocomplete="off" spellcheck={false} />
				</label>
				<label class="field">
					Caller's key
					<input name="key" type="password" autocomplete="off" placeholder="none where none is needed" />
				</label>
			</div>
			<label class="field">
				Body of the call, as JSON
				<textarea name="body" rows={10} defaultValue={EXAMPLE} spellcheck={false} class="code" />
			</label>
		</>
	);
}

/** The body that is asked about. @throws {SyntaxError} saying what it should be */
function bodyOf(text: string, model: string): object {
	let body: unknown;
	try {
		body = text.trim() === "" ? {} : JSON.parse(text);
	} catch (error) {
		throw new SyntaxError(`The body is no JSON: ${(error as Error).message}`);
	}
	if (typeof body !== "object" || body === null || Array.isArray(body)) {
		throw new SyntaxError("The body must be a JSON object, as a call has it.");
	}
	return model === "" ? body : { ...body, model };
}

function Answer({
	found: { model, route, policy, max_wait_ms, call, suspicion, candidates },
}: {
	readonly found: DryRun;
}) {
	const facts: readonly (readonly [string, string | undefined])[] = [
		["Policy", policy],
		["Longest wait", max_wait_ms === undefined ? undefined : durationText(max_wait_ms)],
		["Call", `${call.operation}${call.stream ? ", streamed" : ""}`],
		["Tokens", `about ${countText(call.tokens)}`],
		["Most tokens of the answer", call.max_tokens === undefined ? undefined : countText(call.max_tokens)],
		["Needs", call.needs.length > 0 ? call.needs.join(", ") : "nothing special"],
		["Session", call.has_session ? "kept together" : "none"],
	];
	return (
		<section class="card" aria-labelledby="answer">
			<h2 id="answer">
				{model}: {route}
			</h2>
			<FactList facts={facts} />
			{suspicion !== undefined && <p class="problem">{suspicion}</p>}
			<CandidateTable candidates={candidates} />
		</section>
	);
}
