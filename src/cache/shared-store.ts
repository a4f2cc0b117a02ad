/** Where answers are kept besides this process: shared by all replicas. */

/** Ends a claim: to be called once the call is over, with its answer where that may be kept. */
export type Release = (kept: { readonly bytes: Uint8Array; readonly ttlMs: number } | undefined) => void;

/** What came of asking for a key. */
export type CallClaim =
	/** The answer. */
	| { readonly is: "found"; readonly bytes: Uint8Array }
	/** Nobody is making this call: it is ours to make. */
	| { readonly is: "ours"; readonly release: Release }
	/** Another replica is making it. */
	| { readonly is: "elsewhere" }
	/** It can't be asked now: as if there were none. */
	| { readonly is: "unavailable" };

/** The shared store. Every method answers within its deadline, and never rejects. */
export interface SharedStore {
	/** Looks the key up and, where there is nothing, claims the call for this replica. */
	claim(key: Uint8Array): Promise<CallClaim>;
	/**
	 * Waits until the replica that makes the call is done, or not heard of any more, and claims again. Never `elsewhere` but for an
	 * aborted signal.
	 */
	wait(key: Uint8Array, signal: AbortSignal): Promise<CallClaim>;
	/** Keeps an answer that nobody has claimed. Returns at once. */
	put(key: Uint8Array, bytes: Uint8Array, ttlMs: number): void;
}
