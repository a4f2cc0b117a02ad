/** One past call whole: why it went where it went, what was tried, what it cost. */

import { hrefOf } from "../address.ts";
import { useAnswer } from "../api.ts";
import { countText, durationText, timeText, usdText, wholeText } from "../format.ts";
import { type PastAttempt, servedBy, type WholePastCall } from "../past-call.ts";
import { Badge } from "./badge.tsx";
import { CandidateTable } from "./candidate-table.tsx";
import { FactList } from "./fact-list.tsx";
import { Figure } from "./figure.tsx";
import { Notice } from "./notice.tsx";
import { Scroll } from "./scroll.tsx";

/** The call of an id; any of the routers of a Redis may have it. */
export function CallDetail({ id }: { readonly id: string }) {
	const { data: call, error, reload } = useAnswer<WholePastCall>(`admin/calls/${encodeURIComponent(id)}`);
	return (
		<div class="stack">
			<p>
				<a href={hrefOf("calls")}>All calls</a>
			</p>
			{error && (
				<Notice kind="error" title={error.code === "call_not_found" ? "No such call" : "The call can't be shown"}>
					<p>{error.message}</p>
					<button type="button" onClick={reload}>
						Ask again
					</button>
				</Notice>
			)}
			{!call && !error && <p role="status">Asking for the call…</p>}
			{call && <Call call={call} />}
		</div>
	);
}

function Call({ call }: { readonly call: WholePastCall }) {
	const { decision } = call;
	return (
		<>
			<Summary call={call} />
			<Figures call={call} />
			<section class="card" aria-labelledby="attempts">
				<h2 id="attempts">Attempts</h2>
				{call.attempts.length === 0 ? (
					<p class="note">Nobody was asked: {call.error ?? "the router answered by itself"}.</p>
				) : (
					<Attempts attempts={call.attempts} ms={call.ms} />
				)}
			</section>
			<section class="card" aria-labelledby="candidates">
				<h2 id="candidates">Candidates</h2>
				<p class="note">
					{decision.route}
					{decision.policy === undefined ? "" : ` · policy ${decision.policy}`}
				</p>
				{decision.suspicion !== undefined && <p class="problem">{decision.suspicion}</p>}
				<CandidateTable candidates={decision.candidates ?? []} />
			</section>
			<p class="note">The prompt and the answer are not kept: no content of a call is.</p>
		</>
	);
}

function Summary({ call }: { readonly call: WholePastCall }) {
	const { id, status, error, refusal, at, key, team, user, model, requested, operation, stream, router, trace } = call;
	const asked = requested !== undefined && requested !== model ? ` (asked for as ${requested})` : "";
	const facts: readonly (readonly [string, string | undefined])[] = [
		["Ended", timeText(at)],
		["Model", `${model}${asked}`],
		["Call", `${operation}${stream ? ", streamed" : ""}`],
		["Served by", servedBy(call)],
		["Agent", call.agent],
		["Key", key],
		["Team", team],
		["User", user],
		["Cache", call.cache],
		["Fields left out", call.dropped_fields?.join(", ")],
		["Router", router && `${router.host} (${router.replica})`],
		["Trace", trace],
	];
	return (
		<section class="card" aria-labelledby="call-id">
			<div class="head">
				<h2 id="call-id">{id}</h2>
				<Badge text={`${status}${error === undefined ? "" : ` ${error}`}`} tone={status >= 400 ? "bad" : "good"} />
			</div>
			{refusal !== undefined && <p class="problem">{refusal}</p>}
			<FactList facts={facts} />
		</section>
	);
}

