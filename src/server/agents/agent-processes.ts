/**
 * Which process of an installation has its agent's name. Of a data directory that was copied two agents may run, with one name and one `instance`:
 * the router tells them apart by the UUID that each start of an agent makes.
 */
import { RouterError } from "../../errors.ts";
import type { Heartbeat, Register } from "../../protocol/agent.ts";
import { tunnelEndpoint } from "../../protocol/tunnel.ts";
import type { Lease } from "../../routing/lease.ts";
import { type AgentRecord, nameTaken, tunnelProblem, unknownAgent } from "./agent-record.ts";
import type { AgentRegistryOptions } from "./agent-registry-options.ts";
import { callBack } from "./agent-transport.ts";
import type { RegistryLog } from "./registry-log.ts";

/** Processes remembered of one agent that another one has replaced. */
const MOST_REPLACED = 16;

/** Who registers, or is heard of. An older agent has no `process`, and is taken for the one that is known. */
type Sender = Pick<Register & Heartbeat, "name" | "instance" | "process">;
/** Where an agent is called. */
type Place = Pick<AgentRecord, "name" | "endpoint"> & { readonly instance?: string | undefined };
/** One that registers, or opens a tunnel. */
export type AgentAsking = Place & {
	readonly process?: string | undefined;
	/** It wants no tunnel in the place of another one's. */
	readonly standsBack?: boolean;
};

/** The processes of all agents, as far as this router has heard since its start. */
export class AgentProcesses {
	readonly #current = new Map<string, string>();
	readonly #replaced = new Map<string, readonly string[]>();

	constructor(
		private readonly registry: {
			readonly agents: ReadonlyMap<string, AgentRecord>;
			leaseOf(agent: AgentRecord): Lease;
		},
		private readonly options: Pick<AgentRegistryOptions, "transport" | "tunnels">,
		private readonly log: Pick<RegistryLog, "copied">,
	) {}

	/**
	 * Whether one may register, or open a tunnel, as far as other processes of its installation go. Throws `agent_name_taken` where one of them is heard of and keeps the
	 * name: the one that has replaced the asking one, or one that still answers elsewhere and is not stopping.
	 */
	async admit(asking: AgentAsking): Promise<void> {
		const { name, instance, process, standsBack = false } = asking;
		if (standsBack && this.options.tunnels?.isOpen(name, instance)) throw nameTaken(name);
		const holder = this.registry.agents.get(name);
		if (holder?.instance !== instance || !holder || !this.#isOther(asking, holder)) return;
		if (!this.#isThere(holder)) return;
		const hasLost = this.#replaced.get(name)?.includes(process!);
		if (!hasLost && (this.#isInPlace(asking, holder) || isStopping(holder) || !(await this.#answers(holder)))) return;
		this.log.copied(holder);
		throw copyRuns(holder);
	}

	/** Whether a heartbeat is the agent's own. Throws `agent_name_taken` where another one has the name and is heard of, else `agent_not_found`. */
	hear(sender: Sender, holder: AgentRecord): void {
		const { name, instance } = sender;
		const isSame = holder.instance === instance;
		if (isSame && !this.#isOther(sender, holder)) this.take(sender);
		else if (!this.#isThere(holder)) throw unknownAgent(name);
		else if (!isSame) throw nameTaken(name);
		else {
			this.log.copied(holder);
			throw copyRuns(holder);
		}
	}

	/** It has the name from now on. */
	take({ name, process }: Pick<Sender, "name" | "process">): void {
		const before = this.#current.get(name);
		if (process === undefined || before === process) return;
		this.#current.set(name, process);
		const replaced = (this.#replaced.get(name) ?? []).filter((each) => each !== process);
		if (before !== undefined) replaced.push(before);
		this.#replaced.set(name, replaced.slice(-MOST_REPLACED));
	}

	forget(name: string): void {
		this.#current.delete(name);
		this.#replaced.delete(name);
	}

	#isOther({ name, process }: Pick<AgentAsking, "name" | "process">, holder: AgentRecord): boolean {
		// Of several routers one may have the tunnel of an agent that has registered with another.
		const current = this.#tunnelled(holder) ?? this.#current.get(name);
		return current !== undefined && process !== undefined && current !== process;
	}

	/** It is heard of, or has its tunnel open: after a restart of the router that comes before its first heartbeat. */
	#isThere(holder: AgentRecord): boolean {
		return this.registry.leaseOf(holder) === "fresh" || this.#tunnelled(holder) !== undefined;
	}

	/** Which process has the tunnel by which calls go to the agent. */
	#tunnelled({ name, instance, endpoint }: Place): string | undefined {
		return endpoint === tunnelEndpoint(name) ? this.options.tunnels?.processOf(name, instance) : undefined;
	}

	/**
	 * It is where the holder was, which it has taken the place of. All tunnels of a name have one endpoint: the one that is open has to be its own. An
	 * older agent does not say with its tunnel which process it is.
	 */
	#isInPlace(asking: AgentAsking, { endpoint }: AgentRecord): boolean {
		if (asking.endpoint !== endpoint) return false;
		if (endpoint !== tunnelEndpoint(asking.name)) return true;
		const owner = this.#tunnelled(asking);
		if (owner !== undefined) return owner === asking.process;
		return this.options.tunnels?.isOpen(asking.name, asking.instance) === true;
	}

	async #answers(holder: AgentRecord): Promise<boolean> {
		const { transport, tunnels } = this.options;
		const problem = tunnelProblem(holder, tunnels);
		return (problem ?? (await callBack(holder.endpoint, holder.provider.secret!, transport))) === undefined;
	}
}

/** Its last heartbeat before its end says so of all its models; one that has none leaves nothing to be kept. */
const isStopping = ({ models }: Pick<AgentRecord, "models">): boolean =>
	[...models.values()].every(({ state }) => state === "draining");

/** The refusal of an agent while another one of its name and installation is there. */
function copyRuns({ name, endpoint }: Pick<AgentRecord, "name" | "endpoint">): RouterError {
	const message =
		`Another agent called "${name}" with the same data directory, or a copy of it, runs at ${endpoint}: stop one of the two. ` +
		"If both are to serve, delete agent-instance in this one's data directory, and give it another name (ROUTER_AGENT_NAME).";
	return new RouterError("agent_name_taken", message, { param: "name" });
}
