/** Others who want the answer of a call: the cache, and callers who have asked the same. */

/** Hears an answer as the call's own client gets it. Called synchronously; must not throw. */
export interface Audience {
	/** It came as a whole, and is good. */
	whole(body: string): void;
	/**
	 * A piece of a stream went to the client, whose side says `taken`. Returns what to wait for before the next one: `taken` where
	 * nobody else reads.
	 */
	sent(piece: Uint8Array | string, taken: number | Promise<number>): number | Promise<unknown>;
	/** The stream is over: complete, or broken after its first bytes. */
	ended(broken?: { readonly status: number; readonly error: string }): void;
	/** The client has left the stream: whether it goes on without it. */
	goesOn(): boolean;
}
