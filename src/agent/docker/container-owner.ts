/**
 * Whose containers those of this agent's name are. Two agents may have one name on one engine: in two containers that share its socket,
 * on two hosts that drive it, on hosts that were copied. Each leaves the other's containers alone.
 */
import type { Problem } from "../problem.ts";
import type { AgentPresence } from "./agent-presence.ts";
import type { Container } from "./docker-output.ts";

/** Labels of a container: the agent's name, the installation that made it (the UUID of its data directory), and the id of that agent's presence. */
const AGENT = "router.agent";
const INSTANCE = "router.instance";
const PRESENCE = "router.presence";

/** This agent as the owner of containers. */
export class ContainerOwner {
	constructor(
		private readonly agent: string,
		private readonly command: "docker" | "podman",
		private readonly presence: Pick<AgentPresence, "id" | "hold" | "holderOf">,
		/** The UUID of the data directory; asked once the agent runs. */
		readonly instance: () => string,
	) {}

	/** What each of its containers is labelled with. No part of the hash by which one is recognised. */
	labels(): Readonly<Record<string, string>> {
		return { [INSTANCE]: this.instance(), ...(this.presence.id !== undefined && { [PRESENCE]: this.presence.id }) };
	}

	/** The containers that are this agent's, and the problem where others are not. For each list: from the first on this agent can be seen to run. */
	divide(containers: readonly Container[]): { readonly own: readonly Container[]; readonly problem?: Problem } {
		this.presence.hold();
		const own: Container[] = [];
		const others: Container[] = [];
		for (const container of containers) {
			if (container.labels[AGENT] !== this.agent) {
				if (this.#isFromBeforeRenaming(container)) own.push(container);
			} else if (this.#isOther(container)) others.push(container);
			else own.push(container);
		}
		return { own, ...(others.length > 0 && { problem: this.#problem(others) }) };
	}

	/** Made from this data directory under another name, by an agent that has ended; a copy of the directory may have one that runs. */
	#isFromBeforeRenaming({ labels }: Container): boolean {
		const { [INSTANCE]: instance, [PRESENCE]: presence } = labels;
		return instance === this.instance() && presence !== undefined && this.presence.holderOf(presence) === "ended";
	}

	/**
	 * A container is another agent's where that runs, or may run. It is this agent's where it was made from the same data directory, by an agent that
	 * is known to have ended (one whose data directory was lost, or that had another one), and by a version that labelled nothing.
	 */
	#isOther({ labels }: Container): boolean {
		const { [INSTANCE]: instance, [PRESENCE]: presence } = labels;
		if (instance === undefined) return false;
		const holder = presence === undefined ? "unknown" : this.presence.holderOf(presence);
		return holder === "runs" || (holder === "unknown" && instance !== this.instance());
	}

	#problem(others: readonly Container[]): Problem {
		const { agent, command } = this;
		const count = others.length === 1 ? "a container" : `${others.length} containers`;
		const rename = "give one of the two another name: ROUTER_AGENT_NAME or `agent.name`";
		if (others.some(({ labels }) => this.presence.holderOf(labels[PRESENCE] ?? "") === "runs")) {
			const reason = `another agent called "${agent}" runs on this host and has ${count} on the same engine`;
			return { reason, fix: `stop that one, or ${rename}` };
		}
		const filter = `--filter label=${INSTANCE}=${others[0]!.labels[INSTANCE]}`;
		const left = "if the other one is no more, or this one has lost its data directory, remove what is left";
		return {
			reason: `another agent called "${agent}" has ${count} on this engine`,
			fix: `${rename}; ${left}: \`${command} rm --force $(${command} ps --all --quiet ${filter})\``,
		};
	}
}
