/** What a call could go to, and why it did or did not. */
import { durationText, usdText, wholeText } from "../format.ts";
import type { PastCandidate } from "../past-call.ts";
import { Scroll } from "./scroll.tsx";

/** `wait 20 ms`, `cost $0.0012`, `in flight 3`. */
function inputText([name, value]: readonly [string, string | number]): string {
	const unit = typeof value === "number" ? (/_(ms|usd)$/.exec(name)?.[1] ?? "") : "";
	const said = name.slice(0, unit === "" ? undefined : -1 - unit.length).replaceAll("_", " ");
	if (unit === "ms") return `${said} ${durationText(Number(value))}`;
	if (unit === "usd") return `${said} ${usdText(Number(value))}`;
	return `${said} ${Number.isInteger(value) ? wholeText(Number(value)) : value}`;
}

/** The candidates, the first choice first. */
export const CandidateTable = ({ candidates }: { readonly candidates: readonly PastCandidate[] }) =>
	candidates.length === 0 ? (
		<p class="note">None was weighed.</p>
	) : (
		<Scroll label="Candidates by rank">
			<table>
				<thead>
					<tr>
						<th scope="col">Target</th>
						<th scope="col">Rank</th>
						<th scope="col">Score</th>
						<th scope="col" class="text">
							Reason
						</th>
						<th scope="col" class="text">
							What was known of it
						</th>
					</tr>
				</thead>
				<tbody>
					{candidates.map(({ id, rank, score, reason, inputs = {} }) => (
						<tr key={id}>
							<th scope="row">{id}</th>
							<td>{rank ?? "–"}</td>
							<td>{score === undefined ? "–" : Number(score.toPrecision(4))}</td>
							<td class="text reason">{reason}</td>
							<td class="text reason">{Object.entries(inputs).map(inputText).join(", ")}</td>
						</tr>
					))}
				</tbody>
			</table>
		</Scroll>
	);
