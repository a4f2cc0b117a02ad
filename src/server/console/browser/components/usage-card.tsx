/** Who used what, and what it cost: summed by whatever is asked for, a bar a day, and as CSV. */
import { useState } from "preact/hooks";
import type { ShownUsage, UsageBy } from "../../../../accounts/usage/usage-report.ts";
import { useAnswer } from "../api.ts";
import { countText, usdText, wholeText } from "../format.ts";
import { Notice } from "./notice.tsx";
import { Scroll } from "./scroll.tsx";

const LOOK_MS = 10_000;
const DAY_MS = 86_400_000;
const BY: readonly UsageBy[] = ["key", "model", "provider", "user", "team", "day"];
/** Of the groups that cost the most. */
const SHOWN_ROWS = 200;

interface UsageAnswer {
	readonly data: readonly ShownUsage[];
	/** Other routers could not be asked. */
	readonly partial?: true;
}

/** Days of the ledger are UTC's. */
const dayText = (at: number) => new Date(at).toISOString().slice(0, 10);

/** The card. */
export function UsageCard() {
	const [first, setFirst] = useState<UsageBy>("key");
	const [second, setSecond] = useState<UsageBy | "">("model");
	const [from, setFrom] = useState(() => dayText(Date.now() - 29 * DAY_MS));
	const [to, setTo] = useState(() => dayText(Date.now()));
	const by = second === "" || second === first ? [first] : [first, second];
	const days = new URLSearchParams({ from, to });
	const path = `admin/usage?by=${by.join()}&${days}`;
	const { data, error } = useAnswer<UsageAnswer>(path, LOOK_MS);
	return (
		<section class="card" aria-labelledby="usage">
			<h2 id="usage">Usage</h2>
			<form class="filters" onSubmit={(event) => event.preventDefault()}>
				<ByChoice label="By" value={first} choose={(value) => setFirst(value as UsageBy)} />
				<ByChoice label="and by" value={second} choose={(value) => setSecond(value as UsageBy | "")} mayBeNone />
				<DayChoice label="From" value={from} choose={setFrom} />
				<DayChoice label="To (UTC)" value={to} choose={setTo} />
				<span class="download actions">
					<a href={`${path}&format=csv`} download={`usage-${from}-${to}.csv`}>
						Download CSV
					</a>
					<a href={`admin/usage?${days}&format=focus`} download={`focus-${from}-${to}.csv`}>
						FOCUS 1.3
					</a>
				</span>
			</form>
			{error && (
				<Notice kind="error" title="Usage can't be shown">
					<p>{error.message}</p>
				</Notice>
			)}
			{data?.partial && <p class="warn">Other routers could not be asked: theirs is missing.</p>}
			{data?.data.length === 0 && <p role="status">No calls in these days.</p>}
			{data && data.data.length > 0 && (
				<>
					<DayBars path={`admin/usage?by=day&${days}`} />
					<UsageTable by={by} groups={data.data} />
				</>
			)}
		</section>
	);
}

interface ChoiceProps {
	readonly label: string;
	readonly value: string;
	readonly choose: (value: string) => void;
}

const idOf = (label: string) => `usage-${label.replaceAll(" ", "-").toLowerCase()}`;

const ByChoice = ({ label, value, choose, mayBeNone = false }: ChoiceProps & { readonly mayBeNone?: boolean }) => (
	<label for={idOf(label)}>
		{label}{" "}
		<select id={idOf(label)} value={value} onChange={(event) => choose(event.currentTarget.value)}>
			{mayBeNone && <option value="">nothing else</option>}
			{BY.map((each) => (
				<option key={each} value={each}>
					{each}
				</option>
			))}
		</select>
	</label>
);

const DayChoice = ({ label, value, choose }: ChoiceProps) => (
	<label>
		{label}{" "}
		<input
			type="date"
			value={value}
			required
			onChange={(event) => event.currentTarget.value !== "" && choose(event.currentTarget.value)}
		/>
	</label>
);

/** The cost of each day. The picture is for the eye: by day the table has the same numbers. */
function DayBars({ path }: { readonly path: string }) {
	const { data } = useAnswer<UsageAnswer>(path, LOOK_MS);
	const groups = data?.data ?? [];
	const most = Math.max(...groups.map(({ cost_usd }) => cost_usd));
	if (groups.length === 0 || most <= 0) return null;
	const total = groups.reduce((sum, { cost_usd }) => sum + cost_usd, 0);
	return (
		<figure class="day-costs">
			<figcaption>
				Cost a day: {usdText(total)} over {groups.length} {groups.length === 1 ? "day" : "days"} with calls, at most{" "}
				{usdText(most)}
			</figcaption>
			<div class="days" aria-hidden="true">
				{groups.map(({ day = "", cost_usd }) => (
					<span key={day} class="day" title={`${day}: ${usdText(cost_usd)}`}>
						<span style={{ height: `${(100 * cost_usd) / most}%` }} />
						{day.slice(8)}
					</span>
				))}
			</div>
		</figure>
	);
}

const titleOf = (by: UsageBy) => by[0]!.toUpperCase() + by.slice(1);

interface UsageTableProps {
	readonly by: readonly UsageBy[];
	readonly groups: readonly ShownUsage[];
}

function UsageTable({ by, groups }: UsageTableProps) {
	const shown = (
		by.includes("day") ? [...groups] : groups.toSorted((a, b) => b.cost_usd - a.cost_usd || b.calls - a.calls)
	).slice(0, SHOWN_ROWS);
	return (
		<>
			<Scroll label="Table of usage">
				<table>
					<thead>
						<tr>
							{by.map((each) => (
								<th key={each} scope="col" class="text">
									{titleOf(each)}
								</th>
							))}
							<th scope="col">Calls</th>
							<th scope="col">Failed</th>
							<th scope="col">Tokens in</th>
							<th scope="col">of these cached</th>
							<th scope="col">Tokens out</th>
							<th scope="col">Wh</th>
							<th scope="col">Cost</th>
						</tr>
					</thead>
					<tbody>
						{shown.map((group) => (
							<UsageRow key={by.map((each) => group[each]).join("\n")} by={by} group={group} />
						))}
					</tbody>
				</table>
			</Scroll>
			{groups.length > shown.length && (
				<p class="note">
					{wholeText(shown.length)} of {wholeText(groups.length)} are shown; the CSV has all.
				</p>
			)}
		</>
	);
}

function UsageRow({ by: [first, ...others], group }: { readonly by: readonly UsageBy[]; readonly group: ShownUsage }) {
	const { calls, failed, tokens_in, tokens_cached, tokens_out, energy_wh, cost_usd, unpriced } = group;
	return (
		<tr>
			<th scope="row">{group[first!] || "–"}</th>
			{others.map((each) => (
				<td key={each} class="text">
					{group[each] || "–"}
				</td>
			))}
			<td>{wholeText(calls)}</td>
			<td class={failed > 0 ? "bad" : ""}>{wholeText(failed)}</td>
			<td>{wholeText(tokens_in)}</td>
			<td>{wholeText(tokens_cached)}</td>
			<td>{wholeText(tokens_out)}</td>
			<td>{energy_wh > 0 ? countText(energy_wh) : "–"}</td>
			<td>
				{usdText(cost_usd)}
				{unpriced > 0 && <span class="note block">{wholeText(unpriced)} without a known price</span>}
			</td>
		</tr>
	);
}
