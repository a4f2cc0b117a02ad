/** What the engines of agents draw, as the agents say it, for the meters of energy. */
import type { EnergyMeters } from "../../accounts/usage/energy-meters.ts";
import type { Lease } from "../../routing/lease.ts";
import { type AgentRecord, targetId } from "./agent-record.ts";

/** How often that is looked at, ms: agents say it every 5 s. */
const LOOK_MS = 1_000;

/** The agents. */
interface PowerSource {
	readonly agents: ReadonlyMap<string, Pick<AgentRecord, "name" | "models">>;
	leaseOf(agent: AgentRecord): Lease;
}

/** By engine, W; an adapter runs in its model's engine. Agents that are not heard of any more say nothing. Pure. */
export function enginePowers(source: PowerSource): Map<string, number> {
	const powers = new Map<string, number>();
	for (const agent of source.agents.values()) {
		if (source.leaseOf(agent as AgentRecord) === "gone") continue;
		for (const { name, parent, power, replicas = [] } of agent.models.values()) {
			if (parent !== undefined) continue;
			if (power) powers.set(targetId(agent.name, name), power);
			for (const each of replicas) if (each.power) powers.set(targetId(agent.name, name, each.replica), each.power);
		}
	}
	return powers;
}

/** Tells the meters from now on. Returns how to end that. */
export function watchPower(source: PowerSource, meters: Pick<EnergyMeters, "setPower">): () => void {
	let before: ReadonlyMap<string, number> = new Map();
	const look = () => {
		const powers = enginePowers(source);
		for (const [engine, watts] of powers) if (before.get(engine) !== watts) meters.setPower(engine, watts);
		for (const engine of before.keys()) if (!powers.has(engine)) meters.setPower(engine, 0);
		before = powers;
	};
	const timer = setInterval(look, LOOK_MS);
	timer.unref();
	return () => clearInterval(timer);
}
