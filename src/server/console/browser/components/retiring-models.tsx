/** Models that the configuration names and that vendors stop offering. */
import { useAnswer } from "../api.ts";
import { Badge } from "./badge.tsx";
import { Scroll } from "./scroll.tsx";

/** Vendors are asked once a day; a reload may name others. */
const LOOK_MS = 60_000;
const DAY_MS = 86_400_000;
/** A model that ends within so many days is marked. */
const SOON_DAYS = 30;

/** As `GET /admin/models/retiring` has it. */
interface RetiringModel {
	readonly name: string;
	readonly target: string;
	readonly lifecycle: "deprecated" | "retired";
	/** `2027-01-14` */
	readonly shutdown_date?: string;
}

/** The card; nothing where no model ends, or nobody knows of it. */
export function RetiringModels() {
	const { data } = useAnswer<{ readonly data: readonly RetiringModel[] }>("admin/models/retiring", LOOK_MS);
	const models = data?.data ?? [];
	if (models.length === 0) return null;
	const endOf = ({ shutdown_date = "9999" }: RetiringModel) => shutdown_date;
	return (
		<section class="card" aria-labelledby="retiring">
			<h2 id="retiring">Models that retire</h2>
			<Scroll label="Table of models that retire">
				<table>
					<thead>
						<tr>
							<th scope="col">Name</th>
							<th scope="col" class="text">
								Target
							</th>
							<th scope="col" class="text">
								Ends
							</th>
						</tr>
					</thead>
					<tbody>
						{models
							.toSorted((a, b) => (endOf(a) < endOf(b) ? -1 : 1))
							.map((model) => (
								<tr key={`${model.name} ${model.target}`}>
									<th scope="row">{model.name}</th>
									<td class="text">{model.target}</td>
									<td class="text">
										<End model={model} />
									</td>
								</tr>
							))}
					</tbody>
				</table>
			</Scroll>
			<p class="note">
				Its vendor stops offering the target: name another one in <code>models:</code> before that.
			</p>
		</section>
	);
}

function End({ model: { lifecycle, shutdown_date } }: { readonly model: RetiringModel }) {
	if (lifecycle === "retired") return <Badge text="retired: calls fail" tone="bad" />;
	if (shutdown_date === undefined) return <>deprecated, no day said</>;
	const days = Math.ceil((Date.parse(shutdown_date) - Date.now()) / DAY_MS);
	if (days <= 0) return <Badge text={`${shutdown_date}: over`} tone="bad" />;
	if (days <= SOON_DAYS)
		return <Badge text={`${shutdown_date}, in ${days} ${days === 1 ? "day" : "days"}`} tone="warn" />;
	return <>{shutdown_date}</>;
}
