/** Who hears of what becomes of agents: one listener of each kind. */
import { lostTargets, readyTargets, type SharedAgent } from "./agent-record.ts";

/** Those of one registry. */
export class RegistryListeners {
	#heard: ((agent: SharedAgent) => void) | undefined;
	#adopted: (() => void) | undefined;
	#lost: ((target: string) => void) | undefined;
	#ready: ((target: string, isAgain: boolean) => void) | undefined;

	/** The listener hears of each registration and heartbeat that this router gets. */
	onHeard(listener: (agent: SharedAgent) => void): void {
		this.#heard = listener;
	}

	/** The listener hears when calls go by something else, since another router has told of an agent, or an agent is told something else. */
	onAdopted(listener: () => void): void {
		this.#adopted = listener;
	}

	/** The listener hears of each target that was ready and is not any more. */
	onLost(listener: (target: string) => void): void {
		this.#lost = listener;
	}

	/** The listener hears of each target that is ready, with every report of its agent: `isAgain` where the one before said otherwise. */
	onReady(listener: (target: string, isAgain: boolean) => void): void {
		this.#ready = listener;
	}

	/** This router has heard of an agent that others may call. */
	heard(agent: SharedAgent): void {
		this.#heard?.(agent);
	}

	/** Calls go by something else. */
	adopted(): void {
		this.#adopted?.();
	}

	/** An agent reports. @param agent as `readyTargets` takes it: its name, its models before, and now */
	reported(...agent: Parameters<typeof readyTargets>): void {
		if (this.#lost) for (const target of lostTargets(...agent)) this.#lost(target);
		if (this.#ready) for (const ready of readyTargets(...agent)) this.#ready(...ready);
	}
}
