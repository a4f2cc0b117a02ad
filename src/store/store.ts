/** What the router remembers across restarts, whatever it is kept in. */
import type { GpuReport, ModelReport } from "../protocol/agent.ts";
import type { LedgerStore } from "./ledger-table.ts";

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

/** A token's hash, and when it was made: Unix time, ms. */
export interface StoredToken {
	readonly hash: Buffer;
	readonly createdAt: number;
}

/**
 * The store. Synchronous: a write takes some 20 µs, and at most half a second where another process is writing. Nothing
 * here throws: what can't be written is told once, and waits in memory until `mend` can write it.
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
	/** The agent tokens that were given out, the oldest first. */
	agentTokens(): StoredToken[];
	/** False where it is not on the disk now, with the reason in `problem`. One that was taken back stays so. */
	addAgentToken(hash: Buffer): boolean;
	/** Takes one back, whether or not it is known. */
	revokeAgentToken(hash: Buffer): boolean;
	/** Hashes of those that were taken back: kept, so that no other replica brings them back. */
	revokedAgentTokens(): Buffer[];
	/** API keys, each a JSON text. */
	keys(): string[];
	/** All of them or none; false where they are not on the disk now. */
	saveKeys(keys: readonly { readonly id: string; readonly value: string }[]): boolean;
	/** Another number after each change by another process; takes 3 µs. 0 where nothing is kept. */
	version(): number;
	readonly ledger: LedgerStore;
	/**
	 * Looks whether the file can be used where it could not, makes it anew where it was deleted, and writes what waits. To be called again
	 * and again.
	 */
	mend(): void;
	/** Why what is new is not on the disk, a clause; undefined where all is well. */
	readonly problem: string | undefined;
	/** Changes are in memory alone (the ledger's own waiting calls aside): a restart undoes them. `problem` says why. */
	readonly hasUnwritten: boolean;
	/** Something is kept, and can't be read, as far as it has been tried: it may be keys. */
	readonly isUnreadable: boolean;
	close(): void;
}
