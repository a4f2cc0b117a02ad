/** The models of an agent: what each does, why, and what can be done about it. */
import { useState } from "preact/hooks";
import type { FleetModel, FleetReplica } from "../agent-list.ts";
import { modelPath } from "../agent-list.ts";
import { ApiError, ask } from "../api.ts";
import { countText, wholeText } from "../format.ts";
import { useCanChange } from "../session.ts";
import { Badge } from "./badge.tsx";
import { ModelDialog, type ShownDialog } from "./model-dialog.tsx";
import { Scroll } from "./scroll.tsx";

const TONES = {
	ready: "good",
	sleeping: "plain",
	stopped: "plain",
	pulling: "warn",
	starting: "warn",
	draining: "warn",
	failed: "bad",
} as const;

interface ModelRowsProps {
	readonly agent: string;
	readonly models: readonly FleetModel[];
	/** Something was changed: what is shown is old. */
	readonly onChanged: () => void;
}

/** The table, and what was asked for of a model. */
export function ModelRows({ agent, models, onChanged }: ModelRowsProps) {
	const [shown, setShown] = useState<ShownDialog | undefined>();
	const [problem, setProblem] = useState<string | undefined>();
	const order = async (model: string, what: string, body?: object) => {
		setShown(undefined);
		setProblem(undefined);
		try {
			await ask(modelPath(agent, model, what), { method: "POST", body });
		} catch (error) {
			setProblem(`${model}: ${error instanceof ApiError ? error.message : String(error)}`);
		}
		onChanged();
	};
	return (
		<>
			{problem !== undefined && (
				<p class="problem" role="alert">
					{problem}
				</p>
			)}
			<Scroll label={`Models of ${agent}`}>
				<table>
					<thead>
						<tr>
							<th scope="col">Model</th>
							<th scope="col" class="text">
								State
							</th>
							<th scope="col">In flight</th>
							<th scope="col">Runs</th>
							<th scope="col">Waits</th>
							<th scope="col">KV cache</th>
							<th scope="col">W</th>
							<th scope="col" class="text">
								<span class="unseen">Actions</span>
							</th>
						</tr>
					</thead>
					<tbody>
						{models.map((model) => (
							<ModelRow key={model.name} model={model} order={(what) => void order(model.name, what)} show={setShown} />
						))}
					</tbody>
				</table>
			</Scroll>
			{shown && <ModelDialog agent={agent} shown={shown} order={order} close={() => setShown(undefined)} />}
		</>
	);
}

interface ModelRowProps {
	readonly model: FleetModel;
	readonly order: (what: "load") => void;
	readonly show: (shown: ShownDialog) => void;
}

function ModelRow({ model, order, show }: ModelRowProps) {
	const { name, model: weights, parent, load, state, reason, roll, replicas = [] } = model;
	return (
		<>
			<tr>
				<th scope="row">
					{name}
					<span class="note block">
						{parent === undefined ? [weights, load].filter(Boolean).join(" · ") : `adapter of ${parent}`}
					</span>
				</th>
				<td class="text">
					<Badge text={state} tone={TONES[state]} />
					{reason !== undefined && <span class="note block reason">{reason}</span>}
					{roll !== undefined && <span class="note block reason">Roll: {roll}</span>}
				</td>
				<Numbers work={model} />
				<td class="text">
					<Actions model={model} order={order} show={show} />
				</td>
			</tr>
			{replicas.map((replica) => (
				<ReplicaRow key={replica.replica} model={name} replica={replica} show={show} />
			))}
		</>
	);
}

function Actions({ model: { name, parent, model, state }, order, show }: ModelRowProps) {
	const canChange = useCanChange() && parent === undefined;
	// Of an engine that runs without its agent nothing is known but what it serves.
	if (parent === undefined && model === undefined) return <span class="note">started by somebody else</span>;
	const isLoaded = state !== "stopped" && state !== "failed";
	const button = (label: string, of: string, act: () => void) => (
		<button type="button" class="quiet" aria-label={`${label} ${of}${name}`} onClick={act}>
			{label}
		</button>
	);
	return (
		<span class="actions">
			{canChange && !isLoaded && button("Load", "", () => order("load"))}
			{canChange && isLoaded && button("Unload", "", () => show({ what: "unload", model: name }))}
			{canChange && isLoaded && button("Roll", "", () => show({ what: "roll", model: name }))}
			{button("Log", "of ", () => show({ what: "log", model: name }))}
		</span>
	);
}

interface ReplicaRowProps {
	readonly model: string;
	readonly replica: FleetReplica;
	readonly show: (shown: ShownDialog) => void;
}

function ReplicaRow({ model, replica, show }: ReplicaRowProps) {
	const { replica: number, state, canary } = replica;
	return (
		<tr class="replica">
			<th scope="row">#{number}</th>
			<td class="text">
				<Badge text={state} tone={TONES[state]} />
				{canary !== undefined && <Badge text={`canary, ${countText(100 * canary)} %`} />}
			</td>
			<Numbers work={replica} />
			<td class="text">
				<button
					type="button"
					class="quiet"
					aria-label={`Log of ${model} #${number}`}
					onClick={() => show({ what: "log", model, replica: number })}
				>
					Log
				</button>
			</td>
		</tr>
	);
}

function Numbers({
	work,
}: {
	readonly work: Pick<FleetReplica, "in_flight" | "running" | "waiting" | "kv_cache" | "power">;
}) {
	const { in_flight, running, waiting, kv_cache, power } = work;
	return (
		<>
			<td>{in_flight}</td>
			<td>{running ?? "–"}</td>
			<td>{waiting ?? "–"}</td>
			<td>{kv_cache === undefined ? "–" : `${wholeText(100 * kv_cache)} %`}</td>
			<td>{power === undefined ? "–" : wholeText(power)}</td>
		</>
	);
}
