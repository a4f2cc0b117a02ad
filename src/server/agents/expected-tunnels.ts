/** Tunnels that agents are about to open to a router which has taken another one's place. */
import { type AgentRecord, REOPEN_MS, tunnelProblem } from "./agent-record.ts";
import type { TunnelHub } from "./tunnels.ts";

/**
 * Has calls to agents that have no tunnel here yet wait for one, as after one that has closed: they had one to the router before.
 * @param now on the lease clock, ms
 */
export function expectTunnels(
	agents: Iterable<AgentRecord>,
	tunnels: Pick<TunnelHub, "isOpen" | "expect">,
	now: number,
): void {
	for (const agent of agents) {
		if (tunnelProblem(agent, tunnels) === undefined) continue;
		tunnels.expect(agent.name);
		agent.reopensUntil = now + REOPEN_MS;
	}
}
