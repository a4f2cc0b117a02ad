/** Agents that have run away, and keys that spend too fast: nothing is shown where there are none. */
import { useAnswer } from "../api.ts";
import { timeText, usdText } from "../format.ts";
import { Notice } from "./notice.tsx";

/** As `GET /admin/runaways` says it. */
interface ListedRunaway {
	readonly kind: "loop" | "spending" | "session";
	readonly key: string | null;
	readonly action: "warn" | "slow" | "stop";
	readonly session?: string | null;
	readonly model?: string;
	readonly rounds?: number;
	readonly call?: string;
	readonly last_seen?: string;
	readonly usd?: number;
	readonly usual_usd?: number;
	readonly budget_usd?: number;
}

const LOOK_MS = 5_000;
/** Shown at most: the latest. */
const MOST = 20;
const DONE = { warn: "warned of", slow: "slowed down", stop: "stopped" } as const;

/** The card. */
export function RunawaysCard() {
	const { data } = useAnswer<{ readonly data: readonly ListedRunaway[] }>("admin/runaways", LOOK_MS);
	const all = data?.data ?? [];
	if (all.length === 0) return null;
	return (
		<Notice kind="warning" title="Agents that have run away">
			<ul>
				{all.slice(0, MOST).map((each) => (
					<li key={`${each.kind} ${each.key} ${each.call ?? each.session}`}>
						<RunawayLine found={each} />
					</li>
				))}
			</ul>
			{all.length > MOST && <p>And {all.length - MOST} more.</p>}
		</Notice>
	);
}

function RunawayLine({ found }: { readonly found: ListedRunaway }) {
	const { kind, key, action, session, model, rounds, call, last_seen, usd = 0, usual_usd = 0, budget_usd = 0 } = found;
	const whose = key === null ? "" : `${key}: `;
	if (kind === "spending") {
		return (
			<>{`${whose}${usdText(usd)} in five minutes, where it usually spends ${usdText(usual_usd)}; ${DONE[action]}.`}</>
		);
	}
	if (kind === "session") {
		return (
			<>{`${whose}session ${session} has spent its budget of ${usdText(budget_usd)}; stopped, last at ${timeText(last_seen!)}.`}</>
		);
	}
	const agent = session ? `the agent of session ${session}` : "an agent";
	return (
		<>
			{`${whose}${agent} repeats itself on ${model}, ${rounds} rounds of the same; ${DONE[action]}, last at ${timeText(last_seen!)}: `}
			<a href={`#/calls/${call}`}>its last call</a>
		</>
	);
}
