/** What the router remembers across restarts, whatever it is kept in. */
import type { GpuReport, ModelReport } from "../protocol/agent.ts";

/** An agent, as it registered and as it was last heard of. Times are Unix times, ms. */
export interface StoredAgent {
	readonly name: string;
	readonly instance?: string | undefined;
	readonly endpoint: string;
	readonly models: readonly ModelReport[];
	readonly gpus?: readonly GpuReport[] | undefined;
	readonly version?: string | undefined;
	readonly registeredAt: number;
	readonly heardAt: number;
}

/**
 * The store. Synchronous: a write takes some 20 µs, and at most half a second where another process is writing. Nothing
 * here throws: what can't be written is told once and remembered by this process alone.
 */
export interface Store {
	/** In the order in which they first came. */
	agents(): StoredAgent[];
	/** All of them or none. */
	saveAgents(agents: readonly StoredAgent[]): void;
	removeAgent(name: string): void;
	/** Every name by which an agent has ever served a model. */
	servedNames(): string[];
	addServedNames(names: readonly string[]): void;
	/** SHA-256 hashes of the agent tokens that were given out. */
	agentTokens(): Buffer[];
	/** False where it can't be kept, with the reason in `problem`. */
	addAgentToken(hash: Buffer): boolean;
	/** Why nothing is kept, a sentence; undefined where all is well. */
	readonly problem: string | undefined;
	close(): void;
}
