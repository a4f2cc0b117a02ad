/** The data that a router has across restarts, whatever stores it. */
import type { GpuReport, ModelReport } from "../protocol/agent.ts";
import type { LedgerStore } from "./ledger-table.ts";
import type { ObjectStore, SharedObjects } from "./object-table.ts";
import type { ResponseTable } from "./response-table.ts";

/** An agent with its last report. Times are Unix times, ms. */
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
 * The store. Synchronous but for the ledger: a write takes at most half a second where another process is writing. Nothing here throws: a problem is
 * reported once, and what can't be written waits in memory until `recover` can write it.
 */
export interface Store extends ObjectStore, SharedObjects {
	/** In the order in which they first came. */
	agents(): StoredAgent[];
	/** All of them or none. */
	saveAgents(agents: readonly StoredAgent[]): void;
	removeAgent(name: string): void;
	/** Every name by which an agent has ever served a model. */
	servedNames(): string[];
	addServedNames(names: readonly string[]): void;
	/** The agent tokens that are valid, the oldest first. */
	agentTokens(): StoredToken[];
	/** False where it is not on the disk now, with the reason in `problem`. A revoked one stays revoked. */
	addAgentToken(hash: Buffer): boolean;
	/** Revokes a token, whether or not it is known. */
	revokeAgentToken(hash: Buffer): boolean;
	/** Hashes of revoked tokens: stored, so that no other replica brings them back. */
	revokedAgentTokens(): Buffer[];
	/** API keys, each a JSON text. */
	keys(): string[];
	/** All of them or none; false where they are not on the disk now. */
	saveKeys(keys: readonly { readonly id: string; readonly value: string }[]): boolean;
	/** Another number after each change by another process. 0 where there is no database. */
	version(): number;
	/** Names this store among those that write to the database. */
	readonly writerId: string;
	/** The same for a store beside another of this process: its changes are not counted, of which this one hears from it. */
	changesBeside(writer: string): number;
	readonly ledger: LedgerStore;
	readonly responses: ResponseTable;
	/**
	 * Uses the file again where it could not be used, makes it anew where it was deleted, and writes what waits. To be called
	 * periodically.
	 */
	recover(): void;
	/** Why new data is not on the disk, a clause; undefined while it is. */
	readonly problem: string | undefined;
	/** Changes are in memory alone (the ledger's own waiting calls aside): a restart undoes them. `problem` says why. */
	readonly hasUnwritten: boolean;
	/** There is a file, and it can't be read, as far as that has been tried: it may hold keys. */
	readonly isUnreadable: boolean;
	/** To be called before `close`, where nobody else writes: `router.db` alone holds all afterwards. Resolves within a second, whether or not that was possible. */
	finishLog(): Promise<void>;
	close(): void;
}
