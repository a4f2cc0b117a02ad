/** On which GPUs the engines of agents are and what these draw, as the agents say it, for the meters of energy. */
import type { EnergyMeters, GpuPower } from "../../accounts/usage/energy-meters.ts";
import type { ModelReport } from "../../protocol/agent.ts";
import { routerShare } from "../../protocol/router-shares.ts";
import type { Lease } from "../../routing/lease.ts";
import { type AgentRecord, targetId } from "./agent-record.ts";

/** How often is looked whether an agent has said something, ms: each does every 5 s, and at once where a model's state changes. */
const LOOK_MS = 250;

/** The agents. */
interface PowerSource {
	readonly agents: ReadonlyMap<string, Pick<AgentRecord, "name" | "models" | "gpus">>;
	leaseOf(agent: AgentRecord): Lease;
}

/**
 * By engine, its GPUs; an adapter runs in its model's engine. Agents that are not heard of any more say nothing. An engine of an agent that measures
 * is there before it is on a GPU, so that the call has its energy for which it is loaded. Pure.
 */
export function engineGpus(source: PowerSource): Map<string, readonly GpuPower[]> {
	const engines = new Map<string, readonly GpuPower[]>();
	for (const agent of source.agents.values()) {
		if (source.leaseOf(agent as AgentRecord) === "gone") continue;
		const watts = gpuWatts(agent);
		for (const { parent, replicas = [], ...model } of agent.models.values()) {
			if (parent !== undefined) continue;
			const add = (report: Pick<ModelReport, "gpus" | "power">, replica?: number) => {
				const engine = targetId(agent.name, model.name, replica);
				const gpus = gpusOf(agent.name, engine, report, watts);
				if (gpus) engines.set(engine, gpus);
			};
			if (replicas.length === 0) add(model);
			for (const each of replicas) add(each, each.replica);
		}
	}
	return engines;
}

/** By engine, the part that a router has of what it gets while calls of that router run there; those that have the whole are left out. Pure. */
export function engineShares({ agents }: Pick<PowerSource, "agents">, router: string): Map<string, number> {
	const shares = new Map<string, number>();
	for (const { name, models } of agents.values()) {
		for (const { name: model, parent, replicas = [], energy_shares } of models.values()) {
			if (parent !== undefined) continue;
			const told = replicas.map((each) => [targetId(name, model, each.replica), each.energy_shares] as const);
			for (const [engine, its] of [[targetId(name, model), energy_shares] as const, ...told]) {
				const share = routerShare(its, router);
				if (share < 1) shares.set(engine, share);
			}
		}
	}
	return shares;
}

/** By index, W; those of which the driver says nothing are left out. */
function gpuWatts({ gpus = [] }: Pick<AgentRecord, "gpus">): ReadonlyMap<number, number> {
	return new Map(gpus.flatMap(({ index, power }): [number, number][] => (power ? [[index, power]] : [])));
}

/** Undefined where the agent does not measure. An older agent does not say which GPUs, but what its model has of them: that counts as a GPU of its own. */
function gpusOf(
	agent: string,
	engine: string,
	{ gpus, power }: Pick<ModelReport, "gpus" | "power">,
	watts: ReadonlyMap<number, number>,
): readonly GpuPower[] | undefined {
	if (gpus === undefined && power) return [{ gpu: engine, watts: power }];
	if (watts.size === 0) return undefined;
	return (gpus ?? []).flatMap((index) => {
		const drawn = watts.get(index);
		return drawn === undefined ? [] : { gpu: `${agent}#${index}`, watts: drawn };
	});
}

/** Tells the meters from now on. Returns how to end that. @param router as agents know it */
export function watchPower(
	source: PowerSource,
	meters: Pick<EnergyMeters, "setGpus" | "setShare">,
	router: string,
): () => void {
	let before: ReadonlyMap<string, readonly GpuPower[]> = new Map();
	let sharesBefore: ReadonlyMap<string, number> = new Map();
	let reports: readonly unknown[] = [];
	const look = () => {
		// Each report makes other models.
		const said = [...source.agents.values()].flatMap((agent) =>
			source.leaseOf(agent as AgentRecord) === "gone" ? [] : [agent.models],
		);
		if (said.length === reports.length && said.every((each, at) => each === reports[at])) return;
		reports = said;
		const engines = engineGpus(source);
		const told = new Set<string>();
		for (const [engine, gpus] of engines) {
			if (Bun.deepEquals(before.get(engine), gpus)) continue;
			meters.setGpus(engine, gpus);
			told.add(engine);
		}
		for (const [engine, gpus] of before) if (gpus.length > 0 && !engines.has(engine)) meters.setGpus(engine, []);
		before = engines;
		const shares = engineShares(source, router);
		// Of an engine that they did not know the meters have taken no share.
		for (const [engine, share] of shares) {
			if (told.has(engine) || sharesBefore.get(engine) !== share) meters.setShare(engine, share);
		}
		for (const engine of sharesBefore.keys()) if (!shares.has(engine)) meters.setShare(engine, 1);
		sharesBefore = shares;
	};
	const timer = setInterval(look, LOOK_MS);
	timer.unref();
	return () => clearInterval(timer);
}
