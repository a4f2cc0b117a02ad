/** Tunnels that were open a moment ago: a call waits until its agent has opened another one, as it waits for a connection to come about. */
import type { CancelSignal } from "../../providers/provider.ts";

/** How long an agent may need to open another one, ms. What comes later waits no more: its host may be gone. */
const REOPEN_MS = 10_000;
/** Longest that a call waits, ms. */
const LONGEST_WAIT_MS = 3_000;

/** A tunnel that has closed. */
interface ClosedTunnel {
	/** On `performance.now()`'s clock, ms. */
	readonly since: number;
	readonly opened: PromiseWithResolvers<void>;
}

/** Those of one thread, by their agents' names. */
export class ReopeningTunnels {
	readonly #closed = new Map<string, ClosedTunnel>();

	/** The agent's tunnel has closed. */
	closed(agent: string): void {
		const now = performance.now();
		for (const [name, { since }] of this.#closed) if (now - since > REOPEN_MS) this.#closed.delete(name);
		if (!this.#closed.has(agent)) this.#closed.set(agent, { since: now, opened: Promise.withResolvers() });
	}

	/** It is open again. */
	opened(agent: string): void {
		this.#closed.get(agent)?.opened.resolve();
		this.#closed.delete(agent);
	}

	/** Whether it has closed, and may soon be open again. */
	has(agent: string): boolean {
		const closed = this.#closed.get(agent);
		return closed !== undefined && performance.now() - closed.since <= REOPEN_MS;
	}

	/** Resolves once it is open, or after so many ms, 3 s at most. Rejects with the signal's reason. */
	async wait(agent: string, signal: CancelSignal, ms = LONGEST_WAIT_MS): Promise<void> {
		const closed = this.#closed.get(agent);
		if (!closed) return;
		signal.throwIfAborted();
		const over = Promise.withResolvers<void>();
		const timer = setTimeout(over.resolve, Math.min(ms, LONGEST_WAIT_MS));
		const leave = () => over.reject(signal.reason);
		signal.addEventListener("abort", leave);
		try {
			await Promise.race([closed.opened.promise, over.promise]);
		} finally {
			clearTimeout(timer);
			signal.removeEventListener("abort", leave);
		}
	}
}
