/** What a worker has of agents: which there are, how calls reach them, and where a model is served. */
import type { Config } from "../../config/schema.ts";
import type { Upstream } from "../../providers/registry.ts";
import { readCa } from "../../proxy/net/transport.ts";
import type { StateView } from "../../routing/target-state.ts";
import { AgentReplica } from "../agents/agent-replica.ts";
import { AgentTransport } from "../agents/agent-transport.ts";
import { AgentFleet } from "../agents/fleet.ts";
import { WakingHosts } from "../agents/host-wakes.ts";
import { ThreadTunnels } from "../agents/tunnels.ts";
import type { ToMain, WorkerStart } from "./link.ts";
import { mainTunnels } from "./remote-tunnels.ts";

/** The part of the configuration that says how agents are called, and how many replicas they have. */
type AgentConfig = Pick<Config, "ca_file" | "agents">;

/** One for each worker. */
export class WorkerAgents {
	/** Connections that agents have opened to this thread, or to others. */
	readonly tunnels: ThreadTunnels;
	readonly transport: AgentTransport;
	/** As the main thread has told of them. */
	readonly replica: AgentReplica;
	readonly fleet: AgentFleet;

	/**
	 * @param upstream what all agents have in common
	 * @param targets what is known of each target
	 */
	constructor(
		{ thread, epoch, config, agents }: Pick<WorkerStart, "thread" | "epoch" | "config" | "agents">,
		upstream: Upstream,
		targets: Pick<StateView, "of">,
		send: (message: ToMain, transfer?: ArrayBuffer[]) => void,
	) {
		this.tunnels = new ThreadTunnels(thread, mainTunnels(send), epoch);
		this.transport = new AgentTransport(readCa(config.ca_file), this.tunnels);
		this.replica = new AgentReplica(upstream, this.transport, {
			failed: (agent, failure) => send({ type: "agent-failed", agent, failure }),
			served: (names) => send({ type: "served", names }),
		});
		this.replica.take(agents);
		const hosts = new WakingHosts(this.replica, (agent) => send({ type: "wake", agent }));
		this.fleet = new AgentFleet(this.replica, targets, undefined, hosts);
		this.fleet.bounds = config.agents.replicas;
		this.fleet.router = () => this.tunnels.router;
	}

	/** Another configuration is in force. Throws where its CA can't be read; the one before stays. */
	use({ ca_file: ca, agents }: AgentConfig, upstream: Upstream): void {
		this.transport.trust(readCa(ca));
		this.replica.setUpstream(upstream);
		this.fleet.bounds = agents.replicas;
	}
}