function Figures({ call }: { readonly call: WholePastCall }) {
	const { ms, first_token_ms, tokens, cost_usd, price, energy_j, estimated } = call;
	const kinds = Object.entries(tokens ?? {}).filter(([kind]) => kind !== "input" && kind !== "output");
	const rates = Object.entries(price?.rates ?? {}).filter(([, rate]) => typeof rate === "number");
	return (
		<dl class="figures few">
			<Figure
				label="Took"
				value={durationText(ms)}
				note={first_token_ms === undefined ? undefined : `first token after ${durationText(first_token_ms)}`}
			/>
			<Figure
				label="Tokens out"
				value={tokens ? countText(tokens["output"] ?? 0) : "–"}
				note={[
					...(tokens ? [`${wholeText(tokens["input"] ?? 0)} in`] : []),
					...kinds.map(([kind, count]) => `${wholeText(count)} ${kind}`),
					...(estimated ? ["estimated"] : []),
				].join(", ")}
			/>
			<Figure
				label="Cost"
				value={cost_usd === undefined ? "–" : usdText(cost_usd)}
				note={
					price
						? `${PRICES[price.source] ?? price.source}${rates.length > 0 ? `, USD a million: ${rates.map(([kind, rate]) => `${kind} ${rate}`).join(", ")}` : ""}`
						: "no price is known"
				}
			/>
			<Figure
				label="Energy"
				value={energy_j === undefined ? "–" : `${countText(energy_j)} J`}
				note={energy_j === undefined ? "not measured" : undefined}
			/>
		</dl>
	);
}

/** Who says the price. */
const PRICES: Readonly<Record<string, string>> = {
	upstream: "as the upstream says",
	prices: "by the configuration's prices",
	list: "by the list price",
	own: "on our own hardware",
	none: "nobody knows the price",
};

/** Attempts on a line. Where it was not kept when one began, it is where the one before ended; a hedge ran beside it. */
function Attempts({ attempts, ms }: { readonly attempts: readonly PastAttempt[]; readonly ms: number }) {
	const placed = placedAttempts(attempts);
	const whole = Math.max(ms, ...placed.map(({ from, attempt }) => from + attempt.ms), 1);
	return (
		<Scroll label="Attempts in order">
			<table>
				<thead>
					<tr>
						<th scope="col">Target</th>
						<th scope="col" class="text">
							Outcome
						</th>
						<th scope="col" class="text">
							In the call's time
						</th>
						<th scope="col">Took</th>
						<th scope="col">Cost</th>
					</tr>
				</thead>
				<tbody>
					{placed.map(({ attempt, from }) => (
						<tr key={attempt.number}>
							<th scope="row">
								{attempt.number}. {attempt.target || attempt.provider}
							</th>
							<td class={`text ${attempt.outcome === "answered" ? "" : "bad"}`}>
								{attempt.outcome} {attempt.status}
								{attempt.hedge && <Badge text="hedge" />}
								{attempt.paid_by && <Badge text={`paid by ${attempt.paid_by}`} />}
							</td>
							<td class="text">
								<span class="time-line" aria-hidden="true">
									<span
										class={attempt.outcome === "answered" ? "span" : "span failed"}
										style={{
											marginLeft: `${(100 * from) / whole}%`,
											width: `${Math.max(1, (100 * attempt.ms) / whole)}%`,
										}}
									/>
								</span>
							</td>
							<td>{durationText(attempt.ms)}</td>
							<td>{attempt.cost === undefined ? "–" : usdText(attempt.cost)}</td>
						</tr>
					))}
				</tbody>
			</table>
			{attempts.length > 1 && attempts.some(({ began_ms }) => began_ms === undefined) && (
				<p class="note">Attempts that were not hedges are shown one after the other; when each began was not kept.</p>
			)}
		</Scroll>
	);
}

function placedAttempts(attempts: readonly PastAttempt[]): { readonly attempt: PastAttempt; readonly from: number }[] {
	let end = 0;
	let start = 0;
	return attempts.map((attempt) => {
		if (attempt.began_ms !== undefined) start = attempt.began_ms;
		else if (!attempt.hedge) start = end;
		end = Math.max(end, start + attempt.ms);
		return { attempt, from: start };
	});
}
