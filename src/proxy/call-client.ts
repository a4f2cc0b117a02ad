/** A call's client, and who hears its answer beside it. */

/** A client's connection. */
export interface ClientConnection {
	/** Bun's: how long a request's connection may be silent; 0: for ever. */
	readonly server: { timeout(request: Request, seconds: number): void };
	readonly request: Request;
	/** How long it may be silent while no call runs. */
	readonly idleSeconds: number;
}

/** Another one who wants the answer of a call (the cache, or who compares it). Hears it as the call's own client gets it, synchronously; must not throw. */
export interface AnswerListener {
	/** It wants a whole answer in OpenAI's words, too, that says more to its own client. */
	readonly hearsAll?: boolean;
	/**
	 * It came as a whole, and is good; undefined where it is good for its own client alone.
	 * @param isOwn it is, and the body is there since the listener `hearsAll`
	 */
	whole(body: string | undefined, isOwn?: boolean): void;
	/**
	 * A piece of a stream went to the client, whose side says `taken`. Returns what to wait for before the next one: `taken` where
	 * nobody else reads.
	 */
	sent(piece: Uint8Array | string, taken: number | Promise<number>): number | Promise<unknown>;
	/** The stream is over: complete, or broken after its first bytes. */
	ended(broken?: { readonly status: number; readonly error: string }): void;
	/** There is no answer: the call failed before its first byte. */
	fail(): void;
	/** The client has left the stream: whether it goes on without it. */
	continuesWithoutClient(): boolean;
}
