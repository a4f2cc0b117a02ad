/** Copies of calls that other models get, a line each: how their answers compare with those that callers got. */
import { useAnswer } from "../api.ts";
import { durationText, usdText, wholeText } from "../format.ts";
import { Scroll } from "./scroll.tsx";

/** Medians, and how often answers were the same, as `GET /admin/shadow` has them. */
interface Medians {
	readonly ms?: number;
	readonly first_token_ms?: number;
	readonly tokens_out?: number;
	readonly cost_usd?: number;
}
interface Agreement {
	readonly compared: number;
	readonly same: number;
}
interface Shadow {
	readonly model: string;
	readonly to: string;
	readonly share?: number;
	readonly budget?: { readonly usd: number; readonly per: string; readonly spent: number };
	readonly pairs: number;
	readonly failed: number;
	readonly caller: Medians;
	readonly shadow: Medians;
	readonly same_finish_reason: Agreement;
	readonly same_tool_calls: Agreement;
}

/** Medians of many calls change slowly, and the ledger is read for them. */
const LOOK_MS = 60_000;

/** The card; nothing where no model has copies. */
export function ShadowList() {
	const { data } = useAnswer<{ readonly data: readonly Shadow[] }>("admin/shadow", LOOK_MS);
	if (!data || data.data.length === 0) return null;
	return (
		<section class="card" aria-labelledby="shadow-calls">
			<div class="head">
				<h2 id="shadow-calls">Shadow calls</h2>
				<span class="note">
					copies for another model, compared and thrown away; medians of 30 days, callers' → the copies'
				</span>
			</div>
			<Scroll label="Answers that were compared">
				<table>
					<thead>
						<tr>
							<th scope="col">Model</th>
							<th scope="col">Pairs</th>
							<th scope="col">Time</th>
							<th scope="col">First token</th>
							<th scope="col">Tokens</th>
							<th scope="col">Cost</th>
							<th scope="col">Same end</th>
							<th scope="col">Same tools</th>
							<th scope="col">Budget</th>
						</tr>
					</thead>
					<tbody>
						{data.data.map((each) => (
							<Row key={`${each.model} ${each.to}`} shadow={each} />
						))}
					</tbody>
				</table>
			</Scroll>
		</section>
	);
}

function Row({ shadow: of }: { readonly shadow: Shadow }) {
	const { model, to, share, budget, pairs, failed, caller, shadow } = of;
	return (
		<tr>
			<th scope="row">
				{model} → {to} {share !== undefined && <span class="note">{Number((100 * share).toPrecision(3))} %</span>}
			</th>
			<td>
				{wholeText(pairs)}
				{failed > 0 && <span class="note"> and {wholeText(failed)} failed</span>}
			</td>
			<td>{both(caller.ms, shadow.ms, durationText)}</td>
			<td>{both(caller.first_token_ms, shadow.first_token_ms, durationText)}</td>
			<td>{both(caller.tokens_out, shadow.tokens_out, wholeText)}</td>
			<td>{both(caller.cost_usd, shadow.cost_usd, usdText)}</td>
			<td>{partText(of.same_finish_reason)}</td>
			<td>{partText(of.same_tool_calls)}</td>
			<td>{budget ? `${usdText(budget.spent)} of ${usdText(budget.usd)}` : "–"}</td>
		</tr>
	);
}

function both(caller: number | undefined, shadow: number | undefined, text: (value: number) => string): string {
	// On a phone the table scrolls, and its figures stay in a line.
	return caller === undefined || shadow === undefined ? "–" : unbroken(`${text(caller)} → ${text(shadow)}`);
}

function partText({ compared, same }: Agreement): string {
	return compared === 0
		? "–"
		: unbroken(`${Number(((100 * same) / compared).toPrecision(3))} % of ${wholeText(compared)}`);
}

const unbroken = (text: string): string => text.replaceAll(" ", "\u00a0");
