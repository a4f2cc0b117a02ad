/** Calls: what was called, by whom, what came of it; and one of them whole. */
import "../call-pages.css";
import { goTo, hrefOf } from "../address.ts";
import { useAnswer } from "../api.ts";
import { CallDetail } from "../components/call-detail.tsx";
import { Notice } from "../components/notice.tsx";
import { Scroll } from "../components/scroll.tsx";
import { countText, durationText, fieldText, recentText, timeText, usdText, wholeText, zoneText } from "../format.ts";
import type { Page, PageProps } from "../page.ts";
import { type ListedPastCall, type PastCallPage, servedBy } from "../past-call.ts";

/** The page. */
export const page: Page = { path: "calls", title: "Calls", order: 30, Component: Calls };

/** How often it is looked for newer calls. */
const LOOK_MS = 5_000;

function Calls({ rest: [id], query }: PageProps) {
	if (id !== undefined && id !== "") return <CallDetail id={id} />;
	return <CallList query={query} />;
}

function CallList({ query }: Pick<PageProps, "query">) {
	const asked = query.toString();
	// Older ones stay as they are.
	const everyMs = query.has("before") ? undefined : LOOK_MS;
	const path = asked === "" ? "admin/calls" : `admin/calls?${asked}`;
	const { data, error, reload } = useAnswer<PastCallPage>(path, everyMs);
	return (
		<div class="stack">
			<SearchForm key={asked} query={query} reload={reload} />
			{error && (
				<Notice kind="error" title={data ? "What is shown is not the newest" : "The calls can't be shown"}>
					<p>{error.message}</p>
					<button type="button" onClick={reload}>
						Ask again
					</button>
				</Notice>
			)}
			{!data && !error && <p role="status">Asking for the calls…</p>}
			{data && <Found found={data} query={query} />}
			<p class="note">
				Prompts and answers are not kept, so none are shown. Listed are the calls of this router; where several share a
				Redis, each lists its own, and any of them finds a call by its id.
			</p>
		</div>
	);
}

const FIELDS = [
	["key", "Key", "its name or id"],
	["user", "User", "as the call named it"],
	["model", "Model", "fast"],
	["status", "Status", "failed, 5xx, 429"],
] as const;
/** Times: what a day of the address, which is UTC's, has more at its end, ms. */
const TIMES = [
	["from", "From", 0],
	["to", "To", 86_399_999],
] as const;

/** A time of the address, as its field shows it; "" where there is none, or one that is none. */
function timeField(asked: string | null, ofDay: number): string {
	const at = Date.parse(asked ?? "") + (/^\d{4}-\d\d-\d\d$/.test(asked ?? "") ? ofDay : 0);
	return Number.isNaN(at) ? "" : fieldText(at);
}

interface SearchFormProps {
	readonly query: URLSearchParams;
	readonly reload: () => void;
}

function SearchForm({ query, reload }: SearchFormProps) {
	const submit = (event: SubmitEvent) => {
		event.preventDefault();
		const given = [...new FormData(event.currentTarget as HTMLFormElement)].flatMap(([name, value]) =>
			typeof value === "string" && value.trim() !== "" ? [[name, value.trim()] as const] : [],
		);
		const isTime = (name: string) => TIMES.some(([time]) => time === name);
		const inUtc = given.map(([name, value]) => [name, isTime(name) ? new Date(value).toISOString() : value] as const);
		const { id, ...filters } = Object.fromEntries(inUtc);
		const href = id === undefined ? hrefOf("calls", [], filters) : hrefOf("calls", [id]);
		if (href === location.hash) reload();
		else goTo(href);
	};
	return (
		<search>
			<form class="card" onSubmit={submit}>
				<div class="search-fields">
					<label class="field">
						Call id
						<input name="id" placeholder="req_…" autocomplete="off" spellcheck={false} />
					</label>
					{FIELDS.map(([name, label, example]) => (
						<label key={name} class="field">
							{label}
							<input
								name={name}
								placeholder={example}
								defaultValue={query.get(name) ?? ""}
								autocomplete="off"
								spellcheck={false}
							/>
						</label>
					))}
					{TIMES.map(([name, label, ofDay]) => (
						<label key={name} class="field">
							{label}, {zoneText()}
							<input name={name} type="datetime-local" defaultValue={timeField(query.get(name), ofDay)} />
						</label>
					))}
				</div>
				<div class="actions">
					<button type="submit" class="primary">
						Search
					</button>
					<a href={hrefOf("calls")}>All calls</a>
					<a href={hrefOf("calls", [], { status: "failed" })}>Those that failed</a>
				</div>
			</form>
		</search>
	);
}

