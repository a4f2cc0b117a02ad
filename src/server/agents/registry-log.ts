/** What the router's log says of its agents. */
import type { Lease } from "../../routing/lease.ts";
import type { Log } from "../../telemetry/log.ts";
import { type AgentRecord, namesakes } from "./agent-record.ts";

/** Sentences that are remembered as said. Bounded: agents choose names. */
const MOST_SAID = 1_000;

/** Writes it. */
export class RegistryLog {
	/** What was said of ambiguous names of models, and of copies. */
	readonly #said = new Set<string>();

	constructor(private readonly log: Log["logger"]) {}

	/** An agent has registered. @param before the endpoint that it had */
	registered({ name, endpoint, models, problem }: AgentRecord, before: string | undefined, isTakeover: boolean): void {
		const what = { agent: name, endpoint, models: models.size };
		if (isTakeover) this.log.warn(what, "Another agent took over the name of one that is gone.");
		else if (before !== endpoint) this.log.info(what, "An agent registered.");
		if (problem !== undefined) this.log.warn(what, `The agent gets no calls: ${problem}`);
	}

	/** Its lease is another one than the last that was logged. */
	lease({ name, endpoint }: AgentRecord, lease: Lease): void {
		const what = { agent: name, endpoint };
		if (lease === "fresh") this.log.info(what, "The agent is heard of again.");
		else if (lease === "suspect") this.log.warn(what, "The agent is late: used only where nothing else serves.");
		else this.log.warn(what, "The agent is not heard of any more: it gets no calls.");
	}

	reachable(agent: string): void {
		this.log.info({ agent }, "The agent can be reached now.");
	}

	tunnelClosed(agent: string): void {
		this.log.warn({ agent }, "The agent's tunnel is closed: it gets no calls until it is open again.");
	}

	/** Its names that are an adapter's at another agent, each once. */
	namesakes(agent: AgentRecord, agents: Iterable<AgentRecord>): void {
		for (const sentence of namesakes(agent, agents)) this.#warnOnce(agent, sentence);
	}

	/** Another process with its name and installation is refused, again and again: said once for each address that keeps the name. */
	copied(agent: AgentRecord): void {
		const other = "another agent with its data directory, or a copy of it, asks for its name, and is refused";
		this.#warnOnce(agent, `The agent "${agent.name}" at ${agent.endpoint} keeps its name: ${other}.`);
	}

	#warnOnce({ name }: AgentRecord, sentence: string): void {
		if (this.#said.has(sentence)) return;
		if (this.#said.size >= MOST_SAID) this.#said.clear();
		this.#said.add(sentence);
		this.log.warn({ agent: name }, sentence);
	}
}
