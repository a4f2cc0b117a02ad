/** What a call could go to, and why it did or did not. */
import type { PastCandidate } from "../past-call.ts";
import { Scroll } from "./scroll.tsx";

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
							<td class="text reason">
								{Object.entries(inputs)
									.map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`)
									.join(", ")}
							</td>
						</tr>
					))}
				</tbody>
			</table>
		</Scroll>
	);