interface FoundProps {
	readonly found: PastCallPage;
	readonly query: URLSearchParams;
}

function Found({ found: { data, next, looked_at, waiting }, query }: FoundProps) {
	const older = next === undefined ? undefined : hrefOf("calls", [], { ...Object.fromEntries(query), before: next });
	const { before: _, ...filters } = Object.fromEntries(query);
	return (
		<>
			{waiting !== undefined && (
				<Notice kind="warning" title={`${wholeText(waiting)} calls can't be written yet`}>
					<p>They are not listed until the data directory can be written to; the log says why it can't.</p>
				</Notice>
			)}
			{data.length === 0 ? (
				<Notice kind="empty" title={older ? "None so far" : "No such call"}>
					<p>
						{older
							? `Calls were searched back to ${looked_at ? timeText(looked_at) : "an earlier one"}; older ones are left.`
							: "A call is listed about a second after its end, and until the ledger deletes it."}
					</p>
				</Notice>
			) : (
				<CallTable calls={data} />
			)}
			<nav class="actions" aria-label="Parts of the list">
				{query.has("before") && <a href={hrefOf("calls", [], filters)}>Newest</a>}
				{older && <a href={older}>Older calls</a>}
			</nav>
		</>
	);
}

const CallTable = ({ calls }: { readonly calls: readonly ListedPastCall[] }) => (
	<section class="card">
		<Scroll label="Calls">
			<table class="calls">
				<thead>
					<tr>
						<th scope="col">Ended</th>
						{["Status", "Model", "Key", "User", "Served by"].map((title) => (
							<th key={title} scope="col" class="text">
								{title}
							</th>
						))}
						<th scope="col">Took</th>
						<th scope="col">First token</th>
						<th scope="col">Tokens in</th>
						<th scope="col">out</th>
						<th scope="col">Cost</th>
					</tr>
				</thead>
				<tbody>
					{calls.map((call) => (
						<CallRowOf key={call.id} call={call} />
					))}
				</tbody>
			</table>
		</Scroll>
	</section>
);

function CallRowOf({ call }: { readonly call: ListedPastCall }) {
	const { id, at, model, requested, key, user, status, error, ms, first_token_ms, tokens, cost_usd } = call;
	const asked = model === "unknown" ? (requested ?? model) : model;
	return (
		<tr>
			<th scope="row">
				<a href={hrefOf("calls", [id])} title={timeText(at)}>
					{recentText(at, Date.now())}
				</a>
			</th>
			<ShortCell text={[status, error].filter(Boolean).join(" ")} isBad={status >= 400} />
			<ShortCell text={asked} />
			<ShortCell text={key ?? "–"} />
			<ShortCell text={user ?? "–"} />
			<ShortCell text={servedBy(call)} />
			<td>{durationText(ms)}</td>
			<td>{first_token_ms === undefined ? "–" : durationText(first_token_ms)}</td>
			<td>{tokens ? countText(tokens["input"] ?? 0) : "–"}</td>
			<td>{tokens ? countText(tokens["output"] ?? 0) : "–"}</td>
			<td>{cost_usd === undefined ? "–" : usdText(cost_usd)}</td>
		</tr>
	);
}

const ShortCell = ({ text, isBad = false }: { readonly text: string; readonly isBad?: boolean }) => (
	<td class={`text ${isBad ? "bad" : ""}`} title={text}>
		{text}
	</td>
);
