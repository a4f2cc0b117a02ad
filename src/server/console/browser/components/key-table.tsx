/** The keys: what each may do, how its budget stands, and what can be done about it. */
import { timeText, usdText, wholeText } from "../format.ts";
import { countedLimits, type ListedKey, limitsText, periodText } from "../key-list.ts";
import { useCanChange } from "../session.ts";
import { Badge } from "./badge.tsx";
import { Bar } from "./bar.tsx";
import { Scroll } from "./scroll.tsx";

/** What is asked for of a key. */
export type KeyOrder = "change" | "rotate" | "revoke";

interface KeyTableProps {
	readonly keys: readonly ListedKey[];
	readonly order: (what: KeyOrder, key: ListedKey) => void;
}

/** The table. */
export function KeyTable({ keys, order }: KeyTableProps) {
	return (
		<Scroll label="Table of keys">
			<table class="keys">
				<thead>
					<tr>
						<th scope="col">Key</th>
						<th scope="col" class="text">
							Models
						</th>
						<th scope="col" class="text">
							Limits
						</th>
						<th scope="col" class="text">
							Budget
						</th>
						<th scope="col" class="text">
							<span class="unseen">Actions</span>
						</th>
					</tr>
				</thead>
				<tbody>
					{keys.map((key) => (
						<KeyRow key={key.id} listed={key} order={order} />
					))}
				</tbody>
			</table>
		</Scroll>
	);
}

interface KeyRowProps {
	readonly listed: ListedKey;
	readonly order: KeyTableProps["order"];
}

function KeyRow({ listed, order }: KeyRowProps) {
	const { name, team, prefix, models, role, trace_contents, created_at, old_secret_until, revoked_at } = listed;
	const about = [
		team === undefined ? "" : `team ${team}`,
		prefix === undefined ? "" : `${prefix}…`,
		created_at === undefined ? "" : `made ${timeText(created_at)}`,
	].filter(Boolean);
	return (
		<tr>
			<th scope="row">
				{name}
				{role === "viewer" && <Badge text="read only" />}
				{trace_contents && <Badge text="contents traced" tone="warn" />}
				{revoked_at !== undefined && <Badge text="revoked" tone="bad" />}
				{about.length > 0 && <span class="note block">{about.join(" · ")}</span>}
				{revoked_at !== undefined && <span class="note block">revoked {timeText(revoked_at)}</span>}
				{old_secret_until !== undefined && (
					<span class="warn note block">its old secret is good until {timeText(old_secret_until)}</span>
				)}
			</th>
			<td class="text reason">{models.includes("*") ? "all" : models.join(", ") || "none"}</td>
			<td class="text">
				<KeyUse listed={listed} />
			</td>
			<td class="text">
				<KeyBudget listed={listed} />
			</td>
			<td class="text">
				<KeyActions listed={listed} order={order} />
			</td>
		</tr>
	);
}

/** The limits, as they stand where that is known. */
function KeyUse({ listed }: Pick<KeyRowProps, "listed">) {
	const counted = countedLimits(listed);
	if (counted.length === 0) return <span class="reason">{limitsText(listed.limits)}</span>;
	const { input, session_usd } = listed.limits;
	const others = {
		...(input !== undefined && { input }),
		...(session_usd !== undefined && { session_usd }),
	};
	return (
		<>
			{counted.map(({ most, used, unit }) => (
				<Bar
					key={unit}
					label={`${unit} of ${listed.name}`}
					share={Math.min(1, used / most)}
					text={`${wholeText(used)} of ${wholeText(most)} ${unit}`}
				/>
			))}
			{Object.keys(others).length > 0 && <span class="note block">{limitsText(others)}</span>}
		</>
	);
}

/** From this share of a budget on there is something to be done. */
const NEARLY_SPENT = 0.8;

function KeyBudget({ listed: { name, budget } }: Pick<KeyRowProps, "listed">) {
	if (!budget) return <>–</>;
	const { usd, per, spent } = budget;
	const share = usd > 0 ? Math.min(1, spent / usd) : 1;
	return (
		<>
			<Bar
				label={`Budget of ${name}`}
				share={share}
				high={NEARLY_SPENT}
				text={`${usdText(spent)} of ${usdText(usd)} ${periodText(per)}`}
			/>
			{spent >= usd && <span class="bad block">used up: its calls are refused</span>}
		</>
	);
}

function KeyActions({ listed, order }: KeyRowProps) {
	const canChange = useCanChange();
	if (listed.source === "config") return <span class="note">in the configuration: change it there</span>;
	if (!canChange || listed.revoked_at !== undefined) return null;
	return (
		<span class="actions">
			<button type="button" class="quiet" aria-label={`Change ${listed.name}`} onClick={() => order("change", listed)}>
				Change
			</button>
			<button type="button" class="quiet" aria-label={`Rotate ${listed.name}`} onClick={() => order("rotate", listed)}>
				Rotate
			</button>
			<button type="button" class="quiet" aria-label={`Revoke ${listed.name}`} onClick={() => order("revoke", listed)}>
				Revoke
			</button>
		</span>
	);
}
