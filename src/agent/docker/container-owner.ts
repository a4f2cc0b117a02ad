/**
 * Whose containers those of this agent's name are. Two agents may have one name on one engine: in two containers that share its socket,
 * on two hosts that drive it, on hosts that were copied. Each leaves the other's containers alone.
 */
import type { Problem } from "../problem.ts";
import type { Container } from "./docker-output.ts";
import type { EngineLock } from "./engine-lock.ts";

/** Labels of a container: the installation that made it (the UUID of its data directory), and the lock that it held. */
const INSTANCE = "router.instance";
const LOCK = "router.lock";

/** This agent as the owner of containers. */
export class ContainerOwner {
	constructor(
		private readonly agent: string,
		private readonly command: "docker" | "podman",
		private readonly lock: Pick<EngineLock, "id" | "holderOf">,
		/** The UUID of the data directory; asked once the agent runs. */
		private readonly instance: () => string,
	) {}

	/** What each of its containers is labelled with. No part of the hash by which one is recognised. */
	labels(): Readonly<Record<string, string>> {
		return { [INSTANCE]: this.instance(), ...(this.lock.id !== undefined && { [LOCK]: this.lock.id }) };
	}

	/** The containers that are this agent's, and the problem where others are not. */
	divide(containers: readonly Container[]): { readonly own: readonly Container[]; readonly problem?: Problem } {
		const others = containers.filter((container) => this.#isOther(container));
		if (others.length === 0) return { own: containers };
		return { own: containers.filter((container) => !others.includes(container)), problem: this.#problem(others) };
	}

	/**
	 * A container is another agent's where that runs, or may run. It is this agent's where it was made from the same data directory, by an agent that
	 * is known to have ended (one whose data directory was lost, or that had another one), and by a version that labelled nothing.
	 */
	#isOther({ labels }: Container): boolean {
		const { [INSTANCE]: instance, [LOCK]: lock } = labels;
		if (instance === undefined) return false;
		const holder = lock === undefined ? "unknown" : this.lock.holderOf(lock);
		return holder === "runs" || (holder === "unknown" && instance !== this.instance());
	}

	#problem(others: readonly Container[]): Problem {
		const { agent, command } = this;
		const count = others.length === 1 ? "a container" : `${others.length} containers`;
		const rename = "give one of the two another name: ROUTER_AGENT_NAME or `agent.name`";
		if (others.some(({ labels }) => this.lock.holderOf(labels[LOCK] ?? "") === "runs")) {
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
