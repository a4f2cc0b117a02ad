/** Agents that show no token which counts: the router's log names each, and what is shown of it says why. */
import type { Log } from "../../telemetry/log.ts";
import type { AgentRecord } from "./agent-record.ts";

/** Why an agent's request was not let in, and what to do about it. */
const REFUSALS = {
	"none known": [
		"the router knows no agent token",
		"Set ROUTER_AGENT_TOKEN where the router runs, or run `router agents invite` there, and start the agent with that token.",
	],
	"no token": ["it has no token", "Start it with the ROUTER_AGENT_TOKEN that `router agents invite` prints."],
	unknown: ["its token is not known", "Start it with the ROUTER_AGENT_TOKEN that `router agents invite` prints."],
	revoked: ["its token was taken back", "To let it in again start it with what `router agents invite` prints."],
} as const satisfies Record<string, readonly [clause: string, remedy: string]>;

/** Why an agent's request was not let in. `none known`: the router has no token that one could be compared with. */
export type AgentRefusal = keyof typeof REFUSALS;

/** An agent asks every few seconds: its refusal is logged once in so long, ms. */
const LOG_EVERY_MS = 600_000;
/** So many agents and reasons are logged in that time. Bounded: who is refused may send any name. */
const MOST_LOGGED = 100;

/** Remembers which refusals were logged. */
export class RefusedAgents {
	/** When, by agent (by its address where it sends no name) and reason; the oldest first. */
	readonly #logged = new Map<string, number>();

	/** @param time ms, never backwards */
	constructor(
		private readonly agents: ReadonlyMap<string, AgentRecord>,
		private readonly log: Pick<Log, "logger">,
		private readonly time: () => number = () => performance.now(),
	) {}

	/**
	 * A request was refused. The agent of that name, where there is one, is shown as refused once it is not heard of any more: until then it
	 * may have been somebody else who used its name.
	 * @param agent a valid name; undefined where the request says none, as those of older agents
	 * @param address it came from
	 */
	refused(agent: string | undefined, address: string, refusal: AgentRefusal): void {
		const [clause, remedy] = REFUSALS[refusal];
		const known = agent === undefined ? undefined : this.agents.get(agent);
		if (known) known.refused = clause;
		if (!this.#isNews(`${agent ?? address} ${refusal}`)) return;
		const who = agent === undefined ? "An agent" : `The agent ${agent}`;
		this.log.logger.warn(
			{ ...(agent !== undefined && { agent }), address },
			`${who} was refused: ${clause}. ${remedy}`,
		);
	}

	#isNews(key: string): boolean {
		const now = this.time();
		for (const [each, at] of this.#logged) {
			if (now - at < LOG_EVERY_MS) break;
			this.#logged.delete(each);
		}
		if (this.#logged.has(key) || this.#logged.size >= MOST_LOGGED) return false;
		this.#logged.set(key, now);
		return true;
	}
}
