/** Where answers are kept, and calls claimed, besides this thread: shared by all threads of the process, or by all replicas. */

import type { FollowedStream } from "./thread-streams.ts";

/** Ends a claim: to be called once the call is over, with its answer where that may be kept. */
export type Release = (kept: { readonly bytes: Uint8Array; readonly ttlMs: number } | undefined) => void;

/** The answer. */
export interface FoundAnswer {
	readonly is: "found";
	readonly bytes: Uint8Array;
	/** It is in this process's memory. */
	readonly isHere?: boolean;
	/** Threads wait until it is; there where the call was claimed among them. */
	readonly release?: Release;
}

/** What came of asking for a key. */
export type CallClaim =
	| FoundAnswer
	/** Nobody is making this call: it is ours to make. */
	| { readonly is: "ours"; readonly release: Release }
	/** Another replica, or thread, is making it. */
	| { readonly is: "elsewhere" }
	/** It can't be asked now: as if there were none. */
	| { readonly is: "unavailable" };

/** The shared store. Every method answers within its deadline, and never rejects. */
export interface SharedStore {
	/** Looks the key up and, where there is nothing, claims the call for this replica, or thread. At once where nobody has to be asked. */
	claim(key: Uint8Array): CallClaim | Promise<CallClaim>;
	/**
	 * Waits until whoever makes the call is done, or not heard of any more, and claims again. Never `elsewhere` but for an
	 * aborted signal, and where its stream has come.
	 * @param along is given the stream of the call as it comes, where that can be; once it has begun nothing is claimed any more
	 */
	wait(key: Uint8Array, signal: AbortSignal, along?: FollowedStream): Promise<CallClaim>;
	/** Keeps an answer that nobody has claimed. Returns at once. */
	put(key: Uint8Array, bytes: Uint8Array, ttlMs: number): void;
}
