/** Models and fleet: the hosts with GPUs, what runs on them, and what can be done about it. */

import type { FleetAgent, FleetGpu } from "../agent-list.ts";
import { useAnswer } from "../api.ts";
import { Badge } from "../components/badge.tsx";
import { Bar } from "../components/bar.tsx";
import { ModelRows } from "../components/model-rows.tsx";
import { Notice } from "../components/notice.tsx";
import { RetiringModels } from "../components/retiring-models.tsx";
import { Code, Scroll } from "../components/scroll.tsx";
import { ShadowList } from "../components/shadow-list.tsx";
import { bytesText, countText, timeText, wholeText } from "../format.ts";
import type { Page } from "../page.ts";

/** Agents are heard of every five seconds. */
const LOOK_MS = 2_500;

/** The page. */
export const page: Page = { path: "models", title: "Models and fleet", order: 20, Component: Models };

function Models() {
	const { data, error, reload } = useAnswer<{ readonly data: readonly FleetAgent[] }>("agents", LOOK_MS);
	const agents = data?.data;
	return (
		<>
			{error && (
				<Notice kind="error" title={agents ? "What is shown is not the newest" : "The agents can't be shown"}>
					<p>{error.message} It is tried again every few seconds.</p>
				</Notice>
			)}
			{!agents && !error && <p role="status">Asking for the agents…</p>}
			{agents?.length === 0 && <NoAgents />}
			<div class="stack">
				<RetiringModels />
				{byName(agents ?? []).map((agent) => (
					<AgentCard key={agent.name} agent={agent} reload={reload} />
				))}
				<ShadowList />
			</div>
		</>
	);
}

/** Hosts stay where they are, whichever registered anew: `gpu-2` before `gpu-10`. */
const byName = (agents: readonly FleetAgent[]) =>
	agents.toSorted((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }));

function NoAgents() {
	const url = new URL(".", document.baseURI).href.replace(/\/$/, "");
	return (
		<Notice kind="empty" title="No agent has registered yet">
			<p>
				An agent runs on a host with GPUs, starts vLLM there, and tells this router what it serves. Make an invitation
				where the router runs, with <code>router agents invite</code>; it prints the command for the host:
			</p>
			<Code text={`ROUTER_AGENT_TOKEN=… router --agent --router ${url} --model Qwen/Qwen3-8B`} />
			<p class="note">Models of vendors need no agent.</p>
		</Notice>
	);
}

function AgentCard({ agent, reload }: { readonly agent: FleetAgent; readonly reload: () => void }) {
	const { name, endpoint, version, last_heartbeat, problem, gpus, models } = agent;
	return (
		<section class="card" aria-labelledby={`agent-${name}`}>
			<div class="head">
				<h2 id={`agent-${name}`}>{name}</h2>
				<Lease agent={agent} />
				<span class="note">
					{endpoint}
					{version === undefined ? "" : ` · ${version}`} · heard of {timeText(last_heartbeat)}
				</span>
			</div>
			{problem !== undefined && <p class="problem">{problem}</p>}
			{gpus.length > 0 && <Gpus agent={name} gpus={gpus} />}
			{models.length > 0 ? (
				<ModelRows agent={name} models={models} onChanged={reload} />
			) : (
				<p class="note">
					It has no models: list them under <code>agent.models</code> of its configuration.
				</p>
			)}
		</section>
	);
}

function Lease({ agent: { state, reachable, refused, wake } }: { readonly agent: FleetAgent }) {
	if (wake === "asleep") return <Badge text="asleep: a call for its models wakes it" tone="plain" />;
	if (wake === "waking") return <Badge text="waking" tone="warn" />;
	if (refused) return <Badge text={`refused: ${refused}`} tone="bad" />;
	if (state === "gone") return <Badge text="gone: not heard of for 30 s" tone="bad" />;
	if (!reachable) return <Badge text="unreachable" tone="bad" />;
	if (state === "suspect") return <Badge text="suspect: not heard of for 15 s" tone="warn" />;
	return <Badge text="fresh" tone="good" />;
}

function Gpus({ agent, gpus }: { readonly agent: string; readonly gpus: readonly FleetGpu[] }) {
	return (
		<Scroll label={`GPUs of ${agent}`}>
			<table>
				<thead>
					<tr>
						<th scope="col">GPU</th>
						<th scope="col" class="text">
							Memory
						</th>
						<th scope="col">Busy</th>
						<th scope="col">°C</th>
						<th scope="col">W</th>
					</tr>
				</thead>
				<tbody>
					{gpus.map(({ index, name, memory_total, memory_used, utilization, temperature, power }) => (
						<tr key={index}>
							<th scope="row">
								{index} <span class="note">{name}</span>
							</th>
							<td class="text">
								<Bar
									label={`Memory of GPU ${index}`}
									share={memory_total > 0 ? memory_used / memory_total : 0}
									text={`${bytesText(memory_used)} of ${bytesText(memory_total)}`}
								/>
							</td>
							<td>{utilization === undefined ? "–" : `${wholeText(100 * utilization)} %`}</td>
							<td>{temperature === undefined ? "–" : wholeText(temperature)}</td>
							<td>{power === undefined ? "–" : countText(Math.round(power))}</td>
						</tr>
					))}
				</tbody>
			</table>
		</Scroll>
	);
}
